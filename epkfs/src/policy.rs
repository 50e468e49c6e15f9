//! What a machine and its user ask of signatures, and whom they trust: the files `epk.toml` and
//! `trust.toml` in a folder of each (`spec/signature.md` §8).

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use epk_format::signature::Policy;
use epk_format::trust::{Settings, TextError, TrustStore, TrustedKeys};
use epk_format::{Error, RejectCode};

/// The machine's folder.
pub const SYSTEM: &str = "/etc/epk";
/// The file of settings.
pub const SETTINGS: &str = "epk.toml";
/// The file of keys.
pub const TRUST: &str = "trust.toml";
/// The most bytes of such a file.
const LIMIT: u64 = 1 << 20;

/// Why nothing is opened: nobody knows what is asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// A file that is there cannot be read.
    #[error("cannot read `{path}`: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// A file says what it cannot say.
    #[error("`{path}`: {source}")]
    Wrong {
        /// The file.
        path: PathBuf,
        /// Where, and what.
        source: TextError,
    },
}

/// Where a user's settings are: `$XDG_CONFIG_HOME`, or `$HOME/.config` (XDG Base Directory
/// Specification), the first that is an absolute path. The arguments are the variables' values.
#[must_use]
pub fn config_home(xdg: Option<OsString>, home: Option<OsString>) -> Option<PathBuf> {
    let absolute = |value: Option<OsString>| value.map(PathBuf::from).filter(|p| p.is_absolute());
    absolute(xdg).or_else(|| absolute(home).map(|home| home.join(".config")))
}

/// The folder of a user whose settings are in `config_home`.
#[must_use]
pub fn user_folder(config_home: &Path) -> PathBuf {
    config_home.join("epk")
}

/// What the files of one folder say, or of several together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// What signatures must be at least.
    pub policy: Option<Policy>,
    /// The file that says so.
    pub said_by: Option<PathBuf>,
    /// Whom they trust, and whom nobody may trust.
    pub trust: TrustedKeys,
}

impl Rules {
    /// Reads the files of a folder. What is not there says nothing.
    ///
    /// # Errors
    /// [`PolicyError`]: whatever else the file says might be a revocation, so nothing counts.
    pub fn read(folder: &Path) -> Result<Self, PolicyError> {
        let wrong = |path: &Path| {
            let path = path.to_owned();
            |source| PolicyError::Wrong { path, source }
        };
        let (settings, trust) = (folder.join(SETTINGS), folder.join(TRUST));
        let mut rules = Self::default();
        if let Some(text) = read(&settings)? {
            rules.policy = Settings::parse(&text).map_err(wrong(&settings))?.signature;
            rules.said_by = rules.policy.map(|_| settings);
        }
        if let Some(text) = read(&trust)? {
            rules.trust = TrustStore::parse(&text).map_err(wrong(&trust))?.keys();
        }
        Ok(rules)
    }

    /// Reads the files of the machine and, if there is one, of the user.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn of(user_folder: Option<&Path>) -> Result<Self, PolicyError> {
        let mut rules = Self::read(Path::new(SYSTEM))?;
        if let Some(folder) = user_folder {
            rules.join(Self::read(folder)?);
        }
        Ok(rules)
    }

    /// Adds what `other` says: the stricter policy, all keys.
    pub fn join(&mut self, other: Self) {
        let trust = other.trust.clone();
        self.restrict(other);
        self.trust.extend(trust);
    }

    /// Adds only what `other` forbids: the stricter policy, revoked keys.
    pub fn restrict(&mut self, other: Self) {
        if other.policy > self.policy {
            (self.policy, self.said_by) = (other.policy, other.said_by);
        }
        self.trust.extend_revoked(other.trust);
    }

    /// The policy that counts if somebody says `said`: the strictest.
    #[must_use]
    pub fn policy(&self, said: Option<Policy>) -> Policy {
        self.policy.max(said).unwrap_or_default()
    }
}

/// A small file's text, if it is there.
fn read(path: &Path) -> Result<Option<String>, PolicyError> {
    let failed = |source| PolicyError::Unreadable { path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        // A folder that is a file has nothing in it either.
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(failed(error)),
    };
    let mut text = String::new();
    let length = file.take(LIMIT + 1).read_to_string(&mut text).map_err(failed)?;
    if length as u64 > LIMIT {
        return Err(failed(io::Error::other(format!("more than {LIMIT} bytes"))));
    }
    Ok(Some(text))
}

