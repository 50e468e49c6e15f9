//! What is wrong with a catalog as it stands.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::document::{INVALID, Namespace, Release, split};
use super::read::{Catalog, Read};
use super::{CATALOG_FILE, NAMESPACES, PACKAGES, POLICIES};
use crate::drift::project::check_name;
use crate::drift::repository::Entry;
use crate::drift::resolve::Constraint;
use crate::files::MAX_PACKAGE;
use crate::problem::Problem;
use crate::transport::{Location, Scheme};
use crate::trust::{is_reserved, skeleton};

/// What URLs of packages are relative to if the catalog does not say it: an index that is handed
/// out as it should be.
const SOMEWHERE: &str = "https://catalog.invalid/";

/// Everything that is wrong with the catalog at `root`, in the order of files.
#[must_use]
pub fn check(root: &Path, read: &Read) -> Vec<Problem> {
    let Read { catalog, problems, misspelt } = read;
    let mut found = problems.clone();
    found.extend(misspelt.iter().map(|(path, _)| {
        let message = "it is not written as `drift` writes it: sorted, indented by two spaces";
        Problem::new("CATALOG_NOT_CANONICAL", message)
            .in_file(path.as_str())
            .hint("`drift catalog validate --fix` writes it anew")
    }));
    for (path, _) in POLICIES {
        if !root.join(path).is_file() {
            let message = "there is no such file; people have to know what they agree to";
            found.push(Problem::new("CATALOG_POLICY_MISSING", message).in_file(path));
        }
    }
    namespaces(catalog, &mut found);
    if let Err(problem) = base(catalog) {
        found.push(problem);
    }
    for release in catalog.releases.values().flat_map(BTreeMap::values) {
        Checked { catalog, release, found: &mut found }.check();
    }
    found.sort_by(|a, b| (&a.file, &a.field).cmp(&(&b.file, &b.field)));
    found
}

fn namespaces(catalog: &Catalog, found: &mut Vec<Problem>) {
    let about = &catalog.about;
    let listed: BTreeSet<&String> = about.namespaces.iter().collect();
    for name in about.namespaces.iter().filter(|name| !catalog.namespaces.contains_key(*name)) {
        let message = format!("`{name}` has no usable file in `{NAMESPACES}`");
        found.push(
            Problem::new("CATALOG_NAMESPACE_UNKNOWN", message)
                .in_file(CATALOG_FILE)
                .at("namespaces")
                .about(name.as_str()),
        );
    }
    let mut alike: BTreeMap<String, &str> = BTreeMap::new();
    for (name, namespace) in &catalog.namespaces {
        let file = namespace_file(name);
        let mut wrong = |code, field: &str, message: String| {
            found.push(Problem::new(code, message).in_file(&file).at(field).about(name.as_str()));
        };
        if !listed.contains(name) {
            let message = format!("`{name}` is not listed in `{CATALOG_FILE}`");
            wrong("CATALOG_NAMESPACE_UNKNOWN", "namespace", message);
        }
        if name.contains('.') {
            let message = format!("`{name}` has a dot; a namespace is the first part of an id");
            wrong(INVALID, "namespace", message);
        }
        if is_reserved(name) {
            let message = format!("`{name}` belongs to the toolchain");
            wrong("CATALOG_NAMESPACE_RESERVED", "namespace", message);
        }
        if let Some(other) = alike.insert(skeleton(name), name) {
            let message = format!("people could take `{name}` for `{other}`");
            wrong("CATALOG_NAMESPACE_LOOKALIKE", "namespace", message);
        }
        for (field, empty) in
            [("owners", namespace.owners.is_empty()), ("keys", namespace.keys.is_empty())]
        {
            if empty {
                let message = format!("`{name}` has no {field}");
                wrong("CATALOG_NAMESPACE_UNOWNED", field, message);
            }
        }
        for package in namespace.packages.keys() {
            if !catalog.releases.contains_key(&format!("{name}.{package}")) {
                let message = format!("of `{name}.{package}` no version is there");
                wrong("CATALOG_PACKAGE_UNKNOWN", "packages", message);
            }
        }
    }
}

/// The file of a namespace.
pub(super) fn namespace_file(name: &str) -> String {
    format!("{NAMESPACES}/{name}.json")
}

/// The file of a release.
pub(super) fn release_file(package_id: &str, version: &str) -> String {
    let (namespace, name) = split(package_id).unwrap_or_default();
    format!("{PACKAGES}/{namespace}/{name}/{version}.json")
}

/// What URLs of packages are relative to.
fn base(catalog: &Catalog) -> Result<Location, Problem> {
    let text = catalog.about.base_url.as_deref().unwrap_or(SOMEWHERE);
    Location::parse(text).map_err(|error| {
        Problem::new(INVALID, error.to_string()).in_file(CATALOG_FILE).at("base_url")
    })
}

