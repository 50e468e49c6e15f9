//! `pkgtool import`

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use epk_format::limits;
use epk_format::manifest::Manifest;
use epk_format::path::display;
use epk_format::write::Contents;

use crate::exit::{Exit, Failure};
use crate::import::describe::Description;
use crate::import::judge::{FORMAT, Judge, Judged, Owned, Owners};
use crate::import::limits::Limits;
use crate::import::problem::Problem;
use crate::import::source;
use crate::import::tree::Tree;
use crate::pack::MANIFEST;
use crate::pack::losses;
use crate::pack::make::{self, MakeArgs, Making};

/// Paths of things left out that are named.
const NAMED: usize = 20;

/// Make a package of an archive or image
///
/// ARCHIVE is a tar archive (plain or compressed by gzip, zstd or xz), a SquashFS image, an AppImage of
/// type 2, or the folder of an OCI layout; its content says which. Links, permissions, times, sparse
/// files and user attributes are kept; owners are not, and are named. What a package cannot hold is
/// refused by name, as `pack` does it.
#[derive(Debug, clap::Args)]
pub(crate) struct ImportArgs {
    /// What to import; `-` is standard input
    #[arg(value_name = "ARCHIVE")]
    file: PathBuf,

    #[command(flatten)]
    make: MakeArgs,

    /// The manifest [default: manifest.toml at the root, or what an AppImage says]
    #[arg(long, value_name = "FILE", conflicts_with_all = ["name", "package_version", "arch", "entry"])]
    manifest: Option<PathBuf>,

    /// The application's name, if there is no manifest
    #[arg(long)]
    name: Option<String>,

    /// Its version
    #[arg(long, value_name = "VERSION")]
    package_version: Option<String>,

    /// Its architecture [default: the entry's]
    #[arg(long)]
    arch: Option<String>,

    /// What it runs: a path inside, beginning with `/`
    #[arg(long, value_name = "PATH")]
    entry: Option<String>,

    /// Which image of an OCI layout, by name or digest
    #[arg(long, value_name = "NAME")]
    image: Option<String>,

    /// Import only what is in this folder inside
    #[arg(long, value_name = "DIR")]
    path: Option<String>,

    /// Most bytes of content, holes counted; K, M, G and T are units
    #[arg(long, value_name = "SIZE", default_value = "64G", value_parser = make::size)]
    max_size: u64,
}

pub(crate) fn import(args: &ImportArgs) -> Result<(), Failure> {
    args.make.check(FORMAT)?;
    let manifest = args.manifest.as_deref().map(read_manifest).transpose()?;
    let making = Making::begin(&args.make)?;
    let user = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let user = (user.0.into(), user.1.into());
    let judge = Judge { policy: args.make.policy(), times: making.times, user };
    let mut tree = Tree::new(Limits::new(args.max_size));
    let name = args.file.display();
    let spool = || {
        making.output.spool().map_err(|failure| {
            Problem::System(
                "cannot keep its content".into(),
                std::io::Error::other(failure.message()),
            )
        })
    };
    let loaded = source::load(&args.file, args.image.as_deref(), &mut tree, spool)
        .and_then(|loaded| match &args.path {
            Some(path) => tree.descend(path.as_bytes()).map(|()| loaded),
            None => Ok(loaded),
        })
        .map_err(|problem| problem.failure(&name))?;
    let own = tree.content(MANIFEST.as_bytes()).is_some();
    let manifest = match manifest {
        Some(text) => Some(text),
        None if own => {
            args.refuse_to_describe()?;
            None
        }
        None => Some(args.describe(loaded.description, &tree, &*loaded.contents)?),
    };
    let Judged { entries, manifest: inside, findings, dropped, owners, lost } =
        judge.judge(tree, manifest.is_none());
    report_owners(&owners);
    if !findings.is_empty() {
        return Err(losses::refuse(FORMAT, &findings));
    }
    for finding in dropped.iter().take(NAMED) {
        eprintln!("note: dropped: {finding}");
    }
    if let Some(more) = dropped.len().checked_sub(NAMED).filter(|&more| more > 0) {
        eprintln!("note: dropped: {more} more");
    }
    let text = match (manifest, inside) {
        (Some(text), _) => text,
        (None, Some((id, size))) => {
            if size > limits::MANIFEST_BYTES {
                return Err(too_large(&args.file.join(MANIFEST)));
            }
            let mut text = Vec::new();
            let opened = loaded.contents.open(id, MANIFEST.as_bytes());
            let read = opened.and_then(|mut file| file.read_to_end(&mut text));
            read.map_err(|error| Problem::read(error).failure(&name))?;
            text
        }
        (None, None) => Vec::new(),
    };
    let described = Manifest::parse(&text)
        .map_err(|error| Failure::manifest(&args.manifest_name(loaded.kind), &error))?;
    let plan = making.plan(FORMAT, entries, &described, &*loaded.contents)?;
    making.finish(&plan, &*loaded.contents, &text, lost)
}

