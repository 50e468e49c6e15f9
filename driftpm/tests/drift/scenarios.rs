//! Whole command lines in whole project trees, on the real binary. Compared: the exit status of
//! every step, JSON output without its texts, whether anything stands on stderr, and every byte
//! of the files that are left. Scenarios of the compiler's gatekeeper run `drift gate`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use super::departures::{self, Departure};
use super::{conclude, read, read_json, text, vectors};

#[test]
fn scenarios() {
    let Some(root) = vectors() else { return };
    let mut folders: Vec<PathBuf> = fs::read_dir(root.join("scenarios"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("scenario.json").is_file())
        .collect();
    folders.sort();
    let mut wrong = Vec::new();
    let mut departed = 0;
    for folder in &folders {
        let scenario = Scenario::new(folder);
        departed += usize::from(scenario.departure.is_some());
        let problems = scenario.replay();
        if !problems.is_empty() {
            wrong.push(format!("{}\n    {}", scenario.id, problems.join("\n    ")));
        }
    }
    println!("scenarios: {departed} of them differ on purpose, as listed");
    conclude("scenarios", folders.len(), &wrong);
}

struct Scenario {
    id: String,
    folder: PathBuf,
    about: Value,
    departure: Option<&'static Departure>,
}

impl Scenario {
    fn new(folder: &Path) -> Self {
        let about = read_json(&folder.join("scenario.json"));
        let id = text(&about, "id").to_owned();
        let departure = departures::SCENARIOS
            .iter()
            .find(|(number, _)| id.starts_with(number))
            .map(|(_, departure)| departure);
        Self { id, folder: folder.to_owned(), about, departure }
    }

    fn list(&self, key: &str) -> &[Value] {
        self.about[key].as_array().map(Vec::as_slice).unwrap_or_default()
    }

    fn is_nondeterministic(&self, name: &str) -> bool {
        self.list("nondeterministic").iter().any(|one| one == name)
    }

    fn replay(&self) -> Vec<String> {
        let temporary = tempfile::tempdir().unwrap();
        let work = temporary.path().join("w");
        fs::create_dir(&work).unwrap();
        if self.folder.join("inputs").is_dir() {
            copy_tree(&self.folder.join("inputs"), &work);
        }
        for directory in self.about["empty_dirs"]["inputs"].as_array().into_iter().flatten() {
            fs::create_dir_all(work.join(directory.as_str().unwrap())).unwrap();
        }
        let mut problems = Vec::new();
        let steps = self.list("steps");
        for (at, step) in steps.iter().enumerate() {
            if step.get("edit").is_some() {
                edit(&work, step);
            } else {
                problems.extend(self.run_step(&work, at, step, steps.len() > 1));
            }
        }
        match self.departure {
            None => problems.extend(self.compare_trees(&work, false, &[])),
            Some(Departure::Files(other)) => {
                problems.extend(self.compare_trees(&work, true, other));
            }
            Some(Departure::Exits(_) | Departure::Reports) => {}
        }
        problems
    }

    fn run_step(&self, work: &Path, at: usize, step: &Value, several: bool) -> Vec<String> {
        let number = step["step"].as_u64().unwrap();
        let output = self.run(work, step);
        let exit = output.status.code();
        let recorded = i32::try_from(step["exit_code"].as_i64().unwrap()).unwrap();
        let expected = match self.departure {
            Some(Departure::Exits(exits)) => exits.get(at).copied(),
            _ if self.is_gate() => Some(if recorded == 0 { 0 } else { 2 }),
            _ => Some(recorded),
        };
        let mut problems = Vec::new();
        if expected.is_some() && exit != expected {
            let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
            problems.push(format!("step {number}: exit {exit:?}, not {expected:?}; {stderr}"));
        }
        if self.is_gate()
            || matches!(self.departure, Some(Departure::Exits(_) | Departure::Reports))
        {
            return problems;
        }
        let folder = if several {
            self.folder.join(format!("step-{number:02}"))
        } else {
            self.folder.clone()
        };
        if step["stdout_is_json"] == true
            && !self.is_nondeterministic(&format!("step-{number}-stdout"))
        {
            let recorded = without_texts(&read(&folder.join(text(step, "stdout"))));
            let ours = without_texts(&output.stdout);
            if ours != recorded {
                problems.push(format!("step {number}: {ours}\n      recorded {recorded}"));
            }
        }
        if step["traceback"] != true && step["stderr_empty"] == !output.stderr.is_empty() {
            problems.push(format!("step {number}: stderr is empty or not, unlike recorded"));
        }
        problems
    }

    /// Whether the compiler was recorded and not `drift` itself.
    fn is_gate(&self) -> bool {
        self.id.starts_with('j')
    }

    fn run(&self, work: &Path, step: &Value) -> Output {
        let mut arguments: Vec<&str> =
            step["argv"].as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect();
        if self.is_gate() {
            arguments = gate_arguments(&arguments);
        }
        let home = work.join("home");
        let mut command = Command::new(env!("CARGO_BIN_EXE_drift"));
        command.args(arguments).current_dir(work);
        command.env("HOME", if home.is_dir() { &home } else { work });
        command.output().unwrap()
    }

    /// Compares all files with the recorded ones; some may be missing or have other bytes.
    fn compare_trees(&self, work: &Path, may_miss: bool, other: &[&str]) -> Vec<String> {
        let recorded = files(&self.folder.join("tree"));
        let ours = files(work);
        let names: BTreeSet<&String> = recorded.keys().chain(ours.keys()).collect();
        names
            .into_iter()
            .filter(|name| !self.is_nondeterministic(name) && !other.contains(&name.as_str()))
            .filter_map(|name| match (recorded.get(name), ours.get(name)) {
                (Some(a), Some(b)) if without_times(a) == without_times(b) => None,
                (Some(_), Some(_)) => Some(format!("file {name}: content differs")),
                (Some(_), None) if may_miss => None,
                (Some(_), None) => Some(format!("file {name}: missing")),
                _ => Some(format!("file {name}: not recorded")),
            })
            .collect()
    }
}

/// `--package-root R` names what to check; the compiler's own arguments go.
fn gate_arguments<'a>(compiler: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["gate"];
    let mut rest = compiler.iter();
    while let Some(argument) = rest.next() {
        match *argument {
            "--package-root" => arguments.extend(rest.next()),
            "-M" => {
                rest.next();
            }
            source if source.ends_with(".drift") => {}
            other => arguments.push(other),
        }
    }
    arguments
}

