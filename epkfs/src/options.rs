//! The options of a mount, as `-o` lists and `/etc/fstab` have them.

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::SystemTime;

use epk_format::signature::Policy;

use crate::mount::MountOptions;
use crate::session::{Config, DEFAULT_CACHE_BYTES, default_threads};

/// What a mount may be told.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// Whether other users may enter.
    pub allow_other: bool,
    /// Whether programs may be executed.
    pub exec: bool,
    /// The owner shown, if not the mounting user.
    pub uid: Option<u32>,
    /// The group shown, if not the mounting user's.
    pub gid: Option<u32>,
    /// Most plain bytes in the block cache.
    pub cache_bytes: usize,
    /// Event loops.
    pub threads: usize,
    /// What the signature must be at least; files may say more, [`policy_folder`].
    ///
    /// [`policy_folder`]: Self::policy_folder
    pub signature: Option<Policy>,
    /// Whether an image of format 1.0 is hashed as a whole, even if it was before.
    pub verify_full: bool,
    /// The user's cache ([`crate::stamp::cache_home`]), where stamps lie. Without one, every image
    /// of format 1.0 is hashed as a whole.
    pub cache_home: Option<PathBuf>,
    /// A file that lists trusted keys.
    pub trust: Option<PathBuf>,
    /// The user's folder with `epk.toml` and `trust.toml` ([`crate::policy::user_folder`]). The
    /// machine's are heeded in any case.
    pub policy_folder: Option<PathBuf>,
    /// The file to which log lines are appended.
    pub log: Option<PathBuf>,
    /// Folders in which to look for fuse3's helper first: the value of `PATH`.
    pub search_path: Option<OsString>,
    /// Now.
    pub started: SystemTime,
    /// Whether the options come from mount(8), which says `rw` when nobody has said anything.
    pub from_mount: bool,
}

/// Why an option isn't accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OptionError {
    /// Nobody knows it.
    #[error("unknown option `{0}`")]
    Unknown(String),
    /// It can't be had.
    #[error("option `{option}` is impossible: {reason}")]
    Refused {
        /// The option.
        option: String,
        /// Why.
        reason: &'static str,
    },
    /// Its value makes no sense.
    #[error("option `{option}` needs {expected}")]
    Value {
        /// The option with its value.
        option: String,
        /// What it needs.
        expected: &'static str,
    },
}

/// Options that say what is so anyway, or that are for mount(8) and systemd alone. fuse3's
/// `mount.fuse3` says `dev,suid` always; a mount is nodev and nosuid all the same.
const WITHOUT_EFFECT: &str = "ro nosuid nodev suid dev default_permissions defaults auto \
    noauto user nouser users owner group nofail _netdev noatime \
    nodiratime relatime norelatime strictatime lazytime nolazytime";

impl Options {
    /// The defaults, at the given time.
    #[must_use]
    pub fn new(started: SystemTime) -> Self {
        Self {
            allow_other: false,
            exec: true,
            uid: None,
            gid: None,
            cache_bytes: DEFAULT_CACHE_BYTES,
            threads: default_threads(),
            signature: None,
            verify_full: false,
            cache_home: None,
            trust: None,
            policy_folder: None,
            log: None,
            search_path: None,
            started,
            from_mount: false,
        }
    }

    /// Applies a comma-separated list of options; later ones win. In values, `\,` is a comma and
    /// `\\` a backslash.
    ///
    /// # Errors
    /// The first option that isn't accepted.
    pub fn apply(&mut self, list: &str) -> Result<(), OptionError> {
        let without_effect: HashSet<&str> = WITHOUT_EFFECT.split_whitespace().collect();
        let options = split(list);
        // What mount.fuse3 adds to what mount(8) said.
        let from_helper = ["dev", "suid"].iter().all(|word| options.iter().any(|o| o == word));
        for option in options {
            let (name, value) = match option.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (&*option, None),
            };
            let wrong = |expected| OptionError::Value { option: option.clone(), expected };
            let number = || value.and_then(|value| value.parse().ok());
            let path = || value.filter(|value| !value.is_empty()).map(PathBuf::from);
            match (name, value) {
                ("", None) => {}
                ("exec", None) => self.exec = true,
                ("noexec", None) => self.exec = false,
                ("allow_other", None) => self.allow_other = true,
                ("uid", _) => self.uid = Some(number().ok_or_else(|| wrong("a user's number"))?),
                ("gid", _) => self.gid = Some(number().ok_or_else(|| wrong("a group's number"))?),
                ("cache", _) => {
                    let size = value.and_then(size);
                    self.cache_bytes = size.ok_or_else(|| wrong("a size, like `16M`"))?;
                }
                ("threads", _) => {
                    let threads = value.and_then(|value| value.parse().ok());
                    self.threads = threads
                        .filter(|threads| (1..=256).contains(threads))
                        .ok_or_else(|| wrong("a number from 1 to 256"))?;
                }
                ("signature", _) => {
                    let policy = value.and_then(Policy::parse);
                    let expected = "`disabled`, `optional` or `required`";
                    self.signature = Some(policy.ok_or_else(|| wrong(expected))?);
                }
                ("verify", _) => {
                    self.verify_full = match value {
                        Some("once") => false,
                        Some("full") => true,
                        _ => return Err(wrong("`once` or `full`")),
                    };
                }
                ("trust", _) => self.trust = Some(path().ok_or_else(|| wrong("a file's path"))?),
                ("log", _) => self.log = Some(path().ok_or_else(|| wrong("a file's path"))?),
                ("rw", None) if self.from_mount || from_helper => {}
                ("rw", None) => {
                    return Err(refused(&option, "a package never changes, mount it with `ro`"));
                }
                ("allow_root", None) => {
                    return Err(refused(&option, "the kernel knows `allow_other` only"));
                }
                (name, None) if without_effect.contains(name) => {}
                ("comment", Some(_)) => {}
                (name, _) if name.starts_with("x-") || name.starts_with("X-") => {}
                _ => return Err(OptionError::Unknown(option)),
            }
        }
        Ok(())
    }

    /// The part that concerns mounting an image.
    pub(crate) fn mount_options(&self, image: PathBuf) -> MountOptions {
        let mut options = MountOptions::new(image);
        options.allow_other = self.allow_other;
        options.exec = self.exec;
        options.search_path.clone_from(&self.search_path);
        options
    }

    /// The part that concerns serving an image.
    pub(crate) fn config(&self, image: PathBuf) -> Config {
        let mut config = Config::new(image, self.started);
        config.uid = self.uid.unwrap_or(config.uid);
        config.gid = self.gid.unwrap_or(config.gid);
        config.cache_bytes = self.cache_bytes;
        config.threads = self.threads;
        config
    }
}

