//! `drift trust`

use std::path::{Path, PathBuf};

use super::super::trust::DEFAULT_STORE;
use super::report::{Report, finish};
use super::{Failure, Host, optional};
use crate::canonical_json::{ascii_compact, ascii_indented};
use crate::files;
use crate::json::Limit;
use crate::problem::Problem;
use crate::trust::TrustFile;

/// Show and change the project's trust store.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    List(ListArgs),
    AddKey(AddKeyArgs),
    Revoke(RevokeArgs),
    Rotate(RotateArgs),
}

#[derive(Debug, clap::Args)]
struct Store {
    /// The trust store
    #[arg(long, value_name = "FILE", default_value = DEFAULT_STORE)]
    trust_store: PathBuf,
}

/// Print the trust store; a missing one is empty.
#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    store: Store,
    /// Print it as one line
    #[arg(long)]
    json: bool,
}

/// Let a key speak for a namespace.
///
/// NS is a module id, or a module id and `.*` for it and everything below. The reserved
/// namespaces std, lang and drift are refused: only keys of the toolchain speak for them.
#[derive(Debug, clap::Args)]
pub(super) struct AddKeyArgs {
    #[command(flatten)]
    store: Store,
    /// The namespace
    #[arg(long, value_name = "NS")]
    namespace: String,
    /// The public key
    #[arg(long, value_name = "BASE64")]
    pubkey: String,
    /// The key's id, to be compared with the one derived from the key
    #[arg(long, value_name = "KID")]
    kid: Option<String>,
}

/// Revoke a key for good, known or not.
#[derive(Debug, clap::Args)]
pub(super) struct RevokeArgs {
    #[command(flatten)]
    store: Store,
    /// The key's id
    #[arg(long, value_name = "KID")]
    kid: String,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// Put another key in the place of all that are bound to a namespace or a repository.
#[derive(Debug, clap::Args)]
pub(super) struct RotateArgs {
    #[command(flatten)]
    store: Store,
    /// The namespace, as the trust store spells it
    #[arg(long, value_name = "NS", required_unless_present = "repository")]
    namespace: Option<String>,
    /// The repository's URL, as the trust store spells it
    #[arg(long, value_name = "URL", conflicts_with = "namespace")]
    repository: Option<String>,
    /// The new public key
    #[arg(long, value_name = "BASE64")]
    pubkey: String,
    /// Revoke the keys that were bound before
    #[arg(long)]
    revoke_old: bool,
    /// Why they are revoked
    #[arg(long, value_name = "TEXT", requires = "revoke_old")]
    reason: Option<String>,
    /// Print a JSON report and nothing else
    #[arg(long)]
    json: bool,
}

pub(super) fn run(command: &Command, host: &mut Host<'_>) -> Result<u8, Failure> {
    match command {
        Command::List(args) => {
            let store = load(&args.store.trust_store)?.to_json();
            let text = if args.json { ascii_compact(&store) } else { ascii_indented(&store) };
            host.out.write_all(text.as_bytes())?;
        }
        Command::AddKey(args) => change(&args.store.trust_store, |store| {
            Ok(store.add_key(&args.namespace, &args.pubkey, args.kid.as_deref())?)
        })?,
        Command::Rotate(args) => return rotate(args, host),
        Command::Revoke(args) => {
            let now = timestamp(host.now);
            change(&args.store.trust_store, |store| {
                store.revoke(&args.kid, &now, args.reason.as_deref());
                Ok(())
            })?;
        }
    }
    Ok(0)
}

fn rotate(args: &RotateArgs, host: &mut Host<'_>) -> Result<u8, Failure> {
    let name = args.repository.as_deref().or(args.namespace.as_deref()).unwrap_or_default();
    let now = timestamp(host.now);
    let mut before = Vec::new();
    let mut refused = None;
    let changed = change(&args.store.trust_store, |store| {
        match store.rotate(name, &args.pubkey) {
            Ok(old) => before = old,
            Err(error) => {
                refused = Some(error.to_string());
                return Err(error.into());
            }
        }
        for kid in before.iter().filter(|_| args.revoke_old) {
            store.revoke(kid, &now, args.reason.as_deref());
        }
        Ok(())
    });
    let result = match (changed, refused) {
        (Ok(()), _) => Ok(Report::default()
            .field("name", name)
            .field("replaced", before)
            .field("revoked", args.revoke_old)),
        (Err(_), Some(message)) => {
            Err(vec![Problem::new("TRUST_ROTATE_REFUSED", message).about(name)])
        }
        (Err(failure), None) => return Err(failure),
    };
    finish(host, args.json, result)
}

fn load(path: &Path) -> Result<TrustFile, Failure> {
    Ok(match optional(files::read(path, Limit::SETTINGS.file()))? {
        Some(bytes) => TrustFile::parse(&bytes)?,
        None => TrustFile::empty(),
    })
}

/// Reads, changes and writes the store while no other `drift` does.
fn change(
    path: &Path,
    change: impl FnOnce(&mut TrustFile) -> Result<(), Failure>,
) -> Result<(), Failure> {
    // A refused change makes no directory: try it first on what is there.
    let mut store = load(path)?;
    let directory = files::parent_of(path);
    if !directory.is_dir() {
        change(&mut store)?;
        files::create_dirs(directory)?;
        return Ok(files::write_atomically(path, &store.to_bytes())?);
    }
    let _guard = files::lock_directory(directory)?;
    let mut store = load(path)?;
    change(&mut store)?;
    Ok(files::write_atomically(path, &store.to_bytes())?)
}

/// `YYYY-MM-DDTHH:MM:SS+00:00`
pub(super) fn timestamp(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Years of 365.2425 days that begin in March, from the year 0 on: leap days come last.
    let days = days.saturating_add(719_468);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}+00:00")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_the_time() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00+00:00"),
            (951_782_399, "2000-02-28T23:59:59+00:00"),
            (951_782_400, "2000-02-29T00:00:00+00:00"),
            (1_735_689_599, "2024-12-31T23:59:59+00:00"),
            (4_107_542_400, "2100-03-01T00:00:00+00:00"),
        ] {
            assert_eq!(timestamp(seconds), expected);
        }
    }
}
