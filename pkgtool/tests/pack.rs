//! `pkgtool pack`: what goes in, what comes out, and what is left behind.

mod support;

use std::fs;
use std::io::Read as _;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};

use epk_format::digest::Sha256;
use epk_format::package::Kind;
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use support::{MANIFEST, Place, Ran, noise, paths, shown};

#[test]
fn the_package_shows_the_folder() {
    let place = Place::app();
    place.pack(&[]).ok();
    let shown = shown(&place.image());
    let expected = [
        "bin",
        "bin/app",
        "lib",
        "lib-a",
        "lib/data.bin",
        "lib/empty",
        "lib/text",
        "manifest.toml",
        "share",
        "share/empty",
        "sub",
        "sub/manifest.toml",
    ];
    assert_eq!(shown.keys().map(String::as_str).collect::<Vec<_>>(), expected);
    for (path, node) in &shown {
        let real = place.path("app").join(path);
        let metadata = fs::metadata(&real).expect("there");
        assert_eq!(metadata.is_dir(), node.kind == Kind::Folder, "{path}");
        if metadata.is_file() && path != "manifest.toml" {
            assert!(fs::read(&real).expect("readable") == node.bytes, "{path}");
            assert_eq!(metadata.permissions().mode() & 0o777, node.mode, "{path}");
            assert_eq!(node.seconds, 1_600_000_000, "{path}");
        }
    }
    assert_eq!(shown["manifest.toml"].bytes, MANIFEST.as_bytes());
}

#[test]
fn the_bytes_are_pinned() {
    let place = Place::app();
    let table: [&[&str]; 3] = [
        &[],
        &["--compression", "zlib", "--level", "9", "--chunk-size", "1K"],
        &["--compression", "none", "--mtime", "zero", "--alias", "lib64=lib"],
    ];
    let found = table.map(|options| {
        place.pack1(options).ok();
        Sha256::of(&place.image()).to_hex()
    });
    // A change of these changes everybody's packages. A new compressor version may do that; then
    // CHANGELOG says so.
    assert_eq!(found, PINNED);
}

const PINNED: [&str; 3] = [
    "bb8dbf850ce5132b5064f251ea505959d5004c3ba86a3f89eaa2da607ef6653b",
    "e57f45bcf8491d23b33bf812e069ca788f0567546e6118fe906e371f7a7084f8",
    "57e1b44b8fdc6f7044221b629d4cba178c3b5af6b2a1281936b90e633a05d74d",
];

#[test]
fn the_surroundings_change_nothing() {
    let place = Place::app();
    place.pack1(&[]).ok();
    let expected = place.image();
    for threads in ["1", "2", "3", "8"] {
        place.pack1(&["--threads", threads]).ok();
        assert!(place.image() == expected, "{threads} threads");
    }
    for (name, value) in
        [("TZ", "Asia/Tokyo"), ("LC_ALL", "de_DE.UTF-8"), ("LANG", "C"), ("HOME", "/nowhere")]
    {
        let mut command = place.command();
        let output = command
            .args(["pack", "app", "-o", "app.epk", "--format", "1"])
            .env(name, value)
            .output();
        Ran::new(&output.expect("ran")).ok();
        assert!(place.image() == expected, "{name}={value}");
    }
    for mask in ["000", "077"] {
        let program = env!("CARGO_BIN_EXE_pkgtool");
        let script = format!("umask {mask}; exec {program} pack app -o app.epk --format 1");
        let mut shell = Command::new("sh");
        let output = shell.args(["-c", &script]).current_dir(place.path("")).output();
        Ran::new(&output.expect("ran")).ok();
        assert!(place.image() == expected, "umask {mask}");
        let mode = fs::metadata(place.path("app.epk")).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, if mask == "000" { 0o644 } else { 0o600 });
    }
    // Another place, files made in another order, folders with other modes and times.
    let other = Place::empty();
    for path in support::walk(&place.path("app")).into_iter().rev() {
        let name = path.strip_prefix(place.path("")).expect("inside").to_str().expect("text");
        if path.is_file() {
            let mode = fs::metadata(&path).expect("there").permissions().mode();
            other.file(name, &fs::read(&path).expect("readable"), mode & 0o777);
        } else {
            fs::create_dir_all(other.path(name)).expect("made");
            fs::set_permissions(other.path(name), fs::Permissions::from_mode(0o700)).expect("set");
        }
    }
    other.pack1(&[]).ok();
    assert!(other.image() == expected, "a copy");
    // The same folder by other names.
    for folder in ["./app/", "app/.", "app/bin/.."] {
        place.run(&["pack", folder, "-o", "app.epk", "--format", "1"]).ok();
        assert!(place.image() == expected, "{folder}");
    }
}

