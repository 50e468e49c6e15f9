//! An alias: a small TOML file named after the command, that says what it runs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::exit::Failure;
use crate::store::Wanted;

/// What an alias says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Alias {
    /// The file that says it.
    pub(crate) file: PathBuf,
    pub(crate) package: Target,
    /// A command of the package; without one its entry.
    pub(crate) command: Option<String>,
}

/// Which package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// The file at an absolute path.
    File(PathBuf),
    /// An installed one.
    Installed(Wanted),
}

/// The file's keys.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    package: String,
    command: Option<String>,
}

/// The alias of a command, if the folder has one. The name must be a command's, which is never a
/// path.
pub(crate) fn read(folder: &Path, name: &str) -> Result<Option<Alias>, Failure> {
    let file = folder.join(format!("{name}.toml"));
    let text = match fs::read_to_string(&file) {
        // A folder that is a file has nothing in it either.
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            return Ok(None);
        }
        text => text.map_err(|error| Failure::launch(format!("`{}`: {error}", file.display())))?,
    };
    parse(&text, &file).map(Some)
}

fn parse(text: &str, file: &Path) -> Result<Alias, Failure> {
    let wrong = |what: &str| Failure::launch(format!("`{}`: {what}", file.display()));
    let keys: Keys = toml::from_str(text).map_err(|error| {
        // Its own text is one of many lines.
        let line = error.span().and_then(|span| text.get(..span.start));
        let line = line.map_or(1, |before| before.matches('\n').count() + 1);
        wrong(&format!("line {line}: {}", error.message()))
            .hint("an alias has the key `package`, and maybe `command`")
    })?;
    let package = match keys.package.as_str() {
        path if path.starts_with('/') => Target::File(path.into()),
        path if path.contains('/') => return Err(wrong("`package` is a relative path")),
        name => Target::Installed(Wanted::parse(name).map_err(|error| wrong(error.message()))?),
    };
    Ok(Alias { file: file.to_owned(), package, command: keys.command })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_are_read() {
        let read = |text: &str| parse(text, Path::new("/a.toml"));
        let alias = read("package = \"/x.epk\"\ncommand = \"tool\"\n").expect("good");
        assert_eq!(alias.package, Target::File("/x.epk".into()));
        assert_eq!(alias.command.as_deref(), Some("tool"));
        let alias = read("package = \"org.x@1\"\n").expect("good");
        let wanted = Wanted { name: "org.x".into(), version: Some("1".into()) };
        assert_eq!(alias.package, Target::Installed(wanted));
        for (text, message) in [
            ("", "`/a.toml`: line 1: missing field `package`"),
            ("package = \"a/b\"", "`/a.toml`: `package` is a relative path"),
            (
                "package = \"a\"\nx = 1",
                "`/a.toml`: line 2: unknown field `x`, expected `package` or `command`",
            ),
        ] {
            assert_eq!(read(text).expect_err(text).message(), message);
        }
    }
}
