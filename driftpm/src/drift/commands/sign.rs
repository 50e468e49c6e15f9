//! `drift sign`

use std::path::PathBuf;

use epk_format::digest::Sha256;

use super::super::container;
use super::super::sidecar::Draft;
use super::{Failure, Host, optional, text_of};
use crate::files::{self, MAX_PACKAGE};
use crate::json::Limit;
use crate::keys::PrivateKey;
use crate::relpath::{shown, sidecar_of};

/// Sign a package.
///
/// Writes the signature sidecar `PKG.sig`. One that is there must belong to the same bytes; it is
/// replaced, or extended with --add-signature. Only files that every reader accepts as a package
/// are signed.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The package
    #[arg(value_name = "PKG")]
    package: PathBuf,
    /// The private key, as `drift keygen` writes it
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Where the sidecar goes, instead of PKG.sig
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Add a signature to the sidecar instead of replacing it
    #[arg(long)]
    add_signature: bool,
    /// Enclose the public key, for information only
    #[arg(long)]
    include_pubkey: bool,
}

pub(super) fn run(args: &Args, _host: &mut Host<'_>) -> Result<u8, Failure> {
    let package = files::read(&args.package, MAX_PACKAGE)?;
    let key_text = text_of(files::read(&args.key, Limit::SETTINGS.file())?, &args.key)?;
    let key = PrivateKey::parse_file(&key_text)
        .map_err(|error| Failure(format!("the key file `{}`: {error}", shown(&args.key))))?;
    let not_signed = |error: &dyn ToString| {
        Failure(format!("`{}` is not signed: {}", shown(&args.package), error.to_string()))
    };
    container::read_full(&package)
        .and_then(|full| container::read_identity(&full.manifest))
        .map_err(|error| not_signed(&error))?;
    let path = args.out.clone().unwrap_or_else(|| sidecar_of(&args.package));
    let hash = Sha256::of(&package);
    let existing = optional(files::read(&path, Limit::SIDECAR.file()))?
        .map(|bytes| Draft::parse(&bytes, &hash))
        .transpose()
        .map_err(|error| Failure(format!("`{}` is left alone: {error}", shown(&path))))?;
    let mut sidecar = match (args.add_signature, existing) {
        (true, None) => {
            return Err(Failure(format!("there is no sidecar `{}` to add to", shown(&path))));
        }
        (true, Some(existing)) => existing,
        (false, _) => Draft::new(&hash),
    };
    sidecar.sign(&key, &package, args.include_pubkey);
    files::write_atomically(&path, &sidecar.to_bytes())?;
    Ok(0)
}