fn refused(option: &str, reason: &'static str) -> OptionError {
    OptionError::Refused { option: option.into(), reason }
}

fn split(list: &str) -> Vec<String> {
    let mut options = vec![String::new()];
    let mut letters = list.chars().peekable();
    while let Some(letter) = letters.next() {
        let escaped = letter == '\\' && matches!(letters.peek(), Some(',' | '\\'));
        match (letter, options.last_mut()) {
            (',', _) => options.push(String::new()),
            (_, Some(option)) => {
                option.push(if escaped { letters.next().unwrap_or(letter) } else { letter });
            }
            (_, None) => {}
        }
    }
    options
}

/// Bytes, with the suffixes K, M and G for powers of 1024.
fn size(text: &str) -> Option<usize> {
    let (digits, shift) = match text.as_bytes().last()? {
        b'k' | b'K' => (text.get(..text.len() - 1)?, 10),
        b'm' | b'M' => (text.get(..text.len() - 1)?, 20),
        b'g' | b'G' => (text.get(..text.len() - 1)?, 30),
        _ => (text, 0),
    };
    digits.parse::<usize>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(list: &str) -> Result<Options, OptionError> {
        let mut options = Options::new(SystemTime::UNIX_EPOCH);
        options.apply(list).map(|()| options)
    }

    #[test]
    fn lists_are_taken_apart() {
        let options = parse(
            "ro,noexec,allow_other,uid=7,gid=8,cache=2M,threads=3,signature=required,\
             trust=/a\\,b\\\\c,x-gvfs-hide,X-y=1,_netdev,noauto,users,defaults,,comment=z,log=/l",
        )
        .expect("all known");
        assert!(options.allow_other && !options.exec);
        assert_eq!((options.uid, options.gid), (Some(7), Some(8)));
        assert_eq!((options.cache_bytes, options.threads), (2 << 20, 3));
        assert_eq!(options.signature, Some(Policy::Required));
        assert_eq!(options.trust, Some("/a,b\\c".into()));
        assert_eq!(options.log, Some("/l".into()));
        assert!(parse("noexec,exec").expect("known").exec);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (list, message) in [
            ("ro,fast", "unknown option `fast`"),
            ("ro=1", "unknown option `ro=1`"),
            ("rw", "option `rw` is impossible: a package never changes, mount it with `ro`"),
            (
                "allow_root",
                "option `allow_root` is impossible: the kernel knows `allow_other` only",
            ),
            ("uid=me", "option `uid=me` needs a user's number"),
            ("uid", "option `uid` needs a user's number"),
            ("cache=", "option `cache=` needs a size, like `16M`"),
            ("cache=99999999999G", "option `cache=99999999999G` needs a size, like `16M`"),
            ("threads=0", "option `threads=0` needs a number from 1 to 256"),
            ("signature=x", "option `signature=x` needs `disabled`, `optional` or `required`"),
            ("trust=", "option `trust=` needs a file's path"),
        ] {
            let error = parse(list).expect_err(list);
            assert_eq!(error.to_string(), message);
        }
    }

    #[test]
    fn what_mount_always_says_is_accepted() {
        let mut options = Options::new(SystemTime::UNIX_EPOCH);
        options.from_mount = true;
        options.apply("rw,noexec").expect("without effect");
        // mount.fuse3 calls under our own name.
        let options = parse("rw,noexec,dev,suid").expect("without effect");
        assert!(!options.exec);
    }

    #[test]
    fn sizes_have_suffixes() {
        for (text, bytes) in [("0", 0), ("10", 10), ("1k", 1 << 10), ("3G", 3 << 30)] {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        for text in ["", "M", "-1", "1T", "1 M", "é"] {
            assert_eq!(size(text), None, "{text}");
        }
    }
}
