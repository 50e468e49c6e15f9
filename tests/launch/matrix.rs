//! What a launch can do and what it refuses, in every place: a table that the test prints.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use epk_tests::app::{App, Stage};
use epk_tests::places::{Place, places};
use epk_tests::tool::Outcome;
use epk_tests::tree::{Item, Recipe};

use crate::commands;
use crate::probe::probe;

/// What a line came to: `works`, or why it is refused.
type Line = fn(&Place) -> String;

pub(crate) const WORKS: &str = "works";

const LINES: &[(&str, Line)] = &[
    ("process namespace", process_namespace),
    ("--no-pid-namespace", no_process_namespace),
    ("no new privileges", no_new_privileges),
    ("typing for others", typing),
    ("nested user namespace", nested_user_namespace),
    ("nested launch", nested_launch),
    ("--private-tmp", private_tmp),
    ("home-hidden", home_hidden),
    ("sealed", sealed),
    ("sealed, network", network),
    ("sealed --bind", binds),
    ("restrictions that cannot be", impossible_restrictions),
    ("level of the manifest", level_of_the_manifest),
    ("environment", environment),
    ("--data", data),
    ("--portable", portable),
    ("--fresh", fresh),
    ("--writable-package", writable_package),
    ("command of the manifest", commands::command_of_the_manifest),
    ("exec and link", commands::exec_and_link),
    ("--via extract", commands::unpacked),
    ("--via fuse", commands::by_helper),
    ("verify --loader", commands::loader),
    ("doctor", commands::doctor),
    ("corrupt hash", corrupt_hash),
    ("bad signature", bad_signature),
    ("incompatible kernel_api", incompatible_kernel_api),
    ("incompatible arch", incompatible_arch),
    ("missing entry", missing_entry),
    ("entry not executable", entry_not_executable),
    ("invalid folder alias", invalid_alias),
    ("unwritable data folder", unwritable_data),
    ("no FUSE device", no_device),
];

#[test]
fn every_line_works_or_is_refused_with_its_reason() {
    let places = places();
    let mut table = String::new();
    for (name, line) in LINES {
        table.push_str(&format!("\n{name}\n"));
        for place in &places {
            table.push_str(&format!("    {:<26} {}\n", place.name, line(place)));
        }
    }
    println!("{table}");
}

/// Runs the probe, and gives what it printed.
#[track_caller]
fn tell(place: &Place, stage: &Stage, options: &[&str], words: &[&str]) -> String {
    let done = Outcome::of(&mut place.run(stage, options, words)).exits(0);
    assert_eq!(done.stderr, "", "{}: {options:?} {words:?}", place.name);
    done.text().to_owned()
}

#[track_caller]
fn refused(place: &Place, stage: &Stage, command: &mut Command, code: i32, why: &str) -> String {
    let done = Outcome::of(command);
    let reason = done.stderr.lines().next().unwrap_or_default().to_owned();
    done.fails(code, why);
    stage.is_left_clean();
    assert!(!stage.user_data().exists(), "{}: a folder was made", place.name);
    let folder = stage.folder().display().to_string();
    format!("{code}: {}", reason.trim_start_matches("error: ").replace(&folder, "…"))
}

fn process_namespace(place: &Place) -> String {
    let stage = place.stage(&probe());
    let ids = tell(place, &stage, &[], &["ids"]);
    assert!(ids.starts_with("2 1 "), "{ids}");
    let listed = tell(place, &stage, &[], &["list", "/proc"]);
    let processes = listed.lines().filter(|name| name.parse::<u32>().is_ok());
    assert_eq!(processes.collect::<Vec<_>>(), ["1", "2"]);
    stage.is_left_clean();
    WORKS.into()
}

fn no_process_namespace(place: &Place) -> String {
    let stage = place.stage(&probe());
    let command = &mut place.run(&stage, &["--no-pid-namespace"], &["ids"]);
    let child = command.stdout(std::process::Stdio::piped()).spawn().expect("it starts");
    let id = child.id();
    let output = child.wait_with_output().expect("it ends");
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(text.starts_with(&format!("{id} ")), "the process that was started: {id}, {text}");
    stage.is_left_clean();
    WORKS.into()
}

