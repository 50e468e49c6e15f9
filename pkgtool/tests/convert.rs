//! `pkgtool convert`: what is kept, what is lost, and who says so.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use epk_format::time::Timestamp;
use epk_format::write::{self, ContentId, Contents, Format, Plan, PlanEntry};
use epk_format::{OpenOptions, Package};
use rustix::fs::{XattrFlags, setxattr};
use serde_json::json;
use support::{Place, noise, shown};

fn format(place: &Place, name: &str) -> Format {
    let image = fs::read(place.path(name)).expect("there");
    Package::open(image, &OpenOptions::default()).expect("good").format()
}

fn image(place: &Place, name: &str) -> Vec<u8> {
    fs::read(place.path(name)).expect("there")
}

/// An application of which format 1.0 holds everything.
fn plain() -> Place {
    let place = Place::app();
    place.file("app/lib/large", &[noise(300_000), vec![0; 200_000], noise(100)].concat(), 0o644);
    place.file("app/lib/copy", &noise(100_000), 0o600);
    place.file("app/na\u{ef}ve name", b"x", 0o755);
    place
}

#[test]
fn there_and_back_again() {
    let place = plain();
    // Chains end at a folder, whatever way they take there.
    let aliases =
        ["--alias", "lib64=/./share/../lib", "--alias", "usr/lib=lib64", "--alias", "top=/"];
    for (first, pack) in [(Format::V1, &["--format", "1"][..]), (Format::V2, &["--mtime", "zero"])]
    {
        place.pack(&[&aliases[..], pack].concat()).ok();
        assert_eq!(format(&place, "app.epk"), first);
        let ran = place.run(&["convert", "app.epk", "-o", "other.epk"]).ok();
        assert!(!ran.stderr.contains("warning"), "{}", ran.stderr);
        place.run(&["verify", "--deep", "other.epk"]).ok();
        assert_ne!(format(&place, "other.epk"), first);
        let expected = shown(&place.image());
        assert_eq!(expected["usr/lib"].bytes, b"../lib");
        assert_eq!(shown(&image(&place, "other.epk")), expected);
        // In its own place.
        let back = place.run(&["convert", "other.epk", "-o", "other.epk", "--json"]).ok().json();
        assert_eq!((&back["lost"], &back["from"]["path"]), (&json!([]), &json!("other.epk")));
        assert_eq!(format(&place, "other.epk"), first);
        assert_eq!(shown(&image(&place, "other.epk")), expected);
        // What was made once is made the same again.
        place.run(&["convert", "app.epk", "-o", "one.epk", "--threads", "1"]).ok();
        place.run(&["convert", "app.epk", "-o", "two.epk", "--threads", "5"]).ok();
        assert!(image(&place, "one.epk") == image(&place, "two.epk"), "threads");
        place.run(&["convert", "one.epk", "-o", "two.epk"]).ok();
        assert!(image(&place, "two.epk") == image(&place, "other.epk"), "a second time");
    }
}

#[test]
fn options_say_how_it_is_written() {
    let place = plain();
    place.pack(&["--format", "1"]).ok();
    let options = ["--to", "1", "--compression", "none", "--chunk-size", "5000"];
    place.run(&[&["convert", "app.epk", "-o", "raw.epk"], &options[..]].concat()).ok();
    assert_eq!(format(&place, "raw.epk"), Format::V1);
    assert_eq!(shown(&image(&place, "raw.epk")), shown(&place.image()));
    assert!(image(&place, "raw.epk").windows(6).any(|window| window == b"line 0"));
    // The same as packing the folder.
    place.run(&["convert", "raw.epk", "-o", "again.epk", "--to", "1"]).ok();
    assert!(image(&place, "again.epk") == place.image());
}

#[test]
fn what_format_1_cannot_hold_is_refused_or_named() {
    let place = Place::app();
    place.link("app/usr", "lib");
    place.link("app/share/away", "/etc/\u{1b}passwd");
    place.file("app/back\\slash/deep", b"x", 0o644);
    fs::hard_link(place.path("app/lib/text"), place.path("app/lib/zz")).expect("linked");
    fs::set_permissions(place.path("app/share"), fs::Permissions::from_mode(0o710)).expect("set");
    setxattr(place.path("app/bin/app"), "user.a", b"1", XattrFlags::empty()).expect("xattrs");
    setxattr(place.path("app/bin/app"), "user.b", b"", XattrFlags::empty()).expect("xattrs");
    // Whole milliseconds and no time stay; what `Place` sets does not.
    for path in ["app/sub/manifest.toml", "app/share", "app/bin", "app/lib", "app/sub", "app/lib-a"]
    {
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_millis(1_600_000_000_123);
        fs::File::open(place.path(path)).expect("there").set_modified(time).expect("set");
    }
    place.set_time("app", 5);
    place.pack(&["--alias", "alias=back\\slash", "--alias", "lib64=lib"]).ok();
    let said = [
        "`/`: time 5.123456789 left out",
        "`/alias`: left out: alias of `/back\\\\slash`, which is: path with a backslash",
        "`/back\\\\slash`: left out: path with a backslash",
        "`/back\\\\slash/deep`: left out: path with a backslash",
        "`/bin/app`: without `user.a`; without `user.b`; time 1600000000.123456789 becomes 1600000000.123000000",
        "`/lib/zz`: hard link to `/lib/text`, becomes a file of its own; time",
        "`/share`: permissions 0710 become 0755\n",
        "`/share/away`: left out: symbolic link to `/etc/\\x1bpasswd`",
        "`/usr`: left out: symbolic link to `lib`",
    ];
    let convert = ["convert", "app.epk", "-o", "one.epk"];
    let ran = place.run(&convert).fails(1, &said);
    assert!(ran.stderr.contains("hint: `--lossy`"), "{}", ran.stderr);
    for kept in ["`/lib64`", "`/bin`", "`/lib`:", "manifest.toml", "`/lib-a`"] {
        assert!(!ran.stderr.contains(kept), "{kept} in {}", ran.stderr);
    }
    assert_eq!(place.names(), ["app", "app.epk"], "nothing is left");

    let lossy = place.run(&[&convert[..], &["--lossy", "--json"]].concat()).ok();
    for text in said {
        assert!(lossy.stderr.contains(&format!("warning: {text}")), "{text} in {}", lossy.stderr);
    }
    let named = lossy.json()["lost"].as_array().expect("an array").len();
    assert_eq!(named, lossy.stderr.matches("warning: `/").count());
    assert_eq!(lossy.json()["lost"][2]["path"], "/back\\slash", "JSON has names as they are");
    let (before, mut after) = (shown(&place.image()), shown(&image(&place, "one.epk")));
    for (path, expected) in &before {
        if ["usr", "share/away", "alias"].contains(&path.as_str()) || path.starts_with("back\\") {
            assert!(!after.contains_key(path), "{path}");
            continue;
        }
        let mut found = after.remove(path).expect("kept");
        if path == "share" {
            assert_eq!(found.mode, 0o755);
            found.mode = 0o710;
        }
        assert_eq!(&found, expected, "{path}");
    }
    assert!(after.is_empty(), "{:?}", after.keys());
    // Nothing more is lost on the way back and here again.
    place.run(&["convert", "one.epk", "-o", "two.epk"]).ok();
    place.run(&["convert", "two.epk", "-o", "three.epk"]).ok();
    assert_eq!(shown(&image(&place, "three.epk")), shown(&image(&place, "one.epk")));
}

