//! From a folder of packages to the index of a repository.
//!
//! The same folder, the same earlier index and the same time give the same bytes. What was
//! published once cannot become something else: the earlier index is held against the folder.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use semver::Version;

use super::super::container;
use super::super::resolve::{DirectorySource, VersionSource as _};
use super::entry::Entry;
use super::file::{Index, KIND, MAX_INDEX};
use crate::canonical_json::canonical;
use crate::files::{self, MAX_PACKAGE};
use crate::json::{self, Limit, Object, Value, object};
use crate::problem::Problem;
use crate::relpath::RelPath;
use crate::transport::{Location, zstd};

/// What to build.
#[derive(Clone, Debug)]
pub struct BuildRequest {
    /// The folder of packages and sidecars.
    pub artifacts: PathBuf,
    /// The index to be written. One that is there is the earlier one.
    pub out: PathBuf,
    /// Where the folder can be reached; absent: beside the index.
    pub base_url: Option<String>,
    /// A file with descriptions and tags.
    pub about: Option<PathBuf>,
    /// Put a packed copy beside each package that becomes smaller by it.
    pub pack: bool,
    /// Let published versions be changed or taken away.
    pub force: bool,
    /// What is new is published at this time, `YYYY-MM-DDTHH:MM:SS+00:00`.
    pub now: String,
}

/// What was built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Built {
    /// How many packages the index has.
    pub packages: usize,
    /// How many versions, each target counted.
    pub versions: usize,
    /// How many of them are new.
    pub added: usize,
    /// Whether the index differs from the earlier one.
    pub changed: bool,
}

/// A package as an index lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its id.
    pub id: String,
    /// One line for people.
    pub description: Option<String>,
    /// Words by which it can be found.
    pub tags: Vec<String>,
    /// Its versions.
    pub entries: Vec<Entry>,
}

/// The text of an index: versions sorted as semantic versions, then by target.
#[must_use]
pub fn render(base_url: Option<&str>, packages: impl IntoIterator<Item = Listed>) -> Vec<u8> {
    let mut list = Object::new();
    for Listed { id, description, tags, mut entries } in packages {
        entries.sort_by_cached_key(|entry| {
            let identity = &entry.offer.identity;
            let version = Version::parse(&identity.version).ok();
            (version, identity.version.clone(), identity.target.clone())
        });
        let package = object([
            ("description", description.into()),
            ("tags", tags.into()),
            ("versions", Value::Array(entries.iter().map(Entry::to_json).collect())),
        ]);
        list.insert(id, package);
    }
    let document = object([
        ("format", KIND.into()),
        ("version", Value::from(1_usize)),
        ("base_url", base_url.into()),
        ("packages", list.into()),
    ]);
    canonical(&document).into_bytes()
}

/// Description and tags by package.
type About = BTreeMap<String, (Option<String>, Vec<String>)>;

/// Builds the index and writes it.
///
/// # Errors
/// `REPOSITORY_INVALID`, `INDEX_INVALID`, `INDEX_VERSION_CHANGED`, `INDEX_VERSION_MISSING`,
/// `INDEX_BASE_URL`, `ABOUT_INVALID`, `FILE_ERROR`
pub fn build(request: &BuildRequest) -> Result<Built, Problem> {
    if let Some(url) = &request.base_url {
        Location::parse(url).map_err(|error| Problem::new("INDEX_BASE_URL", error.to_string()))?;
    }
    let (earlier, earlier_bytes) = earlier(&request.out)?;
    let mut about = About::new();
    let mut published = BTreeMap::new();
    if let Some(index) = &earlier {
        for head in index.packages() {
            about.insert(head.id.clone(), (head.description.clone(), head.tags.clone()));
            for entry in index.entries(head)? {
                let identity = &entry.offer.identity;
                let key = (head.id.clone(), identity.version.clone(), identity.target.clone());
                published.insert(key, entry);
            }
        }
    }
    if let Some(path) = &request.about {
        about.extend(read_about(path)?);
    }

    let source = DirectorySource::new("artifacts", &request.artifacts);
    let mut packages = Vec::new();
    let mut built = Built { packages: 0, versions: 0, added: 0, changed: true };
    for id in source.packages()? {
        let mut entries = Vec::new();
        for offer in source.offers(&id)? {
            let identity = &offer.identity;
            let key = (id.clone(), identity.version.clone(), identity.target.clone());
            let before = published.remove(&key);
            built.added += usize::from(before.is_none());
            let mut entry = entry(request, offer)?;
            if let Some(before) = before {
                check_unchanged(&before, &entry, request.force)?;
                entry.published_at = before.published_at;
                entry.offer.yanked = before.offer.yanked;
            }
            entries.push(entry);
        }
        built.packages += 1;
        built.versions += entries.len();
        let (description, tags) = about.get(&id).cloned().unwrap_or_default();
        packages.push(Listed { id, description, tags, entries });
    }
    if let (Some((id, version, target)), false) = (published.keys().next(), request.force) {
        let message = format!("{id} {version} ({target}) was published and is not there any more");
        return Err(Problem::new("INDEX_VERSION_MISSING", message)
            .about(id.as_str())
            .hint("`--force` takes it out of the index; others may have locked it"));
    }
    let bytes = render(request.base_url.as_deref(), packages);
    built.changed = earlier_bytes.as_deref() != Some(&bytes);
    files::create_dirs(files::parent_of(&request.out))?;
    files::write_atomically(&request.out, &bytes)?;
    Ok(built)
}

