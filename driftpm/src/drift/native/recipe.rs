//! The recipe of a native part: everything that its output depends on, and the command lines.

use std::path::{Path, PathBuf};

use epk_format::digest::Sha256;

use super::super::metadata::Metadata;
use super::super::platform::Platform;
use super::super::project::Shim;
use crate::canonical_json::canonical;
use crate::json::{Object, Value, object};
use crate::problem::Problem;

/// The ending of outputs.
pub const OBJECT: &str = ".o";

/// Flags of every compilation. No debug information and no build id, in which paths would be; no
/// date; position-independent, so that it can be linked into anything.
const FLAGS: [&str; 8] = [
    "-O2",
    "-g0",
    "-fPIC",
    "-fno-ident",
    "-fstack-protector-strong",
    "-Wdate-time",
    "-Werror=date-time",
    "-Werror=implicit-function-declaration",
];

/// A compiler that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tool {
    /// Its name, `clang` or `gcc`.
    pub name: String,
    /// The program.
    pub path: PathBuf,
    /// The first line that `--version` prints.
    pub version: String,
}

/// A recipe.
#[derive(Clone, Debug)]
pub struct Recipe<'a> {
    shim: &'a Shim,
    tool: &'a Tool,
    json: Value,
}

impl<'a> Recipe<'a> {
    /// The recipe of `shim` of a package with `metadata`, by `tool`, for `platform`.
    ///
    /// # Errors
    /// `NATIVE_REFUSED` for inputs that would not be what they look like.
    pub fn new(
        shim: &'a Shim,
        metadata: &Metadata,
        tool: &'a Tool,
        platform: &Platform,
    ) -> Result<Self, Problem> {
        let refused = |message: String| Problem::new("NATIVE_REFUSED", message);
        let mut inputs = Object::new();
        for path in shim.inputs() {
            // A name that starts with a dash would be an option, one with `@` a file of options.
            if path.components().any(|part| part.starts_with(['-', '@'])) {
                return Err(refused(format!("`{path}`: a part of it starts with `-` or `@`")));
            }
            let hash = metadata
                .files
                .get(path)
                .ok_or_else(|| refused(format!("`{path}` is not in the package")))?;
            inputs.insert(path.as_str(), hash.as_str());
        }
        let json = object([
            ("format", Value::from(1_usize)),
            ("shim", shim.to_json()),
            ("inputs", inputs.into()),
            ("tool", tool.name.as_str().into()),
            ("tool_version", tool.version.as_str().into()),
            ("flags", Value::Array(FLAGS.iter().map(|flag| (*flag).into()).collect())),
            ("platform", platform.key().into()),
        ]);
        Ok(Self { shim, tool, json })
    }

    /// The hash of everything that goes in.
    #[must_use]
    pub fn hash(&self) -> Sha256 {
        Sha256::of(canonical(&self.json).as_bytes())
    }

    /// What goes in, as it is written beside the output.
    #[must_use]
    pub fn to_json(&self) -> &Value {
        &self.json
    }

    /// The name of the output file.
    #[must_use]
    pub fn output(&self) -> String {
        format!("{}{OBJECT}", self.shim.name)
    }

    /// The arguments of every run: one for each source, and one that joins what came of them. The
    /// folder of inputs is the current one; everything is written to `outputs`.
    #[must_use]
    pub fn commands(&self, outputs: &Path) -> Vec<Vec<String>> {
        let out = |name: &str| outputs.join(name).to_string_lossy().into_owned();
        let mut commands = Vec::new();
        let mut parts = Vec::new();
        for (number, source) in self.shim.sources.iter().enumerate() {
            let part = out(&format!("{number}.part.o"));
            let mut words: Vec<String> = vec![format!("-std={}", self.shim.standard)];
            words.extend(FLAGS.iter().map(ToString::to_string));
            // Names of things that must be unique are made of this, not of random numbers.
            words.push(format!("-frandom-seed={}", self.hash()));
            words.push("-I.".to_owned());
            words.extend(self.shim.defines.iter().map(|(key, value)| match value.as_str() {
                "" => format!("-D{key}"),
                value => format!("-D{key}={value}"),
            }));
            words.extend(["-c".to_owned(), "-o".to_owned(), part.clone(), source.to_string()]);
            // gcc only: what clang does not know it refuses.
            if self.tool.name == "clang" {
                words.retain(|word| !word.starts_with("-frandom-seed="));
            }
            commands.push(words);
            parts.push(part);
        }
        let mut join: Vec<String> =
            ["-r", "-nostdlib", "-Wl,--build-id=none", "-o"].map(str::to_owned).to_vec();
        join.push(out(&self.output()));
        join.extend(parts);
        commands.push(join);
        commands
    }
}
