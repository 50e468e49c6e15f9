//! `./app.epk` as a program, in a user namespace with rules of its own (Linux 6.7).

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use epk_tests::app::{App, Stage};
use epk_tests::binaries::binary;
use epk_tests::tool::Outcome;
use epk_tests::tree::Recipe;

use crate::files::shipped;

#[test]
fn packages_run_as_programs() {
    let app = App::script("printf '<%s>' \"$@\"; exit 7").with_command("tool", "/bin/app");
    let recipe = Recipe {
        manifest: app.manifest(),
        format: epk_format::write::Format::V2,
        ..Recipe::default()
    };
    for image in [app.image(), app.tree.image(&recipe)] {
        let stage = Stage::of_image(&image);
        fs::set_permissions(stage.image(), Permissions::from_mode(0o755)).expect("ours");
        let interpreter = stage.folder().join("own-interpreter");
        fs::create_dir(&interpreter).expect("writable");
        let interpreter = interpreter.join("pkgtool-binfmt");
        std::os::unix::fs::symlink(binary("pkgtool"), &interpreter).expect("writable");
        let rules = fs::read_to_string(shipped("binfmt.d/epk.conf")).expect("shipped");
        let rule = rules.lines().find(|line| line.starts_with(':')).expect("a rule");
        let rule = rule.replace("/usr/bin/pkgtool-binfmt", &interpreter.to_string_lossy());
        let script = "mount -t binfmt_misc none /proc/sys/fs/binfmt_misc || exit 99\n\
            printf '%s' \"$0\" > /proc/sys/fs/binfmt_misc/register\n\
            \"$1\" doctor | grep binfmt\ncd \"$2\"\n./app.epk tool --x 'a b' ''";
        let mut command = Command::new("/usr/bin/unshare");
        command.args(["--user", "--map-root-user", "--mount", "--", "/bin/sh", "-c", script]);
        command.arg(&rule).arg(binary("pkgtool")).arg(stage.folder()).env_clear();
        command.env("PATH", "/usr/bin:/bin").env("XDG_DATA_HOME", stage.data_home());
        let done = Outcome::of(&mut command);
        if done.status.code() == Some(99) {
            eprintln!("no rules of its own for a user namespace (Linux 6.7): nothing was tested");
            return;
        }
        let done = done.exits(7);
        let (finding, output) = done.text().split_once('\n').expect("two lines");
        let interpreter = interpreter.display();
        assert_eq!(finding, format!("ok       binfmt: fine: packages run by `{interpreter}`"));
        assert_eq!(output, "<tool><--x><a b><>");
        stage.is_left_clean();
    }
}