fn no_new_privileges(place: &Place) -> String {
    let stage = place.stage(&probe());
    for options in [&[][..], &["--no-pid-namespace"], &["--isolation", "sealed"]] {
        assert_eq!(tell(place, &stage, options, &["privileges"]), "1\n");
    }
    WORKS.into()
}

fn typing(place: &Place) -> String {
    let stage = place.stage(&probe());
    let text = "TIOCSTI: EPERM\nTIOCLINUX: EPERM\nhigh TIOCSTI: EPERM\n";
    for options in [&[][..], &["--no-pid-namespace"], &["--isolation", "sealed"]] {
        assert_eq!(tell(place, &stage, options, &["type"]), text, "{options:?}");
    }
    "refused inside: EPERM".into()
}

fn nested_user_namespace(place: &Place) -> String {
    let stage = place.stage(&probe());
    for level in ["host", "home-hidden", "sealed"] {
        let options = ["--isolation", level];
        assert_eq!(tell(place, &stage, &options, &["user-namespace"]), "unshare: done\n");
    }
    WORKS.into()
}

fn nested_launch(place: &Place) -> String {
    let script = "if [ $# = 1 ]; then cat /package/file; else exec \"$1\" run \"$2\" inner; fi";
    let stage = place.stage(&App::script(script).with_file("file", "content\n"));
    let (tool, image) = (place.tool(), stage.image());
    let words = [tool.to_str().expect("text"), image.to_str().expect("text")];
    assert_eq!(tell(place, &stage, &[], &words), "content\n");
    stage.is_left_clean();
    WORKS.into()
}

fn private_tmp(place: &Place) -> String {
    let stage = place.stage(&probe());
    assert_eq!(tell(place, &stage, &["--private-tmp"], &["list", "/tmp"]), "");
    let written = tell(place, &stage, &["--private-tmp"], &["write", "/tmp/epk-probe", "x"]);
    assert_eq!(written, "write: done\n");
    assert!(!Path::new("/tmp/epk-probe").exists());
    WORKS.into()
}

fn home_hidden(place: &Place) -> String {
    let stage = place.stage(&probe());
    let home = stage.folder().join("own-home");
    fs::create_dir(&home).expect("a folder");
    fs::write(home.join("secret"), "secret\n").expect("writable");
    place.give(&home);
    let shown = home.to_str().expect("text");
    let run = |words: &[&str]| {
        let mut command = place.run(&stage, &["--isolation", "home-hidden"], words);
        let done = Outcome::of(command.env("HOME", &home)).exits(0);
        done.text().to_owned()
    };
    assert_eq!(run(&["list", shown]), "");
    assert_eq!(run(&["list", "/home"]), "");
    assert_eq!(run(&["read", &format!("{shown}/secret")]), "read: ENOENT\n");
    assert_eq!(run(&["write", &format!("{shown}/new"), "x"]), "write: done\n");
    assert!(!home.join("new").exists(), "it was written to the real home");
    assert_eq!(run(&["remove", shown]), "remove: EBUSY\n", "it could be uncovered");
    stage.is_left_clean();
    WORKS.into()
}

fn sealed(place: &Place) -> String {
    let stage = place.stage(&probe());
    let options = ["--isolation", "sealed"];
    let run = |words: &[&str]| tell(place, &stage, &options, words);
    let allowed = [
        "dev",
        "etc",
        "lib",
        "lib32",
        "lib64",
        "libx32",
        "package",
        "proc",
        "tmp",
        "user-data",
        "usr",
    ];
    for name in run(&["list", "/"]).lines() {
        assert!(allowed.contains(&name), "`/{name}` is seen");
    }
    for name in run(&["list", "/usr"]).lines() {
        assert!(name.starts_with("lib"), "`/usr/{name}` is seen");
    }
    assert_eq!(run(&["list", "/tmp"]), "");
    assert_eq!(run(&["read", "/package/file"]), "content\n");
    assert_eq!(run(&["read", "/etc/passwd"]), "read: ENOENT\n");
    assert_eq!(run(&["read", "/dev/null"]), "");
    assert_eq!(run(&["write", "/dev/null", "x"]), "write: done\n");
    assert_eq!(run(&["write", "/dev/shm/x", "x"]), "write: done\n");
    for path in ["/new", "/dev/new", "/usr/lib/new", "/package/new"] {
        let said = run(&["write", path, "x"]);
        assert!(["write: EACCES\n", "write: EROFS\n"].contains(&said.as_str()), "{path}: {said}");
    }
    assert!(run(&["chmod", "/dev/null"]).starts_with("chmod: E"), "the host's device");
    assert_eq!(run(&["write", "/user-data/kept", "x"]), "write: done\n");
    assert!(stage.user_data().join("kept").exists());
    let status = run(&["read", "/proc/self/status"]);
    for set in ["CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert!(status.contains(&format!("{set}:\t0000000000000000")), "{status}");
    }
    stage.is_left_clean();
    WORKS.into()
}

