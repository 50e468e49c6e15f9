//! Replays the recorded scenarios of the original `boruna-pkg`.
//!
//! The recordings are not part of this repository: `EPK_VECTORS` names the directory that
//! holds them (`$EPK_VECTORS/boruna`). Without the variable these tests say so and pass; with
//! it, a missing directory fails.
//!
//! Each scenario runs in a fresh copy of its input; exit status, both outputs and the whole
//! tree after every step are compared, bytecode included: a small script stands in for the
//! platform's compiler and answers with what the recordings hold for that source.

mod scripts;

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use driftpm::boruna::folder::Folder;
use driftpm::boruna::hash::ContentState;
use driftpm::boruna::manifest::PackageManifest;
use epk_format::digest::Sha256;
use serde_json::Value;

const SPECIFICATION: &str = include_str!("../../spec/boruna.md");

fn vectors() -> Option<PathBuf> {
    let Some(root) = env::var_os("EPK_VECTORS") else {
        eprintln!("skipped: EPK_VECTORS is not set");
        return None;
    };
    let root = PathBuf::from(root).join("boruna");
    assert!(root.is_dir(), "EPK_VECTORS is set, but {} is no directory", root.display());
    Some(root)
}

fn read_json(path: &Path) -> Value {
    let text =
        fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

struct Scenario {
    id: String,
    directory: PathBuf,
    data: Value,
}

impl Scenario {
    fn has_tag(&self, tag: &str) -> bool {
        self.data["tags"].as_array().is_some_and(|tags| tags.iter().any(|one| one == tag))
    }

    fn steps(&self) -> &[Value] {
        self.data["steps"].as_array().map(Vec::as_slice).unwrap_or_default()
    }
}

fn scenarios(root: &Path) -> Vec<Scenario> {
    let mut found: Vec<Scenario> = fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("scenario.json").is_file())
        .map(|directory| Scenario {
            id: directory.file_name().unwrap().to_str().unwrap().to_string(),
            data: read_json(&directory.join("scenario.json")),
            directory,
        })
        .collect();
    found.sort_by(|a, b| a.id.cmp(&b.id));
    assert!(found.len() >= 50, "only {} scenarios in {}", found.len(), root.display());
    found
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        let kind = entry.file_type().unwrap();
        if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(entry.path()).unwrap(), target).unwrap();
        } else if kind.is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Every path below `root` with the recordings' words for what it is.
fn snapshot(root: &Path, prefix: &str, out: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(root).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let kind = entry.file_type().unwrap();
        if kind.is_symlink() {
            let target = fs::read_link(entry.path()).unwrap();
            out.insert(path, format!("link:{}", target.display()));
        } else if kind.is_dir() {
            snapshot(&entry.path(), &format!("{path}/"), out);
            out.insert(format!("{path}/"), "dir".to_string());
        } else {
            out.insert(path, Sha256::of(&fs::read(entry.path()).unwrap()).to_hex());
        }
    }
}

/// A script that knows, by the source's hash and the module's name, what the original's
/// compiler made of it.
fn recorded_compiler(scenarios: &[Scenario], place: &Path) -> PathBuf {
    let memory = place.join("memory");
    fs::create_dir(&memory).unwrap();
    for scenario in scenarios {
        remember_modules(&scenario.directory, &memory);
        for step in scenario.steps() {
            remember_failure(scenario, step, &memory);
        }
    }
    let script = place.join("compiler");
    let text = format!(
        "#!/bin/sh\n\
         test \"$1\" = compile -a \"$3\" = -o || exit 9\n\
         found='{}'/$(sha256sum < \"$2\" | cut -c1-64)-$(basename \"$2\" .ax)\n\
         if test -f \"$found.error\"; then cat \"$found.error\" >&2; exit 1; fi\n\
         echo \"compiled $2 -> $4\"\n\
         exec cp \"$found.axbc\" \"$4\"\n",
        memory.display()
    );
    scripts::write(&script, &text);
    script
}

fn memory_of(memory: &Path, source: &Path, module: &str, suffix: &str) -> PathBuf {
    let hash = Sha256::of(&fs::read(source).unwrap());
    memory.join(format!("{hash}-{module}.{suffix}"))
}

