//! Holds `spec/cli.md` and the program together: commands, options, values, JSON, exit statuses.

#[path = "../../driftpm/tests/servers/mod.rs"]
mod servers;

use std::collections::BTreeSet;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

const SPEC: &str = include_str!("../../spec/cli.md");

fn pkgtool(folder: &Path, arguments: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pkgtool"))
        .args(arguments.split_whitespace())
        .current_dir(folder)
        .env("XDG_DATA_HOME", folder.join("data"))
        .env("XDG_CACHE_HOME", folder.join("cache"))
        .env("XDG_CONFIG_HOME", folder.join("config"))
        .env("XDG_STATE_HOME", folder.join("state"))
        .env_remove("SOURCE_DATE_EPOCH")
        .output()
        .expect("started")
}

fn help(command: &str) -> String {
    let output = pkgtool(Path::new("/"), &format!("{command} --help"));
    assert!(output.status.success(), "{command}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The commands that have a section.
fn told_commands() -> impl Iterator<Item = &'static str> {
    SPEC.lines().filter_map(|line| line.strip_prefix("### `pkgtool ")?.split('`').next())
}

/// Commands with commands of their own.
const VERBS: [(&str, &[&str]); 3] = [
    ("source", &["add", "list", "remove"]),
    ("repo", &["init", "add", "remove", "sign", "push", "check"]),
    ("trust", &["list", "add", "remove", "revoke"]),
];

/// The lines below a heading, up to the next one.
fn section(heading: &str) -> Vec<&'static str> {
    let lines = SPEC.lines().skip_while(|line| !line.starts_with(heading)).skip(1);
    let lines: Vec<_> = lines.take_while(|line| !line.starts_with('#')).collect();
    assert!(!lines.is_empty(), "no section `{heading}`");
    lines
}

/// What stands between backticks.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// The cells of the section's tables, without the tables' heads.
fn rows(section: &[&'static str]) -> Vec<Vec<&'static str>> {
    let lines = section.iter().filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |"));
    lines.map(|line| line.splitn(3, " | ").collect()).collect()
}

/// The options of a help text: their names, and what is said of each.
fn options(help: &str) -> Vec<(BTreeSet<String>, Vec<&str>)> {
    let lines = help.lines().skip_while(|line| *line != "Options:").skip(1);
    let mut options: Vec<(BTreeSet<String>, Vec<&str>)> = Vec::new();
    for line in lines {
        let text = line.trim_start();
        if line.starts_with("  -") || line.starts_with("      --") {
            let words = text.split([' ', ',']).filter(|word| word.starts_with('-'));
            options.push((words.map(str::to_owned).collect(), Vec::new()));
        } else if let Some((_, texts)) = options.last_mut() {
            texts.push(text);
        }
    }
    options.retain(|(names, _)| !names.contains("--help") && !names.contains("--version"));
    options
}

#[test]
fn every_command_has_its_section() {
    let help = help("");
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let commands = commands.take_while(|line| !line.is_empty());
    let known: BTreeSet<&str> =
        commands.filter_map(|line| line.split_whitespace().next()).collect();
    // Of a command with commands of its own each has a section.
    let told = told_commands().filter_map(|command| command.split(' ').next());
    let told: BTreeSet<&str> = told.chain(["help"]).collect();
    assert_eq!(known, told);
}

#[test]
fn every_option_is_told_and_every_one_told_exists() {
    for command in told_commands() {
        let rows = rows(&section(&format!("### `pkgtool {command}`")));
        let names = |row: &Vec<&str>| -> BTreeSet<String> {
            let words = row[0].split(['`', ',', ' ']).filter(|word| word.starts_with('-'));
            words.map(str::to_owned).collect()
        };
        let told: BTreeSet<_> = rows.iter().map(names).collect();
        // A command with verbs has their options, each once.
        let helps: Vec<String> = match VERBS.iter().find(|(name, _)| *name == command) {
            None => vec![help(command)],
            Some((_, verbs)) => {
                verbs.iter().map(|verb| help(&format!("{command} {verb}"))).collect()
            }
        };
        let mut options: Vec<_> = helps.iter().flat_map(|help| options(help)).collect();
        options.sort();
        options.dedup_by(|one, other| one.0 == other.0);
        let known: BTreeSet<_> = options.iter().map(|(names, _)| names.clone()).collect();
        assert_eq!(known, told, "{command}: the program on the left");
        for (option, texts) in options {
            let row = rows.iter().find(|row| names(row) == option).expect("compared above");
            let told = quoted(row[1]);
            let values = texts.iter().filter_map(|text| text.strip_prefix("- ")?.split(':').next());
            for value in values {
                assert!(told.contains(&value), "{command} {option:?}: `{value}` is not told");
            }
            let default = texts.iter().find_map(|text| text.strip_prefix("[default: "));
            if let Some(default) = default.map(|text| text.trim_end_matches(']')) {
                let (before, after) = (format!("efault `{default}`"), format!("`{default}` (def"));
                let told = row[1].contains(&before) || row[1].contains(&after);
                assert!(told, "{command} {option:?}: the default `{default}` is not told");
            }
        }
    }
}

/// The keys of an object and what is inside, with dots. Objects of free keys aren't entered, and
/// those with a schema of their own are compared with that.
fn keys(value: &Value, prefix: &str, found: &mut BTreeSet<String>) {
    const FREE: [&str; 3] = ["manifest.commands", "commands", "environment.set"];
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                // The fields of a record are the format's.
                if path.contains("records[].") && key.starts_with(char::is_uppercase) {
                    continue;
                }
                if value.get("schema").is_some() {
                    check_json(value);
                } else if !FREE.contains(&&*path) {
                    keys(value, &path, found);
                }
                found.insert(path);
            }
        }
        Value::Array(array) => {
            array.iter().for_each(|value| keys(value, &format!("{prefix}[]"), found));
        }
        _ => {}
    }
}