fn network(place: &Place) -> String {
    let stage = place.stage(&probe());
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let port = listener.local_addr().expect("known").port().to_string();
    let words = ["connect", &port];
    let alone = tell(place, &stage, &["--isolation", "sealed"], &words);
    assert!(alone.starts_with("connect: E"), "{alone}");
    let shared = ["--isolation", "sealed", "--share-net"];
    assert_eq!(tell(place, &stage, &shared, &words), "connect: done\n");
    assert!(tell(place, &stage, &shared, &["read", "/etc/hosts"]).contains("localhost"));
    format!("none, or with --share-net: {WORKS}")
}

fn binds(place: &Place) -> String {
    let stage = place.stage(&probe());
    for name in ["own-read", "own-write"] {
        let folder = stage.folder().join(name);
        fs::create_dir(&folder).expect("a folder");
        fs::write(folder.join("file"), "bound\n").expect("writable");
        place.give(&folder);
    }
    let bind = |name: &str, rest: &str| format!("{}/{name}:{rest}", stage.folder().display());
    let (read, write) = (bind("own-read", "/mnt/read:ro"), bind("own-write", "/mnt/write"));
    let file = bind("own-read/file", "/srv/one:ro");
    let options = ["--isolation", "sealed", "--bind", &read, "--bind", &write, "--bind", &file];
    let run = |words: &[&str]| tell(place, &stage, &options, words);
    assert_eq!(run(&["read", "/mnt/read/file"]), "bound\n");
    assert_eq!(run(&["read", "/srv/one"]), "bound\n");
    let said = run(&["write", "/mnt/read/new", "x"]);
    assert!(["write: EACCES\n", "write: EROFS\n"].contains(&said.as_str()), "{said}");
    assert_eq!(run(&["write", "/mnt/write/new", "x"]), "write: done\n");
    assert!(stage.folder().join("own-write/new").exists());
    assert!(!stage.folder().join("own-read/new").exists());
    stage.is_left_clean();
    WORKS.into()
}

fn impossible_restrictions(place: &Place) -> String {
    let stage = place.stage(&probe());
    let mut last = String::new();
    for (options, why) in [
        (
            &["--isolation", "sealed", "--no-pid-namespace"][..],
            "`sealed` needs a process namespace",
        ),
        (&["--isolation", "home-hidden", "--no-pid-namespace"], "needs a process namespace"),
        (&["--share-net"], "`--share-net` is for `sealed`"),
        (&["--bind", "/etc:/mnt"], "`--bind` is for `sealed`"),
        (&["--isolation", "sealed", "--bind", "/nowhere:/mnt"], "open `/nowhere`"),
        (&["--isolation", "sealed", "--bind", "/etc:/proc/x"], "`/proc` is there already"),
    ] {
        // What only building the view finds out comes after the data folder was made.
        let options: Vec<&str> = options.iter().copied().chain(["--fresh"]).collect();
        last = refused(place, &stage, &mut place.run(&stage, &options, &["exit"]), 125, why);
    }
    last
}