fn remember_modules(directory: &Path, memory: &Path) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_symlink() || !path.is_dir() {
            continue;
        }
        if path.file_name().is_some_and(|name| name == "bytecode") {
            for module in fs::read_dir(&path).unwrap() {
                let module = module.unwrap().path();
                let name = module.file_name().unwrap().to_str().unwrap();
                let name = name.strip_suffix(".axbc").unwrap_or(name);
                let source = path.with_file_name("src").join(format!("{name}.ax"));
                if source.is_file() {
                    let json = compact(&fs::read_to_string(&module).unwrap());
                    let length = u32::try_from(json.len()).unwrap();
                    let bytes = [b"LLMB\x01\0".as_slice(), &length.to_le_bytes(), json.as_bytes()];
                    fs::write(memory_of(memory, &source, name, "axbc"), bytes.concat()).unwrap();
                }
            }
        } else {
            remember_modules(&path, memory);
        }
    }
}

/// JSON without blanks outside its strings, keys in their order.
fn compact(text: &str) -> String {
    let mut in_string = false;
    let mut escaped = false;
    text.chars()
        .filter(|character| {
            let inside = in_string;
            if *character == '"' && !escaped {
                in_string = !in_string;
            }
            escaped = inside && *character == '\\' && !escaped;
            inside || !character.is_whitespace()
        })
        .collect()
}

fn remember_failure(scenario: &Scenario, step: &Value, memory: &Path) {
    let stderr = scenario.directory.join("out").join(step["n"].to_string()).join("stderr");
    let stderr = fs::read_to_string(stderr).unwrap();
    let Some((module, text)) =
        stderr.strip_prefix("error: compile ").and_then(|rest| rest.split_once(": "))
    else {
        return;
    };
    let package = step["argv"].as_array().unwrap().last().unwrap().as_str().unwrap();
    let input = scenario.directory.join("input").join(step["cwd"].as_str().unwrap());
    let source = input.join(package).join(format!("src/{module}.ax"));
    let path = memory_of(memory, &source, module, "error");
    fs::write(path, format!("error: {text}")).unwrap();
}

/// How the replay is run: as the original, or with this program's own defaults.
#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Compat,
    Default,
}

fn replay(scenario: &Scenario, mode: Mode, compiler: &Path) -> Vec<String> {
    let place = tempfile::tempdir().unwrap();
    let work = place.path().join("work");
    fs::create_dir(&work).unwrap();
    if scenario.directory.join("input").is_dir() {
        copy_tree(&scenario.directory.join("input"), &work);
    }
    for directory in scenario.data["empty_dirs"].as_array().unwrap() {
        fs::create_dir_all(work.join(directory.as_str().unwrap())).unwrap();
    }
    let mut differences = Vec::new();
    for step in scenario.steps() {
        let arguments: Vec<&str> =
            step["argv"].as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect();
        let mut command = Command::new(env!("CARGO_BIN_EXE_boruna-pkg"));
        command.args(&arguments).current_dir(work.join(step["cwd"].as_str().unwrap()));
        command.env("BORUNA_COMPILER", compiler).env_remove("BORUNA_COMPAT");
        if mode == Mode::Compat {
            command.env("BORUNA_COMPAT", "1");
        }
        let output = command.output().unwrap();
        let label = format!("step {} {}", step["n"], arguments.join(" "));
        let recorded = scenario.directory.join("out").join(step["n"].to_string());
        for (what, got) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
            let want = fs::read(recorded.join(what)).unwrap();
            if want != *got {
                differences.push(format!(
                    "{label}: {what}\n    want {:?}\n    got  {:?}",
                    String::from_utf8_lossy(&want),
                    String::from_utf8_lossy(got)
                ));
            }
        }
        let status = output.status.code().map(i64::from);
        if status != step["exit"].as_i64() {
            differences.push(format!("{label}: exit {status:?}, want {}", step["exit"]));
        }
        let mut got = BTreeMap::new();
        snapshot(&work, "", &mut got);
        let want = expected_tree(scenario, step, mode);
        for path in got.keys().chain(want.keys()).collect::<BTreeSet<_>>() {
            if got.get(path) != want.get(path) {
                let (want, got) = (want.get(path), got.get(path));
                differences.push(format!("{label}: {path}: want {want:?}, got {got:?}"));
            }
        }
    }
    differences
}

