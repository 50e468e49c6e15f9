//! The manifest of something that brings none: made of options, and of what an AppImage says.

use std::collections::BTreeMap;
use std::io::Read as _;

use epk_format::manifest::ApiVersion;
use epk_format::path::display;
use epk_format::write::Contents;
use serde::Serialize;

use super::desktop::Desktop;
use super::tree::Tree;
use crate::exit::{Exit, Failure};
use crate::input;
use crate::loader::elf::Machine;

/// What an AppImage runs.
const APP_RUN: &str = "AppRun";
/// Most bytes of a `.desktop` file.
const DESKTOP_BYTES: u64 = 1 << 20;
/// Most bytes of a name or version.
const TEXT_BYTES: usize = 254;

/// What is known of an application.
#[derive(Debug, Clone, Default)]
pub(crate) struct Description {
    pub(crate) name: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) arch: Option<String>,
    pub(crate) entry: Option<String>,
    pub(crate) commands: BTreeMap<String, String>,
    /// Paths of the `.desktop` file and the icon.
    pub(crate) desktop: Option<DesktopFiles>,
}

/// Where an application's `.desktop` file and icon are.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct DesktopFiles {
    file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    icon: Option<String>,
}

#[derive(Serialize)]
struct Manifest<'a> {
    name: &'a str,
    version: &'a str,
    arch: &'a str,
    kernel_api: String,
    entry: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    commands: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    desktop: Option<&'a DesktopFiles>,
}

impl Description {
    /// What an AppImage says: the `.desktop` file at its root, and `AppRun`.
    pub(crate) fn of_app_image(tree: &Tree, contents: &dyn Contents, arch: &str) -> Self {
        let mut found = Self { arch: Some(arch.to_owned()), ..Self::default() };
        if tree.has(APP_RUN.as_bytes()) {
            found.entry = Some(format!("/{APP_RUN}"));
        }
        let file = tree.names().find(|name| name.ends_with(b".desktop"));
        let text = file.and_then(|file| read(tree, contents, file, DESKTOP_BYTES));
        let (Some(file), Some(text)) = (file, text) else { return found };
        let desktop = Desktop::read(&text);
        let file = String::from_utf8_lossy(file);
        let stem = file.trim_end_matches(".desktop");
        found.name = Some(plain(stem)).filter(|name| !name.is_empty());
        found.version = desktop.get("X-AppImage-Version").map(plain_text);
        if let (Some(program), Some(entry)) = (desktop.program(), &found.entry)
            && is_command(program)
        {
            found.commands.insert(program.to_owned(), entry.clone());
        }
        let icon = desktop.get("Icon").and_then(|icon| {
            let candidates =
                ["", ".png", ".svg", ".svgz", ".xpm"].map(|end| format!("{icon}{end}"));
            candidates.into_iter().find(|name| tree.follow(name.as_bytes()).is_some())
        });
        let icon = icon.or_else(|| tree.has(b".DirIcon").then(|| ".DirIcon".to_owned()));
        let icon = icon.map(|icon| format!("/{icon}"));
        found.desktop = Some(DesktopFiles { file: format!("/{file}"), icon });
        found
    }

    /// Fills in the architecture of the entry, if it is a program that tells its own, or this
    /// machine's.
    pub(crate) fn complete(&mut self, tree: &Tree, contents: &dyn Contents) {
        if self.arch.is_some() {
            return;
        }
        let entry = self.entry.as_deref().map(|entry| entry.trim_start_matches('/'));
        let head = entry.and_then(|entry| read(tree, contents, entry.as_bytes(), 64));
        let program = head.and_then(|head| Machine::of(&head)).map(Machine::arch);
        let own = input::host(None).arches.first().copied();
        self.arch = program.or(own).map(str::to_owned);
    }

    /// The manifest's text.
    pub(crate) fn manifest(&self) -> Result<Vec<u8>, Failure> {
        let missing = |key: &str, option: &str| {
            let message = format!("there is no manifest, and nothing says the {key}");
            Failure::new(Exit::Finding, message)
                .hint(format!("`{option}` says it, `--manifest FILE` says everything"))
        };
        let name = self.name.as_deref().ok_or_else(|| missing("name", "--name"))?;
        let version = self.version.as_deref();
        let version = version.ok_or_else(|| missing("version", "--package-version"))?;
        let entry = self.entry.as_deref();
        let entry = entry.ok_or_else(|| missing("path of what to run", "--entry"))?;
        let manifest = Manifest {
            name,
            version,
            arch: self.arch.as_deref().unwrap_or_default(),
            kernel_api: ApiVersion::HOST.to_string(),
            entry,
            commands: &self.commands,
            desktop: self.desktop.as_ref(),
        };
        let text = toml::to_string(&manifest)
            .map_err(|error| Failure::because(Exit::Environment, &error))?;
        Ok(text.into_bytes())
    }
}

/// The first bytes of a file, wherever links lead from there; all of it if it has at most `most`.
fn read(tree: &Tree, contents: &dyn Contents, path: &[u8], most: u64) -> Option<Vec<u8>> {
    let path = tree.follow(path)?;
    let (id, _) = tree.content(&path)?;
    let mut bytes = Vec::new();
    contents.open(id, &path).ok()?.take(most).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// A name of letters, digits, `.`, `_` and `-`: others become `-`.
fn plain(text: &str) -> String {
    let good = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    plain_text(&text.chars().map(good).collect::<String>())
}

/// Text without control characters, no longer than a manifest allows.
fn plain_text(text: &str) -> String {
    let mut plain: String = display(text.as_bytes()).chars().filter(|c| !c.is_control()).collect();
    let end = (0..=TEXT_BYTES.min(plain.len())).rev().find(|&at| plain.is_char_boundary(at));
    plain.truncate(end.unwrap_or(0));
    plain
}

/// Whether a manifest allows this name of a command, without a table of its own.
fn is_command(name: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    (1..=62).contains(&name.len()) && name.bytes().all(good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_plain() {
        let table = [
            ("org.kde.krita", "org.kde.krita"),
            ("A B/\u{e4}\n", "A-B---"),
            ("../x", "..-x"),
            ("", ""),
        ];
        for (text, expected) in table {
            assert_eq!(plain(text), expected);
        }
        assert_eq!(plain(&"x".repeat(300)).len(), 254);
    }

    #[test]
    fn makes_manifests_that_can_be_read() {
        let mut description = Description {
            name: Some("a \"b\"".into()),
            version: Some("1".into()),
            entry: Some("/AppRun".into()),
            arch: Some("x86-64".into()),
            ..Description::default()
        };
        description.commands.insert("sub-x".into(), "/AppRun".into());
        description.desktop = Some(DesktopFiles { file: "/x.desktop".into(), icon: None });
        let text = description.manifest().expect("complete");
        let manifest = epk_format::manifest::Manifest::parse(&text).expect("good");
        assert_eq!((&*manifest.name, &*manifest.kernel_api), ("a \"b\"", "1.0"));
        description.version = None;
        assert_eq!(description.manifest().expect_err("refused").exit, Exit::Finding);
    }
}
