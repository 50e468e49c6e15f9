//! A new catalog.

use std::path::Path;

use super::document::About;
use super::{CATALOG_FILE, POLICIES};
use crate::canonical_json::indented;
use crate::drift::project::check_name;
use crate::files;
use crate::problem::Problem;
use crate::relpath::shown;

/// Writes an empty catalog below `root`: what it is called, and the policies, which people should
/// read and change. Gives the files written, by their paths below `root`.
///
/// # Errors
/// `CATALOG_EXISTS`, `CATALOG_INVALID`, `FILE_ERROR`
pub fn init(root: &Path, name: &str, description: Option<&str>) -> Result<Vec<String>, Problem> {
    let invalid = |message: String| Problem::new("CATALOG_INVALID", message);
    check_name(name).map_err(|message| invalid(message).at("name"))?;
    if description.is_some_and(|text| text.is_empty() || text.chars().any(char::is_control)) {
        return Err(invalid("one line of text is wanted".to_owned()).at("description"));
    }
    let about = About {
        name: name.to_owned(),
        description: description.map(str::to_owned),
        ..About::default()
    };
    let mut list = vec![(CATALOG_FILE, indented(&about.to_json()))];
    list.extend(POLICIES.map(|(path, text)| (path, text.to_owned())));
    for (path, _) in &list {
        let path = root.join(path);
        if path.symlink_metadata().is_ok() {
            let message = "exists and is not overwritten";
            return Err(Problem::new("CATALOG_EXISTS", message).in_file(shown(&path)));
        }
    }
    // The catalog's own file last: without it there is no catalog yet.
    for (path, text) in list.iter().rev() {
        let path = root.join(path);
        files::create_dirs(files::parent_of(&path))?;
        files::write_atomically(&path, text.as_bytes())?;
    }
    Ok(list.into_iter().map(|(path, _)| path.to_owned()).collect())
}