/// A release that is being looked at.
struct Checked<'a> {
    catalog: &'a Catalog,
    release: &'a Release,
    found: &'a mut Vec<Problem>,
}

impl Checked<'_> {
    fn wrong(&mut self, code: &'static str, field: impl Into<String>, message: impl Into<String>) {
        let Release { package_id, version, .. } = self.release;
        self.found.push(
            Problem::new(code, message)
                .in_file(release_file(package_id, version))
                .at(field)
                .about(package_id.as_str()),
        );
    }

    fn check(&mut self) {
        let (catalog, release) = (self.catalog, self.release);
        let namespace = split(&release.package_id).and_then(|(namespace, _)| {
            // One that is not there was complained about unless nobody has heard of it.
            catalog.namespaces.get(namespace)
        });
        if namespace.is_none() {
            let message = "its namespace has no usable file";
            self.wrong("CATALOG_NAMESPACE_UNKNOWN", "package_id", message);
        }
        if release.artifacts.is_empty() {
            self.wrong(INVALID, "artifacts", "there is none");
        }
        let targets: Vec<&str> =
            release.artifacts.iter().map(|one| one.offer.identity.target.as_str()).collect();
        if !targets.is_sorted_by(|a, b| a < b) {
            self.wrong(
                INVALID,
                "artifacts",
                "they are not sorted by target, or one is there twice",
            );
        }
        for (place, artifact) in release.artifacts.iter().enumerate() {
            let at = |field: &str| format!("artifacts[{place}].{field}");
            self.integrity(artifact, &at);
            if let Some(namespace) = namespace {
                self.signers(artifact, namespace, &at);
            }
        }
    }

    fn integrity(&mut self, artifact: &Entry, at: &dyn Fn(&str) -> String) {
        let offer = &artifact.offer;
        if artifact.size == 0 || artifact.size > MAX_PACKAGE {
            let message = format!("{}; packages have up to {MAX_PACKAGE} bytes", artifact.size);
            self.wrong(INVALID, at("size"), message);
        }
        if !is_time(&artifact.published_at) {
            let message = format!("`{}`, not YYYY-MM-DDTHH:MM:SS+00:00", artifact.published_at);
            self.wrong(INVALID, at("published_at"), message);
        }
        if let Ok(base) = base(self.catalog) {
            let urls = [("url", Some(&offer.path)), ("packed_url", artifact.packed.as_ref())];
            for (field, url) in urls.into_iter().filter_map(|(field, url)| Some((field, url?))) {
                match base.join(url) {
                    Err(error) => self.wrong("CATALOG_URL", at(field), error.to_string()),
                    Ok(location) if location.scheme() == Scheme::File => {
                        let message = "nobody else can reach a file of this machine";
                        self.wrong("CATALOG_URL", at(field), message);
                    }
                    Ok(_) => {}
                }
            }
        }
        for (package, text) in &offer.dependencies {
            let named = check_name(package).and_then(|()| {
                Constraint::parse(text).map(|_| ()).map_err(|error| error.to_string())
            });
            if let Err(message) = named {
                self.wrong(INVALID, at("dependencies"), format!("`{package}`: {message}"));
            }
        }
    }

    fn signers(&mut self, artifact: &Entry, namespace: &Namespace, at: &dyn Fn(&str) -> String) {
        let kids = &artifact.offer.signer_kids;
        if artifact.offer.sig_sha256.is_none() || kids.is_empty() {
            let message = "nobody has signed it, or the sidecar has no hash here";
            self.wrong("CATALOG_UNSIGNED", at("sig_sha256"), message);
            return;
        }
        if !kids.is_sorted_by(|a, b| a < b) {
            self.wrong(INVALID, at("signer_kids"), "they are not sorted, or one is there twice");
        }
        if kids.iter().any(|kid| namespace.has_signer(kid)) {
            return;
        }
        let name = &namespace.name;
        if !kids.iter().any(|kid| namespace.revoked.contains_key(kid)) {
            let message = format!("none of `{}` signs for `{name}`", kids.join("`, `"));
            self.wrong("CATALOG_SIGNER_NOT_OWNER", at("signer_kids"), message);
        } else if !artifact.offer.yanked {
            let message = format!("`{name}` has revoked who signed it, and it is not withdrawn");
            self.wrong("CATALOG_SIGNER_REVOKED", at("signer_kids"), message);
        }
    }
}

/// Whether a text is a time as `drift` writes them, in its form.
fn is_time(text: &str) -> bool {
    const FORM: &[u8] = b"0000-00-00T00:00:00+00:00";
    text.len() == FORM.len()
        && text.bytes().zip(FORM).enumerate().all(|(place, (byte, form))| match form {
            // The offset from UTC is always none.
            b'0' if place < 19 => byte.is_ascii_digit(),
            _ => byte == *form,
        })
}
