//! A repository as a page for people.

use std::collections::BTreeMap;

use driftpm::index::{EpkIndex, Release};
use driftpm::page::{More, Page, Piece, Row};

use crate::store::compare_versions;

/// The page.
pub(super) fn page(index: &EpkIndex) -> Page {
    let intro = [
        Piece::text("Install with"),
        Piece::code("pkgtool source add NAME URL --key KEYID"),
        Piece::text("and"),
        Piece::code("pkgtool fetch PACKAGE"),
    ];
    Page {
        title: index.title.clone(),
        intro: vec![intro.to_vec()],
        noun: "packages".to_owned(),
        columns: ["Package", "Newest", "Description", "Commands"].map(str::to_owned).to_vec(),
        rows: index.packages.iter().map(|(name, releases)| row(name, releases)).collect(),
    }
}

fn row(name: &str, releases: &BTreeMap<String, Release>) -> Row {
    let mut sorted: Vec<(&String, &Release)> = releases.iter().collect();
    sorted.sort_by(|(left, _), (right, _)| compare_versions(right, left));
    let (version, newest) = sorted
        .first()
        .map_or((String::new(), None), |(version, release)| ((*version).clone(), Some(*release)));
    let description = newest.and_then(|release| release.description.clone()).unwrap_or_default();
    let commands = newest.map(|release| release.commands.iter().map(Piece::code).collect());
    let count = sorted.len();
    Row {
        name: name.to_owned(),
        cells: vec![
            vec![Piece::text(version)],
            vec![Piece::text(description)],
            commands.unwrap_or_default(),
        ],
        more: Some(More {
            summary: format!("{count} version{}", if count == 1 { "" } else { "s" }),
            columns: ["Version", "Arch", "Format", "Bytes", "Signed by", "PackageHash", "File"]
                .map(str::to_owned)
                .to_vec(),
            rows: sorted.iter().map(|(version, release)| cells(version, release)).collect(),
        }),
    }
}

fn cells(version: &str, release: &Release) -> Vec<Vec<Piece>> {
    let file = release.file.rsplit('/').next().unwrap_or(&release.file);
    vec![
        vec![Piece::text(version)],
        vec![Piece::text(&release.arch)],
        vec![Piece::text(&release.format)],
        vec![Piece::text(release.size.to_string())],
        release.key_ids.iter().map(Piece::code).collect(),
        vec![Piece::code(&release.package_hash)],
        vec![Piece::File { text: file.to_owned(), path: release.file.clone() }],
    ]
}
