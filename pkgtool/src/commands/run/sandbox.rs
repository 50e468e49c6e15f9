//! Options of `pkgtool run` about what the application sees and may.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser as _};

use crate::exit::Failure;
use crate::isolation::{Bind, Data, Level, Options};
use crate::launch::user_data;

#[derive(Debug, Args)]
pub(super) struct SandboxArgs {
    /// How much of the host the application is kept from; the package's own wish, if that is stricter
    #[arg(long, value_name = "LEVEL", value_enum)]
    isolation: Option<Level>,

    /// Let --isolation count even if the package asks for more
    #[arg(long, requires = "isolation")]
    allow_weaker: bool,

    /// In `sealed`: use the host's network
    #[arg(long)]
    share_net: bool,

    /// In `sealed`: show a file or folder SRC of the host as DST, with `:ro` read-only; may be repeated
    #[arg(long, value_name = "SRC:DST[:ro]", value_parser = OsStringValueParser::new().try_map(bind))]
    bind: Vec<Bind>,

    /// Give the application an empty /tmp of its own
    #[arg(long)]
    private_tmp: bool,

    /// Let the application share the host's process namespace, and be the process that was started
    #[arg(long)]
    no_pid_namespace: bool,

    /// The folder that is /user-data; made if it isn't there
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,

    /// Keep /user-data beside the package, in a folder of its name and `.data`
    #[arg(long, conflicts_with = "data")]
    portable: bool,

    /// Make /user-data an empty folder in memory, thrown away with all that is in it at the end
    #[arg(long, conflicts_with_all = ["data", "portable"])]
    fresh: bool,

    /// Let the application write in /package; what it writes is thrown away at the end
    #[arg(long)]
    writable_package: bool,

    /// Inherit no variable
    #[arg(long)]
    clear_env: bool,

    /// Set a variable; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = OsStringValueParser::new().try_map(variable))]
    env: Vec<(OsString, OsString)>,
}

impl SandboxArgs {
    pub(super) fn data(&self, name: &str, image: &Path) -> Result<Data, Failure> {
        if self.fresh {
            return Ok(Data::Fresh);
        }
        let folder = match &self.data {
            Some(folder) => absolute(folder)?,
            None if self.portable => user_data::beside(image),
            None => user_data::of_package(name)?,
        };
        Ok(Data::Folder(folder))
    }

    /// What the user asks for, of a package that asks for `package`.
    pub(super) fn options(&self, package: Option<Level>) -> Options {
        Options {
            level: Level::choose(package, self.isolation, self.allow_weaker),
            process_namespace: !self.no_pid_namespace,
            private_tmp: self.private_tmp,
            writable_package: self.writable_package,
            share_net: self.share_net,
            binds: self.bind.clone(),
            clear_environment: self.clear_env,
            set: self.env.clone(),
        }
    }
}

fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path)
        .map_err(|error| Failure::environment(format!("`{}`: {error}", path.display())))
}

#[expect(clippy::needless_pass_by_value, reason = "as clap wants it")]
fn bind(text: OsString) -> Result<Bind, String> {
    let wrong = "expected `SRC:DST` or `SRC:DST:ro`, without other colons".to_owned();
    let parts: Vec<&[u8]> = text.as_bytes().split(|&byte| byte == b':').collect();
    let (source, target, writable) = match parts.as_slice() {
        [source, target] => (source, target, true),
        [source, target, b"ro"] => (source, target, false),
        _ => return Err(wrong),
    };
    if source.is_empty() || target.is_empty() {
        return Err(wrong);
    }
    let path = |bytes| Path::new(OsStr::from_bytes(bytes));
    let source = std::path::absolute(path(source)).map_err(|error| error.to_string())?;
    Ok(Bind { source, target: path(target).to_owned(), writable })
}

#[expect(clippy::needless_pass_by_value, reason = "as clap wants it")]
fn variable(text: OsString) -> Result<(OsString, OsString), String> {
    let bytes = text.as_bytes();
    let at = bytes.iter().position(|&byte| byte == b'=').filter(|&at| at > 0);
    let (key, value) =
        at.and_then(|at| bytes.split_at_checked(at)).ok_or("expected `KEY=VALUE`")?;
    let value = value.get(1..).unwrap_or_default();
    Ok((OsStr::from_bytes(key).to_owned(), OsStr::from_bytes(value).to_owned()))
}

/// Where homes are on this host, if the level hides them: real folders, and the user's own.
pub(super) fn homes(level: Level) -> (Vec<PathBuf>, Option<PathBuf>) {
    if level != Level::HomeHidden {
        return (Vec::new(), None);
    }
    let folder = |path: &Path| std::fs::canonicalize(path).ok().filter(|path| path.is_dir());
    let usual = ["/home", "/root"].iter().filter_map(|path| folder(Path::new(path))).collect();
    let own = std::env::var_os("HOME").filter(|home| Path::new(home).is_absolute());
    (usual, own.and_then(|home| folder(Path::new(&home))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_taken_apart() {
        let read = |text: &str| bind(text.into());
        let expected = |source: &str, target: &str, writable| {
            Ok(Bind { source: source.into(), target: target.into(), writable })
        };
        assert_eq!(read("/a:/b"), expected("/a", "/b", true));
        assert_eq!(read("/a:/b:ro"), expected("/a", "/b", false));
        for text in ["", "/a", ":/b", "/a:", "/a:/b:rw", "/a:/b:ro:", "/a:/b:c:ro"] {
            assert!(read(text).is_err(), "{text}");
        }
        for (text, pair) in [
            ("K=V", Some(("K", "V"))),
            ("K=", Some(("K", ""))),
            ("K==", Some(("K", "="))),
            ("=V", None),
            ("K", None),
        ] {
            let found = variable(text.into()).ok();
            let pair = pair.map(|(key, value)| (key.into(), value.into()));
            assert_eq!(found, pair, "{text}");
        }
    }
}