fn level_of_the_manifest(place: &Place) -> String {
    let app = probe();
    let manifest = format!("{}\n[sandbox]\nisolation = \"sealed\"\n", app.manifest());
    let image = app.tree.image(&Recipe { manifest, ..Recipe::default() });
    let stage = place.stage_of_image(&image);
    let sees = |options: &[&str]| {
        tell(place, &stage, options, &["read", "/etc/passwd"]) != "read: ENOENT\n"
    };
    assert!(!sees(&[]));
    assert!(!sees(&["--isolation", "host"]), "the user's flag made it weaker");
    assert!(sees(&["--isolation", "host", "--allow-weaker"]));
    WORKS.into()
}

fn environment(place: &Place) -> String {
    let stage = place.stage(&probe().with_command("tool", "/bin/app"));
    let variables = |options: &[&str], words: &[&str]| {
        let mut command = place.run(&stage, options, words);
        command.env("LANG", "C").env("SECRET", "x").env("EPK_COMMAND", "old").env("OLDPWD", "/x");
        let done = Outcome::of(&mut command).exits(0);
        let mut lines: Vec<String> = done.text().lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let image = stage.image().canonicalize().expect("it is there").display().to_string();
    let with = |more: &[&str]| {
        let ours = ["EPK_NAME=org.example.app", "EPK_VERSION=1.2.3", "PWD=/user-data"];
        let mut all: Vec<String> = ours.iter().chain(more).map(ToString::to_string).collect();
        all.push(format!("EPK_PACKAGE={image}"));
        all.sort();
        all
    };
    let stage_ones = [
        format!("XDG_DATA_HOME={}", stage.data_home().display()),
        format!("TMPDIR={}/temporary", stage.folder().display()),
    ];
    let host = [
        "LANG=C",
        "SECRET=x",
        "PATH=/package/binary:/usr/bin:/bin",
        &stage_ones[0],
        &stage_ones[1],
    ];
    assert_eq!(variables(&[], &["environment"]), with(&host));
    let usual = "PATH=/package/binary:/usr/local/bin:/usr/bin:/bin";
    let sealed = ["LANG=C", usual, "HOME=/user-data", "TMPDIR=/tmp"];
    assert_eq!(variables(&["--isolation", "sealed"], &["environment"]), with(&sealed));
    let cleared = ["--clear-env", "--env", "A=1=2", "--env", "EPK_NAME=org.example.app"];
    assert_eq!(variables(&cleared, &["environment"]), with(&["A=1=2", usual]));
    let commanded = variables(&["--clear-env"], &["tool", "environment"]);
    assert_eq!(commanded, with(&["EPK_COMMAND=tool", usual]));
    WORKS.into()
}

fn data(place: &Place) -> String {
    let stage = place.stage(&probe());
    let words = ["write", "/user-data/kept", "x"];
    assert_eq!(tell(place, &stage, &["--data", "own-data/below"], &words), "write: done\n");
    assert!(stage.folder().join("own-data/below/kept").exists());
    assert!(!stage.user_data().exists(), "two folders were made");
    WORKS.into()
}

fn portable(place: &Place) -> String {
    let stage = place.stage(&probe());
    let words = ["write", "/user-data/kept", "x"];
    assert_eq!(tell(place, &stage, &["--portable"], &words), "write: done\n");
    let beside = stage.folder().join("app.epk.data");
    assert!(beside.join("kept").exists());
    assert_eq!(tell(place, &stage, &["--portable"], &["read", "/user-data/kept"]), "x");
    fs::remove_dir_all(beside).expect("ours");
    stage.is_left_clean();
    WORKS.into()
}

fn fresh(place: &Place) -> String {
    let stage = place.stage(&probe());
    let words = ["write", "/user-data/gone", "x"];
    assert_eq!(tell(place, &stage, &["--fresh"], &words), "write: done\n");
    assert_eq!(tell(place, &stage, &["--fresh"], &["list", "/user-data"]), "");
    stage.is_left_clean();
    assert!(!stage.user_data().exists());
    WORKS.into()
}

fn writable_package(place: &Place) -> String {
    let stage = place.stage(&probe());
    for level in ["host", "sealed"] {
        let options = ["--writable-package", "--isolation", level];
        for path in ["/package/file", "/package/bin/new"] {
            assert_eq!(tell(place, &stage, &options, &["write", path, "x"]), "write: done\n");
        }
        assert_eq!(tell(place, &stage, &options, &["remove", "/package/file"]), "remove: done\n");
    }
    assert_eq!(
        tell(place, &stage, &["--writable-package"], &["read", "/package/file"]),
        "content\n"
    );
    stage.is_left_clean();
    WORKS.into()
}

fn fails(place: &Place, app: &App, code: i32, why: &str) -> String {
    let stage = place.stage(app);
    refused(place, &stage, &mut place.run(&stage, &[], &["exit"]), code, why)
}

fn image_fails(place: &Place, image: &[u8], options: &[&str], why: &str) -> String {
    let stage = place.stage_of_image(image);
    refused(place, &stage, &mut place.run(&stage, options, &["exit"]), 125, why)
}

fn corrupt_hash(place: &Place) -> String {
    let mut image = probe().image();
    *image.last_mut().expect("bytes") ^= 1;
    image_fails(place, &image, &[], "HASH_MISMATCH")
}

fn bad_signature(place: &Place) -> String {
    let app = probe();
    let recipe = Recipe { manifest: app.manifest(), seed: Some([7; 32]), ..Recipe::default() };
    let mut image = app.tree.image(&recipe);
    // The signature is the image's end, and no part of what is hashed.
    *image.last_mut().expect("bytes") ^= 1;
    image_fails(place, &image, &[], "SIGNATURE_FAILED")
}

fn incompatible_kernel_api(place: &Place) -> String {
    fails(place, &App { kernel_api: "1.9".into(), ..probe() }, 125, "incompatible_kernel_api (15)")
}

fn incompatible_arch(place: &Place) -> String {
    fails(place, &App { arch: "arm-64".into(), ..probe() }, 125, "invalid_arch (12)")
}

fn missing_entry(place: &Place) -> String {
    fails(
        place,
        &App { entry: "/bin/none".into(), ..probe() },
        127,
        "the package has no `/bin/none`",
    )
}

fn entry_not_executable(place: &Place) -> String {
    let app = App { entry: "/file".into(), ..probe() };
    fails(place, &app, 126, "`/file` has no permission to execute")
}

fn invalid_alias(place: &Place) -> String {
    let mut app = probe();
    app.tree = app.tree.with("folder", Item::Folder).with("link", Item::Alias("folder".into()));
    let mut image = app.image();
    // The target leads nowhere, and the hash is right.
    let target = b"folder";
    let places: Vec<usize> =
        (0..image.len() - target.len()).filter(|&at| image[at..].starts_with(target)).collect();
    let at = *places.last().expect("the target's text");
    image[at..at + target.len()].copy_from_slice(b"nofold");
    seal(&mut image);
    image_fails(place, &image, &[], "INVALID_ALIAS")
}

/// Writes the PackageHash of an unsigned image of format 1.0.
fn seal(image: &mut [u8]) {
    image[80..112].fill(0);
    let hash = epk_format::digest::Sha256::of(image);
    image[80..112].copy_from_slice(hash.as_bytes());
}

fn unwritable_data(place: &Place) -> String {
    let stage = place.stage(&probe());
    // Where root can't write either.
    let options = ["--data", "/proc/epk"];
    refused(
        place,
        &stage,
        &mut place.run(&stage, &options, &["exit"]),
        125,
        "cannot make the data folder",
    )
}

fn no_device(place: &Place) -> String {
    let stage = place.stage(&probe());
    let folder = stage.folder().join("own-dev");
    fs::create_dir(&folder).expect("a folder");
    place.give(&folder);
    let script = format!(
        "mount -t tmpfs none {0}; touch {0}/null; mount --bind /dev/null {0}/null; \
         mount --rbind {0} /dev; exec \"$0\" \"$@\"",
        folder.display()
    );
    let user = if place.root { &[][..] } else { &["--user", "--map-root-user"] };
    let mut before = vec!["/usr/bin/unshare"];
    before.extend(user);
    before.extend(["--mount", "--", "/bin/sh", "-ec", &script]);
    let command = &mut place.run_after(&before, &stage, &["--via", "userns", "--fresh"], &["exit"]);
    refused(place, &stage, command, 125, "cannot mount the package: /dev/fuse")
}
