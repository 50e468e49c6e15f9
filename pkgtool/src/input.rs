//! Opening the package that a command works on, under the signature policy of its options.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::{Args, ValueEnum};
use epk_format::manifest::{ApiVersion, Host};
use epk_format::signature::{Policy, SignatureState};
use epk_format::trust::TrustedKeys;
use epk_format::{OpenOptions, Package};
use epkfs::policy::{self, PolicyError, Rules};
use epkfs::stamp;
use nix::sys::utsname::uname;

use crate::events;
use crate::exit::{Exit, Failure};
use crate::store::Owner;

/// What a package's signature must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SignaturePolicy {
    /// Signatures are not verified; revoked keys are refused all the same
    Disabled,
    /// A signature that is there must be valid
    Optional,
    /// There must be a valid signature by a trusted key
    Required,
}

impl From<SignaturePolicy> for Policy {
    fn from(policy: SignaturePolicy) -> Self {
        match policy {
            SignaturePolicy::Disabled => Self::Disabled,
            SignaturePolicy::Optional => Self::Optional,
            SignaturePolicy::Required => Self::Required,
        }
    }
}

/// Whether a package of format 1.0 is hashed as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Verify {
    /// When it has changed since the last time
    #[default]
    Once,
    /// Always
    Full,
}

/// The user's cache.
pub(crate) fn cache_home() -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name);
    stamp::cache_home(variable("XDG_CACHE_HOME"), variable("HOME"))
}

/// Where the user's settings are.
pub(crate) fn config_home() -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name);
    policy::config_home(variable("XDG_CONFIG_HOME"), variable("HOME"))
}

/// The user's folder of settings.
pub(crate) fn policy_folder() -> Option<PathBuf> {
    config_home().as_deref().map(policy::user_folder)
}

/// Options of every command that opens a package.
#[derive(Debug, Clone, Args)]
pub(crate) struct TrustArgs {
    /// What the package's signature must be; of this and what `epk.toml` says the strictest counts
    #[arg(long, value_enum, value_name = "POLICY")]
    pub(crate) signature: Option<SignaturePolicy>,

    /// Trusted keys, one a line: base64 of the public key, or its id (`ed25519:…`)
    #[arg(long, value_name = "FILE")]
    pub(crate) trust: Option<PathBuf>,
}

impl TrustArgs {
    /// The options as they would be written.
    pub(crate) fn words(&self) -> Vec<OsString> {
        let policy = self.signature.map(|policy| match policy {
            SignaturePolicy::Disabled => "--signature=disabled".into(),
            SignaturePolicy::Optional => "--signature=optional".into(),
            SignaturePolicy::Required => "--signature=required".into(),
        });
        let trust = self.trust.iter().flat_map(|file| ["--trust".into(), file.into()]);
        policy.into_iter().chain(trust).collect()
    }

    /// The rules that the options and the files of machine and user stand for.
    pub(crate) fn open_options(&self) -> Result<OpenOptions, Failure> {
        self.under(Rules::of(policy_folder().as_deref()).map_err(|error| unusable(&error))?)
    }

    /// The same for what comes into a store. Into the system's for all users: there it does not
    /// count whom one of them trusts.
    pub(crate) fn options_for(&self, owner: Owner) -> Result<OpenOptions, Failure> {
        if owner == Owner::User {
            return self.open_options();
        }
        let mut rules = Rules::of(None).map_err(|error| unusable(&error))?;
        if let Some(folder) = policy_folder() {
            rules.restrict(Rules::read(&folder).map_err(|error| unusable(&error))?);
        }
        self.under(rules)
    }

    fn under(&self, rules: Rules) -> Result<OpenOptions, Failure> {
        let signature = rules.policy(self.signature.map(Policy::from));
        let mut trust = rules.trust;
        if let Some(path) = &self.trust {
            trust.extend(read_trust(path)?);
        }
        Ok(OpenOptions { signature, trust, ..OpenOptions::default() })
    }
}