#[test]
fn the_summary_is_json_on_stdout_or_text_on_stderr() {
    let place = Place::app();
    let ran = place.pack1(&["--json"]).ok();
    assert_eq!(ran.stderr, "");
    let json = ran.json();
    let image = place.image();
    assert_eq!(json["schema"], "epk.pack/1");
    assert_eq!(json["path"], "app.epk");
    assert_eq!(json["size"], image.len());
    let hash: String = image[80..112].iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(json["package_hash"], format!("sha256:{hash}"));
    let counts = ["entries", "files", "folders", "aliases", "blocks"].map(|key| &json[key]);
    assert_eq!(counts, [11, 6, 5, 0, 6]);
    assert_eq!(json["signature"], serde_json::Value::Null);
    let lost = json["lost"].as_object().expect("an object");
    assert!(lost.values().all(|count| count == 0), "{lost:?}");

    let ran = place.pack1(&[]).ok();
    assert_eq!(ran.stdout, "");
    assert!(ran.stderr.contains(&hash) && ran.stderr.contains("6 files"), "{}", ran.stderr);
}

#[test]
fn what_the_format_cannot_hold_is_refused_by_name() {
    let place = Place::app();
    place.link("app/link", "bin/app");
    place.link("app/lib/dangling", "nowhere");
    mkfifo(&place.path("app/pipe"), Mode::S_IRUSR).expect("made");
    let _socket = std::os::unix::net::UnixListener::bind(place.path("app/socket")).expect("bound");
    place.file("app/back\\slash", b"", 0o644);
    place.file("app/bin/su", b"", 0o4755);
    place.file("app/bin/sg", b"", 0o2755);
    let latin = std::ffi::OsString::from_vec(b"lat\xefn".to_vec());
    fs::write(place.path("app").join(latin), b"").expect("written");
    let attribute = rustix::fs::XattrFlags::empty();
    let text = place.path("app/lib/text");
    rustix::fs::setxattr(&text, "user.comment", b"x", attribute).expect("a filesystem with xattrs");
    fs::set_permissions(place.path("app/share"), fs::Permissions::from_mode(0o700)).expect("set");
    fs::hard_link(place.path("app/lib/data.bin"), place.path("app/lib/more")).expect("linked");

    let said = [
        "these 9 things",
        "`link`: symbolic link to `bin/app`",
        "`lib/dangling`: symbolic link to `nowhere`",
        "`pipe`: pipe",
        "`socket`: socket",
        "`back\\\\slash`: path with a backslash",
        "`bin/su`: permission bits 4000 (set-user-id)",
        "`bin/sg`: permission bits 2000 (set-group-id)",
        "`lat\\xefn`: path that is not UTF-8",
        "`lib/text`: extended attributes user.comment",
        "hint: format 2.0 holds 4 of them: leave out `--format 1`",
        "hint: `--symlinks follow`",
        "hint: `--special skip`",
        "hint: `--names skip`",
        "hint: `--mode-bits drop`",
        "hint: `--xattrs drop`",
    ];
    let ran = place.pack1(&[]).fails(1, &said);
    // In the order of paths.
    let places = said[1..10].iter().map(|text| ran.stderr.find(text).expect("said"));
    let mut places: Vec<_> = places.zip(&said[1..10]).collect();
    places.sort();
    let order: Vec<_> = places.iter().map(|(_, text)| text.as_bytes()[1..4].to_vec()).collect();
    assert!(order.is_sorted(), "{}", ran.stderr);
    assert_eq!(place.names(), ["app"], "nothing is left");

    let allowed = [
        "--symlinks",
        "skip",
        "--special",
        "skip",
        "--names",
        "skip",
        "--mode-bits",
        "drop",
        "--xattrs",
        "drop",
        "--json",
    ];
    let lost = place.pack1(&allowed).ok().json()["lost"].clone();
    let expected = serde_json::json!({
        "hard_links": 1, "symlinks_followed": 0, "symlinks_skipped": 2, "special_skipped": 2,
        "names_skipped": 2, "mode_bits_dropped": 2, "xattrs_dropped": 1, "folder_modes": 1,
    });
    assert_eq!(lost, expected);
    let shown = shown(&place.image());
    assert_eq!((shown["bin/su"].mode, shown["bin/sg"].mode), (0o755, 0o755));
    assert!(shown["lib/more"].bytes == noise(100_000));
    for path in ["link", "lib/dangling", "pipe", "socket", "back\\slash"] {
        assert!(!shown.contains_key(path), "{path}");
    }
    // Each option allows its own kind only.
    for skipped in 0..5 {
        let mut options = allowed[..10].to_vec();
        options.drain(2 * skipped..2 * skipped + 2);
        let ran = place.pack1(&options).fails(1, &[]);
        // Links, backslashes and `user.*` attributes could be kept.
        let other = ran.stderr.matches("leave out `--format 1`").count();
        assert_eq!(other, usize::from([0, 2, 4].contains(&skipped)), "{}", ran.stderr);
        assert_eq!(ran.stderr.matches("hint:").count(), 1 + other, "{}", ran.stderr);
    }
}

