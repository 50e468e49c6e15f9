//! The files that are shipped for systems, judged by the programs that read them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use epk_tests::files::temp_folder;
use epk_tests::tool::Outcome;

use crate::scene::has;

/// A shipped file.
pub(crate) fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../pkgtool/system").join(name)
}

fn text(name: &str) -> String {
    fs::read_to_string(shipped(name)).expect("shipped")
}

/// The unit of the system or of users.
pub(crate) fn unit(whose: &str) -> String {
    text(&format!("systemd/{whose}/epk@.service"))
}

#[test]
fn systemd_understands_the_units() {
    if !has("systemd-analyze") {
        return;
    }
    for whose in ["system", "user"] {
        let folder = temp_folder();
        let file = folder.path().join("epk@.service");
        // Programs must be there.
        fs::write(&file, unit(whose).replace("/usr/bin/epkfs", "/bin/true")).expect("writable");
        let mut command = Command::new("systemd-analyze");
        command.args(["verify", "--man=no", &format!("--{whose}")]).arg(&file);
        let done = Outcome::of(command.env("XDG_RUNTIME_DIR", folder.path()));
        let about: Vec<_> = done.stderr.lines().filter(|line| line.contains("epk")).collect();
        assert_eq!((about, done.status.code()), (Vec::new(), Some(0)), "{}", done.stderr);
        // And it does find mistakes.
        fs::write(&file, unit(whose).replace("Type=notify", "Type=notfy")).expect("writable");
        let done = Outcome::of(&mut command);
        assert!(done.stderr.contains("notfy"), "{}", done.stderr);
    }
}

#[test]
fn packages_have_a_type() {
    if !has("update-mime-database") {
        return;
    }
    let folder = temp_folder();
    let packages = folder.path().join("packages");
    fs::create_dir(&packages).expect("writable");
    fs::copy(shipped("mime/packages/epk.xml"), packages.join("epk.xml")).expect("writable");
    let done = Outcome::of(Command::new("update-mime-database").arg(folder.path())).exits(0);
    // It always notes that this is no usual folder.
    assert!(!done.stderr.contains("epk.xml"), "{}", done.stderr);
    let read = |name: &str| fs::read(folder.path().join(name)).expect("written");
    assert!(String::from_utf8_lossy(&read("globs2")).contains("50:application/vnd.epk:*.epk\n"));
    let magic = read("magic");
    let found = b"[60:application/vnd.epk]\n>0=\x00\x04EPK1\n";
    assert!(magic.windows(found.len()).any(|window| window == found), "{}", magic.escape_ascii());
}

#[test]
fn the_profile_of_apparmor_names_the_program() {
    let profile = text("apparmor.d/pkgtool");
    for line in ["abi <abi/4.0>,", "include <tunables/global>", "  userns,"] {
        assert!(profile.lines().any(|found| found == line), "{line}");
    }
    assert!(profile.contains("flags=(unconfined)"), "it must restrict nothing");
    assert_eq!(profile.matches('{').count(), profile.matches('}').count());
}

#[test]
fn the_interpreters_rule_has_the_kernels_form() {
    let text = text("binfmt.d/epk.conf");
    let rules: Vec<_> = text.lines().filter(|line| line.starts_with(':')).collect();
    assert_eq!(rules, [":epk:M::EPK1::/usr/bin/pkgtool-binfmt:"]);
    // systemd-binfmt takes lines that begin otherwise for rules, too.
    assert!(text.lines().all(|line| line.starts_with([':', '#'])), "{text}");
}
