//! Patch bundles: proposed changes to files, applied in memory.

use std::path::{Component, Path};

use serde::Deserialize;

use super::error::Error;

/// A `*.patchbundle.json`, as far as packages are concerned.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct PatchBundle {
    /// 1.
    pub version: u32,
    /// Who proposes what.
    pub metadata: Metadata,
    /// The files to change.
    pub patches: Vec<FilePatch>,
}

/// A bundle's metadata, as far as it is looked at.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Metadata {
    /// The bundle's id.
    pub id: String,
    /// Who made it.
    pub author: String,
}

/// The changes to one file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct FilePatch {
    /// Path relative to the workspace, inside it.
    pub file: String,
    /// The changes, in any order.
    pub hunks: Vec<Hunk>,
}

/// Lines that take the place of others.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Hunk {
    /// The first line to replace, counted from 1 in the file before any hunk.
    pub start_line: usize,
    /// The lines there now.
    pub old_text: String,
    /// The lines instead.
    pub new_text: String,
}

impl PatchBundle {
    /// Reads and checks a bundle.
    ///
    /// # Errors
    ///
    /// `parse bundle: …`, another version, a path that leaves the workspace, one file twice.
    pub fn from_json(text: &str) -> Result<Self, Error> {
        let bundle: Self = serde_json::from_str(text).map_err(|error| Error::Parse {
            what: "bundle".to_string(),
            reason: error.to_string(),
        })?;
        if bundle.version != 1 {
            return Err(Error::Request(format!("unsupported bundle version: {}", bundle.version)));
        }
        for (number, patch) in bundle.patches.iter().enumerate() {
            let plain = Path::new(&patch.file)
                .components()
                .all(|part| matches!(part, Component::Normal(_)));
            if patch.file.is_empty() || patch.file.contains('\0') || !plain {
                return Err(Error::Request(format!(
                    "invalid path '{}' in the bundle: must be relative, without '.' and '..'",
                    patch.file
                )));
            }
            let others = bundle.patches.iter().take(number);
            if others.into_iter().any(|other| Path::new(&other.file) == Path::new(&patch.file)) {
                return Err(Error::Request(format!("'{}' stands twice in the bundle", patch.file)));
            }
        }
        Ok(bundle)
    }
}

impl FilePatch {
    /// The file's text after the change: its lines, each with a line feed.
    ///
    /// # Errors
    ///
    /// A hunk whose old lines are not there, or that overlaps another.
    pub fn apply(&self, text: &str) -> Result<String, String> {
        let lines: Vec<&str> = text.lines().collect();
        let mut hunks: Vec<&Hunk> = self.hunks.iter().collect();
        hunks.sort_by_key(|hunk| hunk.start_line);
        let mut out: Vec<&str> = Vec::new();
        let mut taken = 0;
        for hunk in hunks {
            let place = format!("{} line {}", self.file, hunk.start_line);
            let start = hunk
                .start_line
                .checked_sub(1)
                .ok_or_else(|| format!("{place}: lines are counted from 1"))?;
            let between = lines.get(taken..start).ok_or_else(|| {
                if start < taken {
                    format!("{place}: overlaps another hunk")
                } else {
                    format!("{place}: the file has {} lines", lines.len())
                }
            })?;
            out.extend(between);
            let old: Vec<&str> = hunk.old_text.lines().collect();
            if lines.get(start..).is_none_or(|rest| !rest.starts_with(&old)) {
                return Err(format!("{place}: the file does not have the lines to replace"));
            }
            out.extend(hunk.new_text.lines());
            taken = start + old.len();
        }
        out.extend(lines.get(taken..).unwrap_or_default());
        let mut joined = out.join("\n");
        joined.push('\n');
        Ok(joined)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(hunks: &[(usize, &str, &str)]) -> Result<String, String> {
        let hunk = |(start_line, old, new): &(usize, &str, &str)| Hunk {
            start_line: *start_line,
            old_text: old.to_string(),
            new_text: new.to_string(),
        };
        let patch = FilePatch { file: "f".to_string(), hunks: hunks.iter().map(hunk).collect() };
        patch.apply("one\ntwo\nthree\nfour")
    }

    #[test]
    fn hunks() {
        for (hunks, expected) in [
            (&[][..], Ok("one\ntwo\nthree\nfour\n")),
            (&[(2, "two", "2")][..], Ok("one\n2\nthree\nfour\n")),
            (&[(2, "two\nthree\n", "")][..], Ok("one\nfour\n")),
            // Counted before any hunk, in any order.
            (&[(3, "three", "3"), (1, "one", "1\n1b")][..], Ok("1\n1b\ntwo\n3\nfour\n")),
            (&[(5, "", "five")][..], Ok("one\ntwo\nthree\nfour\nfive\n")),
            (&[(1, "", "zero")][..], Ok("zero\none\ntwo\nthree\nfour\n")),
            (&[(2, "three", "")][..], Err("f line 2: the file does not have the lines to replace")),
            (&[(0, "", "")][..], Err("f line 0: lines are counted from 1")),
            (&[(9, "", "x")][..], Err("f line 9: the file has 4 lines")),
            (&[(1, "one\ntwo", "x"), (2, "two", "y")][..], Err("f line 2: overlaps another hunk")),
        ] {
            let expected = expected.map(str::to_string).map_err(str::to_string);
            assert_eq!(apply(hunks), expected, "{hunks:?}");
        }
    }

    #[test]
    fn bundles() {
        let bundle = |version: u32, files: &[&str]| {
            let patches: Vec<_> =
                files.iter().map(|file| format!(r#"{{"file":"{file}","hunks":[]}}"#)).collect();
            let text = format!(
                r#"{{"version":{version},"metadata":{{"id":"x","author":"a","intent":"y"}},"patches":[{}]}}"#,
                patches.join(",")
            );
            PatchBundle::from_json(&text).map_err(|error| error.to_string())
        };
        assert!(bundle(1, &["app/package.ax.json", "x"]).is_ok());
        for (version, files, message) in [
            (2, &["x"][..], "unsupported bundle version: 2"),
            (1, &["../x"][..], "invalid path '../x'"),
            (1, &["/x"][..], "invalid path '/x'"),
            (1, &["./x"][..], "invalid path './x'"),
            (1, &["a/../../x"][..], "invalid path 'a/../../x'"),
            (1, &[""][..], "invalid path ''"),
            (1, &["a/b", "a//b"][..], "'a//b' stands twice in the bundle"),
        ] {
            let error = bundle(version, files).err().unwrap_or_default();
            assert!(error.starts_with(message), "{error}");
        }
    }
}