#[test]
fn links_are_followed_beneath_the_folder() {
    let place = Place::app();
    place.link("app/bin/again", "app");
    place.link("app/usr", "share/../lib");
    place.link("app/share/up", "../bin/again");
    place.pack(&["--symlinks", "follow"]).ok();
    let all = shown(&place.image());
    assert_eq!(all["bin/again"], all["bin/app"]);
    assert_eq!(all["share/up"], all["bin/app"]);
    for name in ["data.bin", "empty", "text"] {
        assert_eq!(all[&format!("usr/{name}")], all[&format!("lib/{name}")]);
    }
    let ran = place.pack(&["--symlinks", "alias", "--json"]).ok();
    assert_eq!(
        (&ran.json()["aliases"], &ran.json()["lost"]["symlinks_followed"]),
        (&serde_json::json!(1), &serde_json::json!(2))
    );
    let all = shown(&place.image());
    assert_eq!((all["usr"].kind, all["usr"].bytes.as_slice()), (Kind::Link, &b"lib"[..]));
    assert_eq!(all["bin/again"], all["bin/app"]);
}

#[test]
fn links_that_cannot_be_followed_are_findings() {
    let place = Place::app();
    place.file("outside/secret", b"secret", 0o600);
    place.link("app/dangling", "nowhere");
    place.link("app/ring", "ring");
    place.link("app/share/loop", "../share");
    place.link("app/share/empty/top", "../..");
    place.link("app/out", "../outside");
    place.link("app/absolute", place.path("app/bin").to_str().expect("text"));
    place.link("app/bin/null", "/dev/null");
    let said = [
        "`dangling`: symbolic link to `nowhere`, which leads nowhere",
        "`ring`: symbolic link to `ring`, which leads in a ring",
        "`share/loop`: symbolic link to `../share`, a folder that it lies in",
        "`share/empty/top`: symbolic link to `../..`, a folder that it lies in",
        "`out`: symbolic link to `../outside`, out of the folder",
        "`absolute`: symbolic link to `",
        "`bin/null`: symbolic link to `/dev/null`, out of the folder",
        "these 7 things",
        "hint: `--follow-outside`",
    ];
    place.pack(&["--symlinks", "follow"]).fails(1, &said);
    let outside = ["--symlinks", "follow", "--follow-outside"];
    // `bin/null` is there a second time, below `absolute`.
    let said = ["these 6 things", "`bin/null`: symbolic link to `/dev/null`, a device"];
    place.pack(&outside).fails(1, &said);
    assert_eq!(place.names(), ["app", "outside"]);

    for path in ["dangling", "ring", "share/loop", "share/empty/top", "bin/null"] {
        fs::remove_file(place.path("app").join(path)).expect("removed");
    }
    place.pack(&outside).ok();
    let all = shown(&place.image());
    assert_eq!(all["out/secret"].bytes, b"secret");
    assert_eq!(all["absolute/app"], all["bin/app"]);

    // As an alias, a link may lead to a folder that it lies in.
    fs::remove_file(place.path("app/out")).expect("removed");
    fs::remove_file(place.path("app/absolute")).expect("removed");
    place.link("app/share/loop", "../share");
    place.link("app/top", ".");
    place.pack(&["--symlinks", "alias"]).ok();
    let all = shown(&place.image());
    assert_eq!((all["share/loop"].kind, all["top"].kind), (Kind::Link, Kind::Link));
    assert_eq!(
        (all["share/loop"].bytes.as_slice(), all["top"].bytes.as_slice()),
        (&b"."[..], &b"."[..])
    );
}