/// The values at such a path.
fn at<'v>(value: &'v Value, path: &str) -> Vec<&'v Value> {
    path.split('.').fold(vec![value], |values, step| {
        let key = step.trim_end_matches("[]");
        let inner = values.into_iter().filter_map(|value| value.get(key));
        let flat = |value: &'v Value| match value.as_array().filter(|_| step != key) {
            Some(array) => array.iter().collect(),
            None => vec![value],
        };
        inner.flat_map(flat).collect()
    })
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_i64() || number.is_u64() => "integer",
        Value::Number(_) => "fraction",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Compares an object with the table of its schema.
fn check_json(value: &Value) {
    let schema = value["schema"].as_str().expect("a schema");
    let mut found = BTreeSet::new();
    keys(value, "", &mut found);
    for row in rows(&section(&format!("### {schema}"))) {
        let (field, kind) = (row[0].trim_end_matches('`'), row[1]);
        assert!(kind.contains("optional") || found.contains(field), "{schema}: no `{field}`");
        found.remove(field);
        for name in at(value, field).into_iter().map(type_name) {
            assert!(kind.contains(name), "{schema}: `{field}` is {name}, told is {kind}");
        }
    }
    assert!(found.is_empty(), "{schema}: the table lacks {found:?}");
}

fn check_lines(output: &Output) -> usize {
    let text = std::str::from_utf8(&output.stdout).expect("UTF-8");
    text.lines().for_each(|line| check_json(&serde_json::from_str(line).expect("JSON")));
    text.lines().count()
}

/// A folder with an application in `app`, which nobody may execute.
fn example() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let app = folder.path().join("app");
    fs::create_dir_all(app.join("bin")).expect("made");
    fs::write(app.join("bin/hi"), "#!/bin/sh\necho hello\n").expect("written");
    let manifest = "name = \"hi\"\nversion = \"1\"\narch = \"x86-64\"\nkernel_api = \"1.0\"\n\
                    entry = \"/bin/hi\"\n[commands]\nhi = \"/bin/hi\"\n";
    fs::write(app.join("manifest.toml"), manifest).expect("written");
    // An ELF file that ends within its head.
    let lacking = folder.path().join("lacking");
    fs::create_dir_all(lacking.join("bin")).expect("made");
    fs::write(lacking.join("bin/hi"), b"\x7fELF\x02\x01\x01............>.").expect("written");
    fs::write(lacking.join("manifest.toml"), manifest).expect("written");
    assert!(pkgtool(folder.path(), "pack lacking -o lacking.epk").status.success());
    folder
}

#[test]
fn examples_keep_to_their_schemas() {
    let mut in_example = false;
    let mut count = 0;
    for line in SPEC.lines() {
        match line {
            "```json" => in_example = true,
            "```" => in_example = false,
            line if in_example => {
                check_json(&serde_json::from_str(line).expect("JSON"));
                count += 1;
            }
            _ => {}
        }
    }
    assert_eq!(count, SPEC.lines().filter(|line| line.starts_with("### epk.")).count());
}