/// What may help where a package is refused under a policy for its signature.
#[must_use]
pub fn hints(error: &Error, policy: Policy) -> Vec<&'static str> {
    let mut hints = Vec::new();
    match error.code() {
        Some(RejectCode::SignatureRevoked) => {
            hints.push("revoked is for good: `pkgtool trust list` says why and by which file");
        }
        Some(code) if code.concerns_signature() && policy == Policy::Required => {
            if code == RejectCode::SignatureUntrusted {
                hints.push("if you know whose key that is: `pkgtool trust add`");
            }
            hints.push(
                "a trusted signature is required by an option or by an `epk.toml`: `pkgtool trust \
                 list` says which",
            );
        }
        _ => {}
    }
    hints
}

#[cfg(test)]
mod tests {
    use std::fs;

    use epk_format::signature::SigningKey;
    use tempfile::TempDir;

    use super::*;

    /// A folder with these files.
    fn folder(settings: &str, trust: &str) -> TempDir {
        let folder = tempfile::tempdir().expect("made");
        fs::write(folder.path().join(SETTINGS), settings).expect("written");
        fs::write(folder.path().join(TRUST), trust).expect("written");
        folder
    }

    fn read(folder: &TempDir) -> Result<Rules, PolicyError> {
        Rules::read(folder.path())
    }

    #[test]
    fn the_strictest_wins() {
        let said = |word: &str| Policy::parse(word);
        for (system, user, option, counts) in [
            ("", "", "", "optional"),
            ("", "", "disabled", "disabled"),
            ("disabled", "", "", "disabled"),
            ("disabled", "optional", "disabled", "optional"),
            ("optional", "", "disabled", "optional"),
            ("", "required", "optional", "required"),
            ("required", "disabled", "disabled", "required"),
            ("optional", "disabled", "required", "required"),
        ] {
            let rules = |word: &str| Rules {
                policy: said(word),
                said_by: said(word).map(|_| word.into()),
                ..Rules::default()
            };
            let mut both = rules(system);
            both.join(rules(user));
            let case = format!("{system}, {user}, {option}");
            assert_eq!(both.policy(said(option)).word(), counts, "{case}");
            let stricter = if said(user) > said(system) { user } else { system };
            assert_eq!(both.said_by, said(stricter).map(|_| stricter.into()), "{case}");
        }
    }

    #[test]
    fn files_add_up() {
        let id = |seed: u8| SigningKey::from_seed(&[seed; 32]).public().id();
        let none = Rules::read(Path::new("/dev/null/nothing")).expect("nothing");
        assert_eq!(none, Rules::default());
        let trust = format!("[trusted.'{}']\n[revoked.'{}']\n", id(1), id(2));
        let one = read(&folder("signature = 'optional'\n", &trust)).expect("good");
        assert_eq!(one.policy, Some(Policy::Optional));
        let two = folder("", &format!("[trusted.'{}']\n[trusted.'{}']\n", id(2), id(3)));
        let mut joined = read(&two).expect("good");
        joined.join(one.clone());
        assert_eq!(joined.trust.ids().collect::<Vec<_>>().len(), 2);
        assert!(joined.trust.is_revoked(&id(2)) && joined.trust.names_of(&id(1)).is_some());
        let mut restricted = read(&two).expect("good");
        restricted.restrict(one);
        assert_eq!(restricted.trust.ids().collect::<Vec<_>>(), [&id(3)]);
        assert_eq!(restricted.policy, Some(Policy::Optional));
    }

    #[test]
    fn what_cannot_be_understood_is_an_error() {
        let message = |folder: &TempDir| read(folder).expect_err("refused").to_string();
        let wrong = folder("\nsignature = 'x'\n", "");
        assert!(message(&wrong).contains("epk.toml`: line 2: `x` is no policy"));
        let wrong = folder("", "revokd = {}");
        assert!(message(&wrong).contains("trust.toml`: line 1: unknown field `revokd`"));
        let wrong = folder(&" ".repeat((1 << 20) + 1), "");
        assert!(message(&wrong).contains("more than 1048576 bytes"));
        let wrong = folder("", "");
        fs::write(wrong.path().join(SETTINGS), b"\xff").expect("written");
        assert!(message(&wrong).contains("cannot read"));
    }
}
