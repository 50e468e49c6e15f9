//! What a `.desktop` file (Desktop Entry Specification) says of an AppImage.

use std::collections::BTreeMap;

/// The group that counts.
const GROUP: &str = "[Desktop Entry]";

/// The keys of the main group, the first of each.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Desktop(BTreeMap<String, String>);

impl Desktop {
    /// Reads what can be read: applications bring all kinds of files.
    pub(crate) fn read(text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text);
        let mut keys = BTreeMap::new();
        let lines = text.lines().map(str::trim).skip_while(|line| *line != GROUP).skip(1);
        for line in lines.take_while(|line| !line.starts_with('[')) {
            if let Some((key, value)) = line.split_once('=').filter(|_| !line.starts_with('#')) {
                keys.entry(key.trim().to_owned()).or_insert_with(|| value.trim().to_owned());
            }
        }
        Self(keys)
    }

    /// The value of a key, if it says anything.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The name of the program that `Exec` starts, without folders.
    pub(crate) fn program(&self) -> Option<&str> {
        let line = self.get("Exec")?;
        let first = match line.strip_prefix('"') {
            Some(quoted) => quoted.split('"').next()?,
            None => line.split_whitespace().next()?,
        };
        first.rsplit('/').next().filter(|name| !name.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_main_group() {
        let text = b"# x\n[Other]\nName=no\n[Desktop Entry]\nName = A B\nName=second\n\
            Exec=\"/usr/bin/a b\" %F\nName[de]=C\nIcon=\n[Desktop Action x]\nVersion=1\n";
        let desktop = Desktop::read(text);
        assert_eq!(desktop.get("Name"), Some("A B"));
        assert_eq!((desktop.get("Icon"), desktop.get("Version")), (None, None));
        assert_eq!(desktop.program(), Some("a b"));
        assert_eq!(Desktop::read(b"[Desktop Entry]\nExec=app --x").program(), Some("app"));
        assert_eq!(Desktop::read(b"\xff\xfe").program(), None);
    }
}