#[test]
fn json_keeps_to_its_schema() {
    let folder = example();
    let folder = folder.path();
    let lines = |arguments: &str| check_lines(&pkgtool(folder, arguments));
    assert_eq!(lines("keygen --json key"), 1);
    assert_eq!(lines("pack app -o plain.epk --json"), 1);
    let program = folder.join("app/bin/hi");
    fs::set_permissions(&program, Permissions::from_mode(0o755)).expect("ours");
    assert_eq!(lines("pack app -o runs.epk --json"), 1);
    fs::set_permissions(&program, Permissions::from_mode(0o644)).expect("ours");
    assert_eq!(lines("pack app -o signed.epk --sign key --alias sbin=bin --json"), 1);
    assert_eq!(lines("convert plain.epk -o one.epk --lossy --json"), 1);
    assert_eq!(lines("convert one.epk -o two.epk --sign key --json"), 1);
    let mut damaged = fs::read(folder.join("plain.epk")).expect("read");
    damaged[100] ^= 1;
    fs::write(folder.join("damaged.epk"), damaged).expect("written");
    let files = "plain.epk signed.epk damaged.epk key nothing";
    assert_eq!(lines(&format!("verify --json --deep --compat {files}")), 5);
    assert_eq!(lines("verify --json --compat --kernel-api 2.0 signed.epk"), 1);
    assert_eq!(lines("verify --json --loader signed.epk lacking.epk"), 2);
    assert_eq!(lines("ls --json signed.epk"), 4);
    assert_eq!(lines("inspect --json signed.epk"), 1);
    assert_eq!(lines("report --json signed.epk"), 1);
    assert_eq!(lines("report --json lacking.epk"), 1);
    assert_eq!(lines("report --json nothing"), 1);
    for options in ["", "--isolation sealed --share-net", "--isolation home-hidden --fresh"] {
        assert_eq!(lines(&format!("run {options} --dry-run --json runs.epk word")), 1);
    }
    assert_eq!(lines("diff --json plain.epk signed.epk"), 1);
    assert_eq!(lines("diff --json signed.epk plain.epk"), 1);
    assert_eq!(lines("diff --json plain.epk plain.epk"), 1);
    assert!(pkgtool(folder, "extract --to-tar app.tar plain.epk").status.success());
    assert_eq!(lines("import app.tar -o imported.epk --json"), 1);
    assert_eq!(lines("diff --json plain.epk imported.epk"), 1);
    assert_eq!(lines("add --json signed.epk"), 1);
    assert_eq!(lines("add --json signed.epk"), 1);
    assert_eq!(lines("list --json --long --commands hi@1"), 1);
    fs::write(folder.join("data/epk/packages/bad@1.epk"), "bad").expect("written");
    assert_eq!(lines("list --json --long bad"), 1);
    assert_eq!(lines("remove --json hi bad"), 2);
    assert!(pkgtool(folder, "repo init repo").status.success());
    assert_eq!(lines("repo add repo signed.epk --json --sign key"), 2);
    assert_eq!(lines("repo check repo --json"), 1);
    let key = fs::read_to_string(folder.join("repo/epk-index.json.sig")).expect("there");
    let key: Value = serde_json::from_str(&key).expect("JSON");
    let key = key["signatures"][0]["kid"].as_str().expect("text").to_owned();
    assert!(pkgtool(folder, &format!("source add local repo --key {key}")).status.success());
    assert_eq!(lines("source list --json"), 1);
    assert_eq!(lines("fetch hi --json --dry-run"), 1);
    assert_eq!(lines("fetch hi --json"), 1);
    assert_eq!(lines("search --json HI"), 1);
    fs::rename(
        folder.join("data/epk/packages/hi@1.epk"),
        folder.join("data/epk/packages/hi@0.epk"),
    )
    .expect("renamed");
    assert_eq!(lines("outdated --json"), 1);
    assert_eq!(lines("update --check --json"), 1);
    assert_eq!(lines("update --json"), 1);
    fs::write(folder.join("repo/packages/x"), "").expect("written");
    assert_eq!(lines("repo check repo --json"), 1);

    assert_eq!(lines(&format!("trust add --json {key} --for hi --for a.b")), 1);
    assert_eq!(lines("trust list --json"), 2);
    assert_eq!(lines(&format!("trust remove --json {key} --for hi")), 1);
    assert_eq!(lines(&format!("trust remove --json {key}")), 1);
    assert_eq!(lines(&format!("trust revoke --json {key} --reason x")), 1);
    assert_eq!(lines("trust list --json"), 2);

    assert_eq!(lines("exec --json nothing"), 1);
    assert_eq!(lines("exec --list --json ./plain.epk"), 1);
    assert_eq!(lines("doctor --json"), 1);
    let applications = folder.join("app/share/applications");
    fs::create_dir_all(&applications).expect("made");
    fs::write(applications.join("hi.desktop"), "[Desktop Entry]\nExec=hi\n").expect("written");
    assert_eq!(lines("pack app -o desk.epk --json"), 1);
    assert_eq!(lines("desktop install --json ./desk.epk"), 1);
    assert_eq!(lines("desktop remove --json hi"), 1);

    fs::create_dir(folder.join("mnt")).expect("made");
    let mounted = pkgtool(folder, "mount plain.epk mnt");
    assert!(mounted.status.success(), "{}", String::from_utf8_lossy(&mounted.stderr));
    fs::read(folder.join("mnt/bin/hi")).expect("readable");
    let listed = pkgtool(folder, "mounts --json");
    let stats = pkgtool(folder, "stats --json --timing on mnt");
    assert!(pkgtool(folder, "stats --prometheus mnt").status.success());
    let unmounted = pkgtool(folder, "umount mnt");
    assert!(unmounted.status.success(), "{}", String::from_utf8_lossy(&unmounted.stderr));
    assert!(check_lines(&listed) > 0);
    assert_eq!(check_lines(&stats), 1);
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(text.contains("\"state\":\"live\""), "{text}");
}

