//! `pkgtool desktop`: what it installs, that it starts the package, and that nothing is left.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use epk_tests::app::{App, Stage};
use epk_tests::binaries::binary;
use epk_tests::tool::{Outcome, pkgtool};
use epk_tests::tree::Recipe;

use crate::scene::has;

const ENTRY: &str = "[Desktop Entry]\nType=Application\nName=Example\nName[de]=Beispiel\n\
    Exec=example --open %F\nTryExec=example\nIcon=example\nMimeType=text/x-example;\nTerminal=false\n\
    Categories=Utility;\nActions=new;\n\n[Desktop Action new]\nName=New\nExec=app --new\n";

const TYPES: &str = "<?xml version=\"1.0\"?>\n\
    <mime-info xmlns=\"http://www.freedesktop.org/standards/shared-mime-info\">\n\
    <mime-type type=\"text/x-example\"><glob pattern=\"*.example\"/></mime-type></mime-info>\n";

fn png(width: u8) -> Vec<u8> {
    [&b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0"[..], &[width, 0, 0, 0, width], b"rest"].concat()
}

fn application() -> App {
    App::script("printf '<%s>' \"${0##*/}\" \"$@\"")
        .with_script("bin/example", "printf '<%s>' \"${0##*/}\" \"$@\"")
        .with_command("example", "/bin/example")
        .with_file("share/applications/org.example.desktop", ENTRY)
        .with_file("share/icons/hicolor/48x48/apps/example.png", png(48))
        .with_file("share/icons/hicolor/scalable/apps/example.svg", "<svg/>")
        .with_file("share/mime/packages/org.example.xml", TYPES)
}

struct Desk {
    stage: Stage,
}

impl Desk {
    fn new(app: &App) -> Self {
        Self { stage: Stage::new(app) }
    }

    fn give(&self, words: &[&str]) -> Outcome {
        let mut command = pkgtool();
        command.current_dir(self.stage.folder()).env("XDG_DATA_HOME", self.stage.data_home());
        Outcome::of(command.args(words))
    }

    #[track_caller]
    fn succeeds(&self, words: &[&str]) {
        assert_eq!(self.give(words).exits(0).text(), "");
    }

    /// Files below the user's data, with what is in them; folders with nothing.
    fn files(&self) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.stage.data_home()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).expect("a folder").flatten() {
                let path = entry.path();
                let name = path.strip_prefix(self.stage.data_home()).expect("below").to_owned();
                if path.is_dir() {
                    found.insert(name, None);
                    folders.push(path);
                } else {
                    found.insert(name, Some(fs::read(&path).expect("readable")));
                }
            }
        }
        found
    }

    fn entry(&self) -> PathBuf {
        self.stage.data_home().join("applications/epk-org.example.app-org.example.desktop")
    }
}

/// What a desktop does with a line of `Exec` without special characters.
fn start(line: &str, file: &str) -> Command {
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next().expect("a program"));
    command.args(words.map(|word| if word == "%F" { file } else { word }));
    command
}

#[test]
fn entries_icons_and_types_are_installed_and_removed_exactly() {
    let desk = Desk::new(&application());
    let share = desk.stage.data_home();
    // What is there before stays: a folder, and a file in it.
    fs::create_dir_all(share.join("icons/hicolor")).expect("writable");
    fs::write(share.join("icons/hicolor/index.theme"), "mine").expect("writable");
    let before = desk.files();
    let done = desk.give(&["desktop", "install", "app.epk"]).exits(0);
    assert_eq!((done.text(), done.stderr.as_str()), ("", ""));
    let files = desk.files();
    let text = |path: &str| {
        let bytes = files.get(Path::new(path)).cloned().flatten();
        String::from_utf8(bytes.unwrap_or_else(|| panic!("no `{path}` in {:?}", files.keys()))).ok()
    };
    let icon = "icons/hicolor/scalable/apps/epk-org.example.app-example.svg";
    assert_eq!(text(icon).as_deref(), Some("<svg/>"));
    assert!(
        files.contains_key(Path::new("icons/hicolor/48x48/apps/epk-org.example.app-example.png"))
    );
    assert_eq!(text("mime/packages/epk-org.example.app-org.example.xml").as_deref(), Some(TYPES));
    let entry = fs::read_to_string(desk.entry()).expect("installed");
    let (program, image) = (binary("pkgtool"), desk.stage.image());
    let (program, image) = (program.display(), image.display());
    for line in [
        format!("Exec={program} run {image} example --open %F"),
        format!("Exec={program} run {image} -- --new"),
        format!("TryExec={program}"),
        "Icon=epk-org.example.app-example".into(),
        "StartupWMClass=org.example".into(),
        "Name[de]=Beispiel".into(),
        format!("X-EPK-Package={image}"),
    ] {
        assert!(entry.lines().any(|found| found == line), "{line}\n{entry}");
    }
    if has("desktop-file-validate") {
        let done = Outcome::of(Command::new("desktop-file-validate").arg(desk.entry())).exits(0);
        assert_eq!(done.text(), "");
    }
    // It starts the package.
    let line = entry.lines().find_map(|line| line.strip_prefix("Exec=")).expect("there");
    let mut command = start(line, "/a/file");
    command.env_clear().env("PATH", "/usr/bin:/bin").env("XDG_DATA_HOME", desk.stage.data_home());
    assert_eq!(Outcome::of(&mut command).exits(0).text(), "<example><--open></a/file>");
    fs::remove_dir_all(share.join("epk/data")).expect("ours");
    // Twice is as good as once, but for the version of the databases.
    desk.succeeds(&["desktop", "install", "app.epk"]);
    let done = desk.give(&["desktop", "remove", "org.example.app", "--json"]).exits(0);
    let json = &done.json()[0];
    assert_eq!(json["schema"], "epk.desktop/1");
    assert_eq!(
        (json["files"].as_array().map(Vec::len), &json["kept"]),
        (Some(4), &serde_json::json!([]))
    );
    assert_eq!(desk.files(), before);
    desk.give(&["desktop", "remove", "org.example.app"])
        .fails(1, "nothing is installed for `org.example.app`");
}

