//! `pkgtool diff`

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use epk_format::package::{Kind, Node};
use epk_format::path;
use serde_json::{Value, json};

use crate::commands::ls::kind_name;
use crate::diff::{self, Blocks, Difference, Item, Side, What};
use crate::exit::{Failure, standard_output};
use crate::input::{TrustArgs, open_package};
use crate::pack::losses::counted;

/// Show how the trees of two packages differ
///
/// Prints a line a difference: `+` what only B has, `-` what only A has, `~` what differs, and in
/// what. Files are compared by their hashes. The formats, blocks and signatures of the packages make
/// no difference. Exits with 0 if there is none and with 1 if there is one.
#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// A package
    #[arg(value_name = "A")]
    left: PathBuf,

    /// Another one
    #[arg(value_name = "B")]
    right: PathBuf,

    /// Print a JSON object
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    trust: TrustArgs,
}

/// How many differences there are.
#[derive(Default)]
struct Counts {
    added: u64,
    removed: u64,
    changed: u64,
}

pub(crate) fn diff(args: &DiffArgs) -> Result<(), Failure> {
    let options = args.trust.open_options()?;
    let (a, b) = (open_package(&args.left, &options)?, open_package(&args.right, &options)?);
    let left = Side { package: &a, file: &args.left };
    let right = Side { package: &b, file: &args.right };
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut counts = Counts::default();
    let mut list = Vec::new();
    diff::trees(left, right, |difference| {
        counts.add(&difference);
        if args.json {
            list.push(to_json(&difference));
            return Ok(());
        }
        print(&difference, &mut out).map_err(|error| standard_output(&error))
    })?;
    let blocks = diff::blocks(left, right)?;
    let same = counts.all() == 0;
    if args.json {
        let object = json!({
            "schema": "epk.diff/1",
            "a": side(left),
            "b": side(right),
            "same": same,
            "added": counts.added,
            "removed": counts.removed,
            "changed": counts.changed,
            "differences": list,
            "blocks": blocks.map(|blocks| json!({
                "a": blocks.left,
                "b": blocks.right,
                "b_stored_bytes": blocks.right_bytes,
                "shared": blocks.shared,
                "shared_stored_bytes": blocks.shared_bytes,
            })),
        });
        writeln!(out, "{object}").map_err(|error| standard_output(&error))?;
    }
    out.flush().map_err(|error| standard_output(&error))?;
    if !args.json {
        report(&blocks);
    }
    if same {
        return Ok(());
    }
    let Counts { added, removed, changed } = counts;
    let (left, right) = (args.left.display(), args.right.display());
    Err(Failure::refused(format!(
        "`{left}` and `{right}` differ: {added} added, {removed} removed, {changed} changed"
    )))
}

impl Counts {
    fn add(&mut self, difference: &Difference) {
        match (&difference.left, &difference.right) {
            (None, _) => self.added += 1,
            (_, None) => self.removed += 1,
            _ => self.changed += 1,
        }
    }

    fn all(&self) -> u64 {
        self.added + self.removed + self.changed
    }
}

fn report(blocks: &Option<Blocks>) {
    match blocks {
        None => eprintln!("blocks cannot be compared: the packages have two formats"),
        Some(blocks) => eprintln!(
            "{} of {} shared, {} of {} stored bytes",
            blocks.shared,
            counted(blocks.right, "block"),
            blocks.shared_bytes,
            blocks.right_bytes
        ),
    }
}

fn print(difference: &Difference, out: &mut impl Write) -> io::Result<()> {
    let shown = path::display(&difference.path);
    match (&difference.left, &difference.right) {
        (Some(left), Some(right)) => {
            let what: Vec<_> =
                difference.what.iter().map(|&what| in_words(what, left, right)).collect();
            writeln!(out, "~ /{shown}: {}", what.join(", "))
        }
        (Some(item), None) => writeln!(out, "- /{shown}{}", size(item)),
        (None, Some(item)) => writeln!(out, "+ /{shown}{}", size(item)),
        (None, None) => Ok(()),
    }
}

fn size(item: &Item) -> String {
    match item.node.kind {
        Kind::File => format!(" ({})", counted(item.node.size, "byte")),
        Kind::Folder => "/".to_owned(),
        Kind::Link => format!(" -> {}", path::display(item.target.as_deref().unwrap_or_default())),
    }
}

fn in_words(what: What, left: &Item, right: &Item) -> String {
    let (a, b) = (&left.node, &right.node);
    let from_to = |from: &dyn std::fmt::Display, to: &dyn std::fmt::Display| {
        format!("{} {from} -> {to}", what.name())
    };
    match what {
        What::Kind => from_to(&kind_name(a.kind), &kind_name(b.kind)),
        What::Content if a.size != b.size => {
            format!("content, {} -> {} bytes", a.size, b.size)
        }
        What::Content | What::Xattrs => what.name().to_owned(),
        What::Target => {
            let text = |item: &Item| {
                path::display(item.target.as_deref().unwrap_or_default()).into_owned()
            };
            from_to(&text(left), &text(right))
        }
        What::Mode => format!("mode {:04o} -> {:04o}", a.mode, b.mode),
        What::Time => from_to(&time(a), &time(b)),
        What::Links => from_to(&a.links, &b.links),
    }
}

fn time(node: &Node) -> String {
    format!("{}.{:09}", node.modified.seconds, node.modified.nanoseconds)
}

fn side(side: Side<'_>) -> Value {
    json!({
        "path": side.file.to_string_lossy(),
        "format": side.package.format().to_string(),
        "package_hash": format!("sha256:{}", side.package.package_hash()),
        "size": side.package.image_size(),
    })
}

fn to_json(difference: &Difference) -> Value {
    let change = match (&difference.left, &difference.right) {
        (None, _) => "added",
        (_, None) => "removed",
        _ => "changed",
    };
    let what: Vec<_> = difference.what.iter().map(|what| what.name()).collect();
    json!({
        "path": format!("/{}", String::from_utf8_lossy(&difference.path)),
        "change": change,
        "what": what,
        "a": difference.left.as_ref().map(item),
        "b": difference.right.as_ref().map(item),
    })
}

fn item(item: &Item) -> Value {
    let Item { node, target, xattrs } = item;
    let mut object = json!({
        "type": kind_name(node.kind),
        "mode": format!("{:04o}", node.mode),
        "size": node.size,
        "mtime": node.modified.seconds,
        "mtime_nanoseconds": node.modified.nanoseconds,
        "links": node.links,
        "xattrs": xattrs.iter().map(|(name, _)| String::from_utf8_lossy(name)).collect::<Vec<_>>(),
    });
    if let Some(target) = target {
        object["target"] = json!(String::from_utf8_lossy(target));
    }
    object
}
