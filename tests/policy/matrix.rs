//! Every way in, every policy, every kind of package: as `spec/signature.md` §9 says.

use epk_format::Format;
use epk_format::signature::Policy;
use epk_tests::daemon::unmount_idle;
use epk_tests::tool::Outcome;

use crate::scene::{Home, KINDS, Scene, version};

const SPEC: &str = include_str!("../../spec/signature.md");
/// The ways in, as the table's head has them.
const WAYS: [&str; 7] = ["verify", "add", "fetch", "mount", "run", "exec", "epkfs"];

/// A cell: the way in, and what is to be seen there.
struct Cell {
    way: &'static str,
    status: i32,
    /// The reject code, if it is refused.
    code: Option<u16>,
}

/// A row of the table.
struct Row {
    policy: Policy,
    kind: &'static str,
    cells: Vec<Cell>,
}

fn cells(line: &'static str) -> Vec<&'static str> {
    line.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`')).collect()
}

/// The table of §9.
fn table() -> Vec<Row> {
    let mut lines = SPEC
        .lines()
        .skip_while(|line| !line.starts_with("## 9. "))
        .take_while(|line| !line.starts_with("## 10. "))
        .filter(|line| line.starts_with("| "));
    let head = cells(lines.next().expect("a table"));
    assert_eq!(head, [&["policy", "package"][..], &WAYS].concat(), "the ways in that are tried");
    let rows = lines.map(|line| {
        let cells = cells(line);
        assert_eq!(cells.len(), head.len(), "{line}");
        let expected = |(&way, text): (&&'static str, &&str)| {
            let (status, code) = match text.split_once(" (") {
                None => (*text, None),
                Some((status, code)) => {
                    (status, Some(code.trim_end_matches(')').parse().expect("a code")))
                }
            };
            Cell { way, status: status.parse().expect("a status"), code }
        };
        Row {
            policy: Policy::parse(cells[0]).expect("a policy"),
            kind: cells[1],
            cells: WAYS.iter().zip(&cells[2..]).map(expected).collect(),
        }
    });
    let rows: Vec<Row> = rows.collect();
    let found: Vec<_> = rows.iter().map(|row| (row.policy, row.kind)).collect();
    let policies = [Policy::Disabled, Policy::Optional, Policy::Required];
    let all: Vec<_> =
        policies.into_iter().flat_map(|policy| KINDS.map(|(kind, _)| (policy, kind))).collect();
    assert_eq!(found, all, "every policy with every kind, once");
    rows
}

/// Where the policy is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    CommandLine,
    File,
}

/// Lets a package in by a way. Says how that ended, and demands that it came in or not, as the end
/// says.
fn enter(home: &Home<'_>, way: &str, kind: &str, policy: Option<Policy>) -> Outcome {
    let file = format!("{kind}.epk");
    let wanted = format!("org.example.app@{}", version(kind));
    let mountpoint = home.folder.join("mnt");
    let mountpoint = mountpoint.to_str().expect("UTF-8");
    let option = policy.map(|policy| format!("--signature={}", policy.word()));
    let give = |words: &[&str]| {
        // Options stand before what an application might take for its own.
        let (verb, rest) = words.split_first().expect("a verb");
        let option = option.as_deref();
        let words = [*verb].into_iter().chain(option).chain(rest.iter().copied());
        home.pkgtool(&words.collect::<Vec<_>>())
    };
    let path = format!("./{file}");
    let done = match way {
        "verify" => give(&["verify", &file]),
        "add" => give(&["add", &file]),
        "fetch" => give(&["fetch", &wanted]),
        "run" => give(&["run", &path]),
        "exec" => {
            home.install(kind);
            give(&["exec", "tool"])
        }
        "mount" => give(&["mount", &file, mountpoint]),
        "epkfs" => {
            let option = policy.map(|policy| format!("-osignature={}", policy.word()));
            let words = [file.as_str(), mountpoint].into_iter().chain(option.as_deref());
            home.epkfs(&words.collect::<Vec<_>>())
        }
        _ => panic!("no way in is called `{way}`"),
    };
    let good = done.status.success();
    match way {
        "add" | "fetch" => assert_eq!(!home.installed().is_empty(), good, "{}", done.stderr),
        "run" | "exec" => assert_eq!(done.text() == "hello\n", good, "{}", done.stderr),
        "mount" | "epkfs" if good => {
            let read = std::fs::read(home.folder.join("mnt/bin/app")).expect("mounted");
            assert!(read.starts_with(b"#!"));
            unmount_idle(&home.folder.join("mnt")).expect("ours");
        }
        "mount" | "epkfs" => {
            let mut entries = std::fs::read_dir(home.folder.join("mnt")).expect("a folder");
            assert!(entries.next().is_none(), "mounted though refused");
        }
        _ => {}
    }
    done
}

fn every_cell(said: Said, format: Format) {
    let scene = Scene::new(format);
    for row in table() {
        for cell in row.cells {
            let Cell { way, status, code } = cell;
            let name = format!("{}-{}-{way}", row.policy.word(), row.kind);
            let home = scene.trusting(&name);
            let option = match said {
                Said::CommandLine => Some(row.policy),
                Said::File => {
                    home.settings(row.policy);
                    None
                }
            };
            let done = enter(&home, way, row.kind, option);
            let text = format!("{}{}", String::from_utf8_lossy(&done.stdout), done.stderr);
            assert_eq!(done.status.code(), Some(status), "{said:?}, {name}: {text}");
            let codes: Vec<u16> = text
                .split("[EPK_")
                .skip(1)
                .filter_map(|rest| rest.split_once('(')?.1.split_once(')')?.0.parse().ok())
                .collect();
            assert!(codes.iter().all(|found| Some(*found) == code), "{said:?}, {name}: {text}");
            assert_eq!(codes.is_empty(), code.is_none(), "{said:?}, {name}: {text}");
        }
    }
}

#[test]
fn with_the_policy_on_the_command_line() {
    every_cell(Said::CommandLine, Format::V1);
}

#[test]
fn with_the_policy_in_a_file() {
    every_cell(Said::File, Format::V2);
}

/// Of all policies that are said somewhere the strictest counts, by every way in.
#[test]
fn nothing_weakens_what_a_file_says() {
    let scene = Scene::new(Format::V2);
    for way in WAYS {
        let home = scene.trusting(&format!("weaker-{way}"));
        home.settings(Policy::Required);
        for weaker in [Policy::Disabled, Policy::Optional] {
            let done = enter(&home, way, "unknown", Some(weaker));
            let status = if matches!(way, "run" | "exec") { 125 } else { 5 };
            let text = format!("{}{}", String::from_utf8_lossy(&done.stdout), done.stderr);
            assert_eq!(done.status.code(), Some(status), "{way}: {text}");
            assert!(text.contains("(122)]"), "{way}: {text}");
        }
        // A hint says where to look.
        let done = enter(&home, way, "unknown", None);
        assert!(done.stderr.contains("hint: if you know whose key that is"), "{}", done.stderr);
        assert!(done.stderr.contains("`pkgtool trust list` says which"), "{}", done.stderr);
    }
}

/// A file that nobody understands might say anything.
#[test]
fn nothing_is_opened_under_a_file_that_is_wrong() {
    let scene = Scene::new(Format::V2);
    for (file, text, message) in [
        ("epk.toml", "signature = \"none\"\n", "epk.toml`: line 1: `none` is no policy"),
        ("epk.toml", "\nsignatur = \"required\"\n", "epk.toml`: line 2: unknown field `signatur`"),
        ("trust.toml", "[revoke]\n", "trust.toml`: line 1: unknown field `revoke`"),
    ] {
        for way in WAYS {
            let home = scene.trusting(&format!("wrong-{way}"));
            let path = home.folder.join("config/epk").join(file);
            std::fs::write(path, text).expect("writable");
            let done = enter(&home, way, "trusted", None);
            let status = if matches!(way, "run" | "exec") { 125 } else { 5 };
            assert_eq!(done.status.code(), Some(status), "{way}: {}", done.stderr);
            assert!(done.stderr.contains(message), "{way}: {}", done.stderr);
            std::fs::remove_dir_all(&home.folder).expect("ours");
        }
    }
}
