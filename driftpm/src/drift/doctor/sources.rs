//! The check `sources`: is there a sources file, and does it name directories?

use std::collections::HashSet;
use std::path::Path;

use super::super::sources::{self, Source, SourcesError};
use super::{Check, Status, finding};
use crate::files;
use crate::json::{JsonError, Limit};
use crate::relpath::shown;

const ID: &str = "sources";

/// The check, and the sources if the file can be read.
pub(super) fn check(path: &Path) -> (Check, Option<Vec<Source>>) {
    let at = shown(path);
    let bytes = match files::read(path, Limit::SETTINGS.file()) {
        Ok(bytes) => bytes,
        Err(error) if error.is_missing() => {
            let found = finding("SOURCES_MISSING", "there is no sources file").at(&at);
            let check = Check::new(ID, Status::Degraded, format!("no sources file `{at}`"));
            return (check.with_findings(vec![found]), None);
        }
        Err(error) => {
            let found = finding("SOURCES_SCHEMA_INVALID", error.to_string()).at(&at);
            let check = Check::new(ID, Status::Fatal, "the sources file cannot be read");
            return (check.with_findings(vec![found]), None);
        }
    };
    let sources = match sources::parse(&bytes) {
        Ok(sources) => sources,
        Err(error) => {
            let code = match error {
                SourcesError::Json(JsonError::Syntax(_)) => "SOURCES_PARSE_ERROR",
                _ => "SOURCES_SCHEMA_INVALID",
            };
            let check = Check::new(ID, Status::Fatal, "the sources file is invalid");
            return (check.with_findings(vec![finding(code, error.to_string()).at(&at)]), None);
        }
    };
    let mut findings = Vec::new();
    let mut seen = HashSet::new();
    for source in &sources {
        if !seen.insert(source.id.as_str()) {
            let message = format!("two sources have the id `{}`", source.id);
            findings.push(finding("SOURCES_DUPLICATE_ID", message).from_source(&source.id).at(&at));
        }
        let (code, message) = match source.path.metadata() {
            Ok(metadata) if metadata.is_dir() => continue,
            Ok(_) => ("SOURCES_PATH_NOT_DIR", "the source is no directory"),
            Err(_) => ("SOURCES_PATH_MISSING", "the source does not exist"),
        };
        findings.push(finding(code, message).from_source(&source.id).at(shown(&source.path)));
    }
    let check = if findings.is_empty() {
        Check::new(ID, Status::Ok, "sources fine")
            .with_data([("source_count", sources.len().into())])
    } else {
        Check::new(ID, Status::Fatal, "some sources cannot be used").with_findings(findings)
    };
    (check, Some(sources))
}
