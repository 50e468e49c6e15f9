//! `drift catalog`

use std::path::{Path, PathBuf};

use super::index::SigningArgs;
use super::report::{Report, finish, finish_with, one};
use super::trust::timestamp;
use super::{Failure, Host};
use crate::drift::catalog::{self, AddRequest, Catalog, Review};
use crate::files;
use crate::json::{Object, Value};
use crate::problem::Problem;
use crate::relpath::shown;

/// Keep a curated index: a repository of small files that people review.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    Init(InitArgs),
    Validate(ValidateArgs),
    Add(AddArgs),
    Build(BuildArgs),
    Site(SiteArgs),
}

#[derive(Debug, clap::Args)]
struct Place {
    /// The folder of the catalog
    #[arg(long, value_name = "DIR", default_value = ".")]
    catalog: PathBuf,
    /// Print a JSON report and nothing else
    #[arg(long)]
    json: bool,
}

/// Begin a catalog: its own file, and policies to be read and changed.
#[derive(Debug, clap::Args)]
pub(super) struct InitArgs {
    /// What it is called
    #[arg(value_name = "NAME")]
    name: String,
    /// What it is for, in one line
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    #[command(flatten)]
    place: Place,
}

/// Check a catalog, and with --base-rev or --base-dir what a change does to it.
///
/// Exit status 2 if something may not be. What a person should look at is printed and is no
/// failure. Nothing is fetched.
#[derive(Debug, clap::Args)]
pub(super) struct ValidateArgs {
    /// What it was: a revision of the git repository in which it lies
    #[arg(long, value_name = "REVISION", conflicts_with = "base_dir")]
    base_rev: Option<String>,
    /// What it was: another folder
    #[arg(long, value_name = "DIR")]
    base_dir: Option<PathBuf>,
    /// Who wants the change: then nobody but owners may change a namespace
    #[arg(long, value_name = "OWNER")]
    by: Option<String>,
    /// Hold the entries against the packages in this folder, too
    #[arg(long, value_name = "DIR")]
    artifacts: Option<PathBuf>,
    /// Write files anew that are only spelt in another way than they should be
    #[arg(long)]
    fix: bool,
    #[command(flatten)]
    place: Place,
}

/// Add packages that lie here, with their sidecars, as they can be fetched from --url.
///
/// They must be signed by keys of their namespace. One that is new gets the keys that the sidecar
/// has (`drift sign --include-pubkey`).
#[derive(Debug, clap::Args)]
pub(super) struct AddArgs {
    /// The packages
    #[arg(value_name = "FILE", required = true)]
    packages: Vec<PathBuf>,
    /// The folder in which others find them; without it that of the index
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Who owns the namespace if it is new; may be repeated
    #[arg(long, value_name = "OWNER", action = clap::ArgAction::Append)]
    owner: Vec<String>,
    /// What people read of the packages
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// A word by which they are found; may be repeated
    #[arg(long, value_name = "WORD", action = clap::ArgAction::Append)]
    tag: Vec<String>,
    #[command(flatten)]
    place: Place,
}

/// Make the signed index of a repository, which `drift fetch` and `drift search` read.
#[derive(Debug, clap::Args)]
pub(super) struct BuildArgs {
    /// The index, called drift-index.json in a repository
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    signing: SigningArgs,
    #[command(flatten)]
    place: Place,
}

/// Make a page for people, which needs neither a server nor JavaScript.
#[derive(Debug, clap::Args)]
pub(super) struct SiteArgs {
    /// The folder of the page, index.html
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    place: Place,
}

pub(super) fn run(command: &Command, host: &mut Host<'_>) -> Result<u8, Failure> {
    let (place, result) = match command {
        Command::Validate(args) => {
            let review = validate(args, host);
            return match review {
                Ok((review, fields)) => {
                    finish_with(host, args.place.json, fields, &review.errors, &review.look_at)
                }
                Err(problem) => finish(host, args.place.json, Err(one(problem))),
            };
        }
        Command::Init(args) => (&args.place, init(args).map_err(one)),
        Command::Add(args) => (&args.place, add(args, timestamp(host.now))),
        Command::Build(args) => (&args.place, build(args, host.now)),
        Command::Site(args) => (&args.place, site(args)),
    };
    finish(host, place.json, result)
}

fn init(args: &InitArgs) -> Result<Report, Problem> {
    let list = catalog::init(&args.place.catalog, &args.name, args.description.as_deref())?;
    let report = Report::default().field("name", args.name.as_str()).field("files", list.clone());
    Ok(list.into_iter().fold(report, |report, file| report.note(format!("wrote `{file}`"))))
}