/// Nobody knows what signatures must be.
pub(crate) fn unusable(error: &PolicyError) -> Failure {
    match error {
        PolicyError::Wrong { .. } => Failure::new(Exit::Signature, error)
            .hint("nothing is opened until it is right: it may say what must not be"),
        _ => Failure::environment(error),
    }
}

/// Reads a trust file.
pub(crate) fn read_trust(path: &Path) -> Result<TrustedKeys, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::environment(format!("`{}`: {error}", path.display())))?;
    TrustedKeys::parse(&text).map_err(|line| {
        Failure::new(
            Exit::Signature,
            format!("`{}`: line {line} is neither a public key nor a key id", path.display()),
        )
    })
}

/// Opens a package's file; anything but a file of bytes is refused by name.
pub(crate) fn open_file(path: &Path) -> Result<File, Failure> {
    let failure = |error: &dyn std::fmt::Display| {
        Failure::environment(format!("`{}`: {error}", path.display()))
    };
    let file = File::open(path).map_err(|error| failure(&error))?;
    let kind = file.metadata().map_err(|error| failure(&error))?.file_type();
    if kind.is_dir() {
        return Err(failure(&"is a folder, not a package")
            .hint("`pkgtool pack DIR -o FILE` makes a package of a folder"));
    }
    if !kind.is_file() && !kind.is_block_device() {
        return Err(failure(&"is not a regular file"));
    }
    Ok(file)
}

/// Opens a package. One of format 1.0 that was hashed as a whole before is not hashed again.
pub(crate) fn open_package(path: &Path, options: &OpenOptions) -> Result<Package<File>, Failure> {
    match cache_home() {
        Some(cache) => stamp::open(open_file(path)?, options, &cache, SystemTime::now())
            .map_err(|error| Failure::opening(path, &error, options))
            .inspect(|package| events::opened(path, package)),
        None => open_in_full(path, options),
    }
}

/// Opens a package, and hashes one of format 1.0 as a whole whatever is known of it.
pub(crate) fn open_in_full(path: &Path, options: &OpenOptions) -> Result<Package<File>, Failure> {
    Package::open(open_file(path)?, options)
        .map_err(|error| Failure::opening(path, &error, options))
        .inspect(|package| events::opened(path, package))
}

/// The word for a signature's state, and whose it is (`spec/signature.md` §6).
pub(crate) fn signature_words(state: &SignatureState) -> (&'static str, Option<String>) {
    match state {
        SignatureState::Unsigned => ("unsigned", None),
        SignatureState::Valid(id) => ("valid", Some(id.to_string())),
        SignatureState::Untrusted(id) => ("untrusted", Some(id.to_string())),
        SignatureState::NotChecked => ("not-checked", None),
    }
}

/// What this machine runs, with the API that the user may have chosen.
pub(crate) fn host(kernel_api: Option<ApiVersion>) -> Host<'static> {
    let name = uname();
    let machine = name.as_ref().map_or(&[][..], |name| name.machine().as_bytes());
    Host { arches: arches(machine), kernel_api: kernel_api.unwrap_or(ApiVersion::HOST) }
}

/// The architectures of a machine that uname(2) calls so, its own first. The kernel counts, not
/// for which of them this program was built.
fn arches(machine: &[u8]) -> &'static [&'static str] {
    // For those whom setarch(8) tells that the machine is smaller: this program needs the larger.
    if cfg!(target_arch = "x86_64") {
        return &["x86-64", "x86-32"];
    }
    match machine {
        b"x86_64" => &["x86-64", "x86-32"],
        [b'i', b'3'..=b'6', b'8', b'6'] => &["x86-32"],
        _ => &[],
    }
}

/// Reads `--kernel-api`.
pub(crate) fn parse_api(text: &str) -> Result<ApiVersion, String> {
    ApiVersion::parse(text).ok_or_else(|| "expected `major.minor`".to_owned())
}
