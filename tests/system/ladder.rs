//! The ways to a package, from a mount in namespaces of its own to a folder in the cache.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Stdio;

use epk_tests::app::App;
use epk_tests::tool::Outcome;
use epk_tests::wait;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::scene::{Lacks, Scene, root};

const NOTHING: Lacks = Lacks { device: false, namespaces: false, maps: false };
const DEVICE: Lacks = Lacks { device: true, ..NOTHING };
const NAMESPACES: Lacks = Lacks { namespaces: true, ..NOTHING };
const BOTH: Lacks = Lacks { device: true, ..NAMESPACES };
const MAPS: Lacks = Lacks { maps: true, ..NOTHING };

/// Says from where it runs, and what it sees.
fn teller() -> App {
    let body = "echo \"$0|$PWD|${EPK_PACKAGE_FOLDER-none}|${EPK_USER_DATA-none}|$(cat \"${0%/bin/app}/f\")\"";
    App::script(body).with_file("f", "content")
}

/// What the teller tells, and what was said of the way.
#[track_caller]
fn told(scene: &Scene, lacks: Lacks, words: &[&str]) -> ([String; 5], String) {
    let done = Outcome::of(&mut scene.run(lacks, words)).exits(0);
    let parts: Vec<String> = done.text().trim().split('|').map(str::to_owned).collect();
    (parts.try_into().expect("five parts"), done.stderr)
}

#[test]
fn every_way_that_is_asked_for_is_taken() {
    if !root() {
        return;
    }
    let scene = Scene::new(&teller());
    for (way, note) in [
        ("userns", ""),
        ("fuse", "note: the package is mounted with `--via fuse`\n"),
        ("extract", "note: the package is unpacked with `--via extract`\n"),
    ] {
        let ([path, folder, package, data, content], said) = told(&scene, NOTHING, &["--via", way]);
        assert_eq!((path.as_str(), folder.as_str()), ("/package/bin/app", "/user-data"), "{way}");
        assert_eq!(
            (package.as_str(), data.as_str(), content.as_str()),
            ("none", "none", "content")
        );
        assert_eq!(said, note);
        // The variable says the same, and the option wins.
        let mut command = scene.run(NOTHING, &[]);
        let done = Outcome::of(command.env("EPK_RUN_VIA", way)).exits(0);
        assert_eq!(done.stderr, note);
        scene.stage.is_left_clean();
    }
    wait::until("the mounts are gone", || scene.lent().is_empty());
    let mut command = scene.run(NOTHING, &["--via", "userns"]);
    let done = Outcome::of(command.env("EPK_RUN_VIA", "extract")).exits(0);
    assert_eq!(done.stderr, "");
    Outcome::of(&mut scene.run(NOTHING, &["--via", "nonsense"])).fails(2, "nonsense");
}