#[test]
fn json_of_pushes_keeps_to_its_schema() {
    let Some(server) = servers::registry(None, false) else { return };
    let folder = example();
    let folder = folder.path();
    let lines = |arguments: &str| check_lines(&pkgtool(folder, arguments));
    assert_eq!(lines("pack app -o plain.epk --json"), 1);
    assert_eq!(lines(&format!("push plain.epk {}/hi --json", server.url)), 1);
    assert_eq!(lines("keygen --json key"), 1);
    assert!(pkgtool(folder, "repo init repo").status.success());
    assert_eq!(lines("repo add repo plain.epk --json --sign key"), 2);
    assert_eq!(lines(&format!("repo push repo {}/all --json", server.url)), 1);
    assert_eq!(lines(&format!("fetch {}/hi:1 --json", server.url)), 1);
}

#[test]
fn exit_statuses_are_as_told() {
    let folder = example();
    let folder = folder.path();
    fs::write(folder.join("nonsense"), "nonsense\n").expect("written");
    fs::write(folder.join("empty"), "").expect("written");
    assert!(pkgtool(folder, "pack app -o changed.epk --alias sbin=bin").status.success());
    for (arguments, status) in [
        ("pack app -o app.epk", 0),
        ("keygen key", 0),
        ("pack app -o signed.epk --sign key", 0),
        ("pack app -o one.epk --format 1", 0),
        ("convert one.epk -o two.epk", 0),
        ("convert app.epk -o x.epk", 1),
        ("convert app.epk -o x.epk --lossy --chunk-size 0", 2),
        ("convert one.epk -o x.epk --chunk-size 5000", 2),
        ("convert nothing -o x.epk", 3),
        ("convert nonsense -o x.epk", 4),
        ("convert one.epk -o x.epk --signature required --trust empty", 5),
        ("pack app -o nonsense", 1),
        ("pack app -o app/app.epk", 2),
        ("pack nothing -o x.epk", 3),
        ("pack app -o x.epk --manifest empty", 4),
        ("pack app -o x.epk --sign empty", 5),
        ("pack app -o x.epk --signature-command false", 5),
        ("verify app.epk", 0),
        ("verify --signature required app.epk", 5),
        ("verify nothing", 3),
        ("verify app.epk nonsense nothing", 4),
        ("verify --trust nonsense app.epk", 5),
        ("verify --signature required --trust empty signed.epk", 5),
        ("verify --signature required --trust empty app.epk", 5),
        ("verify --compat --kernel-api 0.9 app.epk", 6),
        ("verify --loader app.epk", 0),
        ("verify --loader lacking.epk", 7),
        ("report app.epk", 0),
        ("report nothing", 3),
        ("report nonsense", 4),
        ("report --trust nonsense app.epk", 5),
        ("report --kernel-api 0.9 app.epk", 6),
        ("report lacking.epk", 7),
        ("inspect --html app.epk", 0),
        ("inspect --html nonsense", 4),
        ("inspect --html --profile nothing app.epk", 3),
        ("inspect --profile app.epk app.epk", 2),
        ("ls app.epk bin", 0),
        ("ls app.epk nothing", 1),
        ("cat app.epk bin", 1),
        ("extract app.epk app", 1),
        ("extract nonsense x", 4),
        ("extract app.epk", 2),
        ("extract app.epk --to-tar app.tar", 0),
        ("extract app.epk --to-tar app.tar", 1),
        ("extract app.epk --to-tar nothing/app.tar", 3),
        ("import app.tar -o imported.epk", 0),
        ("import app.tar -o imported.epk --name x", 2),
        ("import app.tar -o imported.epk --max-size 1", 1),
        ("import nothing -o x.epk", 3),
        ("import empty -o x.epk", 4),
        ("import nonsense -o x.epk", 1),
        ("import app -o x.epk", 1),
        ("diff app.epk imported.epk", 0),
        ("diff app.epk signed.epk", 0),
        ("diff app.epk changed.epk", 1),
        ("diff app.epk nothing", 3),
        ("diff app.epk nonsense", 4),
        ("list", 0),
        ("list nothing", 1),
        ("list @1", 2),
        ("add nothing", 3),
        ("add nonsense", 4),
        ("add signed.epk --signature required --trust empty", 5),
        ("add app.epk", 0),
        ("add signed.epk", 1),
        ("rollback hi", 1),
        ("rollback nothing", 1),
        ("update nothing", 1),
        ("search", 1),
        ("outdated", 1),
        ("source add a.b nowhere --key x", 2),
        ("source remove nothing", 1),
        ("source list", 0),
        ("trust list", 0),
        ("trust add x", 2),
        ("trust add nonsense", 5),
        ("trust add empty", 1),
        ("trust remove ed25519:b6ba+242h2Xj8Rvj0cJ18tf0pxDCfQoqboegikzwqzU=", 1),
        ("source add a.b oci://h/n:tag --key x", 2),
        ("fetch oci://h/n", 2),
        ("push app.epk nowhere", 2),
        ("push nothing oci://h/n", 3),
        ("push nonsense oci://h/n", 4),
        ("repo push nothing oci://h/n", 3),
        ("repo push nothing oci://h/n:tag", 2),
        ("remove hi@2", 1),
        ("remove", 2),
        ("remove hi", 0),
        ("keygen key", 3),
        ("umount app", 1),
        ("stats app", 1),
        ("stats nothing", 3),
        ("mounts --interval 1", 2),
        ("mount app.epk nothing", 3),
        ("mount app.epk app -o rw", 2),
        ("mount nonsense app", 4),
        ("mount app.epk app --signature required --trust empty", 5),
        ("run", 2),
        ("run --nonsense app.epk", 2),
        ("run --signature required app.epk", 125),
        ("run nothing", 125),
        ("run nonsense", 125),
        ("run app.epk", 126),
        ("run --json app.epk", 2),
        ("run --bind x app.epk", 2),
        ("run --env x app.epk", 2),
        ("run --isolation none app.epk", 2),
        ("run --allow-weaker app.epk", 2),
        ("run --fresh --portable app.epk", 2),
        ("run --via nonsense app.epk", 2),
        ("exec", 2),
        ("exec --nonsense x", 2),
        ("exec sp/ace", 125),
        ("exec nothing", 127),
        ("exec ./app.epk", 126),
        ("link nothing app", 1),
        ("desktop install ./app.epk", 1),
        ("desktop install ./nothing", 3),
        ("desktop remove nothing", 1),
        ("confine true", 2),
        ("confine --read nothing /bin/true", 125),
        ("confine /nothing", 127),
        ("confine --read app /bin/true", 0),
        ("nonsense", 2),
        ("--version", 0),
    ] {
        let output = pkgtool(folder, arguments);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{arguments}: {text}");
        let told = text.lines().any(|line| line.starts_with("error: "));
        assert_eq!(told, status != 0, "{arguments}: {text}");
    }
}

/// A full disk, or a reader that has left, is an error like others, not a panic.
#[test]
fn standard_output_that_takes_nothing_is_an_error() {
    let folder = example();
    let folder = folder.path();
    assert!(pkgtool(folder, "pack app -o app.epk").status.success());
    for arguments in [
        "verify app.epk",
        "verify --json app.epk",
        "ls app.epk",
        "cat app.epk bin/hi",
        "inspect app.epk",
        "diff --json app.epk app.epk",
        "extract --to-tar - app.epk",
        "keygen key",
        "pack app -o app.epk --json",
        "convert app.epk -o one.epk --lossy --json",
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_pkgtool"))
            .args(arguments.split_whitespace())
            .current_dir(folder)
            .stdout(File::options().write(true).open("/dev/full").expect("opened"))
            .output()
            .expect("started");
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{arguments}: {text}");
        assert!(!text.contains("panicked"), "{arguments}: {text}");
    }
    assert!(!folder.join("key").exists(), "nobody knows the public half of this key");
}
