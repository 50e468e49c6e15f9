//! `drift search`, `drift sources`

use std::path::{Path, PathBuf};

use super::super::discovery::{self, Found, SOURCES_FILE, SourceList};
use super::super::project::{PROJECT_FILE, Project, RepositoryKind};
use super::super::repository::{Query, Searched, search};
use super::super::resolve::DirectorySource;
use super::network::{FirstUseArgs, access, store_of};
use super::report::{Report, finish, one, root};
use super::{Failure, Host};
use crate::json::Value;
use crate::problem::Problem;
use crate::transport::{Location, Transport as _};

/// Where a user's list lies below the home directory.
const USER_SOURCES: &str = ".config/drift/drift-sources.json";

/// Search repositories for packages.
///
/// Looked through are the project's repositories, those of drift-sources.json, and those of the
/// user's list, ~/.config/drift/drift-sources.json. All words must be found, in a package's name,
/// tags or description.
#[derive(Debug, clap::Args)]
pub(super) struct SearchArgs {
    /// What to look for; nothing: everything
    #[arg(value_name = "WORD")]
    words: Vec<String>,
    /// Look only through the repositories of this list
    #[arg(long, value_name = "FILE")]
    sources: Option<PathBuf>,
    /// How many packages are shown of each repository
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
    #[command(flatten)]
    first_use: FirstUseArgs,
    /// Print a JSON report and nothing else
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &SearchArgs, host: &mut Host<'_>) -> Result<u8, Failure> {
    let result = look(args, host);
    finish(host, args.json, result)
}

fn look(args: &SearchArgs, host: &Host<'_>) -> Result<Report, Vec<Problem>> {
    let (places, project) = places(args, host).map_err(one)?;
    if places.is_empty() {
        let problem = Problem::new("NO_SOURCES", "no discovery sources are configured");
        return Err(one(problem.hint(
            "`drift sources add NAME URL` adds a repository, and `drift sources import URL` those \
             of a list that a community keeps, if you know one that you trust; nothing is added \
             unless you ask for it",
        )));
    }
    let query = Query::new(args.words.iter().map(String::as_str));
    let store = project.as_ref().and_then(store_of);
    let mut access_once = None;
    let (mut hits, mut problems) = (Vec::new(), Vec::new());
    for place in &places {
        // One repository that is away does not hide what the others have.
        let found = match &place.url {
            None => {
                let source = DirectorySource::new(&place.name, &place.folder);
                search(&query, &Searched::Plain(&source), args.limit)
            }
            Some(url) => {
                let access = access_once
                    .get_or_insert_with(|| access(store.clone(), &args.first_use, args.json, host))
                    .as_ref()
                    .map_err(|problem| one(problem.clone()))?;
                let source = access.open(&place.name, url);
                source.and_then(|source| search(&query, &Searched::Remote(&source), args.limit))
            }
        };
        match found {
            Ok(found) => hits.extend(found),
            Err(problem) => problems.push(problem),
        }
    }
    if hits.is_empty() && !problems.is_empty() {
        return Err(problems);
    }
    let mut report = Report::default()
        .field(
            "packages",
            Value::Array(hits.iter().map(super::super::repository::Hit::to_json).collect()),
        )
        .field("unreachable", Value::Array(problems.iter().map(Problem::to_json).collect()));
    for hit in &hits {
        let version = hit.version.as_deref().unwrap_or("-");
        let about = hit.description.as_deref().unwrap_or_default();
        let line = format!("{} {version}  [{}]  {about}", hit.package, hit.repository);
        report = report.line(line.trim_end());
    }
    for problem in problems {
        report = report.note(problem.to_string());
    }
    if hits.is_empty() {
        report = report.note("nothing was found");
    }
    Ok(report)
}