#[test]
fn without_a_device_it_is_unpacked_once() {
    if !root() {
        return;
    }
    let scene = Scene::new(&teller());
    let ([path, folder, ..], said) = told(&scene, DEVICE, &[]);
    assert_eq!((path.as_str(), folder.as_str()), ("/package/bin/app", "/user-data"));
    assert!(said.starts_with("note: the package is unpacked with `--via extract`: "), "{said}");
    assert!(said.contains("/dev/fuse: it is not the device of FUSE"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    let [name, lock] = &scene.extractions()[..] else { panic!("{:?}", scene.extractions()) };
    assert_eq!((name.len(), lock), (64, &format!("{name}.lock")));
    let unpacked = scene.path("own-cache/epk/extracted").join(name);
    let before = fs::metadata(unpacked.join("f")).expect("unpacked");
    assert_eq!(before.permissions().mode() & 0o777, 0o444, "nobody may write it");
    let (_, said) = told(&scene, DEVICE, &[]);
    assert!(said.starts_with("note: "), "{said}");
    let after = fs::metadata(unpacked.join("f")).expect("unpacked");
    assert_eq!(before.ino(), after.ino(), "it was unpacked anew");
    scene.stage.is_left_clean();
    let done = Outcome::of(&mut scene.run(DEVICE, &["--via", "userns"]));
    done.fails(125, "cannot mount the package: /dev/fuse: it is not the device of FUSE");
    let done = Outcome::of(&mut scene.run(DEVICE, &["--via", "fuse"]));
    done.fails(125, "cannot mount on `");
    assert_eq!(scene.lent(), [""; 0]);
}

#[test]
fn without_user_namespaces_the_helper_mounts() {
    if !root() {
        return;
    }
    let scene = Scene::new(&teller());
    let ([path, folder, package, data, content], said) = told(&scene, NAMESPACES, &[]);
    let runtime = scene.path("own-runtime/epk/epk-run-");
    assert!(package.starts_with(runtime.to_str().expect("UTF-8")), "{package}");
    assert_eq!(path, format!("{package}/bin/app"));
    assert_eq!(folder, scene.stage.user_data().to_str().expect("UTF-8"));
    assert_eq!((data, content.as_str()), (folder, "content"));
    assert!(
        said.starts_with("note: the package is mounted with `--via fuse`, and is in `"),
        "{said}"
    );
    assert!(said.ends_with(
        "instead of `/package`: cannot make a user namespace: unshare(2): Operation not permitted (os error 1)\n"
    ), "{said}");
    wait::until("the mount is gone", || scene.lent().is_empty());
    scene.stage.is_left_clean();
    let done = Outcome::of(&mut scene.run(NAMESPACES, &["--via", "userns"]));
    done.fails(125, "cannot make a user namespace: unshare(2)");
}

#[test]
fn without_either_it_runs_from_the_cache() {
    if !root() {
        return;
    }
    let scene = Scene::new(&teller());
    let ([path, _, package, _, content], said) = told(&scene, BOTH, &[]);
    let cache = scene.path("own-cache/epk/extracted");
    assert!(package.starts_with(cache.to_str().expect("UTF-8")), "{package}");
    assert_eq!((path, content.as_str()), (format!("{package}/bin/app"), "content"));
    assert!(
        said.starts_with("note: the package is unpacked with `--via extract`, and is in `"),
        "{said}"
    );
    assert!(said.contains("unshare(2)") && said.contains("fusermount3: "), "{said}");
    assert_eq!(scene.lent(), [""; 0]);
    scene.stage.is_left_clean();
}

#[test]
fn a_user_namespace_that_is_good_for_nothing_is_found_out_first() {
    if !root() {
        return;
    }
    let scene = Scene::new(&teller());
    let ([_, _, package, ..], said) = told(&scene, MAPS, &[]);
    assert!(package.contains("/epk-run-"), "{package}");
    assert!(said.contains("cannot make a user namespace: /proc/self/setgroups: "), "{said}");
    wait::until("the mount is gone", || scene.lent().is_empty());
}

#[test]
fn what_an_application_leaves_running_keeps_the_mount() {
    if !root() {
        return;
    }
    let body = "cd \"$EPK_PACKAGE_FOLDER\"; (read go; cat f > \"$EPK_USER_DATA/out\"; exec >&-; ) <&3 & echo up";
    let scene = Scene::new(&App::script(body).with_file("f", "still here"));
    let pipe = scene.path("own-pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::from_bits_truncate(0o666)).expect("a pipe");
    let both = File::options().read(true).write(true).open(&pipe).expect("a pipe");
    let command = scene.run(NAMESPACES, &[]);
    // The pipe is the background's standard input.
    let words: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
    let script = format!("exec 3<>{}; exec /usr/bin/unshare \"$@\"", pipe.display());
    let mut wrapped = std::process::Command::new("/bin/sh");
    wrapped.args(["-ec", &script, "sh"]).args(words).current_dir("/").env_clear();
    for (key, value) in command.get_envs() {
        wrapped.env(key, value.unwrap_or_default());
    }
    let mut child =
        wrapped.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
    assert_eq!(line, "up\n");
    assert!(wait::for_end(&mut child).success());
    assert_eq!(scene.lent().len(), 1, "the mount is still used");
    (&both).write_all(b"go\n").expect("somebody reads");
    let out = scene.stage.user_data().join("out");
    wait::until("the rest is done", || fs::read(&out).is_ok_and(|text| text == b"still here"));
    wait::until("the mount is gone", || scene.lent().is_empty());
}

#[test]
fn an_application_that_is_killed_leaves_no_mount() {
    if !root() {
        return;
    }
    let scene = Scene::new(&App::script("echo up; read forever < /dev/full; exec cat"));
    for lacks in [NAMESPACES, NOTHING] {
        let mut command = scene.run(lacks, &["--via", "fuse"]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
        assert_eq!(line, "up\n");
        kill(Pid::from_raw(i32::try_from(child.id()).expect("an id")), Signal::SIGKILL)
            .expect("there");
        let _killed = wait::for_end(&mut child);
        wait::until("the mount is gone", || scene.lent().is_empty());
        scene.stage.is_left_clean();
    }
}

#[test]
fn many_unpack_one_package_at_once() {
    if !root() {
        return;
    }
    let scene = Scene::new(&teller());
    // What somebody left who was killed, in a folder that nobody may write.
    let hash = epk_format::Package::open(
        fs::read(scene.stage.image()).expect("readable").as_slice(),
        &epk_format::OpenOptions::default(),
    )
    .expect("good")
    .package_hash()
    .to_hex();
    let mut children: Vec<_> = (0..8)
        .map(|_| {
            let mut command = scene.run(BOTH, &[]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts")
        })
        .collect();
    for mut child in children.drain(..) {
        let out = wait::read_to_end("its output", child.stdout.take().expect("a pipe"));
        assert!(wait::for_end(&mut child).success());
        assert!(String::from_utf8_lossy(&out).ends_with("|content\n"));
    }
    assert_eq!(scene.extractions(), [hash.clone(), format!("{hash}.lock")]);
    scene.stage.is_left_clean();
}

/// Where extractions are, made as the user would.
fn store(scene: &Scene) -> std::path::PathBuf {
    let done = Outcome::of(&mut scene.run(NOTHING, &["--via", "extract"])).exits(0);
    assert!(done.stderr.starts_with("note: "));
    scene.path("own-cache/epk/extracted")
}

#[test]
fn what_was_left_half_done_or_unused_is_removed() {
    if !root() {
        return;
    }
    let scene = Scene::new(&teller());
    let store = store(&scene);
    let [name, lock] = &scene.extractions()[..] else { panic!("{:?}", scene.extractions()) };
    // As if it had been killed while it unpacked.
    fs::rename(store.join(name), store.join(format!("{name}.partial"))).expect("root may");
    // Others, as old as they may not be; one of them in use.
    let (unused, used) = ("0".repeat(64), "1".repeat(64));
    let user = epk_tests::users::ordinary_user();
    let long_ago = std::time::SystemTime::UNIX_EPOCH;
    let mut locks = Vec::new();
    for other in [&unused, &used] {
        let folder = store.join(other).join("deep/er");
        fs::create_dir_all(&folder).expect("root may");
        fs::write(folder.join("f"), "x").expect("root may");
        let lock = File::create(store.join(format!("{other}.lock"))).expect("root may");
        lock.set_modified(long_ago).expect("ours");
        let paths = ["", "deep", "deep/er", "deep/er/f"].map(|path| store.join(other).join(path));
        for path in paths.iter().chain([&store.join(format!("{other}.lock"))]) {
            std::os::unix::fs::chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw()))
                .expect("root may");
        }
        // Folders that nobody may write.
        for path in paths.iter().rev().skip(1) {
            fs::set_permissions(path, fs::Permissions::from_mode(0o555)).expect("root may");
        }
        locks.push(lock);
    }
    locks[1].lock_shared().expect("free");
    let (_, said) = told(&scene, NOTHING, &["--via", "extract"]);
    assert!(said.starts_with("note: "), "{said}");
    let mut expected = vec![used.clone(), format!("{used}.lock"), name.clone(), lock.clone()];
    expected.sort();
    assert_eq!(scene.extractions(), expected);
}

#[test]
fn a_cache_that_others_can_write_is_refused() {
    if !root() {
        return;
    }
    let scene = Scene::new(&teller());
    let store = store(&scene);
    fs::set_permissions(&store, fs::Permissions::from_mode(0o777)).expect("root may");
    let mut command = scene.run(NOTHING, &["--via", "extract"]);
    Outcome::of(&mut command).fails(125, "is not this user's alone");
}

#[test]
fn a_damaged_package_is_not_unpacked() {
    if !root() {
        return;
    }
    // Format 2.0: opening it doesn't look at blocks.
    let mut app = teller().with_file("noise", noise());
    app.tree = app.tree.with("a", epk_tests::tree::Item::Folder);
    let recipe = epk_tests::tree::Recipe {
        manifest: app.manifest(),
        format: epk_format::write::Format::V2,
        compression: epk_format::write::Compression::None,
        ..epk_tests::tree::Recipe::default()
    };
    let mut image = app.tree.image(&recipe);
    let noise = noise();
    let at =
        image.windows(64).position(|window| window == &noise[4096..4160]).expect("stored as is");
    image[at] ^= 1;
    let scene = Scene::of_image(&image);
    let done = Outcome::of(&mut scene.run(DEVICE, &[]));
    done.fails(125, "SHA-256");
    let left = scene.extractions();
    assert!(left.iter().all(|name| name.ends_with(".lock")), "{left:?}");
    assert_eq!(fs::metadata(scene.stage.data_home()).expect("there").mode() & 0o777, 0o755);
    scene.stage.is_left_clean();
}

/// Bytes that nothing compresses and that are nowhere twice.
fn noise() -> Vec<u8> {
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..4096).flat_map(|_| next()).collect()
}

#[test]
fn a_large_package_is_unpacked_only_when_asked_for() {
    if !root() {
        return;
    }
    let scene = Scene::new(&teller());
    let folder = scene.path("own-large");
    fs::create_dir_all(folder.join("bin")).expect("writable");
    fs::write(folder.join("bin/app"), "#!/bin/sh\necho ran\n").expect("writable");
    fs::set_permissions(folder.join("bin/app"), fs::Permissions::from_mode(0o755)).expect("ours");
    fs::write(folder.join("manifest.toml"), teller().manifest()).expect("writable");
    // One hole.
    let large = File::create(folder.join("large")).expect("writable");
    large.set_len((1 << 30) + 1).expect("a hole takes no room");
    let image = scene.path("own-large.epk");
    let (from, to) = (folder.to_str().expect("UTF-8"), image.to_str().expect("UTF-8"));
    let packed = epk_tests::tool::run(["pack", from, "-o", to]).exits(0);
    drop(packed);
    let mut command = scene.pkgtool(DEVICE, &["run", to]);
    let done = Outcome::of(&mut command).exits(125);
    assert!(
        done.stderr.contains("are more than the 1073741824 that are unpacked unasked"),
        "{}",
        done.stderr
    );
    assert!(done.stderr.contains("hint: `--via extract` asks for it"), "{}", done.stderr);
}