#[test]
fn aliases_come_from_options_and_files() {
    let place = Place::app();
    place.file("aliases.toml", b"\"usr/lib\" = \"lib\"\n", 0o644);
    let options = ["--alias", "lib64=/lib", "--aliases", "aliases.toml"];
    place.pack(&options).ok();
    let all = shown(&place.image());
    assert_eq!(all["lib64"].bytes, b"lib");
    assert_eq!(all["usr/lib"].bytes, b"../lib");
    assert_eq!(all["usr"].kind, Kind::Folder);
    place.pack(&["--alias", "lib64=nowhere"]).fails(1, &["`nowhere`", "`lib64`"]);
    place.pack(&["--alias", "a=b", "--alias", "b=a"]).fails(1, &["32 aliases"]);
    place.pack(&["--alias", "lib=bin"]).fails(1, &["`lib` appears twice"]);
    place.pack(&["--alias", "bin/app/x=lib"]).fails(1, &["`bin/app`, which is not a folder"]);
    assert_eq!(place.run(&["pack", "app", "-o", "x", "--alias", "lib"]).code, Some(2));
}

#[test]
fn the_manifest_is_no_entry_of_its_own() {
    let place = Place::app();
    // Elsewhere: the one in the folder is a file like any other.
    let text = MANIFEST.replace("1.2.3", "9");
    place.file("other.toml", text.as_bytes(), 0o644);
    place.pack(&["--manifest", "other.toml"]).ok();
    let all = shown(&place.image());
    assert_eq!(all["manifest.toml"].bytes, MANIFEST.as_bytes());
    assert_eq!(all["manifest.toml"].seconds, 1_600_000_000);
    // In the folder by another name.
    fs::rename(place.path("app/manifest.toml"), place.path("app/lib/m.toml")).expect("renamed");
    place.pack(&["--manifest", "./app/share/../lib/m.toml"]).ok();
    assert!(!paths(&place.image()).contains(&"lib/m.toml".to_owned()));
    place.pack(&[]).fails(3, &["cannot read `app/manifest.toml`", "hint:"]);
    place.pack(&["--manifest", "none"]).fails(3, &["cannot read `none`"]);
    place.file("large.toml", &vec![b'#'; (1 << 20) + 1], 0o644);
    place.pack(&["--manifest", "large.toml"]).fails(4, &["more than 1048576 bytes"]);
    place.file("bad.toml", b"version = \"1\"\n", 0o644);
    place.pack(&["--manifest", "bad.toml"]).fails(4, &["`bad.toml`", "missing_name (4)"]);
}

#[test]
fn times_follow_the_policy() {
    let place = Place::app();
    place.set_time("app/lib/text", 1_700_000_000);
    let times = |options: &[&str], epoch: Option<&str>| {
        let mut command = place.command();
        command.args([&["pack", "app", "-o", "app.epk", "--format", "1"], options].concat());
        epoch.map(|epoch| command.env("SOURCE_DATE_EPOCH", epoch));
        let output = command.output().expect("ran");
        output.status.success().then(|| {
            let all = shown(&place.image());
            assert_eq!(all["lib"].seconds, 0);
            (all["lib/data.bin"].seconds, all["lib/text"].seconds)
        })
    };
    let (early, late) = (1_600_000_000, 1_700_000_000);
    assert_eq!(times(&[], None), Some((early, late)));
    assert_eq!(times(&[], Some("1650000000")), Some((early, 1_650_000_000)));
    assert_eq!(times(&[], Some("0")), Some((0, 0)));
    let clamp = ["--mtime", "clamp"];
    assert_eq!(times(&clamp, Some("1650000000")), Some((early, 1_650_000_000)));
    assert_eq!(times(&["--mtime", "source"], Some("1650000000")), Some((early, late)));
    assert_eq!(times(&["--mtime", "zero"], Some("1650000000")), Some((0, 0)));
    assert_eq!(times(&clamp, None), None);
    place.pack(&clamp).fails(2, &["SOURCE_DATE_EPOCH"]);
    assert_eq!(times(&[], Some("yesterday")), None);
}

