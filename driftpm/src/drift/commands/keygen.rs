//! `drift keygen`

use std::path::PathBuf;

use super::{Failure, Host};
use crate::files::create_private;
use crate::keys::PrivateKey;

/// Make a private key.
///
/// The file holds the base64 of 32 random bytes and a newline, may be read and written by its
/// owner only, and never replaces another. Missing directories are made.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where the key goes
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Print the public key
    #[arg(long)]
    print_pubkey: bool,
    /// Print the key id
    #[arg(long)]
    print_kid: bool,
}

pub(super) fn run(args: &Args, host: &mut Host<'_>) -> Result<u8, Failure> {
    let mut seed = [0; 32];
    (host.fill_random)(&mut seed)?;
    let key = PrivateKey::from_seed(&seed);
    create_private(&args.out, key.to_file_text().as_bytes())?;
    if args.print_pubkey {
        writeln!(host.out, "{}", key.public().to_base64())?;
    }
    if args.print_kid {
        writeln!(host.out, "{}", key.public().id())?;
    }
    Ok(0)
}