fn edit(work: &Path, step: &Value) {
    let path = work.join(text(step, "path"));
    match text(step, "edit") {
        "rmtree" => fs::remove_dir_all(path).unwrap(),
        _ => {
            let mut bytes = read(&path);
            *bytes.last_mut().unwrap() ^= 0xff;
            fs::write(path, bytes).unwrap();
        }
    }
}

fn copy_tree(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir(&target).unwrap();
            copy_tree(&entry.path(), &target);
        } else {
            // Recorded files may be read-only; the commands are to write here.
            fs::write(&target, read(&entry.path())).unwrap();
            fs::set_permissions(&target, fs::Permissions::from_mode(0o644)).unwrap();
        }
    }
}

/// All files below `root` by their relative path.
fn files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(directory) = waiting.pop() {
        let Ok(entries) = fs::read_dir(&directory) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                found.insert(name, read(&path));
            }
        }
    }
    found
}

/// JSON without the texts that nobody promised; the time of a revocation is nobody's promise
/// either.
fn without_texts(bytes: &[u8]) -> Value {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(map) => {
                map.retain(|key, _| key != "message" && key != "summary");
                if let Some(time) = map.get_mut("revoked_at") {
                    *time = Value::Null;
                }
                map.values_mut().for_each(strip);
            }
            Value::Array(items) => items.iter_mut().for_each(strip),
            _ => {}
        }
    }
    let mut value = serde_json::from_slice(bytes).unwrap_or_else(|error| {
        Value::String(format!("no JSON: {error}: {}", String::from_utf8_lossy(bytes)))
    });
    strip(&mut value);
    value
}

/// A file without the times of revocations, `NNNN-NN-NNTNN:NN:NN+00:00`.
fn without_times(bytes: &[u8]) -> Vec<u8> {
    const SHAPE: &[u8] = b"0000-00-00T00:00:00+00:00";
    let mut out = Vec::new();
    let mut rest = bytes;
    while let Some((first, after)) = rest.split_first() {
        let is_time = rest.len() >= SHAPE.len()
            && rest.iter().zip(SHAPE).all(|(byte, shape)| {
                if *shape == b'0' && byte.is_ascii_digit() { true } else { byte == shape }
            });
        if is_time {
            rest = &rest[SHAPE.len()..];
        } else {
            out.push(*first);
            rest = after;
        }
    }
    out
}
