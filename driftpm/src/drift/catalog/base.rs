//! A catalog as it was in a revision of git.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::problem::Problem;

/// Writes what `revision` has of the catalog at `root` below `into`, an empty folder, and gives the
/// folder in which it lies. Neither the repository nor its index is touched.
///
/// # Errors
/// `CATALOG_BASE`
pub fn checked_out(
    git: &Path,
    root: &Path,
    revision: &str,
    into: &Path,
) -> Result<PathBuf, Problem> {
    let failed = |message: String| Problem::new("CATALOG_BASE", message).about(revision);
    if revision.is_empty() || revision.starts_with('-') {
        return Err(failed("it is no revision".to_owned()));
    }
    let index = into.join("index");
    let run = |arguments: &[&str]| -> Result<String, Problem> {
        let output = Command::new(git)
            .arg("-C")
            .arg(root)
            .args(arguments)
            .env("GIT_INDEX_FILE", &index)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| failed(format!("cannot run `{}`: {error}", git.display())))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        if output.status.success() {
            Ok(text(&output.stdout))
        } else {
            let verb = arguments.first().unwrap_or(&"");
            Err(failed(format!("`git {verb}`: {}", text(&output.stderr))))
        }
    };
    let prefix = run(&["rev-parse", "--show-prefix"])?;
    let commit = run(&["rev-parse", "--verify", "--quiet", &format!("{revision}^{{commit}}")])
        .map_err(|_| failed(format!("git knows no revision `{revision}`")))?;
    run(&["read-tree", &commit])?;
    let tree = into.join("tree");
    let shown = tree.to_str().ok_or_else(|| failed("its folder is not UTF-8".to_owned()))?;
    let listed = run(&["ls-files", "-z", "--full-name", "--", "index", "packages", "policy"])?;
    let files: Vec<&str> = listed.split('\0').filter(|path| !path.is_empty()).collect();
    // Names come back relative to the top, and go in relative to where git runs.
    for batch in files.chunks(256) {
        let mut arguments = vec!["checkout-index", "--force", "--quiet"];
        let to = format!("--prefix={shown}/");
        arguments.extend([to.as_str(), "--"]);
        arguments.extend(batch.iter().map(|path| path.strip_prefix(&prefix).unwrap_or(path)));
        run(&arguments)?;
    }
    Ok(tree.join(prefix.trim_end_matches('/')))
}
