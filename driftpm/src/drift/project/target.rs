//! `drift-target.json`

use std::collections::BTreeMap;

use semver::Version;

use super::super::platform::Requirement;
use super::{FORMAT, Fields, check_name};
use crate::json::{Object, Value, object};
use crate::problem::Problem;
use crate::relpath::RelPath;

/// What a target becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A package that others use.
    Package,
    /// A program.
    Exec,
}

impl Kind {
    /// The name in files.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Package => "package",
            Self::Exec => "exec",
        }
    }
}

/// What a target's file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its name, unique in the project; of a package its id.
    pub name: String,
    /// What it becomes.
    pub kind: Kind,
    /// Its version.
    pub version: Version,
    /// Its modules and their sources, below the target's folder.
    pub modules: BTreeMap<String, RelPath>,
    /// Of a program: the module with which it starts.
    pub entry: Option<String>,
    /// Keys of the project's `deps`.
    pub uses: Vec<String>,
    /// Names of other targets, which are packages.
    pub depends_on: Vec<String>,
    /// Where it runs.
    pub platform: Requirement,
    /// Native parts.
    pub native: Vec<Shim>,
}

/// One native part: a few C files that become one library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shim {
    /// The library's name.
    pub name: String,
    /// The compiler: `clang` or `gcc`.
    pub tool: String,
    /// C files, each of them compiled.
    pub sources: Vec<RelPath>,
    /// Headers they include.
    pub headers: Vec<RelPath>,
    /// Macros and their values.
    pub defines: BTreeMap<String, String>,
    /// The C standard, for instance `c11`.
    pub standard: String,
    /// Libraries of the system to link.
    pub link: Vec<LinkLibrary>,
}

/// A library of the system, by the name after `-l`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkLibrary(pub String);

/// Libraries that a native part may link: the C library's own, present wherever a C compiler is.
const LIBRARIES: [&str; 5] = ["c", "m", "dl", "pthread", "rt"];
/// Compilers.
const TOOLS: [&str; 2] = ["clang", "gcc"];
/// Standards of C.
const STANDARDS: [&str; 4] = ["c99", "c11", "c17", "c23"];

impl Target {
    /// Reads a document; `file` is its name in complaints.
    ///
    /// # Errors
    /// `TARGET_INVALID`
    pub fn from_json(document: &Object, file: &str) -> Result<Self, Problem> {
        let fields = Fields::top("TARGET_INVALID", file, document);
        fields.format("format", FORMAT)?;
        let name = fields.name("name")?.to_owned();
        let kind = match fields.text("kind")? {
            "package" => Kind::Package,
            "exec" => Kind::Exec,
            other => {
                let message = format!("`{other}`; `package` and `exec` are known");
                return Err(fields.wrong("kind", message));
            }
        };
        let version = fields.version("version")?;
        let mut modules = BTreeMap::new();
        for (id, path) in fields.members("modules")? {
            let place = format!("modules.{id}");
            check_name(id).map_err(|message| fields.wrong(&place, message))?;
            let text = path.as_str().ok_or_else(|| {
                fields.wrong(&place, format!("{}, not the path of a file", path.kind()))
            })?;
            modules.insert(id.to_owned(), fields.relative(&place, text)?);
        }
        if modules.is_empty() {
            return Err(fields.wrong("modules", "a target has at least one module"));
        }
        let entry = fields.optional_text("entry")?.map(str::to_owned);
        match (kind, &entry) {
            (Kind::Package, Some(_)) => {
                return Err(fields.wrong("entry", "a package does not start anywhere"));
            }
            (Kind::Exec, None) => return Err(fields.wrong("entry", "missing")),
            (Kind::Exec, Some(entry)) if !modules.contains_key(entry) => {
                return Err(fields.wrong("entry", format!("`{entry}` is none of the `modules`")));
            }
            _ => {}
        }
        let uses = fields.texts("uses")?;
        let depends_on = fields.texts("depends_on")?;
        let platform = match fields.get("platform") {
            None => Requirement::default(),
            Some(value) => Requirement::from_json(&fields.below("platform", value)?)?,
        };
        let native = Shim::list(&fields)?;
        if kind == Kind::Exec && !native.is_empty() {
            return Err(fields.wrong("native", "native parts belong into packages"));
        }
        fields.finish()?;
        Ok(Self { name, kind, version, modules, entry, uses, depends_on, platform, native })
    }
}

