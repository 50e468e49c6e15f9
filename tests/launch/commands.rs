//! Lines of the matrix about commands, ways to the package, and what is said before a launch.

use std::fs;
use std::process::Command;

use epk_tests::app::{App, Stage};
use epk_tests::places::Place;
use epk_tests::tool::Outcome;

use crate::matrix::WORKS;
use crate::probe::probe;

/// `pkgtool` with these words, and with a cache of its own.
fn pkgtool(place: &Place, stage: &Stage, words: &[&str]) -> Command {
    let cache = stage.folder().join("own-cache");
    fs::create_dir_all(&cache).expect("a folder");
    place.give(&cache);
    let mut command = place.command(stage, &[], words);
    command.env("XDG_CACHE_HOME", cache).env("XDG_CONFIG_HOME", stage.folder().join("own-config"));
    command
}

fn shown(stage: &Stage) -> String {
    stage.image().to_str().expect("text").to_owned()
}

#[track_caller]
fn said(command: &mut Command) -> String {
    Outcome::of(command).exits(0).text().to_owned()
}

/// Says which of its programs it is, and its arguments.
fn told() -> App {
    let tell = "echo \"${0##*/}\" \"$@\"";
    App::script(tell).with_script("bin/tool", tell).with_command("tool", "/bin/tool")
}

pub(crate) fn command_of_the_manifest(place: &Place) -> String {
    let stage = place.stage(&told());
    let run = |words: &[&str]| {
        let image = shown(&stage);
        said(&mut pkgtool(place, &stage, &[&["run", &image], words].concat()))
    };
    assert_eq!(run(&["tool", "x"]), "tool x\n");
    assert_eq!(run(&["--", "tool", "x"]), "app tool x\n");
    assert_eq!(run(&["other"]), "app other\n");
    stage.is_left_clean();
    WORKS.into()
}

pub(crate) fn exec_and_link(place: &Place) -> String {
    let stage = place.stage(&told());
    let image = shown(&stage);
    said(&mut pkgtool(place, &stage, &["add", &image]));
    assert_eq!(said(&mut pkgtool(place, &stage, &["exec", "tool", "x"])), "tool x\n");
    assert_eq!(said(&mut pkgtool(place, &stage, &["exec", &image, "x"])), "app x\n");
    let nothing = Outcome::of(&mut pkgtool(place, &stage, &["exec", "none"]));
    assert_eq!(nothing.status.code(), Some(127), "{}", nothing.stderr);
    let folder = stage.folder().join("own-bin");
    fs::create_dir(&folder).expect("a folder");
    place.give(&folder);
    said(&mut pkgtool(place, &stage, &["link", "tool", folder.to_str().expect("text")]));
    let linked = folder.join("tool");
    assert_eq!(said(&mut place.program(&stage, &linked, &["x"])), "tool x\n");
    WORKS.into()
}

pub(crate) fn unpacked(place: &Place) -> String {
    let stage = place.stage(&probe());
    let image = shown(&stage);
    for level in ["host", "home-hidden", "sealed"] {
        let words = ["run", "--via", "extract", "--isolation", level, &image];
        let run = |more: &[&str]| {
            let done = Outcome::of(&mut pkgtool(place, &stage, &[&words[..], more].concat()));
            done.exits(0).text().to_owned()
        };
        assert_eq!(run(&["read", "/package/file"]), "content\n", "{level}");
        assert_ne!(run(&["write", "/package/file", "x"]), "write: done\n", "{level}");
        assert!(run(&["ids"]).starts_with("2 1 "), "{level}");
    }
    stage.is_left_clean();
    format!("{WORKS}, in every level")
}

pub(crate) fn by_helper(place: &Place) -> String {
    let stage = place.stage(&probe());
    let image = shown(&stage);
    let runtime = stage.folder().join("own-runtime");
    fs::create_dir(&runtime).expect("a folder");
    place.give(&runtime);
    let via = |level: &str| {
        let words = ["run", "--via", "fuse", "--isolation", level, &image, "read", "/package/file"];
        let mut command = pkgtool(place, &stage, &words);
        Outcome::of(command.env("XDG_RUNTIME_DIR", &runtime))
    };
    let done = via("host");
    if done.status.success() {
        assert_eq!(done.text(), "content\n");
        via("sealed").fails(125, "`--via fuse` is not possible with the level `sealed`");
        return format!("{WORKS}, in the level host");
    }
    let reason = done.stderr.lines().next().unwrap_or_default().to_owned();
    done.fails(125, "cannot mount");
    let folder = stage.folder().display().to_string();
    format!("125: {}", reason.trim_start_matches("error: ").replace(&folder, "…"))
}

pub(crate) fn loader(place: &Place) -> String {
    let stage = place.stage(&probe());
    let image = shown(&stage);
    said(&mut pkgtool(place, &stage, &["verify", "--loader", &image]));
    WORKS.into()
}

pub(crate) fn doctor(place: &Place) -> String {
    let stage = place.stage(&probe());
    let done = Outcome::of(&mut pkgtool(place, &stage, &["doctor", "--json"]));
    let found = done.json();
    let findings = found[0]["findings"].as_array().expect("findings");
    let way = findings.iter().find(|finding| finding["check"] == "run").expect("the way of `run`");
    assert_eq!(way["result"], "userns");
    stage.is_left_clean();
    "says that `run` takes the way `userns`".into()
}
