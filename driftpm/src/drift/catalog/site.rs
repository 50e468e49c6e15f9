//! A catalog as a page for people.

use std::collections::BTreeMap;

use semver::Version;

use super::document::{Described, Release, split};
use super::read::Catalog;
use crate::drift::repository::Entry;
use crate::page::{More, Page, Piece, Row};

/// The page.
#[must_use]
pub fn site(catalog: &Catalog) -> Page {
    let about = &catalog.about;
    let mut intro: Vec<Vec<Piece>> = Vec::new();
    intro.extend(about.description.as_deref().map(|text| vec![Piece::text(text)]));
    intro.extend(about.home.as_ref().map(|url| {
        vec![Piece::text("Home:"), Piece::Link { text: url.clone(), url: url.clone() }]
    }));
    Page {
        title: format!("Drift packages of {}", about.name),
        intro,
        noun: "packages".to_owned(),
        columns: ["Package", "Newest", "Description", "Owners"].map(str::to_owned).to_vec(),
        rows: catalog.releases.iter().map(|(id, releases)| row(catalog, id, releases)).collect(),
    }
}

fn row(catalog: &Catalog, id: &str, releases: &BTreeMap<String, Release>) -> Row {
    let namespace = split(id).and_then(|(name, rest)| Some((catalog.namespaces.get(name)?, rest)));
    let described = namespace.and_then(|(namespace, rest)| namespace.packages.get(rest).cloned());
    let Described { description, tags } = described.unwrap_or_default();
    let owners = namespace.map(|(namespace, _)| namespace.owners.join(", ")).unwrap_or_default();
    let mut sorted: Vec<(Option<Version>, &Release)> =
        releases.values().map(|one| (Version::parse(&one.version).ok(), one)).collect();
    sorted.sort_by(|a, b| b.0.cmp(&a.0));
    let released = |one: &&(Option<Version>, &Release)| {
        !one.1.is_yanked() && one.0.as_ref().is_some_and(|version| version.pre.is_empty())
    };
    let newest = sorted.iter().find(released).or(sorted.first());
    let newest = newest.map(|(_, release)| release.version.clone()).unwrap_or_default();
    let mut about: Vec<Piece> = description.map(Piece::Text).into_iter().collect();
    about.extend(tags.into_iter().map(Piece::Tag));
    let count = sorted.len();
    Row {
        name: id.to_owned(),
        cells: vec![vec![Piece::Text(newest)], about, vec![Piece::Text(owners)]],
        more: Some(More {
            summary: format!("{count} version{}", if count == 1 { "" } else { "s" }),
            columns: ["Version", "Target", "Published", "Needs", "Bytes", "Signed by", "File"]
                .map(str::to_owned)
                .to_vec(),
            rows: sorted.iter().flat_map(|(_, one)| one.artifacts.iter().map(version)).collect(),
        }),
    }
}

fn version(artifact: &Entry) -> Vec<Vec<Piece>> {
    let offer = &artifact.offer;
    let mut version = vec![Piece::text(&offer.identity.version)];
    if offer.yanked {
        version.push(Piece::text("(withdrawn)"));
    }
    let needs = offer.dependencies.iter();
    let needs = needs.map(|(package, constraint)| Piece::code(format!("{package} {constraint}")));
    let signers = offer.signer_kids.iter().map(Piece::code).collect();
    let (path, sha256) = (&offer.path, Piece::code(&offer.sha256));
    let file = if path.contains("://") {
        Piece::Link { text: path.clone(), url: path.clone() }
    } else {
        Piece::text(path)
    };
    vec![
        version,
        vec![Piece::text(&offer.identity.target)],
        vec![Piece::text(&artifact.published_at)],
        needs.collect(),
        vec![Piece::text(artifact.size.to_string())],
        signers,
        vec![file, sha256],
    ]
}