impl Shim {
    /// The list under `native`.
    ///
    /// # Errors
    /// With the code of `fields`, for everything that is not a plain compilation.
    pub(in crate::drift) fn list(fields: &Fields<'_>) -> Result<Vec<Self>, Problem> {
        let mut list: Vec<Self> = Vec::new();
        for (at, item) in fields.items("native")?.iter().enumerate() {
            let fields = fields.below(&format!("native[{at}]"), item)?;
            let shim = Self::from_json(&fields)?;
            if list.iter().any(|other| other.name == shim.name) {
                let message = format!("another native part is called `{}`", shim.name);
                return Err(fields.wrong("name", message));
            }
            fields.finish()?;
            list.push(shim);
        }
        Ok(list)
    }

    fn from_json(fields: &Fields<'_>) -> Result<Self, Problem> {
        let name = fields.name("name")?.to_owned();
        let one_of = |key, known: &[&str], default: Option<&str>| -> Result<String, Problem> {
            let text = match (fields.optional_text(key)?, default) {
                (Some(text), _) | (None, Some(text)) => text,
                (None, None) => fields.text(key)?,
            };
            if known.contains(&text) {
                return Ok(text.to_owned());
            }
            let known: Vec<String> = known.iter().map(|known| format!("`{known}`")).collect();
            Err(fields.wrong(key, format!("`{text}`; {} may be", known.join(", "))))
        };
        let tool = one_of("tool", &TOOLS, None)?;
        let standard = one_of("standard", &STANDARDS, Some("c11"))?;
        let endings = |key, ending: &str| -> Result<Vec<RelPath>, Problem> {
            let paths = fields.paths(key)?;
            match paths.iter().find(|path| !path.as_str().ends_with(ending)) {
                None => Ok(paths),
                Some(path) => {
                    let message = format!("`{path}` does not end in `{ending}`");
                    Err(fields.wrong(key, message))
                }
            }
        };
        let sources = endings("sources", ".c")?;
        if sources.is_empty() {
            return Err(fields.wrong("sources", "a native part has at least one C file"));
        }
        let headers = endings("headers", ".h")?;
        let mut defines = BTreeMap::new();
        for (key, value) in fields.members("defines")? {
            let place = format!("defines.{key}");
            let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if !key.chars().all(word) || key.starts_with(|c: char| c.is_ascii_digit()) {
                return Err(fields.wrong(&place, "not the name of a macro"));
            }
            let value = value.as_str().ok_or_else(|| fields.wrong(&place, "not a string"))?;
            // Words and numbers only: a value is no place for code.
            if !value.chars().all(|c| word(c) || matches!(c, '.' | '-' | '+')) {
                let message = format!("{value:?} has more than letters, digits, `_.+-`");
                return Err(fields.wrong(&place, message));
            }
            defines.insert(key.to_owned(), value.to_owned());
        }
        let link = fields.texts("link")?;
        if let Some(library) = link.iter().find(|name| !LIBRARIES.contains(&name.as_str())) {
            let message = format!("`{library}`; only {} may be linked", LIBRARIES.join(", "));
            return Err(fields.wrong("link", message));
        }
        let link = link.into_iter().map(LinkLibrary).collect();
        Ok(Self { name, tool, sources, headers, defines, standard, link })
    }

    /// The inputs: every file that the compiler sees, sources first.
    pub fn inputs(&self) -> impl Iterator<Item = &RelPath> {
        self.sources.iter().chain(&self.headers)
    }

    /// The JSON object of files.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let paths = |paths: &[RelPath]| -> Value {
            Value::Array(paths.iter().map(|path| path.as_str().into()).collect())
        };
        let mut defines = Object::new();
        for (key, value) in &self.defines {
            defines.insert(key.as_str(), value.as_str());
        }
        object([
            ("name", self.name.as_str().into()),
            ("tool", self.tool.as_str().into()),
            ("standard", self.standard.as_str().into()),
            ("sources", paths(&self.sources)),
            ("headers", paths(&self.headers)),
            ("defines", defines.into()),
            ("link", Value::Array(self.link.iter().map(|name| name.0.as_str().into()).collect())),
        ])
    }
}
