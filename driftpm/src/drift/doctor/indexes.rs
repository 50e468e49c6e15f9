//! The check `indexes`: do the sources' indexes say true things about packages that are there?

use std::collections::BTreeSet;

use super::super::finding::Finding;
use super::super::identity::{Identity, PartialIdentity};
use super::super::index::{self, Entry, Index, IndexError, Strictness};
use super::super::sources::Source;
use super::inspect::{Inspection, Inspector, Place};
use super::{Check, Status, finding};
use crate::files;
use crate::json::{JsonError, Limit};
use crate::relpath::shown;

const ID: &str = "indexes";

/// The indexes of all sources.
pub(super) struct Indexes {
    /// How many sources there are; `None` if nobody knows.
    source_count: Option<usize>,
    entry_count: usize,
    /// Entries that can be looked at, with their source.
    entries: Vec<(Source, Entry)>,
    findings: Vec<Finding>,
}

/// Reads the indexes of the sources whose directories exist.
pub(super) fn load(sources: Option<&[Source]>) -> Indexes {
    let mut indexes = Indexes {
        source_count: sources.map(<[Source]>::len),
        entry_count: 0,
        entries: Vec::new(),
        findings: Vec::new(),
    };
    for source in sources.unwrap_or_default().iter().filter(|source| source.path.is_dir()) {
        if let Err(finding) = indexes.load_source(source) {
            indexes.findings.push(finding);
        }
    }
    indexes
}

impl Indexes {
    fn load_source(&mut self, source: &Source) -> Result<(), Finding> {
        let index_path = source.path.join(index::FILE_NAME);
        let shown_path = shown(&index_path);
        let wrong = |code, message: &dyn ToString| {
            let finding = finding(code, message.to_string());
            finding.from_source(&source.id).in_index(&shown_path)
        };
        let bytes = files::read(&index_path, Limit::INDEX.file()).map_err(|error| {
            let code = if error.is_missing() { "INDEX_MISSING" } else { "INDEX_SCHEMA_INVALID" };
            wrong(code, &error)
        })?;
        let index = Index::parse(&bytes).map_err(|error| {
            let code = match error {
                IndexError::Json(JsonError::Syntax(_)) => "INDEX_PARSE_ERROR",
                _ => "INDEX_SCHEMA_INVALID",
            };
            wrong(code, &error)
        })?;
        for (package_id, value) in index.entries() {
            self.entry_count = self.entry_count.saturating_add(1);
            match Entry::parse(package_id, value, Strictness::Present) {
                Ok(entry) => self.entries.push((source.clone(), entry)),
                Err(error) => self.findings.push(
                    wrong("INDEX_INVALID_ENTRY", &error)
                        .about(PartialIdentity::of_entry(package_id, value)),
                ),
            }
        }
        Ok(())
    }

    /// The files of all entries.
    pub(super) fn places(&self) -> BTreeSet<Place> {
        self.entries.iter().map(|(source, entry)| place(source, entry)).collect()
    }
}

fn place(source: &Source, entry: &Entry) -> Place {
    (source.path.clone(), entry.path.clone())
}

/// The check.
pub(super) fn check(indexes: &Indexes, deep: bool, inspector: &Inspector) -> Check {
    let Some(source_count) = indexes.source_count else {
        return Check::new(ID, Status::Info, "indexes not looked at: no sources");
    };
    let mut findings = indexes.findings.clone();
    if deep {
        findings.extend(indexes.entries.iter().filter_map(|(source, entry)| {
            let inspection = inspector.at(&place(source, entry));
            let finding = judge(inspection, &entry.identity, &entry.sha256)?;
            Some(
                finding
                    .about(&entry.identity)
                    .from_source(&source.id)
                    .in_index(&shown(&source.path.join(index::FILE_NAME)))
                    .at(shown(&entry.path.below(&source.path))),
            )
        }));
    }
    let (status, summary) = if findings.is_empty() {
        (Status::Ok, "indexes fine")
    } else {
        (Status::Fatal, "an index cannot be relied on")
    };
    Check::new(ID, status, summary).with_findings(findings).with_data([
        ("source_count", source_count.into()),
        ("package_entry_count", indexes.entry_count.into()),
        ("deep", deep.into()),
    ])
}

/// The first thing wrong with an indexed file: there, hash, container, identity.
fn judge(inspection: &Inspection, claimed: &Identity, expected: &str) -> Option<Finding> {
    match inspection {
        Inspection::Missing => {
            Some(finding("INDEX_MISSING_PACKAGE_FILE", "the indexed package is missing"))
        }
        Inspection::Unreadable(error) => {
            Some(finding("INDEX_PKG_FORMAT_INVALID", error.to_string()))
        }
        Inspection::Read { sha256, .. } if sha256 != expected => {
            let message = "the package has other bytes than the index says";
            Some(finding("INDEX_SHA_MISMATCH", message).hashes(expected, sha256))
        }
        Inspection::Read { light: Err(error), .. } => {
            Some(finding("INDEX_PKG_FORMAT_INVALID", error.to_string()))
        }
        Inspection::Read { light: Ok(observed), .. } if observed != claimed => {
            let message = "the package says it is another one than the index says";
            Some(finding("INDEX_IDENTITY_MISMATCH", message).identities(claimed, observed))
        }
        Inspection::Read { full: Err(error), .. } => {
            Some(finding("INDEX_PKG_FORMAT_INVALID", error.to_string()))
        }
        Inspection::Read { .. } => None,
    }
}