#[test]
fn what_somebody_changed_stays() {
    let desk = Desk::new(&application());
    desk.succeeds(&["desktop", "install", "app.epk"]);
    fs::write(desk.entry(), "mine now").expect("writable");
    desk.give(&["desktop", "install", "app.epk"]).fails(1, "is not what was installed");
    let done = desk.give(&["desktop", "remove", "./app.epk"]).exits(0);
    assert!(
        done.stderr.starts_with("warning: `") && done.stderr.contains("was changed, and stays")
    );
    assert_eq!(fs::read(desk.entry()).expect("kept"), b"mine now");
    let computed = |path: &Path| path.ends_with("mimeinfo.cache");
    let left = desk.files().into_iter().filter(|(path, text)| text.is_some() && !computed(path));
    let left: Vec<_> = left.collect();
    assert_eq!(left.len(), 1, "{left:?}");
    // It isn't ours any more.
    desk.give(&["desktop", "install", "app.epk"]).fails(1, "is not what was installed");
}

#[test]
fn another_version_replaces_the_first() {
    let desk = Desk::new(&application());
    let before = desk.files();
    desk.succeeds(&["desktop", "install", "app.epk"]);
    // One with an AppImage's table, an icon by content, and no types.
    let app = App::script("x").with_file("x.desktop", ENTRY).with_file(".DirIcon", png(64));
    let manifest =
        format!("{}[desktop]\nfile = \"/x.desktop\"\nicon = \"/.DirIcon\"\n", app.manifest());
    let image = app.tree.image(&Recipe { manifest, ..Recipe::default() });
    fs::write(desk.stage.folder().join("own-new.epk"), image).expect("writable");
    let done = desk.give(&["desktop", "install", "own-new.epk"]).exits(0);
    assert!(done.stderr.contains("`Exec` starts `example`, which is no command: the entry runs"));
    let files: Vec<_> = desk.files().into_iter().filter(|(_, text)| text.is_some()).collect();
    let names: Vec<_> = files.iter().map(|(path, _)| path.to_str().expect("UTF-8")).collect();
    let expected = [
        "applications/epk-org.example.app-x.desktop",
        "epk/desktop/org.example.app.json",
        "icons/hicolor/64x64/apps/epk-org.example.app-example.png",
    ];
    let installed: Vec<_> = names
        .iter()
        .copied()
        .filter(|n| !n.contains("mimeinfo") && !n.starts_with("mime/"))
        .collect();
    assert_eq!(installed, expected);
    desk.succeeds(&["desktop", "remove", "org.example.app"]);
    assert_eq!(desk.files(), before);
}

#[test]
fn what_is_no_application_is_refused_and_nothing_is_written() {
    let empty = App::script("x");
    let link = App::script("x")
        .with_file("share/applications/a.desktop", "[Desktop Entry]\nType=Link\nExec=x\n");
    for (app, message) in [
        (&empty, "the package has no `.desktop` file"),
        (&link, "`a.desktop` is not an application's"),
    ] {
        let desk = Desk::new(app);
        desk.give(&["desktop", "install", "app.epk"]).fails(1, message);
        assert!(desk.files().is_empty());
    }
    let desk = Desk::new(&empty);
    desk.give(&["desktop", "install", "nothing"]).fails(3, "nothing");
    fs::write(desk.stage.folder().join("own-bad"), "nonsense").expect("writable");
    desk.give(&["desktop", "install", "own-bad"]).fails(4, "own-bad");
}