#[test]
fn the_output_must_lie_outside() {
    let place = Place::app();
    place.link("inside", "app/share/empty");
    for output in ["app/app.epk", "app/share/empty/app.epk", "inside/app.epk"] {
        place.run(&["pack", "app", "-o", output]).fails(2, &["inside of `app`", "hint:"]);
    }
    let mut command = place.command();
    command.current_dir(place.path("app")).args(["pack", ".", "-o", "x.epk"]);
    Ran::new(&command.output().expect("ran")).fails(2, &["inside of `.`"]);
    let count = support::walk(&place.path("app")).len();
    assert_eq!(count, 12, "nothing is left");
}

#[test]
fn only_packages_are_replaced() {
    let place = Place::app();
    place.file("app.epk", b"a letter", 0o644);
    place.pack(&[]).fails(1, &["`app.epk` exists and is no package", "hint: `--force`"]);
    assert_eq!(place.image(), b"a letter");
    place.pack(&["--force"]).ok();
    place.pack(&[]).ok();
    place.run(&["pack", "app", "-o", "none/app.epk"]).fails(3, &["cannot create `none/app.epk`"]);
    place.run(&["pack", "app", "-o", "app"]).fails(1, &["`app` exists and is a folder"]);
    place.run(&["pack", "none", "-o", "x.epk"]).fails(3, &["cannot open `none`"]);
    place.run(&["pack", "app/bin/app", "-o", "x.epk"]).fails(3, &["cannot open"]);
    assert_eq!(place.names(), ["app", "app.epk"]);
}

#[test]
fn bad_options_are_usage_errors() {
    let place = Place::app();
    let table: [&[&str]; 12] = [
        &["--chunk-size", "0"],
        &["--chunk-size", "65M"],
        &["--chunk-size", "64k5"],
        &["--compression", "zstd"],
        &["--level", "13"],
        &["--threads", "0"],
        &["--mtime", "now"],
        &["--symlinks", "maybe"],
        &["--sign", "a", "--signature-command", "b"],
        &["--public-key", "a"],
        &["--alias", "=x"],
        &["--no-such-option"],
    ];
    for options in table {
        assert_eq!(place.pack(options).code, Some(2), "{options:?}");
    }
    assert_eq!(place.run(&["pack", "app"]).code, Some(2));
    assert_eq!(place.names(), ["app"]);
    place.run(&["pack", "--help"]).ok();
}

#[test]
fn an_interrupted_run_leaves_nothing() {
    let place = Place::app();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGKILL] {
        // The signature command waits for us: by then all data is written.
        let pipe = place.path("pipe");
        mkfifo(&pipe, Mode::S_IRUSR | Mode::S_IWUSR).expect("made");
        let mut child = place
            .command()
            .args(["pack", "app", "-o", "app.epk", "--signature-command"])
            .arg("echo $$ > pipe; exec sleep 600 #")
            .stderr(Stdio::null())
            .spawn()
            .expect("started");
        let mut signer = String::new();
        fs::File::open(&pipe).expect("open").read_to_string(&mut signer).expect("read");
        kill(Pid::from_raw(child.id().cast_signed()), signal).expect("sent");
        assert_eq!(child.wait().expect("ended").signal(), Some(signal as i32));
        kill(Pid::from_raw(signer.trim().parse().expect("a number")), Signal::SIGKILL)
            .expect("sent");
        fs::remove_file(&pipe).expect("removed");
        assert_eq!(place.names(), ["app"]);
    }
}
