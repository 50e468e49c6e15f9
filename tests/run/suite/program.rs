//! Real programs of the host, packed as they are.

use std::fs;
use std::path::Path;

use epk_tests::app::{App, Stage};
use epk_tests::tool::{self, Outcome};

fn program(name: &str) -> Vec<u8> {
    let path = [Path::new("/usr/bin"), Path::new("/bin")]
        .iter()
        .map(|folder| folder.join(name))
        .find(|path| path.exists())
        .unwrap_or_else(|| panic!("this machine has no `{name}`"));
    fs::read(path).expect("readable")
}

#[test]
fn a_dynamically_linked_program_runs() {
    // Any program that prints other files: its libraries are the host's.
    let app = App::empty().with_program("bin/app", program("cat")).with_file("f", "printed\n");
    let bytes = app.tree.bytes("bin/app");
    assert!(bytes.starts_with(b"\x7fELF"), "the host's `cat` is no program");
    assert!(bytes.windows(3).any(|w| w == b".so"), "the host's `cat` is not dynamically linked");
    let stage = Stage::new(&app);
    assert_eq!(super::output(&mut stage.run(["/package/f"])), "printed\n");
    let done = Outcome::of(&mut stage.run(["/package/none"])).exits(1);
    assert!(done.stderr.contains("/package/none: No such file"), "{}", done.stderr);
    stage.is_left_clean();
}

#[test]
fn a_folder_is_packed_verified_and_run() {
    let stage = Stage::new(&App::empty());
    let source = stage.folder().join("own-app");
    fs::create_dir_all(source.join("bin")).expect("a folder");
    fs::copy("/usr/bin/sort", source.join("bin/sort")).expect("it can be copied");
    fs::write(source.join("words"), "pear\napple\nfig\n").expect("writable");
    let manifest = "[package]\nname = \"org.example.sort\"\nversion = \"1\"\narch = \"x86-64\"\n\
        kernel_api = \"1.0\"\nentry = \"/bin/sort\"\n";
    fs::write(source.join("manifest.toml"), manifest).expect("writable");
    let image = stage.image();
    let image = image.to_str().expect("text");
    let source = source.to_str().expect("text");
    let _said = Outcome::of(tool::pkgtool().args(["pack", source, "-o", image])).exits(0);
    let _verdict = tool::run(["verify", "--deep", "--compat", image]).exits(0);
    assert_eq!(super::output(&mut stage.run(["/package/words"])), "apple\nfig\npear\n");
}

#[test]
fn a_program_may_map_its_files_and_read_them_at_will() {
    let lines: String = (0..200_000).map(|n| format!("line {n}\n")).collect();
    let app = App::empty().with_program("bin/app", program("tail")).with_file("big", lines);
    let stage = Stage::new(&app);
    // From the end backwards.
    assert_eq!(
        super::output(&mut stage.run(["-n", "2", "/package/big"])),
        "line 199998\nline 199999\n"
    );
}
