//! What the log says of launches (`spec/runtime.md` §15), and what it never says.

use std::fs;
use std::path::PathBuf;

use epk_tests::app::{App, Stage};
use epk_tests::tool::Outcome;
use serde_json::Value;

fn log(stage: &Stage) -> (PathBuf, impl Fn() -> Vec<Value>) {
    let path = stage.folder().join("own-log");
    let file = path.clone();
    let lines = move || {
        let text = fs::read_to_string(&file).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    };
    (path, lines)
}

/// Target and message of each line.
fn told(lines: &[Value]) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    lines.iter().map(|line| (text(&line["target"]), text(&line["message"]))).collect()
}

fn words(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(target, message)| ((*target).into(), (*message).into())).collect()
}

#[test]
fn a_launch_is_told_step_by_step_and_without_secrets() {
    let stage = Stage::new(&App::script("echo \"$EPK_LOG$1$SECRET\"").with_file("f", "hunter2"));
    let (path, lines) = log(&stage);
    let mut command = stage.run(["--password=hunter2"]);
    command.env("EPK_LOG", &path).env("SECRET", "hunter2");
    // The application doesn't get the variable.
    assert_eq!(Outcome::of(&mut command).quietly(), b"--password=hunter2hunter2\n");
    stage.is_left_clean();
    let lines = lines();
    assert_eq!(
        told(&lines),
        words(&[
            ("epk::validate", "valid"),
            ("epk::compatibility", "compatible"),
            ("epk::launch", "launching"),
        ])
    );
    assert_eq!(lines[1]["name"], "org.example.app");
    let launch = &lines[2];
    assert_eq!((&launch["program"], &launch["isolation"]), (&"/bin/app".into(), &"host".into()));
    assert_eq!((&launch["via"], &launch["level"]), (&"userns".into(), &"INFO".into()));
    let text = fs::read_to_string(path).expect("a log");
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn a_refusal_is_told_with_its_code() {
    let mut app = App::script("");
    let stage = Stage::new(&app);
    let (path, lines) = log(&stage);
    let mut image = fs::read(stage.image()).expect("there");
    image[3] = b'2';
    fs::write(stage.image(), image).expect("writable");
    let done = Outcome::of(stage.run([""; 0]).env("EPK_LOG", &path)).exits(125);
    assert_eq!(done.stderr.lines().count(), 1, "said once: {}", done.stderr);
    let refused = &lines()[0];
    assert_eq!(
        (&refused["target"], &refused["message"]),
        (&"epk::validate".into(), &"refused".into())
    );
    assert_eq!(
        (&refused["code"], &refused["code_name"]),
        (&2.into(), &"EPK_VALIDATION_INVALID_MAGIC".into())
    );
    fs::remove_file(&path).expect("ours");

    app.kernel_api = "9.0".into();
    fs::write(stage.image(), app.image()).expect("writable");
    let _done = Outcome::of(stage.run([""; 0]).env("EPK_LOG", &path)).exits(125);
    let lines = lines();
    let refused = lines.iter().find(|line| line["message"] == "refused").expect("a refusal");
    assert_eq!(refused["target"], "epk::compatibility");
    assert_eq!(refused["code"], 15, "{refused}");
    assert!(refused["code_name"].is_string());
}

#[test]
fn without_a_log_nothing_is_said() {
    let stage = Stage::new(&App::script("echo ran"));
    assert_eq!(Outcome::of(&mut stage.run([""; 0])).quietly(), b"ran\n");
    let mut command = stage.run([""; 0]);
    command.env("EPK_LOG", stage.folder().join("none/log"));
    Outcome::of(&mut command).fails(125, "none/log");
}
