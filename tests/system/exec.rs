//! `pkgtool exec`, `link`, and `pkgtool` under other names.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use epk_tests::app::{App, Stage};
use epk_tests::binaries::binary;
use epk_tests::tool::{Outcome, pkgtool};

/// Packages in the user's store, and aliases.
struct Shelf {
    stage: Stage,
}

/// An application that says its name, and which of its programs runs with what.
fn app(name: &str, commands: &[&str]) -> App {
    let tell =
        format!("printf '%s' '{name}' \" ${{0##*/}}\"; for a; do printf ' %s' \"$a\"; done; echo");
    let mut app = App::script(&tell);
    app.name = name.into();
    for command in commands {
        app = app.with_script(&format!("bin/{command}"), &tell);
        app = app.with_command(command, &format!("/bin/{command}"));
    }
    app
}

impl Shelf {
    fn new() -> Self {
        let stage = Stage::new(&app("org.example.app", &["tool"]));
        for folder in ["own-config/epk/commands", "data/epk/packages", "own-bin"] {
            fs::create_dir_all(stage.folder().join(folder)).expect("writable");
        }
        Self { stage }
    }

    fn install(&self, app: &App, version: &str) {
        let manifest =
            app.manifest().replace("version = \"1.2.3\"", &format!("version = \"{version}\""));
        let recipe = epk_tests::tree::Recipe { manifest, ..epk_tests::tree::Recipe::default() };
        let file = format!("{}@{version}.epk", app.name);
        let path = self.stage.data_home().join("epk/packages").join(file);
        fs::write(path, app.tree.image(&recipe)).expect("writable");
    }

    fn alias(&self, command: &str, text: &str) {
        let path =
            self.stage.folder().join("own-config/epk/commands").join(format!("{command}.toml"));
        fs::write(path, text).expect("writable");
    }

    fn environment(&self, command: &mut Command) {
        command.env_clear().env("PATH", "/usr/bin:/bin").current_dir(self.stage.folder());
        command.env("XDG_DATA_HOME", self.stage.data_home());
        command.env("XDG_CONFIG_HOME", self.stage.folder().join("own-config"));
    }

    fn give(&self, words: &[&str]) -> Outcome {
        let mut command = pkgtool();
        self.environment(&mut command);
        Outcome::of(command.args(words))
    }

    #[track_caller]
    fn runs(&self, words: &[&str], expected: &str) {
        let mut all = vec!["exec"];
        all.extend_from_slice(words);
        let done = self.give(&all).quietly();
        assert_eq!(String::from_utf8_lossy(&done), format!("{expected}\n"));
    }
}

#[test]
fn the_places_are_searched_in_their_order() {
    let shelf = Shelf::new();
    let image = shelf.stage.image();
    let image = image.to_str().expect("UTF-8");
    shelf.give(&["exec", "tool"]).fails(127, "no package has a command `tool`");
    // The commands of installed packages.
    shelf.install(&app("a", &["tool", "other"]), "1.0");
    shelf.runs(&["tool", "x", "--y"], "a tool x --y");
    shelf.runs(&["--", "tool"], "a tool");
    // Two versions are one package, of which the newest counts.
    shelf.install(&app("a", &["tool", "newer"]), "1.10");
    shelf.install(&app("a", &["tool", "gone"]), "1.9");
    shelf.runs(&["newer"], "a newer");
    shelf.give(&["exec", "gone"]).fails(127, "no package has a command `gone`");
    // The user's aliases win, and may name a path, a package, a version.
    shelf.alias("tool", &format!("package = \"{image}\"\n"));
    shelf.runs(&["tool", "other"], "org.example.app app other");
    shelf.alias("tool", &format!("package = \"{image}\"\ncommand = \"tool\"\n"));
    shelf.runs(&["tool", "x"], "org.example.app tool x");
    shelf.alias("t", "package = \"a\"\ncommand = \"newer\"\n");
    shelf.runs(&["t"], "a newer");
    shelf.alias("t", "package = \"a@1.9\"\ncommand = \"gone\"\n");
    shelf.runs(&["t"], "a gone");
    // A path runs the entry, whatever the first argument is.
    shelf.runs(&["./app.epk", "tool"], "org.example.app app tool");
    shelf.runs(&[image, "--", "x"], "org.example.app app -- x");
    shelf.stage.is_left_clean();
}

#[test]
fn several_candidates_are_never_guessed_about() {
    let shelf = Shelf::new();
    shelf.install(&app("a", &["tool"]), "1");
    shelf.install(&app("b", &["tool"]), "2");
    let done = shelf.give(&["exec", "tool"]).exits(1);
    let data = shelf.stage.data_home().join("epk/packages");
    let data = data.display();
    let config = shelf.stage.folder().join("own-config");
    assert_eq!(
        done.stderr,
        format!(
            "error: several packages have a command `tool`\n\
             hint: user package a 1 `{data}/a@1.epk`\nhint: user package b 2 `{data}/b@2.epk`\n\
             hint: an alias decides: `{}/epk/commands/tool.toml`\n",
            config.display()
        )
    );
    let done = shelf.give(&["exec", "--json", "tool"]).exits(1);
    let json = &done.json()[0];
    assert_eq!(json["schema"], "epk.exec/1");
    let names: Vec<_> =
        json["candidates"].as_array().expect("an array").iter().map(|c| &c["name"]).collect();
    assert_eq!(names, ["a", "b"]);
    let done = shelf.give(&["exec", "--json", "nothing"]).exits(127);
    assert_eq!(done.json()[0]["candidates"], serde_json::json!([]));
    let done = shelf.give(&["exec", "--list", "tool"]).exits(1);
    assert_eq!(done.text().lines().count(), 2);
    shelf.alias("tool", "package = \"b\"\ncommand = \"tool\"\n");
    shelf.runs(&["tool"], "b tool");
    let done = shelf.give(&["exec", "--list", "--json", "tool"]).exits(0);
    assert_eq!(done.json()[0]["candidates"][0]["place"], "alias");
}

