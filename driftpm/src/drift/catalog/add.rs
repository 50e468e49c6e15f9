//! Entries for packages that lie here: `drift catalog add`, and the check of a change against the
//! files it speaks of.

use std::path::{Path, PathBuf};

use super::CATALOG_FILE;
use super::check::{check, namespace_file, release_file};
use super::document::{Described, Namespace, Release, split};
use super::read::{Catalog, read};
use crate::canonical_json::indented;
use crate::drift::container::read_full;
use crate::drift::repository::{Entry, packed_copy};
use crate::drift::resolve::{DirectorySource, VersionSource as _};
use crate::drift::sidecar::enclosed_signers;
use crate::drift::trust::verify::{Trust, verify_package};
use crate::files;
use crate::problem::Problem;
use crate::relpath::{RelPath, shown};

/// What to add.
#[derive(Clone, Debug, Default)]
pub struct AddRequest {
    /// The packages, each with its sidecar beside it.
    pub packages: Vec<PathBuf>,
    /// The folder from which others can fetch them; absent: the folder of the index.
    pub url: Option<String>,
    /// Who owns a namespace that is not there yet.
    pub owners: Vec<String>,
    /// What people read of the packages; absent: as it is.
    pub description: Option<String>,
    /// By which words they are found; empty: as it is.
    pub tags: Vec<String>,
    /// The time of publication, `YYYY-MM-DDTHH:MM:SS+00:00`.
    pub now: String,
}

/// Adds packages to the catalog at `root`, or nothing at all. Gives the files written.
///
/// # Errors
/// What is wrong with the catalog, with a package, or with what would become of both:
/// `CATALOG_NAMESPACE_UNKNOWN`, `CATALOG_UNSIGNED`, `CATALOG_SIGNER_NOT_OWNER`, `CATALOG_ID`,
/// `CATALOG_VERSION_CHANGED`, …
pub fn add(root: &Path, request: &AddRequest) -> Result<Vec<String>, Vec<Problem>> {
    let one = |problem: Problem| vec![problem];
    let mut now = read(root).map_err(one)?;
    let wrong = check(root, &now);
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let before = now.catalog.clone();
    for path in &request.packages {
        add_one(&mut now.catalog, path, request).map_err(one)?;
    }
    let wrong = check(root, &now);
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let written = difference(&before, &now.catalog);
    for (path, text) in &written {
        let path = root.join(path);
        files::create_dirs(files::parent_of(&path)).map_err(|error| one(error.into()))?;
        files::write_atomically(&path, text.as_bytes()).map_err(|error| one(error.into()))?;
    }
    Ok(written.into_iter().map(|(path, _)| path).collect())
}

fn add_one(catalog: &mut Catalog, path: &Path, request: &AddRequest) -> Result<(), Problem> {
    let file = shown(path);
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let name = RelPath::parse(name)
        .map_err(|error| Problem::new("CATALOG_ID", error.to_string()).in_file(&file))?;
    let found = Found::read(files::parent_of(path), &name)?;
    let id = found.entry.offer.identity.package_id.clone();
    let Some((namespace_name, package)) = split(&id) else {
        let message = format!("`{id}` has no namespace: a first part that ends with a dot");
        return Err(Problem::new("CATALOG_ID", message).in_file(&file));
    };
    if !catalog.namespaces.contains_key(namespace_name) {
        if request.owners.is_empty() {
            let message = format!("nobody owns `{namespace_name}` yet");
            return Err(Problem::new("CATALOG_NAMESPACE_UNKNOWN", message)
                .about(id.as_str())
                .hint("`--owner NAME` gives it to somebody, with the keys that the sidecar has"));
        }
        let keys = enclosed_signers(found.sidecar.as_deref().unwrap_or_default(), &found.bytes);
        let namespace = Namespace {
            name: namespace_name.to_owned(),
            owners: request.owners.clone(),
            keys: keys.into_iter().collect(),
            ..Namespace::default()
        };
        catalog.namespaces.insert(namespace_name.to_owned(), namespace);
        let listed = &mut catalog.about.namespaces;
        listed.push(namespace_name.to_owned());
        listed.sort();
    }
    let Some(namespace) = catalog.namespaces.get_mut(namespace_name) else { return Ok(()) };
    found.check_signers(namespace, &file)?;
    if request.description.is_some() || !request.tags.is_empty() {
        let described: &mut Described = namespace.packages.entry(package.to_owned()).or_default();
        if let Some(text) = &request.description {
            described.description = Some(text.clone());
        }
        if !request.tags.is_empty() {
            described.tags.clone_from(&request.tags);
        }
    }
    let mut entry = found.entry;
    entry.published_at.clone_from(&request.now);
    let base = request.url.as_deref().map(|url| format!("{}/", url.trim_end_matches('/')));
    let base = base.unwrap_or_default();
    entry.offer.path = format!("{base}{name}");
    entry.packed = entry.packed.map(|packed| format!("{base}{packed}"));
    let version = entry.offer.identity.version.clone();
    let release = catalog.releases.entry(id.clone()).or_default().entry(version.clone());
    let release = release.or_insert_with(|| Release {
        package_id: id.clone(),
        version: version.clone(),
        artifacts: Vec::new(),
    });
    let target = entry.offer.identity.target.clone();
    if release.artifacts.iter().any(|one| one.offer.identity.target == target) {
        let message = format!("{id} {version} for {target} is published already");
        return Err(Problem::new("CATALOG_VERSION_CHANGED", message)
            .in_file(release_file(&id, &version))
            .about(id.as_str()));
    }
    release.artifacts.push(entry);
    release.artifacts.sort_by(|a, b| a.offer.identity.target.cmp(&b.offer.identity.target));
    Ok(())
}

