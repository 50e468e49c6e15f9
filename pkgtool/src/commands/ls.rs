//! `pkgtool ls`

use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::Args;
use epk_format::package::{Kind, Node, NodeId};
use epk_format::{Package, path};
use serde_json::json;

use crate::exit::{Failure, standard_output};
use crate::input::{TrustArgs, open_package};
use crate::select::{self, Visit};

/// List what a package holds, without mounting it
///
/// Prints a path a line, beginning with `/`. Bytes that could drive a terminal, and backslashes,
/// are escaped; `--json` and `-0` print names that programs can read back.
#[derive(Debug, Args)]
pub(crate) struct LsArgs {
    /// The package
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Only these paths and what is below them; `*` and `?` match within a name
    #[arg(value_name = "PATH")]
    paths: Vec<String>,

    /// Also print kind and mode, size, time and link target
    #[arg(short, long)]
    long: bool,

    /// End each path with a NUL byte and escape nothing
    #[arg(short = '0', long = "null", conflicts_with_all = ["long", "json"])]
    null: bool,

    /// Print a JSON object a line
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    trust: TrustArgs,
}

pub(crate) fn ls(args: &LsArgs) -> Result<(), Failure> {
    let package = open_package(&args.file, &args.trust.open_options()?)?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    select::walk(&package, &args.file, &args.paths, |visit| {
        print(&package, args, &visit, &mut out).map_err(|error| standard_output(&error))
    })?;
    out.flush().map_err(|error| standard_output(&error))
}

fn print(
    package: &Package<std::fs::File>,
    args: &LsArgs,
    visit: &Visit<'_>,
    out: &mut impl io::Write,
) -> io::Result<()> {
    let Visit { path, node, .. } = visit;
    let target = if node.kind == Kind::Link { target(package, node.id)? } else { Vec::new() };
    if args.null {
        out.write_all(b"/")?;
        out.write_all(path)?;
        return out.write_all(b"\0");
    }
    let shown = path::display(path);
    if args.json {
        let mut object = json!({
            "schema": "epk.ls/1",
            "path": format!("/{}", String::from_utf8_lossy(path)),
            "type": kind_name(node.kind),
            "mode": format!("{:04o}", node.mode),
            "size": node.size,
            "mtime": node.modified.seconds,
        });
        if node.kind == Kind::Link {
            object["target"] = json!(String::from_utf8_lossy(&target));
        }
        return writeln!(out, "{object}");
    }
    if !args.long {
        return writeln!(out, "/{shown}");
    }
    let arrow = match node.kind {
        Kind::Link => format!(" -> {}", path::display(&target)),
        Kind::File | Kind::Folder => String::new(),
    };
    let mode = mode_letters(node);
    writeln!(out, "{mode} {:>11} {} /{shown}{arrow}", node.size, date(node))
}

fn target(package: &Package<std::fs::File>, id: NodeId) -> io::Result<Vec<u8>> {
    package.link_target(id).map_err(io::Error::other)
}

pub(crate) fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::File => "file",
        Kind::Folder => "folder",
        Kind::Link => "link",
    }
}

/// As `ls -l` of coreutils writes them.
fn mode_letters(node: &Node) -> String {
    let kind = match node.kind {
        Kind::File => '-',
        Kind::Folder => 'd',
        Kind::Link => 'l',
    };
    let letters = "rwxrwxrwx".chars().enumerate();
    let bits =
        letters.map(|(at, letter)| if node.mode & (0o400 >> at) == 0 { '-' } else { letter });
    std::iter::once(kind).chain(bits).collect()
}

/// The day and minute in UTC; dashes where the package says nothing.
fn date(node: &Node) -> String {
    if node.modified.seconds == 0 {
        return "-               ".to_owned();
    }
    let packed = epk_format::time::PackedTime::from_timestamp(node.modified);
    let [year, month, day, hour, minute, ..] = packed.unwrap_or_default().fields();
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}")
}
