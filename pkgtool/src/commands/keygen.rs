//! `pkgtool keygen`

use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use epk_format::signature::SigningKey;
use serde_json::json;

use crate::exit::{Failure, print_line};

/// Make a signing key
///
/// Writes a private key that only its owner can read, and prints its public half: the base64 of
/// the key and its id, a line that a trust file (`--trust`) takes as it is.
#[derive(Debug, Args)]
pub(crate) struct KeygenArgs {
    /// Where to write the private key; must not exist
    #[arg(value_name = "KEY")]
    key: PathBuf,

    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn keygen(args: &KeygenArgs) -> Result<(), Failure> {
    let key = SigningKey::from_seed(&random_seed()?);
    write_exclusively(&args.key, key.to_base64().as_bytes())?;
    let (public, id) = (key.public().to_base64(), key.public().id());
    let printed = if args.json {
        let path = args.key.to_string_lossy();
        print_line(json!({
            "schema": "epk.keygen/1", "path": path, "public_key": public, "key_id": id.as_str(),
        }))
    } else {
        print_line(format_args!("{public} {id}"))
    };
    if printed.is_err() {
        // A key whose public half nobody has seen is of no use.
        let _ = std::fs::remove_file(&args.key);
    }
    printed
}

/// 32 bytes from the kernel's generator (urandom(4), which never runs dry once it is seeded).
fn random_seed() -> Result<[u8; 32], Failure> {
    let mut seed = [0; 32];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut seed))
        .map_err(|error| Failure::environment(format!("`/dev/urandom`: {error}")))?;
    Ok(seed)
}

/// Never over an existing file, never readable for others, not even for a moment.
fn write_exclusively(path: &Path, text: &[u8]) -> Result<(), Failure> {
    let failure =
        |error: std::io::Error| Failure::environment(format!("`{}`: {error}", path.display()));
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failure)?;
    let written = file.write_all(text).and_then(|()| file.sync_all());
    if written.is_err() {
        // Half a key is no key.
        let _ = std::fs::remove_file(path);
    }
    written.map_err(failure)
}