/// Filesystems don't have such a time.
#[test]
fn times_beyond_four_digits_are_named() {
    let place = Place::empty();
    let times = [(-62_135_596_801, 999_999_999), (-62_135_596_800, 0), (253_402_300_799, 1)];
    let entries = times.iter().enumerate().map(|(number, &(seconds, nanoseconds))| {
        let file = PlanEntry::file(format!("f{number}"), 0o644, ContentId(number), 0);
        PlanEntry { modified: Some(Timestamp { seconds, nanoseconds }), ..file }
    });
    let plan = Plan::new(Format::V2, entries.collect()).expect("a good plan");
    let mut image = std::io::Cursor::new(Vec::new());
    let options = write::Options::default();
    write::write(&plan, &Empty, support::MANIFEST.as_bytes(), &options, None, &(), &mut image)
        .expect("written");
    fs::write(place.path("app.epk"), image.into_inner()).expect("written");
    let said = [
        "`/f0`: time -62135596801.999999999 left out",
        "`/f2`: time 253402300799.000000001 becomes 253402300799.000000000",
        "2 paths",
    ];
    place.run(&["convert", "app.epk", "-o", "one.epk"]).fails(1, &said);
    place.run(&["convert", "app.epk", "-o", "one.epk", "--lossy"]).ok();
    let seconds: Vec<_> =
        shown(&self::image(&place, "one.epk")).values().map(|f| f.seconds).collect();
    assert_eq!(seconds, [0, -62_135_596_800, 253_402_300_799, 0]);
}

/// Files without content.
struct Empty;

impl Contents for Empty {
    fn open(&self, _: ContentId, _: &[u8]) -> std::io::Result<Box<dyn std::io::Read + Send + '_>> {
        Ok(Box::new(std::io::empty()))
    }
}

#[test]
fn a_signature_is_made_anew_or_missed() {
    let place = plain();
    let trusted = place.run(&["keygen", "key"]).ok().stdout;
    fs::write(place.path("trust"), trusted).expect("written");
    place.pack(&["--format", "1", "--sign", "key"]).ok();
    let convert = ["convert", "app.epk", "-o", "two.epk"];
    let ran = place.run(&convert).ok();
    let said = "warning: the signature of `app.epk` does not fit the new package, which has none\n\
                hint: `--sign KEY` signs it\n";
    assert!(ran.stderr.contains(said), "{}", ran.stderr);
    let required = ["verify", "--signature", "required", "--trust", "trust", "two.epk"];
    assert_eq!(place.run(&required).code, Some(5));
    let ran = place.run(&[&convert[..], &["--sign", "key"]].concat()).ok();
    assert!(!ran.stderr.contains("warning"), "{}", ran.stderr);
    place.run(&required).ok();
    // The policy is for what is read.
    place.run(&["convert", "two.epk", "-o", "x.epk", "--lossy"]).ok();
    let policy = ["--signature", "required", "--trust", "trust"];
    place.run(&[&["convert", "x.epk", "-o", "y.epk"], &policy[..]].concat()).fails(5, &["`x.epk`"]);
    assert!(!place.path("y.epk").exists());
}

#[test]
fn damage_ends_it_and_leaves_nothing() {
    let place = plain();
    for (pack, code) in
        [("1", "EPK_VALIDATION_HASH_MISMATCH (11)"), ("2", "EPK_STRICT_CHUNK_HASH_MISMATCH (131)")]
    {
        place.pack(&["--format", pack, "--mtime", "zero", "--compression", "none"]).ok();
        let mut bytes = place.image();
        let at = bytes.windows(10).position(|window| window == b"\nline 1234").expect("stored");
        bytes[at] ^= 1;
        fs::write(place.path("app.epk"), bytes).expect("written");
        place.run(&["convert", "app.epk", "-o", "new.epk"]).fails(4, &["`app.epk`", code]);
        assert_eq!(place.names(), ["app", "app.epk"]);
    }
}
