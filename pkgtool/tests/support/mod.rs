//! A folder to pack, the program, and a look into what it made.
#![allow(dead_code, unreachable_pub)]

pub mod repository;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use epk_format::package::{Kind, NodeId, Scratch};
use epk_format::{Error, OpenOptions, Package};
use serde_json::Value;
use tempfile::TempDir;

pub const MANIFEST: &str = "name = \"org.example.app\"\nversion = \"1.2.3\"\narch = \"x86-64\"\n\
kernel_api = \"1.0\"\nentry = \"/bin/app\"\n";

/// A temporary folder with an application in `app/`.
pub struct Place {
    folder: TempDir,
}

impl Place {
    /// `app/` with a manifest and nothing else.
    pub fn empty() -> Self {
        let place = Self { folder: tempfile::tempdir().expect("a folder") };
        place.file("app/manifest.toml", MANIFEST.as_bytes(), 0o644);
        place
    }

    /// A small application, the same every time.
    pub fn app() -> Self {
        let place = Self::empty();
        let text: String = (0..5000).map(|line| format!("line {line}\n")).collect();
        let files: [(&str, &[u8], u32); 6] = [
            ("app/bin/app", b"#!/bin/sh\necho hello\n", 0o755),
            ("app/lib/data.bin", &noise(100_000), 0o644),
            ("app/lib/empty", b"", 0o600),
            ("app/lib/text", text.as_bytes(), 0o644),
            ("app/lib-a", b"sorts before lib/", 0o644),
            ("app/sub/manifest.toml", b"# not the manifest\n", 0o644),
        ];
        for (path, bytes, mode) in files {
            place.file(path, bytes, mode);
        }
        fs::create_dir_all(place.path("app/share/empty")).expect("made");
        place
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// Writes a file, with the folders above it and a fixed time.
    pub fn file(&self, path: &str, bytes: &[u8], mode: u32) {
        let file = self.path(path);
        fs::create_dir_all(file.parent().expect("a folder")).expect("made");
        fs::write(&file, bytes).expect("written");
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("set");
        self.set_time(path, 1_600_000_000);
    }

    /// Sets a file's time of change to `seconds` since 1970, and a bit.
    pub fn set_time(&self, path: &str, seconds: u64) {
        let time = std::time::UNIX_EPOCH + std::time::Duration::new(seconds, 123_456_789);
        let file = fs::File::open(self.path(path)).expect("a file");
        file.set_modified(time).expect("set");
    }

    pub fn link(&self, path: &str, target: &str) {
        std::os::unix::fs::symlink(target, self.path(path)).expect("linked");
    }

    /// `pkgtool pack app -o app.epk` in this folder, with more arguments.
    pub fn pack(&self, more: &[&str]) -> Ran {
        self.run(&[&["pack", "app", "-o", "app.epk"], more].concat())
    }

    /// The same in format 1.0.
    pub fn pack1(&self, more: &[&str]) -> Ran {
        self.pack(&[&["--format", "1"], more].concat())
    }

    pub fn run(&self, arguments: &[&str]) -> Ran {
        let mut command = self.command();
        Ran::new(&command.args(arguments).output().expect("ran"))
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pkgtool"));
        command.current_dir(self.folder.path()).env_remove("SOURCE_DATE_EPOCH");
        // No stamps in the cache of whoever tests.
        command.env("XDG_CACHE_HOME", "/dev/null");
        command
    }

    pub fn image(&self) -> Vec<u8> {
        fs::read(self.path("app.epk")).expect("a package")
    }

    /// The names in the folder, sorted.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).expect("a folder");
        let mut names: Vec<_> = entries
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

/// Bytes that don't compress.
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| next()).collect()
}

/// How the program ended.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    pub fn new(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
        Self {
            code: output.status.code(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }

    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        self
    }

    /// Failed with this code, and said each of these.
    #[track_caller]
    pub fn fails(self, code: i32, said: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.stderr);
        assert!(self.stderr.starts_with("error: "), "{}", self.stderr);
        for text in said {
            assert!(self.stderr.contains(text), "no {text:?} in:\n{}", self.stderr);
        }
        self
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).expect("JSON")
    }
}

/// What a package shows at a path.
#[derive(Debug, PartialEq, Eq)]
pub struct Shown {
    pub kind: Kind,
    pub mode: u32,
    pub seconds: i64,
    /// Content, or a link's text.
    pub bytes: Vec<u8>,
}