fn add(args: &AddArgs, now: String) -> Result<Report, Vec<Problem>> {
    let request = AddRequest {
        packages: args.packages.clone(),
        url: args.url.clone(),
        owners: args.owner.clone(),
        description: args.description.clone(),
        tags: args.tag.clone(),
        now,
    };
    let list = catalog::add(&args.place.catalog, &request)?;
    let report = Report::default().field("files", list.clone());
    Ok(list.into_iter().fold(report, |report, file| report.note(format!("wrote `{file}`"))))
}

fn validate(args: &ValidateArgs, host: &Host<'_>) -> Result<(Review, Object), Problem> {
    let root = &args.place.catalog;
    let mut read = catalog::read(root)?;
    if args.fix {
        for (path, text) in std::mem::take(&mut read.misspelt) {
            files::write_atomically(&path.below(root), text.as_bytes())?;
        }
    }
    let mut review = Review { errors: catalog::check(root, &read), look_at: Vec::new() };
    let mut compared = 0;
    if let Some(folder) = &args.artifacts {
        let (count, wrong) = catalog::compare_artifacts(&read.catalog, folder)?;
        compared = count;
        review.errors.extend(wrong);
    }
    if args.base_rev.is_some() || args.base_dir.is_some() {
        let scratch = tempfile::tempdir().map_err(|error| {
            Problem::new("FILE_ERROR", format!("cannot make a temporary folder: {error}"))
        })?;
        let before = match (&args.base_rev, &args.base_dir) {
            (Some(revision), _) => {
                let git = git(host)?;
                catalog::checked_out(&git, root, revision, scratch.path())?
            }
            (None, folder) => folder.clone().unwrap_or_default(),
        };
        let old = before_of(&before)?;
        let by = args.by.as_deref();
        let found = catalog::changes((&before, &old), (root, &read.catalog), by);
        review.errors.extend(found.errors);
        review.look_at.extend(found.look_at);
    }
    let found = &read.catalog;
    let review_list = review.look_at.iter().map(Problem::to_json).collect();
    let fields = Object::from([
        ("namespaces", found.namespaces.len().into()),
        ("packages", found.releases.len().into()),
        ("versions", found.versions().into()),
        ("artifacts_compared", compared.into()),
        ("review", Value::Array(review_list)),
    ]);
    Ok((review, fields))
}

/// What a catalog was; nothing if it was not there yet.
fn before_of(root: &Path) -> Result<Catalog, Problem> {
    match catalog::read(root) {
        Ok(read) => match read.problems.into_iter().next() {
            // What cannot be read could have been changed in any way.
            Some(problem) => Err(problem.coded("CATALOG_BASE")),
            None => Ok(read.catalog),
        },
        Err(problem) if problem.code == "CATALOG_MISSING" => Ok(Catalog::default()),
        Err(problem) => Err(problem.coded("CATALOG_BASE")),
    }
}

fn git(host: &Host<'_>) -> Result<PathBuf, Problem> {
    let folders = host.world.search_path();
    folders
        .iter()
        .map(|folder| folder.join("git"))
        .find(|path| path.is_file())
        .ok_or_else(|| Problem::new("CATALOG_BASE", "`git` is not on the search path"))
}

/// A catalog with nothing wrong.
fn checked(root: &Path) -> Result<Catalog, Vec<Problem>> {
    let read = catalog::read(root).map_err(one)?;
    let wrong = catalog::check(root, &read);
    if wrong.is_empty() { Ok(read.catalog) } else { Err(wrong) }
}

fn build(args: &BuildArgs, now: u64) -> Result<Report, Vec<Problem>> {
    let found = checked(&args.place.catalog)?;
    let keys = args.signing.keys().map_err(one)?;
    let signed = || {
        files::create_dirs(files::parent_of(&args.out))?;
        files::write_atomically(&args.out, &catalog::index_of(&found))?;
        args.signing.sign(&args.out, &keys, now)
    };
    Ok(signed().map_err(one)?.field("index", shown(&args.out)))
}

fn site(args: &SiteArgs) -> Result<Report, Vec<Problem>> {
    let found = checked(&args.place.catalog)?;
    let file = args.out.join("index.html");
    let written = files::create_dirs(&args.out)
        .and_then(|()| files::write_atomically(&file, catalog::site(&found).to_html().as_bytes()));
    written.map_err(|error| one(error.into()))?;
    let file = shown(&file);
    Ok(Report::default()
        .field("page", file.as_str())
        .field("packages", found.releases.len())
        .note(format!("wrote `{file}`")))
}