impl ImportArgs {
    /// A manifest that is there says everything.
    fn refuse_to_describe(&self) -> Result<(), Failure> {
        let options = [
            ("--name", &self.name),
            ("--package-version", &self.package_version),
            ("--arch", &self.arch),
            ("--entry", &self.entry),
        ];
        match options.into_iter().find(|(_, value)| value.is_some()) {
            None => Ok(()),
            Some((option, _)) => {
                let message =
                    format!("`{option}` is for what has no `{MANIFEST}`, and this has one");
                Err(Failure::usage(message).hint("`--manifest FILE` takes another one"))
            }
        }
    }

    /// The text of a manifest of options and what is known.
    fn describe(
        &self,
        known: Description,
        tree: &Tree,
        contents: &dyn Contents,
    ) -> Result<Vec<u8>, Failure> {
        let mut description = Description {
            name: self.name.clone().or(known.name),
            version: self.package_version.clone().or(known.version),
            arch: self.arch.clone().or(known.arch),
            entry: self.entry.clone().or(known.entry),
            ..known
        };
        description.complete(tree, contents);
        description.manifest()
    }

    /// Where the manifest comes from, for messages.
    fn manifest_name(&self, kind: &str) -> PathBuf {
        match &self.manifest {
            Some(file) => file.clone(),
            None => Path::new(&format!("{} ({kind})", self.file.display())).join(MANIFEST),
        }
    }
}

fn read_manifest(file: &Path) -> Result<Vec<u8>, Failure> {
    let mut text = Vec::new();
    let most = limits::MANIFEST_BYTES.saturating_add(1);
    let read = File::open(file).and_then(|file| file.take(most).read_to_end(&mut text));
    read.map_err(|error| Failure::system(format!("cannot read `{}`", file.display()), &error))?;
    if u64::try_from(text.len()).is_ok_and(|size| size == most) {
        return Err(too_large(file));
    }
    Ok(text)
}

fn too_large(file: &Path) -> Failure {
    let allowed = limits::MANIFEST_BYTES;
    let message = format!("`{}`: manifest of more than {allowed} bytes", file.display());
    Failure::new(Exit::InvalidPackage, message)
}

/// Says whose files these were: packages have no owners.
fn report_owners(owners: &Owners) {
    for ((user, group), Owned { count, paths }) in owners.iter().take(NAMED) {
        let named: Vec<_> = paths.iter().map(|path| format!("`{}`", display(path))).collect();
        let more = count - u64::try_from(paths.len()).unwrap_or(0);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let named = named.join(", ");
        eprintln!("note: owner {user}:{group} is not kept: {named}{more}");
    }
    if let Some(more) = owners.len().checked_sub(NAMED).filter(|&more| more > 0) {
        eprintln!("note: {more} more owners are not kept");
    }
}
