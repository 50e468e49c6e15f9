//! `pkgtool inspect`

use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::Args;
use epk_format::dump::Dump;
use serde_json::json;

use crate::exit::{Failure, standard_output};
use crate::input::open_file;

/// Show what an image's bytes say, field by field
///
/// Judges nothing and verifies nothing: a broken image is shown as far as its bytes reach.
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// The package
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Print a JSON object instead of an annotated hexdump
    #[arg(long)]
    json: bool,
}

pub(crate) fn inspect(args: &InspectArgs) -> Result<(), Failure> {
    let dump =
        Dump::of(&open_file(&args.file)?).map_err(|error| Failure::package(&args.file, &error))?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    let written = if args.json {
        let path = args.file.to_string_lossy();
        writeln!(out, "{}", json!({ "schema": "epk.inspect/1", "path": path, "image": dump }))
    } else {
        let mut text = String::new();
        // Writing to a String can't fail.
        let _ = dump.hexdump(&mut text);
        out.write_all(text.as_bytes())
    };
    written.and_then(|()| out.flush()).map_err(|error| standard_output(&error))
}
