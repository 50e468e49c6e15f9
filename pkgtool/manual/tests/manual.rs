//! What the generator writes fits the tools: exactly the options that exist, and completions that
//! shells accept.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use epk_tests::binaries::binary;
use epk_tests::files::temp_folder;
use epk_tests::tool::Outcome;

const TOOLS: [&str; 4] = ["pkgtool", "epkfs", "drift", "boruna-pkg"];

fn generate(share: &Path) {
    let done = Outcome::of(Command::new(env!("CARGO_BIN_EXE_epk-manual")).arg(share)).exits(0);
    assert_eq!((done.text(), done.stderr.as_str()), ("", ""));
}

/// The options that a tool's own help tells of: the lines below `Options:` that begin with one.
fn options_of_help(tool: &str, command: &[String]) -> BTreeSet<String> {
    let done = Outcome::of(Command::new(binary(tool)).args(command).arg("--help")).exits(0);
    let text = done.text();
    let lines = text.lines().skip_while(|line| !line.starts_with("Options")).skip(1);
    let lines = lines.take_while(|line| !line.starts_with("Options after"));
    let listed = lines.filter(|line| {
        let indent = line.len() - line.trim_start().len();
        (2..=6).contains(&indent) && line.trim_start().starts_with('-')
    });
    let words = listed.flat_map(|line| {
        line.split([' ', ',', '[', '='])
            .take_while(|word| word.is_empty() || word.starts_with(['-', '<', 'N', 'O']))
    });
    words
        .filter(|word| word.starts_with('-'))
        .map(|word| word.trim_end_matches('.').to_owned())
        .collect()
}

/// The commands of a tool's own help, each with those above it.
fn commands_of_help(tool: &str, above: &[String]) -> Vec<Vec<String>> {
    let done = Outcome::of(Command::new(binary(tool)).args(above).arg("--help")).exits(0);
    let lines = done.text().lines().skip_while(|line| *line != "Commands:").skip(1);
    let names = lines.take_while(|line| !line.is_empty()).filter_map(|line| {
        let two = line.strip_prefix("  ").filter(|rest| !rest.starts_with(' '))?;
        two.split_whitespace().next()
    });
    let mut all = vec![above.to_vec()];
    for name in names.filter(|name| *name != "help") {
        let below: Vec<String> = above.iter().cloned().chain([name.to_owned()]).collect();
        all.extend(commands_of_help(tool, &below));
    }
    all
}

/// The options of a man page: bold words that begin with a hyphen, at the head of a paragraph of
/// the section OPTIONS.
fn options_of_page(page: &Path) -> BTreeSet<String> {
    let text =
        fs::read_to_string(page).unwrap_or_else(|error| panic!("{}: {error}", page.display()));
    let lines = text.lines().skip_while(|line| *line != ".SH OPTIONS").skip(1);
    let lines: Vec<&str> = lines.take_while(|line| !line.starts_with(".SH")).collect();
    let heads = lines.windows(2).filter(|pair| pair[0] == ".TP").map(|pair| pair[1]);
    let plain = |head: &str| {
        head.replace("\\fB", "").replace("\\fR", "").replace("\\fI", "").replace("\\-", "-")
    };
    let words: Vec<String> = heads.map(plain).collect();
    words
        .iter()
        .flat_map(|head| head.split([' ', ',', '[', '=']))
        .filter(|word| word.starts_with('-'))
        .map(str::to_owned)
        .collect()
}

#[test]
fn pages_have_exactly_the_options_that_exist() {
    let share = temp_folder();
    generate(share.path());
    let pages = share.path().join("man/man1");
    let mut expected = BTreeSet::new();
    for tool in TOOLS {
        for command in commands_of_help(tool, &[]) {
            let name = [&[tool.to_owned()], &command[..]].concat().join("-") + ".1";
            let page = pages.join(&name);
            assert_eq!(options_of_page(&page), options_of_help(tool, &command), "{name}");
            expected.insert(name);
        }
    }
    let written = fs::read_dir(&pages).expect("a folder").flatten();
    let written: BTreeSet<String> =
        written.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    assert_eq!(written, expected, "a page for every command, and no other");
    assert!(written.len() > 40, "{}", written.len());
}

#[test]
fn pages_can_be_shown() {
    let Ok(output) = Command::new("man").arg("--version").output() else { return };
    assert!(output.status.success());
    let share = temp_folder();
    generate(share.path());
    for tool in TOOLS {
        let page = share.path().join(format!("man/man1/{tool}.1"));
        let mut command = Command::new("man");
        let done = Outcome::of(
            command.args(["--warnings", "-P", "cat", "-l"]).arg(page).env("LC_ALL", "C.UTF-8"),
        );
        let done = done.exits(0);
        assert_eq!(done.stderr, "", "{tool}");
        assert!(done.text().contains(tool));
    }
}

/// A shell's file for each tool.
fn completions(share: &Path, folder: &str, name: impl Fn(&str) -> String) -> Vec<PathBuf> {
    TOOLS.iter().map(|tool| share.join(folder).join(name(tool))).collect()
}

#[test]
fn shells_accept_the_completions() {
    let share = temp_folder();
    generate(share.path());
    let table = [
        ("bash", completions(share.path(), "bash-completion/completions", str::to_owned)),
        ("zsh", completions(share.path(), "zsh/site-functions", |tool| format!("_{tool}"))),
        (
            "fish",
            completions(share.path(), "fish/vendor_completions.d", |tool| format!("{tool}.fish")),
        ),
    ];
    for (shell, files) in table {
        for file in files {
            assert!(file.is_file(), "{}", file.display());
            match Command::new(shell).arg("-n").arg(&file).output() {
                Ok(output) => {
                    let said = String::from_utf8_lossy(&output.stderr);
                    assert!(
                        output.status.success() && said.is_empty(),
                        "{}: {said}",
                        file.display()
                    );
                }
                Err(_) => {
                    let required = std::env::var_os("EPK_TEST_PROGRAMS").is_some();
                    assert!(!required, "`{shell}` is missing");
                }
            }
        }
    }
}

#[test]
fn bash_completes() {
    let share = temp_folder();
    generate(share.path());
    let file = share.path().join("bash-completion/completions/pkgtool");
    let script = "source \"$0\"; COMP_WORDS=(pkgtool run --vi); COMP_CWORD=2; _pkgtool pkgtool --vi run; \
        echo \"${COMPREPLY[@]}\"; COMP_WORDS=(pkgtool run --via ex); COMP_CWORD=3; \
        _pkgtool pkgtool ex --via; echo \"${COMPREPLY[@]}\"";
    let mut command = Command::new("bash");
    let done = Outcome::of(command.args(["--norc", "-c", script]).arg(file)).exits(0);
    assert_eq!(done.text(), "--via\nextract\n");
}

#[test]
fn a_wrong_command_line_is_refused() {
    for words in [&[][..], &["--help"], &["a", "b"]] {
        let done = Outcome::of(Command::new(env!("CARGO_BIN_EXE_epk-manual")).args(words));
        done.fails(2, "expected one argument");
    }
    let done = Outcome::of(Command::new(env!("CARGO_BIN_EXE_epk-manual")).arg("/dev/null"));
    done.fails(3, "cannot write below `/dev/null`");
}
