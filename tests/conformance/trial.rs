//! One package under every command, by one user.

use std::fs;
use std::path::Path;
use std::process::Command;

use epk_tests::app::Stage;
use epk_tests::places::Place;
use epk_tests::tool;

use crate::packages::{CONTENT, trust_file, trusted_keys};

/// How each command ended: its status, and the code in what it said. In the order of [`COMMANDS`].
pub(crate) type Outcome = [String; 5];

/// What is tried with each package.
pub(crate) const COMMANDS: [&str; 5] =
    ["`verify --deep --compat`", "`extract`", "`mount`", "reading", "`run`"];

/// Tries one package, in the folder where it lies. The words of each script are the tool's path
/// and the options of trust.
pub(crate) fn try_package(place: &Place, image: &[u8], options: &[&str]) -> Outcome {
    let stage = place.stage_of_image(image);
    let write = |name: &str, content: &[u8]| {
        fs::write(stage.folder().join(name), content).expect("writable");
    };
    write("own-trusted", trusted_keys().as_bytes());
    write("own-file", CONTENT);
    fs::create_dir_all(stage.folder().join("own-config/epk")).expect("folders can be made");
    write("own-config/epk/trust.toml", trust_file().as_bytes());

    let of = |script: &str| ended(&mut command(place, &stage, &[], script, options));
    let verify = of(r#"exec "$0" verify --deep --compat "$@" app.epk"#);
    let extract = of(r#"exec "$0" extract "$@" app.epk own-extracted"#);
    let run = of(r#"exec "$0" run "$@" app.epk"#);
    let (mount, read) = mounted(place, &stage, options);
    stage.is_left_clean();
    [verify, extract, mount, read, run]
}

/// Mounting and reading are one script: in a user namespace a mount is its process's alone.
fn mounted(place: &Place, stage: &Stage, options: &[&str]) -> (String, String) {
    let script = r#"mkdir own-mount
        "$0" mount "$@" app.epk own-mount > own-said 2>&1
        echo $? > own-status
        [ "$(cat own-status)" = 0 ] || exit 0
        cmp own-mount/file own-file
        status=$?
        "$0" umount own-mount || status=99
        exit $status"#;
    let before: &[&str] = if place.in_user_namespace {
        &["/usr/bin/unshare", "--map-root-user", "--mount", "--"]
    } else {
        &[]
    };
    let read = ended(&mut command(place, stage, before, script, options));
    let written = |name: &str| fs::read_to_string(stage.folder().join(name)).expect("was written");
    let status = written("own-status");
    let mount = verdict(status.trim(), &written("own-said"));
    let read = if status.trim() == "0" { read } else { "—".into() };
    (mount, read)
}

fn command(
    place: &Place,
    stage: &Stage,
    before: &[&str],
    script: &str,
    options: &[&str],
) -> Command {
    let tool = place.tool();
    let shell = ["/bin/sh", "-c", script, tool.to_str().expect("text")];
    let words = [before, &shell, options].concat();
    let mut command = place.program(stage, Path::new(words[0]), &words[1..]);
    command.env("XDG_CONFIG_HOME", stage.folder().join("own-config"));
    command
}

fn ended(command: &mut Command) -> String {
    let done = tool::Outcome::of(command);
    let code = done.status.code().expect("not killed").to_string();
    verdict(&code, &format!("{}{}", String::from_utf8_lossy(&done.stdout), done.stderr))
}

/// The status, and the last code in what was said, as in `4 HASH_MISMATCH (11)`. Errors of the
/// system have names of their own.
fn verdict(status: &str, said: &str) -> String {
    let code = said.rmatch_indices('[').find_map(|(at, _)| {
        let inside = said[at + 1..].split_once(']')?.0;
        let (name, number) = inside.strip_suffix(')')?.split_once(" (")?;
        let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        (plain && number.parse::<u32>().is_ok()).then_some(inside)
    });
    let system = said.contains("Input/output error").then_some("EIO");
    match code.or(system) {
        Some(code) => format!("{status} {code}"),
        None => status.into(),
    }
}

/// What the tool was built for, by the head of its file (elf(5)).
pub(crate) fn processor(tool: &Path) -> &'static str {
    let head = fs::read(tool).expect("the tool can be read");
    match (head[4], u16::from_le_bytes([head[18], head[19]])) {
        (2, 62) => "x86-64",
        (1, 3) => "x86-32",
        other => panic!("class and machine {other:?} have no column in spec/conformance.md"),
    }
}