/// Everything in a package, by the library's reader, but for the manifest that it shows.
pub fn shown(image: &[u8]) -> BTreeMap<String, Shown> {
    let package = Package::open(image, &OpenOptions::default()).expect("a valid package");
    let mut found = BTreeMap::new();
    collect(&package, ("", NodeId::ROOT), &mut found);
    found
}

fn collect(package: &Package<&[u8]>, folder: (&str, NodeId), found: &mut BTreeMap<String, Shown>) {
    for (name, id, kind) in package.children(folder.1).expect("a folder") {
        let node = package.node(id).expect("a node");
        let name = String::from_utf8(name).expect("text");
        let path = if folder.0.is_empty() { name } else { format!("{}/{name}", folder.0) };
        let mut bytes = Vec::new();
        match kind {
            Kind::Folder => collect(package, (&path, id), found),
            Kind::Link => bytes = package.link_target(id).expect("a link"),
            Kind::File => {
                let keep = |piece: &[u8]| {
                    bytes.extend(piece);
                    Ok::<(), Error>(())
                };
                package.read(id, 0..node.size, &mut Scratch::default(), keep).expect("whole");
            }
        }
        let seconds = node.modified.seconds;
        found.insert(path, Shown { kind, mode: node.mode, seconds, bytes });
    }
}

/// The paths of a package, without the manifest that the reader adds.
pub fn paths(image: &[u8]) -> Vec<String> {
    shown(image).into_keys().filter(|path| path != "manifest.toml").collect()
}

/// The real mksquashfs. Without it a test says so and passes, unless `EPK_MKSQUASHFS` is set.
pub fn has_mksquashfs() -> bool {
    let has = Command::new("mksquashfs").arg("-version").output().is_ok();
    assert!(has || std::env::var_os("EPK_MKSQUASHFS").is_none(), "there is no `mksquashfs`");
    if !has {
        eprintln!("skipped: there is no `mksquashfs`");
    }
    has
}

/// Runs a program of the machine in a folder.
#[track_caller]
pub fn tool(folder: &Path, program: &str, arguments: &[&str]) {
    let mut command = Command::new(program);
    let output = command.args(arguments).current_dir(folder).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
}

/// A tar archive in the making, with whatever headers a test wants.
#[derive(Default)]
pub struct Archive(pub Vec<u8>);

impl Archive {
    /// An entry of a kind, with a target and content. A `change` may spoil the header.
    pub fn raw(
        mut self,
        (kind, path, target): (u8, &str, &str),
        content: &[u8],
        change: impl FnOnce(&mut tar::Header),
    ) -> Self {
        let mut header = tar::Header::new_gnu();
        let fields = header.as_old_mut();
        fields.name[..path.len()].copy_from_slice(path.as_bytes());
        fields.linkname[..target.len()].copy_from_slice(target.as_bytes());
        fields.linkflag = [kind];
        header.set_size(content.len() as u64);
        header.set_mode(if kind == b'5' { 0o755 } else { 0o644 });
        for set in [tar::Header::set_uid, tar::Header::set_gid, tar::Header::set_mtime] {
            set(&mut header, 0);
        }
        change(&mut header);
        header.set_cksum();
        self.0.extend(header.as_bytes());
        self.0.extend(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub fn file(self, path: &str, content: &[u8]) -> Self {
        self.raw((b'0', path, ""), content, |_| {})
    }

    pub fn folder(self, path: &str) -> Self {
        self.raw((b'5', path, ""), b"", |_| {})
    }

    /// A link, symbolic (`2`) or hard (`1`).
    pub fn link(self, kind: u8, path: &str, target: &str) -> Self {
        self.raw((kind, path, target), b"", |_| {})
    }

    /// An extended header for the next entry.
    pub fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut text = Vec::new();
        for (key, value) in records {
            let length = key.len() + value.len() + 3;
            let length = (length..).find(|n| n.to_string().len() + length == *n).expect("one");
            text.extend([format!("{length} {key}=").as_bytes(), value, b"\n"].concat());
        }
        self.raw((b'x', "pax", ""), &text, |_| {})
    }

    /// The manifest, with `bin/app` for its entry.
    pub fn app(self) -> Self {
        let run = b"#!/bin/sh\necho hello\n";
        let app = |header: &mut tar::Header| header.set_mode(0o755);
        self.file("manifest.toml", MANIFEST.as_bytes()).raw((b'0', "bin/app", ""), run, app)
    }

    pub fn end(mut self) -> Vec<u8> {
        self.0.extend([0; 1024]);
        self.0
    }
}

/// The names in a folder of this machine, recursively, sorted.
pub fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() && !path.is_symlink() {
            all.extend(walk(&path));
        }
        all.push(path);
    }
    all.sort();
    all
}
