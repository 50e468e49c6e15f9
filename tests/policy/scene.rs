//! Packages by different signers, and somebody who trusts some of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use epk_format::Format;
use epk_format::signature::{KeyId, Policy, SigningKey};
use epk_tests::app::App;
use epk_tests::binaries::binary;
use epk_tests::files::temp_folder;
use epk_tests::tool::{Outcome, pkgtool};
use epk_tests::tree::Recipe;
use tempfile::TempDir;

/// The kinds of packages, in the spec's words, and who signs them.
pub(crate) const KINDS: [(&str, Option<u8>); 6] = [
    ("unsigned", None),
    ("trusted", Some(1)),
    ("unknown", Some(2)),
    ("revoked", Some(3)),
    ("other-names", Some(4)),
    ("damaged", Some(1)),
];

pub(crate) fn key(seed: u8) -> KeyId {
    SigningKey::from_seed(&[seed; 32]).public().id()
}

/// A folder of packages, a repository of them, and homes.
pub(crate) struct Scene {
    folder: TempDir,
    repository_key: String,
}

/// What a package of a kind is installed as, its version.
pub(crate) fn version(kind: &str) -> String {
    let at = KINDS.iter().position(|(name, _)| *name == kind).expect("a kind");
    format!("{}", at + 1)
}

impl Scene {
    pub(crate) fn new(format: Format) -> Self {
        // `pkgtool fetch` finds it beside itself.
        let _built = binary("pkgtool-remote");
        let folder = temp_folder();
        let mut scene = Self { folder, repository_key: String::new() };
        for (kind, seed) in KINDS {
            let app = App::script("echo hello").with_command("tool", "/bin/app");
            let text = format!("version = \"{}\"", version(kind));
            let manifest = app.manifest().replace("version = \"1.2.3\"", &text);
            let seed = seed.map(|seed| [seed; 32]);
            let mut image = app.tree.image(&Recipe { manifest, seed, format, ..Recipe::default() });
            if kind == "damaged" {
                // The blob is the end of what 1.0 writes, and lies before the data of 2.0.
                let signed = app_signature(&image);
                image[signed] ^= 1;
            }
            fs::write(scene.package(kind), image).expect("writable");
        }
        scene.repository_key = scene.publish();
        scene
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn package(&self, kind: &str) -> PathBuf {
        self.folder().join(format!("{kind}.epk"))
    }

    /// Makes a repository with all of them, as somebody who does not care. Gives the id of its key.
    fn publish(&self) -> String {
        let home = self.home("publisher");
        let give = |words: &[&str]| home.pkgtool(words).exits(0);
        let printed = give(&["keygen", "repo.key"]);
        let _made = give(&["repo", "init", "repo"]);
        for (kind, _) in KINDS {
            let policy = if kind == "damaged" { "disabled" } else { "optional" };
            let file = format!("{kind}.epk");
            let _added = give(&["repo", "add", "repo", &file, "--signature", policy]);
        }
        let _signed = give(&["repo", "sign", "repo", "--sign", "repo.key"]);
        printed.text().split_whitespace().nth(1).expect("an id").to_owned()
    }

    /// The home of somebody who has never done anything.
    pub(crate) fn home(&self, name: &str) -> Home<'_> {
        let folder = self.folder().join(name);
        for part in ["config", "data", "cache", "state", "mnt"] {
            fs::create_dir_all(folder.join(part)).expect("writable");
        }
        Home { scene: self, folder }
    }

    /// The home of somebody who trusts one key, another one for other names, and has revoked a
    /// third one.
    pub(crate) fn trusting(&self, name: &str) -> Home<'_> {
        let home = self.home(name);
        let [one, three, four] = [1, 3, 4].map(|seed| key(seed).to_string());
        for words in [
            &["trust", "add", &one][..],
            &["trust", "add", &four, "--for", "org.other"],
            &["trust", "add", &three],
            &["trust", "revoke", &three, "--reason", "a test"],
            &["source", "add", "things", "repo", "--key", &self.repository_key],
        ] {
            let _done = home.pkgtool(words).exits(0);
        }
        home
    }
}

/// Where a byte of the signature lies in an image.
fn app_signature(image: &[u8]) -> usize {
    let blob = image.windows(8).position(|window| window == b"SIGS\x01\0\0\0").expect("a blob");
    blob + 100
}

/// Somebody's folders.
pub(crate) struct Home<'s> {
    scene: &'s Scene,
    pub(crate) folder: PathBuf,
}

impl Home<'_> {
    fn environment(&self, command: &mut Command) {
        command.env_clear().env("PATH", "/usr/bin:/bin").current_dir(self.scene.folder());
        for (variable, part) in [
            ("XDG_CONFIG_HOME", "config"),
            ("XDG_DATA_HOME", "data"),
            ("XDG_CACHE_HOME", "cache"),
            ("XDG_STATE_HOME", "state"),
        ] {
            command.env(variable, self.folder.join(part));
        }
    }

    /// `pkgtool` in the folder of packages.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = pkgtool();
        self.environment(&mut command);
        command.args(words);
        command
    }

    pub(crate) fn pkgtool(&self, words: &[&str]) -> Outcome {
        Outcome::of(&mut self.command(words))
    }

    pub(crate) fn epkfs(&self, words: &[&str]) -> Outcome {
        let mut command = Command::new(binary("epkfs"));
        self.environment(&mut command);
        Outcome::of(command.args(words))
    }

    /// A shell script in namespaces of its own where `/etc` and `/var/lib` are empty, with
    /// `pkgtool` for `$0`.
    pub(crate) fn machine(&self, script: &str) -> Outcome {
        let mut command = Command::new("/usr/bin/unshare");
        let script = format!(
            "mount -t tmpfs none /etc; mount -t tmpfs none /var/lib; mkdir /etc/epk\n{script}"
        );
        command.args(["--user", "--map-root-user", "--mount", "--", "/bin/sh", "-ec", &script]);
        command.arg(binary("pkgtool"));
        self.environment(&mut command);
        Outcome::of(&mut command)
    }

    /// Writes a file of settings.
    pub(crate) fn settings(&self, policy: Policy) {
        let folder = self.folder.join("config/epk");
        fs::create_dir_all(&folder).expect("writable");
        let text = format!("signature = \"{}\"\n", policy.word());
        fs::write(folder.join("epk.toml"), text).expect("writable");
    }

    /// Puts a package into the store without asking anybody.
    pub(crate) fn install(&self, kind: &str) {
        let store = self.store();
        fs::create_dir_all(&store).expect("writable");
        let name = format!("org.example.app@{}.epk", version(kind));
        fs::copy(self.scene.package(kind), store.join(name)).expect("writable");
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.folder.join("data/epk/packages")
    }

    /// The names of installed packages.
    pub(crate) fn installed(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.store()) else { return Vec::new() };
        let names = entries.map(|entry| entry.expect("an entry").file_name());
        names.map(|name| name.to_string_lossy().into_owned()).collect()
    }
}