fn expected_tree(scenario: &Scenario, step: &Value, mode: Mode) -> BTreeMap<String, String> {
    let before = &scenario.data["input_tree"];
    let was_there = |path: &str| match before {
        Value::Object(map) => map.contains_key(path),
        Value::Array(list) => list.iter().any(|one| one == path),
        _ => false,
    };
    let tree = step["tree"].as_object().unwrap().iter().map(|(path, what)| {
        let renamed = match path.strip_suffix("llm.lock.json") {
            Some(start) if mode == Mode::Default && !was_there(path) => {
                format!("{start}ax.lock.json")
            }
            _ => path.clone(),
        };
        (renamed, what.as_str().unwrap().to_string())
    });
    tree.collect()
}

/// The scenario ids that a section of the specification names as departures.
fn departures(section: &str) -> BTreeSet<&str> {
    let (_, rest) = SPECIFICATION.split_once(section).expect("the section is there");
    let rest = rest.split_once("\n## ").map_or(rest, |(text, _)| text);
    assert!(rest.contains("`1") || rest.contains("`2"), "{section} names no scenario");
    let quoted = rest.split('`').skip(1).step_by(2);
    quoted.filter(|text| text.as_bytes().get(2) == Some(&b'-')).collect()
}

fn check(mode: Mode) {
    let Some(root) = vectors() else { return };
    let place = tempfile::tempdir().unwrap();
    let scenarios = scenarios(&root);
    let compiler = recorded_compiler(&scenarios, place.path());
    let mut allowed = departures("\n## Departures\n");
    if mode == Mode::Default {
        allowed.extend(departures("\n## Departures that `--compat` undoes\n"));
    }
    let mut failed = Vec::new();
    for scenario in &scenarios {
        let differences = replay(scenario, mode, &compiler);
        let core = mode == Mode::Compat && scenario.has_tag("core");
        if differences.is_empty() {
            continue;
        }
        if core || !allowed.contains(scenario.id.as_str()) {
            failed.push(format!("{}\n  {}", scenario.id, differences.join("\n  ")));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn with_compat_every_core_scenario_is_as_recorded() {
    check(Mode::Compat);
}

#[test]
fn by_default_only_named_scenarios_differ() {
    check(Mode::Default);
}

#[test]
fn content_hashes_are_as_recorded() {
    let Some(root) = vectors() else { return };
    let decode = |value: &Value| {
        base64::engine::general_purpose::STANDARD.decode(value.as_str().unwrap()).unwrap()
    };
    let cases = read_json(&root.join("hash-vectors.json"));
    let cases = cases.as_array().unwrap();
    assert!(!cases.is_empty());
    for case in cases {
        let dir = tempfile::tempdir().unwrap();
        for file in case["files"].as_array().unwrap() {
            let path = dir.path().join(file["path"].as_str().unwrap());
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, decode(&file["base64"])).unwrap();
        }
        let manifest = PackageManifest::from_json(case["manifest_file"].as_str().unwrap()).unwrap();
        assert_eq!(manifest.hashed_json(), case["hashed_manifest"].as_str().unwrap());
        let folder = Folder::open(dir.path()).unwrap();
        let dependencies = case["dep_hashes"].as_object().unwrap();
        let hash = ContentState::read(&folder, "", &manifest).unwrap().finish(
            dependencies.iter().map(|(name, hash)| (name.as_str(), hash.as_str().unwrap())),
        );
        assert_eq!(hash.as_str(), case["hash"].as_str().unwrap(), "{}", case["package"]);
    }
}

/// The digest that the contract gives for the lockfile of a generated registry.
#[test]
fn lockfile_of_a_thousand_packages() {
    let Some(root) = vectors() else { return };
    let dir = tempfile::tempdir().unwrap();
    let made = dir.path().join("made");
    let generated = Command::new("python3")
        .arg(root.join("gen_registry.py"))
        .arg(&made)
        .args(["--n", "1000"])
        .output()
        .unwrap();
    assert!(generated.status.success(), "{}", String::from_utf8_lossy(&generated.stderr));
    let output = Command::new(env!("CARGO_BIN_EXE_boruna-pkg"))
        .args(["--registry", "registry", "resolve", "app"])
        .current_dir(&made)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lockfile = fs::read(made.join("app/ax.lock.json")).unwrap();
    assert_eq!(lockfile.len(), 234_047);
    assert_eq!(
        Sha256::of(&lockfile).to_hex(),
        "9b682dc3aae5566975c6641f7ae01b700af0f31af0cc6e17e7af2ec11c2c7272"
    );
}
