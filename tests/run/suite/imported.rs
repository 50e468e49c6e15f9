//! What mksquashfs made, imported and run: the application sees what unsquashfs unpacks. Without
//! mksquashfs these tests say so and pass, unless `EPK_MKSQUASHFS` is set.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use epk_tests::app::{App, Stage};
use epk_tests::tool::{self, Outcome};

/// Prints all that can be seen below the current folder, but for the manifest, which a mount shows
/// by itself.
const SHOW: &str = "LC_ALL=C; export LC_ALL
find . ! -path ./manifest.toml ! -type d -printf '%p %y %m %s %T@ %n %l\\n' | sort
find . -mindepth 1 -type d -printf '%p %m %T@\\n' | sort
find . ! -path ./manifest.toml -type f -exec cksum {} + | sort
getfattr -R -P -d -m '^user' . 2> /dev/null || true";

fn run(folder: &Path, program: &str, arguments: &[&str]) -> String {
    let outcome = Outcome::of(Command::new(program).args(arguments).current_dir(folder)).exits(0);
    outcome.text().to_owned()
}

/// A stage with a SquashFS image `own-app.sq` of a folder `own-app`; `None` without mksquashfs.
fn squashed() -> Option<Stage> {
    if Command::new("mksquashfs").arg("-version").output().is_err() {
        assert!(std::env::var_os("EPK_MKSQUASHFS").is_none(), "there is no `mksquashfs`");
        eprintln!("skipped: there is no `mksquashfs`");
        return None;
    }
    let stage = Stage::new(&App::empty());
    let app = stage.folder().join("own-app");
    fs::create_dir_all(app.join("usr/bin")).expect("a folder");
    fs::create_dir_all(app.join("usr/empty")).expect("a folder");
    let script = format!("#!/bin/sh\ncd /package\n[ $# = 0 ] || exec echo \"$@\"\n{SHOW}\n");
    fs::write(app.join("usr/bin/show"), script).expect("written");
    let mode = |mode| fs::Permissions::from_mode(mode);
    fs::set_permissions(app.join("usr/bin/show"), mode(0o755)).expect("set");
    let lines: String = (0..100_000).map(|line| format!("line {line}\n")).collect();
    fs::write(app.join("usr/lines"), lines).expect("written");
    fs::hard_link(app.join("usr/lines"), app.join("usr/more")).expect("linked");
    symlink("usr/bin/show", app.join("AppRun")).expect("linked");
    symlink("/nowhere", app.join("usr/broken")).expect("linked");
    let sparse = fs::File::create(app.join("usr/sparse")).expect("made");
    sparse.set_len(1_000_000).expect("set");
    fs::set_permissions(app.join("usr/empty"), mode(0o700)).expect("set");
    run(stage.folder(), "setfattr", &["-n", "user.note", "-v", "text", "own-app/usr/lines"]);
    let desktop = "[Desktop Entry]\nExec=show\nX-AppImage-Version=1\n";
    fs::write(app.join("org.example.app.desktop"), desktop).expect("written");
    run(
        stage.folder(),
        "mksquashfs",
        &["own-app", "own-app.sq", "-noappend", "-quiet", "-no-progress"],
    );
    Some(stage)
}

fn import(stage: &Stage, file: &str, more: &[&str]) {
    let fixed = ["import", file, "-o", "app.epk", "--force"];
    let mut command = tool::pkgtool();
    command.args(fixed).args(more).current_dir(stage.folder());
    let _said = Outcome::of(&mut command).exits(0);
}

#[test]
fn a_squashfs_image_runs_and_shows_what_unsquashfs_unpacks() {
    let Some(stage) = squashed() else { return };
    let told = ["--name", "org.example.app", "--package-version", "1", "--entry", "/AppRun"];
    import(&stage, "own-app.sq", &told);
    run(stage.folder(), "unsquashfs", &["-q", "-n", "-d", "own-theirs", "own-app.sq"]);
    let theirs = run(&stage.folder().join("own-theirs"), "sh", &["-c", SHOW]);
    assert!(theirs.contains("user.note"), "{theirs}");
    assert_eq!(super::run(&stage), theirs);
    stage.is_left_clean();
}

#[test]
fn an_app_image_runs() {
    let Some(stage) = squashed() else { return };
    // A program without anything but its head and one empty section.
    let mut runtime = vec![0; 128];
    runtime[..11].copy_from_slice(b"\x7fELF\x02\x01\x01\0AI\x02");
    runtime[0x12] = 62;
    for (at, value) in [(0x28, 64), (0x3a, 64), (0x3c, 1)] {
        runtime[at] = value;
    }
    let image = fs::read(stage.folder().join("own-app.sq")).expect("an image");
    fs::write(stage.folder().join("own-image"), [runtime, image].concat()).expect("written");
    import(&stage, "own-image", &[]);
    assert_eq!(super::output(&mut stage.run(["its", "own"])), "its own\n");
    assert_eq!(super::output(&mut stage.run(["show", "hello"])), "hello\n");
    stage.is_left_clean();
}