/// A package as it lies in a folder.
struct Found {
    entry: Entry,
    bytes: Vec<u8>,
    modules: Vec<String>,
    sidecar: Option<Vec<u8>>,
}

impl Found {
    fn read(folder: &Path, name: &RelPath) -> Result<Self, Problem> {
        let source = DirectorySource::new("artifacts", folder);
        let offer = source.read_offer(name)?;
        let artifact = source.fetch(name.as_str(), &offer.sha256)?;
        let full = read_full(&artifact.package).map_err(|error| {
            Problem::new("REPOSITORY_INVALID", error.to_string()).in_file(name.as_str())
        })?;
        let size = u64::try_from(artifact.package.len()).unwrap_or(u64::MAX);
        let packed = packed_copy(folder, name, &artifact.package)?;
        let entry = Entry { offer, size, published_at: String::new(), packed, understood: true };
        let (bytes, sidecar) = (artifact.package, artifact.sidecar);
        Ok(Self { entry, bytes, modules: full.modules, sidecar })
    }

    /// Whether the namespace's keys vouch for every module, as the gate asks it.
    fn check_signers(&self, namespace: &Namespace, file: &str) -> Result<(), Problem> {
        let id = self.entry.offer.identity.package_id.as_str();
        if self.sidecar.is_none() {
            let message = "it has no sidecar";
            return Err(Problem::new("CATALOG_UNSIGNED", message).in_file(file).about(id));
        }
        let mut trust = Trust::default();
        trust.project.keys.clone_from(&namespace.keys);
        let kids = namespace.keys.keys().cloned().collect();
        trust.project.namespaces.insert(format!("{}.*", namespace.name), kids);
        trust.project.revoked = namespace.revoked.keys().cloned().collect();
        verify_package(&self.bytes, &self.modules, self.sidecar.as_deref(), &trust, false)
            .map(|_| ())
            .map_err(|error| {
                Problem::new("CATALOG_SIGNER_NOT_OWNER", error.to_string()).in_file(file).about(id)
            })
    }
}

/// The files in which two catalogs differ, as they are now; the catalog's own file last, since it
/// makes a new namespace count.
fn difference(before: &Catalog, now: &Catalog) -> Vec<(String, String)> {
    let mut list = Vec::new();
    for (id, releases) in &now.releases {
        for (version, release) in releases {
            let old = before.releases.get(id).and_then(|releases| releases.get(version));
            if old != Some(release) {
                list.push((release_file(id, version), indented(&release.to_json())));
            }
        }
    }
    for (name, namespace) in &now.namespaces {
        if before.namespaces.get(name) != Some(namespace) {
            let file = namespace_file(name);
            list.push((file, indented(&namespace.to_json())));
        }
    }
    if before.about != now.about {
        list.push((CATALOG_FILE.to_owned(), indented(&now.about.to_json())));
    }
    list
}

/// Holds the catalog against the packages in a folder that it speaks of, by their identity: bytes,
/// sidecar, what they need, and who has signed. Gives how many were there, and what is wrong.
///
/// # Errors
/// The folder cannot be read, or has something that is no package.
pub fn compare_artifacts(
    catalog: &Catalog,
    folder: &Path,
) -> Result<(usize, Vec<Problem>), Problem> {
    let source = DirectorySource::new("artifacts", folder);
    let (mut count, mut wrong) = (0, Vec::new());
    for id in source.packages()? {
        for offer in source.offers(&id)? {
            let version = &offer.identity.version;
            let release = catalog.releases.get(&id).and_then(|releases| releases.get(version));
            let artifacts = release.map(|release| release.artifacts.as_slice()).unwrap_or_default();
            let Some(listed) = artifacts.iter().find(|one| one.offer.identity == offer.identity)
            else {
                continue;
            };
            count += 1;
            let file = release_file(&id, version);
            let path = RelPath::parse(&offer.path)
                .map_err(|error| Problem::new("REPOSITORY_INVALID", error.to_string()))?;
            let mut found = Found::read(folder, &path)?;
            found.entry.packed = None;
            let mut expected = listed.clone();
            expected.published_at = String::new();
            expected.packed = None;
            expected.offer.path.clone_from(&offer.path);
            expected.offer.yanked = false;
            if expected != found.entry {
                let message = format!(
                    "`{path}` is not what is listed: hash {}, sidecar {}, {} bytes",
                    offer.sha256,
                    offer.sig_sha256.as_deref().unwrap_or("none"),
                    found.entry.size
                );
                wrong.push(
                    Problem::new("CATALOG_ARTIFACT_MISMATCH", message).in_file(&file).about(&id),
                );
            }
            let namespace = split(&id).and_then(|(name, _)| catalog.namespaces.get(name));
            if let Some(namespace) = namespace.filter(|_| !listed.offer.yanked) {
                wrong.extend(found.check_signers(namespace, &file).err());
            }
        }
    }
    Ok((count, wrong))
}
