//! Launches that fail: the status, the reason, and nothing left.

use std::fs;
use std::process::Command;

use epk_tests::app::{App, Stage};
use epk_tests::tool::{Outcome, pkgtool};

use super::in_changed_view;

/// Fails before the application begins, and leaves nothing, not even a folder for its data.
#[track_caller]
fn refuses(stage: &Stage, command: &mut Command, code: i32, message: &str) {
    Outcome::of(command).fails(code, message);
    stage.is_left_clean();
}

fn without_arguments(stage: &Stage) -> Command {
    stage.run([""; 0])
}

#[track_caller]
fn refused(app: &App, code: i32, message: &str) {
    let stage = Stage::new(app);
    refuses(&stage, &mut without_arguments(&stage), code, message);
}

#[test]
fn packages_that_are_none_or_damaged() {
    let image = App::script("echo never").image();
    let mut flipped = image.clone();
    *flipped.last_mut().expect("bytes") ^= 1;
    let cases: [(&[u8], &str); 4] = [
        (b"", "EPK_VALIDATION_INVALID_HEADER_SIZE (5)"),
        (b"#!/bin/sh\necho never, echo never, echo never, echo never, echo never, echo never, echo never, echo never, echo never, echo never", "EPK_VALIDATION_INVALID_MAGIC (2)"),
        (&flipped, "EPK_VALIDATION_HASH_MISMATCH (11)"),
        (&image[..image.len() - 1], "EPK_VALIDATION_INVALID_BOUNDS (6)"),
    ];
    for (image, message) in cases {
        let stage = Stage::of_image(image);
        refuses(&stage, &mut without_arguments(&stage), 125, message);
        assert!(!stage.user_data().exists(), "a folder was made for a package that can't run");
    }
}

#[test]
fn packages_that_are_not_there_or_no_files() {
    let stage = Stage::new(&App::script("echo never"));
    for (path, message) in [
        (stage.folder().join("nothing.epk"), "No such file or directory"),
        (stage.folder().to_owned(), "is a folder, not a package"),
        ("/dev/null".into(), "is not a regular file"),
    ] {
        let mut command = pkgtool();
        command.arg("run").arg(path).env("XDG_DATA_HOME", stage.data_home());
        refuses(&stage, &mut command, 125, message);
    }
}

#[test]
fn packages_for_other_machines() {
    let mut app = App::script("echo never");
    app.arch = "arm-64".into();
    refused(&app, 125, "arch `arm-64`");
    app.arch = "x86-64".into();
    app.kernel_api = "1.9".into();
    refused(&app, 125, "needs API 1.9, this host offers 1.0");
    let stage = Stage::new(&App::script("echo judged otherwise"));
    fs::write(stage.image(), {
        app.tree = App::script("echo judged otherwise").tree;
        app.image()
    })
    .expect("writable");
    let mut command = pkgtool();
    command.args(["run", "--kernel-api", "1.9"]).arg(stage.image());
    command.env("XDG_DATA_HOME", stage.data_home());
    assert_eq!(super::output(&mut command), "judged otherwise\n");
}

#[test]
fn manifests_that_are_broken() {
    let mut app = App::script("echo never");
    app.name = String::new();
    refused(&app, 125, "missing_name");
    let mut app = App::script("echo never");
    app.entry = "/bin/../app".into();
    refused(&app, 125, "invalid_entry_path");
}

#[test]
fn entries_that_are_missing() {
    let app = App::script("echo never");
    refused(
        &App { entry: "/bin/none".into(), ..app.clone() },
        127,
        "the package has no `/bin/none`",
    );
    refused(&App { entry: "/bin/app/x".into(), ..app }, 127, "the package has no `/bin/app/x`");
}

#[test]
fn commands_that_are_missing() {
    let app = App::script("echo never").with_command("gone", "/bin/gone");
    let stage = Stage::new(&app);
    refuses(&stage, &mut stage.run(["gone"]), 127, "the package has no `/bin/gone`");
}

