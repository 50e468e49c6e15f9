//! What the log has of each command that looks at packages (`spec/runtime.md` §15).

use std::fs;
use std::path::Path;

use epk_format::write::{Compression, Format};
use epk_tests::app::{App, Stage};
use epk_tests::files::temp_folder;
use epk_tests::tool::{self, Outcome};
use epk_tests::tree::{Random, Recipe, Tree};
use serde_json::Value;

/// `pkgtool` with these words, in a home of its own, and the lines that its log has then: target,
/// message, code.
fn told(home: &Path, words: &[&str]) -> (Outcome, Vec<(String, String, Option<i64>)>) {
    let log = home.join("log");
    let mut command = tool::pkgtool();
    command.args(words).current_dir(home).env("EPK_LOG", &log).env("HOME", home);
    let done = Outcome::of(&mut command);
    let text = fs::read_to_string(&log).unwrap_or_default();
    let _removed = fs::remove_file(&log);
    let lines = text.lines().map(|line| {
        let line: Value = serde_json::from_str(line).expect("a line of JSON");
        assert!(line["image"].is_string() || line["target"] == "epkfs::log", "{line}");
        let text = |key: &str| line[key].as_str().expect("text").to_owned();
        (text("target"), text("message"), line["code"].as_i64())
    });
    (done, lines.collect())
}

fn line(target: &str, message: &str, code: Option<i64>) -> (String, String, Option<i64>) {
    (target.into(), message.into(), code)
}

#[test]
fn each_command_tells_what_it_found() {
    let home = temp_folder();
    let write = |name: &str, bytes: &[u8]| {
        fs::write(home.path().join(name), bytes).expect("writable");
    };
    let app = App::script("echo ran").with_command("tool", "/bin/app");
    write("good.epk", &app.image());
    let mut magic = app.image();
    magic[3] = b'2';
    write("magic.epk", &magic);
    let later = App { kernel_api: "9.0".into(), name: "org.example.later".into(), ..app.clone() };
    write("later.epk", &later.image());
    let (valid, refused) =
        (line("epk::validate", "valid", None), line("epk::validate", "refused", Some(2)));
    let compatible = line("epk::compatibility", "compatible", None);
    let later = line("epk::compatibility", "refused", Some(15));
    let not_launched = line("epk::launch", "not launched", None);

    for words in [
        &["verify", "FILE"][..],
        &["verify", "--deep", "FILE"],
        &["ls", "FILE"],
        &["extract", "FILE", "folder"],
        &["add", "FILE"],
    ] {
        let about = |file: &'static str| -> Vec<&str> {
            words.iter().map(|&word| if word == "FILE" { file } else { word }).collect()
        };
        let (done, lines) = told(home.path(), &about("good.epk"));
        assert!(done.status.success(), "{words:?}: {done:?}");
        assert!(lines.contains(&valid), "{words:?}: {lines:?}");
        let judged = words[0] == "add";
        assert_eq!(lines.contains(&compatible), judged, "{words:?}: {lines:?}");
        let (done, lines) = told(home.path(), &about("magic.epk"));
        assert_eq!(done.status.code(), Some(4), "{words:?}");
        assert_eq!(lines, std::slice::from_ref(&refused), "{words:?}");
    }
    let (_, lines) =
        told(home.path(), &["verify", "--compat", "good.epk", "magic.epk", "later.epk"]);
    assert_eq!(
        lines,
        [valid.clone(), compatible.clone(), refused.clone(), valid.clone(), later.clone()]
    );
    let (_, lines) = told(home.path(), &["add", "later.epk"]);
    assert_eq!(lines, std::slice::from_ref(&later));
    for words in [&["run", "later.epk"][..], &["exec", "./later.epk"]] {
        let (_, lines) = told(home.path(), words);
        assert_eq!(lines, [valid.clone(), later.clone(), not_launched.clone()], "{words:?}");
    }
    for words in [&["run", "magic.epk"][..], &["exec", "./magic.epk"]] {
        let (_, lines) = told(home.path(), words);
        assert_eq!(lines, [refused.clone(), not_launched.clone()], "{words:?}");
    }
    // What isn't there at all.
    for words in [&["run", "org.example.none"][..], &["run", "none.epk"], &["exec", "none"]] {
        let (done, lines) = told(home.path(), words);
        assert!(done.status.code().is_some_and(|code| code >= 125), "{words:?}: {done:?}");
        // Before, `exec` may have looked into what is installed.
        assert_eq!(lines.last(), Some(&not_launched), "{words:?}");
    }
}

#[test]
fn what_a_deep_look_finds_is_told_and_not_all_of_it() {
    let home = temp_folder();
    let tree = Tree::default().file("f", Random::new(9).noise(4096 * 300));
    let recipe = Recipe {
        format: Format::V2,
        chunk_size: 4096,
        compression: Compression::None,
        ..Recipe::default()
    };
    let mut image = tree.image(&recipe);
    let content = tree.bytes("f");
    let start = image.windows(64).position(|window| *window == content[..64]).expect("as it is");
    for block in 0..300 {
        image[start + block * 4096] ^= 1;
    }
    fs::write(home.path().join("bad.epk"), image).expect("writable");
    let (done, lines) = told(home.path(), &["verify", "--deep", "bad.epk"]);
    assert_eq!(done.status.code(), Some(4));
    let refused = lines.iter().filter(|line| line.1 == "refused").count();
    // On a machine that takes minutes for this there are more, and each minute says so.
    let notes = lines.iter().filter(|line| line.0 == "epkfs::log").count();
    assert!(notes > 0 && refused >= 99 && refused <= 100 * (notes + 1), "{refused}, {notes}");
    assert!(!lines.contains(&line("epk::validate", "valid", None)));
}

/// A key's file, a password in a URL and a token in the environment are in no line and no message.
#[test]
fn secrets_are_in_no_log() {
    let stage = Stage::new(&App::script("echo ran"));
    let home = stage.folder();
    let (_, lines) = told(home, &["keygen", "own-key"]);
    assert_eq!(lines, []);
    let key = fs::read_to_string(home.join("own-key")).expect("a key");
    let secret = key.lines().rfind(|line| !line.starts_with('-') && line.len() > 20);
    let secret = secret.expect("a line of it").to_owned();
    let log = home.join("own-log");
    for words in [
        &["source", "add", "s", "https://user:hunter2@localhost:1/", "--key", "own-key"][..],
        &["push", "app.epk", "oci://user:hunter2@localhost:1/app"],
        &["fetch", "oci://user:hunter2@localhost:1/app"],
        &["verify", "own-key"],
        &["run", "--env", "TOKEN=hunter2", "--bind", "none", "app.epk"],
        &["run", "none.epk", "--password", "hunter2"],
    ] {
        let mut command = tool::pkgtool();
        command.args(words).current_dir(home).env("EPK_LOG", &log).env("HOME", home);
        command.env("AWS_SECRET_ACCESS_KEY", "hunter2").env("EPK_TOKEN", "hunter2");
        let done = Outcome::of(&mut command);
        assert!(!done.status.success(), "{words:?}: {done:?}");
        let all = [&done.stderr, done.text(), &fs::read_to_string(&log).unwrap_or_default()];
        for said in all {
            assert!(!said.contains("hunter2") && !said.contains(&secret), "{words:?}: {said}");
        }
    }
}
