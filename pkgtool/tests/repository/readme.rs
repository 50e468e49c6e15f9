//! The README's commands for repositories, as they stand there.

use std::os::unix::fs::symlink;

use super::*;

const README: &str = include_str!("../../../README.md");

/// The command lines of the example after a line that begins so, without remarks.
fn commands(beginning: &str) -> Vec<&'static str> {
    let lines = README.lines().skip_while(|line| !line.starts_with(beginning));
    let lines = lines.skip_while(|line| *line != "```console").skip(1);
    let lines = lines.take_while(|line| *line != "```");
    let commands = lines.filter_map(|line| line.strip_prefix("$ "));
    commands.map(|line| line.split(" #").next().unwrap_or(line).trim_end()).collect()
}

#[test]
fn three_commands_publish_and_two_install() {
    let place = Place::app();
    place.run(&["pack", "app", "-o", "app.epk"]).ok();
    fs::create_dir(place.path("bin")).expect("made");
    symlink(env!("CARGO_BIN_EXE_pkgtool"), place.path("bin/pkgtool")).expect("linked");
    let path = format!("{}:/usr/bin:/bin", place.path("bin").display());
    let shell = |line: &str| {
        let folders = command(&place, "home", &[]);
        let mut shell = Command::new("sh");
        shell.args(["-c", line]).current_dir(place.path("")).env_clear().env("PATH", &path);
        shell.envs(folders.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Ran::new(&shell.output().expect("ran"))
    };

    let publish = commands("Publish packages with");
    assert_eq!(publish.len(), 3, "{publish:?}");
    let said: Vec<Ran> = publish.iter().map(|line| shell(line).ok()).collect();
    let key = said[0].stdout.split(' ').next().expect("a key").to_owned();

    let install = commands("Another machine installs them with two");
    let [source, fetch, rest @ ..] = &*install else { panic!("{install:?}") };
    let read = files_of(place.path("repo"));
    let server = Own::new(move |path| match read(path) {
        Some(bytes) => Answer::File(bytes, "\"tag\""),
        None => Answer::Raw(missing()),
    });
    // What is another for everybody: where it is, and the key that was printed.
    let (before, after) = source.split_once("https://example.org/repo/").expect("a URL");
    let (middle, _) = after.split_once('\'').expect("a key");
    shell(&format!("{before}{}/{middle}'{key}'", server.url)).ok();
    shell(fetch).ok();
    assert_eq!(shell("pkgtool run org.example.app").ok().stdout, "hello\n");
    for line in rest {
        shell(line).ok();
    }
}
