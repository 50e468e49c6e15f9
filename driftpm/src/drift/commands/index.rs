//! `drift index`

use std::path::{Path, PathBuf};

use super::super::repository::{
    BuildRequest, SignRequest, Stated, build, sign_index, verify_index,
};
use super::report::{Report, finish, one};
use super::trust::timestamp;
use super::{Failure, Host};
use crate::files;
use crate::json::{Limit, Value};
use crate::keys::{PrivateKey, PublicKey};
use crate::problem::Problem;
use crate::relpath::shown;

const DAY: u64 = 86_400;

/// Make and check the index of a repository.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    Build(BuildArgs),
    Sign(SignArgs),
    Verify(VerifyArgs),
}

/// Write the index of a folder of packages.
///
/// Versions that the index had before must still be there, with the same bytes, and keep the time
/// at which they were published.
#[derive(Debug, clap::Args)]
pub(super) struct BuildArgs {
    /// The folder of packages and their sidecars
    #[arg(long, value_name = "DIR")]
    artifacts: PathBuf,
    /// The index, called drift-index.json in a repository
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Where the folder can be reached; without it, beside the index
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,
    /// Descriptions and tags: {"packages": {ID: {"description", "tags"}}}
    #[arg(long, value_name = "FILE")]
    about: Option<PathBuf>,
    /// Put a copy packed with Zstandard beside each package that becomes smaller by it
    #[arg(long)]
    pack: bool,
    /// Let published versions be changed or taken away
    #[arg(long)]
    force: bool,
    /// Print a JSON report and nothing else
    #[arg(long)]
    json: bool,
}

/// State what an index is, under the next number, signed.
#[derive(Debug, clap::Args)]
pub(super) struct SignArgs {
    /// The index; the statement is written beside it, with .sig at the end
    #[arg(long = "in", value_name = "FILE")]
    index: PathBuf,
    #[command(flatten)]
    signing: SigningArgs,
    /// Print a JSON report and nothing else
    #[arg(long)]
    json: bool,
}

/// Check an index and its statement completely, where they lie.
#[derive(Debug, clap::Args)]
pub(super) struct VerifyArgs {
    /// The index
    #[arg(long = "in", value_name = "FILE")]
    index: PathBuf,
    /// A public key that must have signed; may be repeated, then one of them must have
    #[arg(long, value_name = "BASE64", action = clap::ArgAction::Append)]
    pubkey: Vec<String>,
    /// Print a JSON report and nothing else
    #[arg(long)]
    json: bool,
}

pub(super) fn run(command: Command, host: &mut Host<'_>) -> Result<u8, Failure> {
    match command {
        Command::Build(args) => {
            let (json, now) = (args.json, timestamp(host.now));
            finish(host, json, build_index(args, now).map_err(one))
        }
        Command::Sign(args) => {
            let signed = args.signing.keys();
            let sign = |keys: Vec<PrivateKey>| args.signing.sign(&args.index, &keys, host.now);
            let result = signed.and_then(sign).map_err(one);
            finish(host, args.json, result)
        }
        Command::Verify(args) => {
            let result = verify(&args, host.now).map_err(one);
            finish(host, args.json, result)
        }
    }
}

fn build_index(args: BuildArgs, now: String) -> Result<Report, Problem> {
    let BuildArgs { artifacts, out, base_url, about, pack, force, .. } = args;
    let file = shown(&out);
    let built = build(&BuildRequest { artifacts, out, base_url, about, pack, force, now })?;
    Ok(Report::default()
        .field("index", file.as_str())
        .field("packages", built.packages)
        .field("versions", built.versions)
        .field("added", built.added)
        .field("changed", built.changed)
        .note(format!(
            "`{file}`: {} packages, {} versions, {} of them new",
            built.packages, built.versions, built.added
        )))
}

/// How an index is signed.
#[derive(Debug, clap::Args)]
pub(super) struct SigningArgs {
    /// A private key; may be repeated
    #[arg(long, value_name = "FILE", required = true, action = clap::ArgAction::Append)]
    key: Vec<PathBuf>,
    /// The state's number, above all before; without it one more than the last
    #[arg(long, value_name = "N")]
    number: Option<u64>,
    /// For how many days the index may be used
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=36_500))]
    days: u64,
    /// Offer the index packed with Zstandard as well
    #[arg(long)]
    pack: bool,
}

impl SigningArgs {
    /// The private keys.
    pub(super) fn keys(&self) -> Result<Vec<PrivateKey>, Problem> {
        let read = |path: &PathBuf| {
            let invalid =
                |message: String| Problem::new("KEY_INVALID", message).in_file(shown(path));
            let bytes = files::read(path, Limit::SETTINGS.file())?;
            let text =
                String::from_utf8(bytes).map_err(|_| invalid("it is not UTF-8".to_owned()))?;
            PrivateKey::parse_file(&text).map_err(|error| invalid(error.to_string()))
        };
        self.key.iter().map(read).collect()
    }

    /// Signs `index` by `keys`, and reports it.
    pub(super) fn sign(
        &self,
        index: &Path,
        keys: &[PrivateKey],
        now: u64,
    ) -> Result<Report, Problem> {
        let stated = sign_index(&SignRequest {
            index: index.to_owned(),
            keys: keys.iter().collect(),
            number: self.number,
            now,
            valid_for: self.days.saturating_mul(DAY),
            pack: self.pack,
        })?;
        let number = stated.statement.number;
        Ok(report(&stated).note(format!("`{}`: state {number}", shown(index))))
    }
}

fn verify(args: &VerifyArgs, now: u64) -> Result<Report, Problem> {
    let wanted = args.pubkey.iter().map(|text| PublicKey::parse(text.trim()).map(PublicKey::id));
    let wanted = wanted
        .collect::<Result<Vec<String>, _>>()
        .map_err(|error| Problem::new("KEY_INVALID", error.to_string()))?;
    let stated = verify_index(&args.index, now)?;
    if !wanted.is_empty() && !stated.kids.iter().any(|kid| wanted.contains(kid)) {
        let message =
            format!("it is signed by `{}`, by none of the keys given", stated.kids.join("`, `"));
        return Err(Problem::new("SIGNER_CHANGED", message).in_file(shown(&args.index)));
    }
    let number = stated.statement.number;
    let line = format!(
        "`{}`: state {number}, {} packages, {} versions, until {}, signed by {}",
        shown(&args.index),
        stated.packages,
        stated.versions,
        timestamp(stated.statement.expires),
        stated.kids.join(", ")
    );
    Ok(report(&stated).line(line))
}

fn report(stated: &Stated) -> Report {
    let statement = &stated.statement;
    Report::default()
        .field("number", Value::Number(statement.number.into()))
        .field("created", timestamp(statement.created))
        .field("expires", timestamp(statement.expires))
        .field("sha256", format!("sha256:{}", statement.content.sha256))
        .field("packed", statement.packed.is_some())
        .field("signer_kids", stated.kids.clone())
        .field("packages", stated.packages)
        .field("versions", stated.versions)
}
