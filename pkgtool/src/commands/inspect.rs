//! `pkgtool inspect`

use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::Args;
use epk_format::OpenOptions;
use epk_format::dump::Dump;
use epk_format::signature::Policy;
use serde_json::json;

use crate::chart::{Contents, to_html};
use crate::exit::{Failure, standard_output};
use crate::input::{open_file, open_in_full};
use crate::pack::make::read_profile;

/// Show what an image's bytes say, field by field
///
/// Judges nothing and verifies nothing: a broken image is shown as far as its bytes reach. With
/// `--html` a good one is drawn.
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// The package
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Print a JSON object instead of an annotated hexdump
    #[arg(long)]
    json: bool,

    /// Print a page for browsers: files by size and compression, and what they share
    #[arg(long, conflicts_with = "json")]
    html: bool,

    /// With `--html`, also show in which order a start reads files, as FILE has it, a path a line
    #[arg(long, value_name = "FILE", requires = "html")]
    profile: Option<PathBuf>,
}

pub(crate) fn inspect(args: &InspectArgs) -> Result<(), Failure> {
    if args.html {
        return draw(args);
    }
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

fn draw(args: &InspectArgs) -> Result<(), Failure> {
    let options = OpenOptions { signature: Policy::Disabled, ..OpenOptions::default() };
    let package = open_in_full(&args.file, &options)?;
    let profile = args.profile.as_deref().map(read_profile).transpose()?.unwrap_or_default();
    let page = to_html(&package, &args.file, &Contents::of(&package, &args.file, &profile)?);
    let mut out = io::stdout().lock();
    let written = out.write_all(page.as_bytes()).and_then(|()| out.flush());
    written.map_err(|error| standard_output(&error))
}
