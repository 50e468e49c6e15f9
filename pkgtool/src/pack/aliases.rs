//! Folder aliases that the user declares.

use std::fs;
use std::path::{Path, PathBuf};

use crate::exit::{Exit, Failure};

/// A folder alias: a path in the package, and the folder that it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Alias {
    pub(crate) path: String,
    pub(crate) target: String,
}

/// Reads `LINK=TARGET`. Both are paths from the package's root; a leading slash changes nothing.
pub(crate) fn parse(text: &str) -> Result<Alias, String> {
    let (path, target) = text.split_once('=').ok_or("expected `LINK=TARGET`")?;
    Alias::new(path, target)
}

impl Alias {
    fn new(path: &str, target: &str) -> Result<Self, String> {
        let path = path.trim_start_matches('/');
        if path.is_empty() || target.is_empty() {
            return Err("an alias needs a path and a target, neither may be empty".into());
        }
        Ok(Self { path: path.to_owned(), target: target.to_owned() })
    }
}

/// Reads a file of aliases: TOML, each key a path and each value its target.
///
/// ```toml
/// lib64 = "lib"
/// "share/doc" = "/usr/share/doc"
/// ```
pub(crate) fn read(file: &Path) -> Result<Vec<Alias>, Failure> {
    let text = fs::read_to_string(file)
        .map_err(|error| Failure::system(format!("cannot read `{}`", file.display()), &error))?;
    let bad = |detail: String| {
        Failure::new(Exit::Usage, format!("alias file `{}`: {detail}", file.display()))
            .hint("an alias is a line like `lib64 = \"lib\"`")
    };
    let table: toml::Table = text.parse().map_err(|error| bad(format!("{error}")))?;
    let aliases = table.iter().map(|(path, target)| match target {
        toml::Value::String(target) => Alias::new(path, target).map_err(&bad),
        other => Err(bad(format!("the target of `{path}` is a {}, not a text", other.type_str()))),
    });
    aliases.collect()
}

/// All aliases, of options and files.
pub(crate) fn collect(options: &[Alias], files: &[PathBuf]) -> Result<Vec<Alias>, Failure> {
    let mut all = options.to_vec();
    for file in files {
        all.extend(read(file)?);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_options() {
        let alias = |path: &str, target: &str| Ok(Alias::new(path, target).expect("good"));
        assert_eq!(parse("lib64=lib"), alias("lib64", "lib"));
        assert_eq!(parse("/a/b=/c=d"), alias("a/b", "/c=d"));
        for text in ["", "lib", "=lib", "lib=", "/=lib"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn reads_files() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("aliases.toml");
        fs::write(&file, "# comment\nlib64 = \"lib\"\n\"a b/c\" = \"/d\"\n").expect("written");
        let aliases = read(&file).expect("good");
        let pairs: Vec<_> = aliases.iter().map(|a| (a.path.as_str(), a.target.as_str())).collect();
        assert_eq!(pairs, [("a b/c", "/d"), ("lib64", "lib")]);
        for bad in ["lib64 = 1", "[lib64]\nx = \"y\"", "lib64", "a = \"\"", "a = \"b\"\na = \"c\""]
        {
            fs::write(&file, bad).expect("written");
            assert_eq!(read(&file).expect_err("refused").exit, Exit::Usage, "{bad}");
        }
        let missing = read(&folder.path().join("none")).expect_err("refused");
        assert_eq!(missing.exit, Exit::Environment);
    }
}
