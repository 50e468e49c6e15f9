//! The command line, as mount(8) and FUSE's tools expect it of a filesystem's helper.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use epkfs::options::Options;

const HELP: &str = "\
Mounts an EPK package, read-only; every block is verified before a byte of it is delivered.

Usage: epkfs IMAGE MOUNTPOINT [OPTIONS]

Options:
  -o OPTION[,OPTION]…  see below
  -f                   stay in the foreground; without it, return when the mount answers
      --ready-fd N     write one line of JSON to descriptor N: {\"ready\":true,\"mountpoint\":…,
                       \"pid\":…} when the mount answers, {\"error\":…} when it never will
  -s, -n, -v           accepted for mount(8), without effect
  -h, --help           print this
  -V, --version        print the version

Options after -o:
  allow_other          let other users enter
  noexec               no program on the mount can be executed
  uid=N, gid=N         who owns the files; the mounting user by default
  cache=SIZE           memory for blocks that are read in parts; 16M by default
  threads=N            event loops; the number of processors by default, at most 4
  signature=POLICY     disabled, optional (the default) or required; epk.toml in /etc/epk or in
                       the user's folder may ask for more
  verify=HOW           once (the default): a package of format 1.0 is hashed as a whole when it
                       has changed since the last time; full: always
  trust=FILE           ids of keys that `required` accepts, one a line, besides those that
                       `pkgtool trust` keeps
  log=FILE             append log lines to a file
  ro, nosuid, nodev, default_permissions: always so; suid and dev have no effect
  defaults, auto, noauto, user, users, nofail, _netdev, x-…: for mount(8) and systemd

Exit status: 0 mounted (with -f: and unmounted again), 2 usage, 3 environment, 4 invalid package,
5 signature.";

/// What to do.
pub(crate) enum Command {
    Print(String),
    Mount(Box<Arguments>),
}

/// What to mount where.
pub(crate) struct Arguments {
    pub(crate) image: PathBuf,
    pub(crate) mountpoint: PathBuf,
    pub(crate) foreground: bool,
    pub(crate) ready_fd: Option<i32>,
    pub(crate) options: Options,
}

/// Reads the program's name and its arguments. Options may stand before, between and after the
/// two paths; `--` ends them. Under a name like `mount.fuse.epkfs` it's mount(8) that calls.
pub(crate) fn parse(
    arguments: impl IntoIterator<Item = OsString>,
    now: SystemTime,
) -> Result<Command, String> {
    let mut arguments = arguments.into_iter();
    let (mut paths, mut options) = (Vec::new(), Options::new(now));
    let program = arguments.next().map(PathBuf::from);
    let name = program.as_deref().and_then(Path::file_name).unwrap_or_default();
    options.from_mount = name.as_encoded_bytes().starts_with(b"mount.");
    let (mut foreground, mut ready_fd) = (false, None);
    while let Some(argument) = arguments.next() {
        let text = argument.to_str().unwrap_or_default();
        let mut value = |inline: &str, name: &str| match inline {
            "" => arguments.next().ok_or_else(|| format!("`{name}` needs a value")),
            inline => Ok(OsString::from(inline)),
        };
        match text {
            "--" => {
                paths.extend(arguments.by_ref());
            }
            "-h" | "--help" => return Ok(Command::Print(HELP.into())),
            "-V" | "--version" => {
                return Ok(Command::Print(format!("epkfs {}", env!("CARGO_PKG_VERSION"))));
            }
            "-f" => foreground = true,
            "-s" | "-n" | "-v" => {}
            _ if text.starts_with("-o") => {
                let list = value(text.get(2..).unwrap_or_default(), "-o")?;
                let list = list.to_str().ok_or("options must be UTF-8")?;
                options.apply(list).map_err(|error| error.to_string())?;
            }
            _ if text == "--ready-fd" || text.starts_with("--ready-fd=") => {
                let number = value(text.get("--ready-fd=".len()..).unwrap_or_default(), text)?;
                ready_fd = Some(descriptor(&number)?);
            }
            _ if text.starts_with('-') && text.len() > 1 => {
                return Err(format!("unknown option `{text}`"));
            }
            _ => paths.push(argument),
        }
    }
    let paths: [OsString; 2] = paths
        .try_into()
        .map_err(|_| "exactly two paths are needed, an image and a mountpoint".to_owned())?;
    let [image, mountpoint] = paths.map(PathBuf::from);
    Ok(Command::Mount(Box::new(Arguments { image, mountpoint, foreground, ready_fd, options })))
}

fn descriptor(number: &OsStr) -> Result<i32, String> {
    let number = number.to_str().and_then(|number| number.parse().ok());
    let writable = number.filter(|&number| number > 0);
    writable.ok_or_else(|| "`--ready-fd` needs the number of an open descriptor".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, String> {
        let words = ["epkfs"].into_iter().chain(line.split_whitespace());
        parse(words.map(OsString::from), SystemTime::UNIX_EPOCH)
    }

    fn arguments(line: &str) -> Arguments {
        match parsed(line) {
            Ok(Command::Mount(arguments)) => *arguments,
            Ok(Command::Print(text)) => panic!("{text}"),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn options_may_stand_anywhere() {
        for line in [
            "a.epk mnt -f -o noexec,uid=5 --ready-fd 7",
            "-ouid=5,noexec --ready-fd=7 a.epk -f -s -n -v mnt",
            "-f -o noexec --ready-fd 7 -o uid=5 -- a.epk mnt",
        ] {
            let arguments = arguments(line);
            assert_eq!((arguments.image, arguments.mountpoint), ("a.epk".into(), "mnt".into()));
            assert!(arguments.foreground && !arguments.options.exec, "{line}");
            assert_eq!((arguments.ready_fd, arguments.options.uid), (Some(7), Some(5)));
        }
        assert_eq!(arguments("-- -o --help").mountpoint, PathBuf::from("--help"));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for line in
            ["", "a", "a b c", "a b -x", "a b -o", "a b -o rw", "a b --ready-fd 0", "a b --fd"]
        {
            assert!(parsed(line).is_err(), "{line}");
        }
        assert!(matches!(parsed("-h"), Ok(Command::Print(_))));
        assert!(matches!(parsed("a -V"), Ok(Command::Print(_))));
    }
}