fn earlier(path: &Path) -> Result<(Option<Index>, Option<Vec<u8>>), Problem> {
    match files::read(path, MAX_INDEX) {
        Ok(bytes) => Ok((Some(Index::parse(bytes.clone())?), Some(bytes))),
        Err(error) if error.is_missing() => Ok((None, None)),
        Err(error) => Err(error.into()),
    }
}

fn entry(request: &BuildRequest, offer: super::super::resolve::Offer) -> Result<Entry, Problem> {
    let path = RelPath::parse(&offer.path)
        .map_err(|error| Problem::new("REPOSITORY_INVALID", format!("`{}` {error}", offer.path)))?;
    let bytes = files::read_below(&request.artifacts, &path, MAX_PACKAGE)?;
    // The directory's reader is the light one; what is offered to others should open.
    container::read_full(&bytes).map_err(|error| {
        Problem::new("REPOSITORY_INVALID", error.to_string()).in_file(path.as_str())
    })?;
    if request.pack {
        let beside = request.artifacts.join(format!("{path}.zst"));
        let packed = zstd::compress(&bytes);
        if packed.len() < bytes.len() {
            files::write_atomically(&beside, &packed)?;
        } else {
            files::remove_if_there(&beside)?;
        }
    }
    let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let packed = packed_copy(&request.artifacts, &path, &bytes)?;
    Ok(Entry { offer, size, published_at: request.now.clone(), packed, understood: true })
}

/// The path of the packed copy beside the package at `path`, if there is one.
///
/// # Errors
/// `REPOSITORY_INVALID`: it is a copy of something else, which only those would find out who fetch it.
pub(in crate::drift) fn packed_copy(
    folder: &Path,
    path: &RelPath,
    bytes: &[u8],
) -> Result<Option<String>, Problem> {
    let packed_path = format!("{path}.zst");
    let Ok(packed) = fs::read(folder.join(&packed_path)) else { return Ok(None) };
    let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    if zstd::decompress(&packed, size).is_ok_and(|unpacked| unpacked == bytes) {
        return Ok(Some(packed_path));
    }
    let message = format!("it is no packed copy of `{path}`");
    Err(Problem::new("REPOSITORY_INVALID", message).in_file(packed_path))
}

fn check_unchanged(before: &Entry, now: &Entry, force: bool) -> Result<(), Problem> {
    if force || before.offer.sha256 == now.offer.sha256 {
        return Ok(());
    }
    let identity = &now.offer.identity;
    let message = format!(
        "{identity} was published with {}, now it has {}",
        before.offer.sha256, now.offer.sha256
    );
    Err(Problem::new("INDEX_VERSION_CHANGED", message)
        .about(identity.package_id.as_str())
        .hint("publish it as another version"))
}

/// `{"packages": {ID: {"description", "tags"}}}`
fn read_about(path: &Path) -> Result<About, Problem> {
    let file = path.display().to_string();
    let wrong = |message: String| Problem::new("ABOUT_INVALID", message).in_file(file.as_str());
    let bytes = files::read(path, Limit::SETTINGS.file())?;
    let value = json::parse(&bytes, Limit::SETTINGS).map_err(|error| wrong(error.to_string()))?;
    let packages = value.as_object().and_then(|top| top.get("packages")?.as_object());
    let packages = packages.ok_or_else(|| wrong("no object `packages`".to_owned()))?;
    let mut about = About::new();
    for (id, value) in packages.iter() {
        let fields = value.as_object().ok_or_else(|| wrong(format!("`{id}` is no object")))?;
        let tags = match fields.get("tags") {
            None | Some(Value::Null) => Vec::new(),
            Some(list) => {
                let list = list.as_strings();
                let list =
                    list.ok_or_else(|| wrong(format!("`{id}`: `tags` is no list of texts")))?;
                list.into_iter().map(str::to_owned).collect()
            }
        };
        about.insert(id.to_owned(), (fields.text("description").map(str::to_owned), tags));
    }
    Ok(about)
}