/// Everything that is looked through, each place once.
fn places(args: &SearchArgs, host: &Host<'_>) -> Result<(Vec<Found>, Option<Project>), Problem> {
    if let Some(path) = &args.sources {
        return Ok((discovery::read(path)?.unwrap_or_default().found(), None));
    }
    let mut places: Vec<Found> = Vec::new();
    let project =
        if Path::new(PROJECT_FILE).is_file() { Some(Project::load(&root())?) } else { None };
    for spec in project.iter().flat_map(|project| &project.file.repositories) {
        let Some(url) = &spec.url else { continue };
        let local = matches!(spec.kind, RepositoryKind::Dir | RepositoryKind::Toolchain)
            && !url.starts_with("file://");
        let name = spec.name.clone();
        places.push(if local {
            Found { name, url: None, folder: root().join(url) }
        } else {
            Found { name, url: Some(url.clone()), folder: PathBuf::new() }
        });
    }
    let user = host.home.as_ref().map(|home| home.join(USER_SOURCES));
    for path in [Some(PathBuf::from(SOURCES_FILE)), user].into_iter().flatten() {
        for found in discovery::read(&path)?.unwrap_or_default().found() {
            let known = |place: &Found| (&place.url, &place.folder) == (&found.url, &found.folder);
            if !places.iter().any(known) {
                places.push(found);
            }
        }
    }
    Ok((places, project))
}

/// Show and change the list of repositories that `drift search` looks through.
#[derive(Debug, clap::Subcommand)]
pub(super) enum SourcesCommand {
    List(ListArgs),
    Add(AddArgs),
    Remove(RemoveArgs),
    Import(ImportArgs),
}

#[derive(Debug, clap::Args)]
struct ListFile {
    /// The list
    #[arg(long, value_name = "FILE", default_value = SOURCES_FILE)]
    sources: PathBuf,
    /// Print a JSON report and nothing else
    #[arg(long)]
    json: bool,
}

/// Print the list.
#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    file: ListFile,
}

/// Add a repository to the list.
#[derive(Debug, clap::Args)]
pub(super) struct AddArgs {
    /// Its name
    #[arg(value_name = "NAME")]
    name: String,
    /// The folder of its index
    #[arg(value_name = "URL")]
    url: String,
    #[command(flatten)]
    file: ListFile,
}

/// Take a repository off the list.
#[derive(Debug, clap::Args)]
pub(super) struct RemoveArgs {
    /// Its name
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    file: ListFile,
}

/// Add the repositories of somebody else's list.
///
/// That a repository is on a list says nothing about its packages: its signers are new here, like
/// all others.
#[derive(Debug, clap::Args)]
pub(super) struct ImportArgs {
    /// The list
    #[arg(value_name = "URL")]
    url: String,
    #[command(flatten)]
    file: ListFile,
}

pub(super) fn sources(command: &SourcesCommand, host: &mut Host<'_>) -> Result<u8, Failure> {
    let (file, result) = match command {
        SourcesCommand::List(args) => (&args.file, list(&args.file.sources)),
        SourcesCommand::Add(args) => {
            let add = |list: &mut SourceList| list.add(&args.name, &args.url).map(|()| 1);
            (&args.file, change(&args.file.sources, add))
        }
        SourcesCommand::Remove(args) => {
            let remove = |list: &mut SourceList| list.remove(&args.name).map(|()| 1);
            (&args.file, change(&args.file.sources, remove))
        }
        SourcesCommand::Import(args) => (&args.file, import(args, host)),
    };
    finish(host, file.json, result.map_err(one))
}

fn list(path: &Path) -> Result<Report, Problem> {
    let list = discovery::read(path)?.unwrap_or_default();
    let mut report = Report::default().field("sources", list.to_json());
    for found in list.found() {
        let place = found.url.unwrap_or_else(|| found.folder.display().to_string());
        report = report.line(format!("{} {place}", found.name));
    }
    Ok(report)
}

fn change(
    path: &Path,
    change: impl FnOnce(&mut SourceList) -> Result<usize, Problem>,
) -> Result<Report, Problem> {
    let mut list = discovery::read(path)?.unwrap_or_default();
    let changed = change(&mut list)?;
    discovery::write(path, &list)?;
    Ok(Report::default()
        .field("sources", list.to_json())
        .note(format!("`{}`: {changed} changed", path.display())))
}

fn import(args: &ImportArgs, host: &Host<'_>) -> Result<Report, Problem> {
    let from = Location::parse(&args.url)
        .map_err(|error| Problem::new("REPOSITORY_URL", error.to_string()))?;
    let client = crate::transport::Client::new(host.world.network())
        .map_err(|error| Problem::new("TRANSPORT_LOCAL", error.to_string()))?;
    let bytes = client.read(&from, discovery::MAX_LIST)?;
    let theirs = SourceList::parse(&bytes, &args.url)?;
    change(&args.file.sources, |list| list.import(&theirs, &from))
}
