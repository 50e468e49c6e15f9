//! `spec/drift.md`, `drift-projects.md`, `drift-repositories.md` and `drift-catalog.md` name what the code has: every option, every code.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// All texts.
fn spec() -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../spec");
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    let drift = ["drift.md", "drift-projects.md", "drift-repositories.md", "drift-catalog.md"];
    // What it shares with repositories of EPK packages.
    drift.map(read).concat() + &read("repository.md")
}

/// The help of a command.
fn help(arguments: &[&str]) -> String {
    let output =
        Command::new(env!("CARGO_BIN_EXE_drift")).args(arguments).arg("--help").output().unwrap();
    assert!(output.status.success(), "{arguments:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The words that start with `--`.
fn options(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !(c.is_ascii_lowercase() || c == '-'))
        .filter(|word| word.starts_with("--") && word.len() > 2)
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_option_is_specified_and_no_other() {
    let spec = spec();
    let (_, spec) = spec.split_once("\n## Commands\n").unwrap();
    for command in [
        &["keygen"][..],
        &["sign"],
        &["trust", "list"],
        &["trust", "add-key"],
        &["trust", "revoke"],
        &["trust", "rotate"],
        &["index", "build"],
        &["index", "sign"],
        &["index", "verify"],
        &["catalog", "init"],
        &["catalog", "validate"],
        &["catalog", "add"],
        &["catalog", "build"],
        &["catalog", "site"],
        &["search"],
        &["sources", "list"],
        &["sources", "add"],
        &["sources", "remove"],
        &["sources", "import"],
        &["publish"],
        &["fetch"],
        &["vendor"],
        &["doctor"],
        &["gate"],
        &["init"],
        &["add"],
        &["remove"],
        &["targets"],
        &["resolve"],
        &["update"],
        &["lock", "migrate"],
        &["tree"],
        &["why"],
        &["plan"],
        &["build"],
        &["install"],
        &["mount"],
    ] {
        // The lines of options are indented and start with one.
        let help = help(command);
        let lines = help.lines().filter(|line| line.trim_start().starts_with('-'));
        let mut ours: BTreeSet<String> =
            lines.filter_map(|line| options(line).into_iter().next()).collect();
        ours.remove("--help");
        let start = format!("| `{}", command.join(" "));
        let row = spec
            .lines()
            .find(|line| line.strip_prefix(&start).is_some_and(|rest| rest.starts_with(['`', ' '])))
            .unwrap_or_else(|| panic!("no row for {command:?}"));
        assert_eq!(options(row), ours, "{command:?}");
    }
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// The string literals of the code that look like a code, those of tests left out.
fn codes() -> BTreeSet<String> {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/drift"), &mut files);
    for folder in ["src/index", "src/transport", "src/trust"] {
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut files);
    }
    let mut codes = BTreeSet::new();
    for file in files {
        let text = fs::read_to_string(file).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
        codes.extend(
            code.split('"')
                .skip(1)
                .step_by(2)
                .filter(|word| {
                    word.len() > 6
                        && word.contains('_')
                        // What `env!` asks for, and a variable of git's.
                        && !word.starts_with("CARGO_")
                        && !word.starts_with("GIT_")
                        && word.chars().all(|c| c.is_ascii_uppercase() || c == '_')
                })
                .map(str::to_owned),
        );
    }
    codes
}

/// Every command that `--help` lists, so that none is forgotten above.
#[test]
fn every_command_is_specified() {
    let spec = spec();
    let help = help(&[]);
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names: Vec<&str> = lines
        .take_while(|line| !line.is_empty())
        // Texts that go on are indented further.
        .filter_map(|line| line.strip_prefix("  ").filter(|text| !text.starts_with(' ')))
        .filter_map(|text| text.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    assert!(names.len() > 20, "{names:?}");
    for name in names {
        let told = spec.lines().any(|line| line.starts_with(&format!("| `{name}")));
        assert!(told, "no row for `{name}`");
    }
}

#[test]
fn every_code_is_specified() {
    let (spec, codes) = (spec(), codes());
    assert!(codes.len() > 60, "{codes:?}");
    let missing: Vec<_> =
        codes.iter().filter(|code| !spec.contains(&format!("`{code}`"))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