#[test]
fn what_is_wrong_is_said() {
    let shelf = Shelf::new();
    shelf.install(&app("good", &["tool"]), "1");
    let bad = shelf.stage.data_home().join("epk/packages/bad@1.epk");
    fs::write(&bad, "nonsense").expect("writable");
    let done = shelf.give(&["exec", "tool"]).exits(0);
    assert!(done.stderr.starts_with("warning: `"), "{}", done.stderr);
    assert_eq!(done.text(), "good tool\n");
    fs::remove_file(bad).expect("ours");
    shelf.alias("a", "package = 1\n");
    shelf.give(&["exec", "a"]).fails(125, "a.toml`: line 1:");
    shelf.alias("a", "package = \"nobody\"\n");
    shelf.give(&["exec", "a"]).fails(125, "the package `nobody` is not installed");
    shelf.alias("a", "package = \"/nowhere.epk\"\n");
    shelf.give(&["exec", "a"]).fails(125, "`/nowhere.epk`: No such file or directory");
    shelf.give(&["exec", "sp ace"]).fails(2, "`sp ace` is no command's name");
    shelf.give(&["exec", "--nonsense", "a"]).fails(2, "unknown option `--nonsense`");
    shelf.give(&["exec"]).fails(2, "required");
}

#[test]
fn links_are_programs() {
    let shelf = Shelf::new();
    shelf.install(&app("a", &["tool"]), "1");
    let folder = shelf.stage.folder().join("own-bin");
    let bin = folder.to_str().expect("UTF-8");
    shelf.give(&["link", "nothing", bin]).fails(1, "no package has a command `nothing`");
    shelf.give(&["link", "tool", "/nowhere"]).fails(3, "cannot make `/nowhere/tool`");
    shelf.give(&["link", "a/b", bin]).fails(2, "is a path");
    shelf.give(&["link", "pkgtool-x", bin]).fails(1, "pkgtool is itself");
    assert!(shelf.give(&["link", "tool", bin]).quietly().is_empty());
    assert!(shelf.give(&["link", "tool", bin]).quietly().is_empty(), "twice is as good");
    assert_eq!(fs::read_link(folder.join("tool")).expect("a link"), binary("pkgtool"));
    let mut command = Command::new("/bin/sh");
    shelf.environment(&mut command);
    command.env("PATH", format!("{bin}:/usr/bin:/bin"));
    let done = Outcome::of(command.args(["-c", "tool --help \"a b\""])).quietly();
    assert_eq!(String::from_utf8_lossy(&done), "a tool --help a b\n");
    fs::remove_file(folder.join("tool")).expect("ours");
    fs::write(folder.join("tool"), "somebody else's").expect("writable");
    shelf.give(&["link", "tool", bin]).fails(1, "exists, and is not this link");
    // Under a name that nobody has.
    symlink(binary("pkgtool"), folder.join("unknown")).expect("writable");
    let mut command = Command::new(folder.join("unknown"));
    shelf.environment(&mut command);
    Outcome::of(&mut command).fails(127, "no package has a command `unknown`");
    shelf.stage.is_left_clean();
}

#[test]
fn the_systems_aliases_and_packages_come_after_the_users() {
    let shelf = Shelf::new();
    let image = shelf.stage.image();
    // The system's folders, in a namespace of its own.
    let give = |script: &str| {
        let mut command = Command::new("/usr/bin/unshare");
        let setup = format!(
            "mount -t tmpfs none /var/lib; mount -t tmpfs none /etc\n\
             mkdir -p /var/lib/epk/packages /etc/epk/commands; {script}\nexec {} exec tool",
            binary("pkgtool").display()
        );
        command.args(["--user", "--map-root-user", "--mount", "--", "/bin/sh", "-ec", &setup]);
        shelf.environment(&mut command);
        Outcome::of(&mut command)
    };
    give("").fails(127, "no package has a command `tool`");
    let copy = format!("cp {} /var/lib/epk/packages/org.example.app@1.2.3.epk", image.display());
    assert_eq!(give(&copy).exits(0).text(), "org.example.app tool\n");
    // The system's alias is before installed packages.
    let alias =
        format!("{copy}; echo 'package = \"{}\"' > /etc/epk/commands/tool.toml", image.display());
    assert_eq!(give(&alias).exits(0).text(), "org.example.app app\n");
    // The same package in both stores is one: the user's.
    shelf.install(&app("org.example.app", &["tool"]), "1.2.3");
    assert_eq!(give(&copy).exits(0).text(), "org.example.app tool\n");
    shelf.install(&app("mine", &["tool"]), "1");
    give(&copy).fails(1, "several packages have a command `tool`");
    shelf.alias("tool", "package = \"mine\"\ncommand = \"tool\"\n");
    assert_eq!(give(&alias).exits(0).text(), "mine tool\n");
}
