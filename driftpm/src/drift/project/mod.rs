//! Projects: what people write by hand, `drift-project.json` and a `drift-target.json` for each
//! thing that is built.
//!
//! Both are read strictly: a field that format 1 does not have is refused, since a misspelt
//! `constraint` that is passed over would be a dependency without one.

mod discover;
mod edit;
mod fields;
mod file;
mod target;

pub use discover::{Targets, discover};
pub use edit::{add, init, remove};
pub(super) use fields::Fields;
pub use file::{Dependency, ProjectFile, RepositoryKind, RepositorySpec, TrustSettings};
pub use target::{Kind, LinkLibrary, Shim, Target};

use std::path::{Path, PathBuf};

use crate::files::{self, FileError};
use crate::json::{self, Limit, Object, Value};
use crate::problem::Problem;
use crate::relpath::shown;

/// The name of the project's file, at the project's root.
pub const PROJECT_FILE: &str = "drift-project.json";
/// The name of a target's file, in the target's folder.
pub const TARGET_FILE: &str = "drift-target.json";
/// The only format of both.
pub const FORMAT: u64 = 1;

/// A project: its root and what its file says.
#[derive(Clone, Debug)]
pub struct Project {
    /// The folder of `drift-project.json`.
    pub root: PathBuf,
    /// What it says.
    pub file: ProjectFile,
}

impl Project {
    /// Reads the project in `root`.
    ///
    /// # Errors
    /// `PROJECT_MISSING`, `PROJECT_INVALID`
    pub fn load(root: &Path) -> Result<Self, Problem> {
        let path = root.join(PROJECT_FILE);
        let document =
            read_document(&path, "PROJECT_MISSING", "PROJECT_INVALID").map_err(|problem| {
                match problem.code {
                    "PROJECT_MISSING" => problem.hint("`drift init` makes a project"),
                    _ => problem,
                }
            })?;
        let file = ProjectFile::from_json(&document, &shown(&path))?;
        Ok(Self { root: root.to_owned(), file })
    }
}

/// Reads a JSON object from a file.
fn read_document(
    path: &Path,
    missing: &'static str,
    invalid: &'static str,
) -> Result<Object, Problem> {
    let wrong = |message: String| Problem::new(invalid, message).in_file(shown(path));
    let bytes = match files::read(path, Limit::SETTINGS.file()) {
        Ok(bytes) => bytes,
        Err(FileError::Missing(_)) => {
            return Err(Problem::new(missing, "there is no such file").in_file(shown(path)));
        }
        Err(error) => return Err(wrong(error.to_string())),
    };
    match json::parse(&bytes, Limit::SETTINGS).map_err(|error| wrong(error.to_string()))? {
        Value::Object(document) => Ok(document),
        other => Err(wrong(format!("the file is {}, not an object", other.kind()))),
    }
}

/// Whether `name` may be the name of a package or target: letters, digits, `.`, `_`, `-`, a
/// letter or digit first, nothing that means something in a path.
///
/// # Errors
/// What is wrong with it.
pub fn check_name(name: &str) -> Result<(), String> {
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-');
    if let Some(bad) = name.chars().find(|c| !allowed(*c)) {
        return Err(format!("{bad:?} is in {name:?}; letters, digits, `.`, `_` and `-` may be"));
    }
    if !name.starts_with(char::is_alphanumeric) {
        return Err(format!("{name:?} does not start with a letter or digit"));
    }
    if name.contains("..") {
        return Err(format!("{name:?} has two dots in a row"));
    }
    if name.len() > 128 {
        return Err(format!("{} bytes, at most 128 are allowed", name.len()));
    }
    Ok(())
}