#[test]
fn entries_that_cannot_be_executed() {
    let app = App::script("echo never").with_file("plain", "#!/bin/sh\necho never\n");
    let at = |entry: &str| App { entry: entry.into(), ..app.clone() };
    refused(&at("/plain"), 126, "`/plain` has no permission to execute");
    refused(&at("/bin"), 126, "`/bin` is not a file");
    let odd = App::empty().with_program("bin/app", "\x7fELF nonsense");
    refused(&odd, 126, "neither a program for this machine nor a script");
    refused(&App::empty().with_program("bin/app", ""), 126, "neither a program");
}

#[test]
fn interpreters_that_are_missing() {
    let app = App::empty().with_program("bin/app", "#!/nowhere/sh\necho never\n");
    refused(&app, 127, "its interpreter or loader is not on this host");
    let app = App::empty().with_program("bin/app", "#!/package/bin/none\necho never\n");
    refused(&app, 127, "its interpreter or loader is not on this host");
}

#[test]
fn interpreters_that_cannot_be_executed() {
    let app = App::empty().with_program("bin/app", "#!/etc/passwd\n");
    refused(&app, 126, "cannot execute `/package/bin/app`");
}

#[test]
fn data_folders_that_cannot_be_made() {
    let stage = Stage::new(&App::script("echo never"));
    let file = stage.folder().join("own-file");
    fs::write(&file, "in the way").expect("writable");
    for home in [&file, std::path::Path::new("/proc")] {
        let mut command = without_arguments(&stage);
        command.env("XDG_DATA_HOME", home);
        refuses(&stage, &mut command, 125, "cannot make the data folder `");
    }
}

#[test]
fn no_place_for_data() {
    let stage = Stage::new(&App::script("echo never"));
    let mut command = without_arguments(&stage);
    command.env_remove("XDG_DATA_HOME");
    refuses(&stage, &mut command, 125, "neither XDG_DATA_HOME nor HOME is an absolute path");
    let mut command = without_arguments(&stage);
    command.env("XDG_DATA_HOME", "relative").env("HOME", "");
    refuses(&stage, &mut command, 125, "neither XDG_DATA_HOME nor HOME is an absolute path");
}

#[test]
fn signatures_that_do_not_suffice() {
    let stage = Stage::new(&App::script("echo never"));
    let trust = stage.folder().join("own-trust");
    fs::write(&trust, "").expect("writable");
    let mut command = pkgtool();
    command.args(["run", "--signature", "required", "--trust"]).arg(&trust).arg(stage.image());
    command.env("XDG_DATA_HOME", stage.data_home());
    refuses(&stage, &mut command, 125, "no signature, and one is required");
}

/// The launch where something was mounted before.
fn in_view(stage: &Stage, before: &str) -> Command {
    let inner = without_arguments(stage);
    let words = std::iter::once(inner.get_program()).chain(inner.get_args());
    in_changed_view(stage, before, words.map(ToOwned::to_owned))
}

#[test]
fn no_fuse_device() {
    let stage = Stage::new(&App::script("echo never"));
    let folder = stage.folder().join("own-dev");
    fs::create_dir(&folder).expect("a folder");
    let before = format!(
        "mount -t tmpfs none {0}; touch {0}/null; mount --bind /dev/null {0}/null; \
         mount --rbind {0} /dev",
        folder.display()
    );
    let mut command = in_view(&stage, &before);
    command.env("EPK_RUN_VIA", "userns");
    refuses(&stage, &mut command, 125, "cannot mount the package: /dev/fuse");
}

#[test]
fn another_device_in_the_place_of_fuse() {
    let stage = Stage::new(&App::script("echo never"));
    let mut command = in_view(&stage, "mount --bind /dev/null /dev/fuse");
    command.env("EPK_RUN_VIA", "userns");
    refuses(&stage, &mut command, 125, "cannot mount the package: ");
}

#[test]
fn usage_errors() {
    let stage = Stage::new(&App::script("echo never"));
    let done = Outcome::of(pkgtool().arg("run"));
    assert_eq!(done.status.code(), Some(2), "{}", done.stderr);
    let mut command = pkgtool();
    command.args(["run", "--no-such-option"]).arg(stage.image());
    let done = Outcome::of(&mut command);
    assert!(!done.status.success() && done.stdout.is_empty(), "{}", done.stderr);
}
