//! `pkgtool list`

use std::fs::File;
use std::path::Path;

use clap::Args;
use epk_format::manifest::Manifest;
use epk_format::signature::Policy;
use epk_format::{OpenOptions, Package};
use serde_json::{Value, json};

use crate::exit::{Failure, print_line};
use crate::input::{open_package, signature_words};
use crate::store::{self, Installed, Store, Wanted};

/// List installed packages
///
/// One a line: name and version, whose store it is in, and `*` if the bare name means it. The names
/// of the files say all that; `--long` and `--commands` open each package.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only these
    #[arg(value_name = "NAME[@VERSION]")]
    names: Vec<String>,

    /// Also format, arch, size, signature and PackageHash
    #[arg(long)]
    long: bool,

    /// Also the commands, a line each, with their targets
    #[arg(long)]
    commands: bool,

    /// Print a JSON object a line
    #[arg(long)]
    json: bool,
}

pub(crate) fn list(args: &ListArgs) -> Result<(), Failure> {
    let wanted =
        args.names.iter().map(|name| Wanted::parse(name)).collect::<Result<Vec<_>, _>>()?;
    let installed = store::list(&Store::all()?)?;
    if let Some(none) =
        wanted.iter().find(|wanted| !installed.iter().any(|package| wanted.is(&package.identity)))
    {
        return Err(not_installed(none));
    }
    let mut broken = 0;
    for (at, package) in installed.iter().enumerate() {
        if !wanted.is_empty() && !wanted.iter().any(|wanted| wanted.is(&package.identity)) {
            continue;
        }
        let details = (args.long || args.commands).then(|| Details::of(&package.path));
        broken += usize::from(matches!(details, Some(Err(_))));
        let meant = is_meant(&installed, at);
        if args.json {
            print_line(to_json(package, meant, details.as_ref(), args))?;
        } else {
            for line in to_lines(package, meant, details.as_ref(), args) {
                print_line(line)?;
            }
        }
    }
    match broken {
        0 => Ok(()),
        broken => Err(Failure::refused(format!("{broken} of the packages cannot be opened"))
            .hint("`pkgtool verify --installed` says why")),
    }
}

/// No package of this name is there.
pub(crate) fn not_installed(wanted: &Wanted) -> Failure {
    Failure::refused(format!("`{wanted}` is not installed"))
        .hint("`pkgtool list` says what is installed")
}

/// Whether a bare name means the package at `at` of a list: the last one of the first store that
/// has the name.
fn is_meant(installed: &[Installed], at: usize) -> bool {
    let (before, rest) = installed.split_at(at);
    let Some((package, after)) = rest.split_first() else { return false };
    let same_name = |other: &&Installed| other.identity.name == package.identity.name;
    let newer = after.first().filter(same_name).is_some_and(|next| next.owner == package.owner);
    let shadowed =
        before.iter().rev().take_while(same_name).any(|other| other.owner != package.owner);
    !newer && !shadowed
}

/// What is known only by opening a package.
struct Details {
    package: Package<File>,
    manifest: Manifest,
    size: u64,
}

impl Details {
    /// Signatures are said, not judged: that is what `verify` is for.
    fn of(path: &Path) -> Result<Self, String> {
        let options = OpenOptions { signature: Policy::Optional, ..OpenOptions::default() };
        let package =
            open_package(path, &options).map_err(|failure| failure.message().to_owned())?;
        let manifest = package.parse_manifest().map_err(|error| error.to_string())?;
        let size = package.source().metadata().map_err(|error| error.to_string())?.len();
        Ok(Self { package, manifest, size })
    }
}

fn to_lines(
    package: &Installed,
    meant: bool,
    details: Option<&Result<Details, String>>,
    args: &ListArgs,
) -> Vec<String> {
    let mark = if meant { " *" } else { "" };
    let mut lines = vec![format!("{} {}{mark}", package.identity, package.owner.word())];
    match details {
        None => {}
        Some(Err(error)) => lines.push(format!("  broken: {error}")),
        Some(Ok(Details { package, manifest, size })) => {
            if args.long {
                let signature = match signature_words(package.signature()) {
                    (state, None) => state.to_owned(),
                    (_, Some(key)) => format!("signed by `{key}`"),
                };
                lines.push(format!(
                    "  format {}, {}, {size} bytes, {signature}, sha256:{}",
                    package.format(),
                    manifest.arch.escape_debug(),
                    package.package_hash()
                ));
            }
            if args.commands {
                let targets = manifest.commands.iter();
                lines.extend(
                    targets.map(|(name, target)| format!("  {name} {}", target.escape_debug())),
                );
            }
        }
    }
    lines
}

fn to_json(
    package: &Installed,
    meant: bool,
    details: Option<&Result<Details, String>>,
    args: &ListArgs,
) -> Value {
    let mut object = json!({
        "schema": "epk.list/1",
        "name": package.identity.name,
        "version": package.identity.version,
        "store": package.owner.word(),
        "path": package.path.to_string_lossy(),
        "meant": meant,
    });
    match details {
        None => {}
        Some(Err(error)) => object["error"] = json!(error),
        Some(Ok(Details { package, manifest, size })) => {
            if args.long {
                let (state, key_id) = signature_words(package.signature());
                object["format"] = json!(package.format().to_string());
                object["arch"] = json!(manifest.arch);
                object["size"] = json!(size);
                object["signature"] = json!({ "state": state, "key_id": key_id });
                object["package_hash"] = json!(format!("sha256:{}", package.package_hash()));
            }
            if args.commands {
                object["commands"] = json!(manifest.commands);
            }
        }
    }
    object
}
