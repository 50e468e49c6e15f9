//! The manifest: a TOML text that names the package, says what it runs on and what to run
//! (`spec/manifest.md`).
//!
//! Reading it and judging whether this host can run the package are two steps:
//! [`Manifest::parse`] and [`Manifest::check_compatibility`]. Both fail with one of EXOS's
//! status numbers.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

mod isolation;

pub use isolation::Isolation;

macro_rules! statuses {
    ($($(#[$doc:meta])* $variant:ident = $number:literal, $name:literal;)*) => {
        /// What is wrong with a manifest, numbered as EXOS does.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ManifestStatus {
            $($(#[$doc])* $variant,)*
        }

        impl ManifestStatus {
            /// Every status, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The number.
            #[must_use]
            pub fn number(self) -> u8 {
                match self {
                    $(Self::$variant => $number,)*
                }
            }

            /// The name, in lower case.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

statuses! {
    /// Nothing is wrong.
    Ok = 0, "ok";
    /// EXOS's; not given here.
    InvalidArgument = 1, "invalid_argument";
    /// EXOS's; not given here.
    OutOfMemory = 2, "out_of_memory";
    /// Not TOML, or a value of the wrong type.
    InvalidToml = 3, "invalid_toml";
    /// No `name`, or an empty one.
    MissingName = 4, "missing_name";
    /// No `version`, or an empty one.
    MissingVersion = 5, "missing_version";
    /// No `arch`, or an empty one.
    MissingArch = 6, "missing_arch";
    /// No `kernel_api`, or an empty one.
    MissingKernelApi = 7, "missing_kernel_api";
    /// No `entry`, or an empty one.
    MissingEntry = 8, "missing_entry";
    /// The package around it is refused.
    InvalidPackage = 9, "invalid_package";
    /// The section is empty.
    InvalidManifestBlob = 10, "invalid_manifest_blob";
    /// `provides` or `requires`: packages don't depend on packages.
    ForbiddenDependencyGraph = 11, "forbidden_dependency_graph";
    /// An `arch` that nobody knows.
    InvalidArch = 12, "invalid_arch";
    /// A `kernel_api` that isn't `major.minor`.
    InvalidKernelApi = 13, "invalid_kernel_api";
    /// An `arch` that this host doesn't run.
    IncompatibleArch = 14, "incompatible_arch";
    /// A `kernel_api` that this host doesn't offer.
    IncompatibleKernelApi = 15, "incompatible_kernel_api";
    /// An `entry` that is no path inside the package.
    InvalidEntryPath = 16, "invalid_entry_path";
    /// A command's name or target is malformed.
    InvalidCommandMap = 17, "invalid_command_map";
    /// A command is named twice.
    DuplicateCommandName = 18, "duplicate_command_name";
}

/// What is wrong with a manifest, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("manifest: {detail} [{} ({})]", status.name(), status.number())]
pub struct ManifestError {
    /// EXOS's status.
    pub status: ManifestStatus,
    /// What was found, and what was allowed.
    pub detail: String,
}

impl ManifestError {
    pub(crate) fn new(status: ManifestStatus, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into() }
    }
}

/// The API of the system under a package: `major.minor`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiVersion {
    /// Must be equal.
    pub major: u64,
    /// The package's must not be above the host's.
    pub minor: u64,
}

impl ApiVersion {
    /// What this implementation offers to packages. The one place that says so.
    pub const HOST: Self = Self { major: 1, minor: 0 };

    /// Reads two runs of 1 to 15 ASCII digits with a dot between them.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let number = |digits: &str| {
            let good = (1..=15).contains(&digits.len())
                && digits.bytes().all(|digit| digit.is_ascii_digit());
            good.then(|| digits.parse().ok()).flatten()
        };
        let (major, minor) = text.split_once('.')?;
        Some(Self { major: number(major)?, minor: number(minor)? })
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// What a host can run.
#[derive(Debug, Clone)]
pub struct Host<'h> {
    /// The architectures, in the manifest's words.
    pub arches: &'h [&'h str],
    /// The API.
    pub kernel_api: ApiVersion,
}

/// The architectures that the format knows.
pub const ARCHES: [&str; 2] = ["x86-32", "x86-64"];

/// A manifest that keeps the rules. Values are as they stand in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// What the package is called. Any text: make no path of it unescaped.
    pub name: String,
    /// Its version. Any text.
    pub version: String,
    /// The processor architecture it is built for.
    pub arch: String,
    /// The API that it needs.
    pub kernel_api: String,
    /// What runs by default: a path inside the package, beginning with `/`.
    pub entry: String,
    /// What else can run: names and paths inside the package.
    pub commands: BTreeMap<String, String>,
    /// From how much of the host it wants to be kept at least.
    pub isolation: Option<Isolation>,
}

impl Manifest {
    /// Reads a manifest.
    ///
    /// Each key is looked up at top level first, then in `[package]`; an empty value at top
    /// level counts as absent. Keys that nobody knows are ignored.
    ///
    /// # Errors
    /// The first rule that it breaks, in EXOS's order.
    ///
    /// ```
    /// use epk_format::manifest::Manifest;
    ///
    /// let text = r#"
    /// name = "org.example.app"
    /// version = "1.2"
    /// arch = "x86-64"
    /// kernel_api = "1.0"
    /// entry = "/bin/app"
    ///
    /// [commands]
    /// tool = "/bin/tool"
    /// "#;
    /// let manifest = Manifest::parse(text.as_bytes())?;
    /// assert_eq!(manifest.commands["tool"], "/bin/tool");
    /// # Ok::<(), epk_format::manifest::ManifestError>(())
    /// ```
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        use ManifestStatus as S;
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let at = error.valid_up_to();
            ManifestError::new(S::InvalidToml, format!("not UTF-8 at byte {at}"))
        })?;
        // EXOS takes a byte order mark for a part of the first line's key, which is lost so.
        let text = match text.strip_prefix('\u{feff}') {
            Some(marked) => marked.split_once('\n').map_or("", |(_, rest)| rest),
            None => text,
        };
        let table = DeTable::parse(text).map_err(|error| syntax(text, &error))?;
        let keys = Keys { table: table.get_ref(), text };

        let name = keys.required("name", 254, S::MissingName)?;
        let version = keys.required("version", 254, S::MissingVersion)?;
        let arch = keys.required("arch", 254, S::MissingArch)?;
        let kernel_api = keys.required("kernel_api", 254, S::MissingKernelApi)?;
        let entry = keys.required("entry", TARGET_BYTES, S::MissingEntry)?;
        check_target(&entry)
            .map_err(|detail| ManifestError::new(S::InvalidEntryPath, format!("entry {detail}")))?;
        keys.no_dependencies()?;
        let commands = keys.commands()?;
        let isolation = keys.isolation()?;
        Ok(Self { name, version, arch, kernel_api, entry, commands, isolation })
    }

    /// Judges whether a host can run the package.
    ///
    /// # Errors
    /// 12, 14, 13 or 15, in this order.
    pub fn check_compatibility(&self, host: &Host<'_>) -> Result<(), ManifestError> {
        use ManifestStatus as S;
        if !ARCHES.contains(&self.arch.as_str()) {
            return Err(ManifestError::new(
                S::InvalidArch,
                format!("arch `{}`, known are {}", self.arch.escape_debug(), ARCHES.join(", ")),
            ));
        }
        if !host.arches.contains(&self.arch.as_str()) {
            return Err(ManifestError::new(
                S::IncompatibleArch,
                format!("built for {}, this host runs {}", self.arch, host.arches.join(", ")),
            ));
        }
        let Some(wanted) = ApiVersion::parse(&self.kernel_api) else {
            return Err(ManifestError::new(
                S::InvalidKernelApi,
                format!("kernel_api `{}` is not `major.minor`", self.kernel_api.escape_debug()),
            ));
        };
        let offered = host.kernel_api;
        if wanted.major != offered.major || wanted.minor > offered.minor {
            return Err(ManifestError::new(
                S::IncompatibleKernelApi,
                format!(
                    "needs API {wanted}, this host offers {offered}: the first number must be \
                     equal, the second not above it"
                ),
            ));
        }
        Ok(())
    }

    /// The target of a command, if the manifest names it.
    #[must_use]
    pub fn command(&self, name: &str) -> Option<&str> {
        self.commands.get(name).map(String::as_str)
    }
}

const TARGET_BYTES: usize = 1022;
const COMMAND_NAME_BYTES: usize = 62;

/// A syntax error. EXOS has statuses of its own for malformed and repeated command names.
fn syntax(text: &str, error: &toml::de::Error) -> ManifestError {
    let at = error.span().map_or(0, |span| span.start);
    let before = text.get(..at).unwrap_or(text);
    let table = before.lines().rev().find_map(|line| line.trim().strip_prefix('['));
    let in_commands = table.is_some_and(|table| {
        matches!(table.split(']').next().map(str::trim), Some("commands" | "package.commands"))
    });
    let line = before.matches('\n').count() + 1;
    let status = match error.message() {
        message if in_commands && message.contains("duplicate key") => {
            ManifestStatus::DuplicateCommandName
        }
        message if in_commands && message.contains("unquoted key") => {
            ManifestStatus::InvalidCommandMap
        }
        _ => ManifestStatus::InvalidToml,
    };
    ManifestError::new(status, format!("line {line}: {}", error.message()))
}

struct Keys<'k, 't> {
    table: &'k DeTable<'t>,
    /// What was parsed: the spans of keys and values point into it.
    text: &'k str,
}

impl<'k, 't> Keys<'k, 't> {
    fn package(&self) -> Option<&'k DeTable<'t>> {
        self.table.get("package")?.get_ref().as_table()
    }

    /// The values of a key: at top level, then in `[package]`.
    fn values(&self, key: &str) -> impl Iterator<Item = &'k Spanned<DeValue<'t>>> {
        [Some(self.table), self.package()].into_iter().flatten().filter_map(move |t| t.get(key))
    }

    /// What EXOS, which reads no types, takes for the value's text: numbers as they are spelled.
    fn text_of(&self, value: &'k Spanned<DeValue<'t>>) -> Option<&'k str> {
        match value.get_ref() {
            DeValue::String(text) => Some(text),
            DeValue::Integer(_) | DeValue::Float(_) => self.text.get(value.span()),
            DeValue::Boolean(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => {
                None
            }
        }
    }

    fn required(
        &self,
        key: &str,
        limit: usize,
        missing: ManifestStatus,
    ) -> Result<String, ManifestError> {
        for value in self.values(key) {
            let text = self.text_of(value).ok_or_else(|| {
                ManifestError::new(
                    ManifestStatus::InvalidToml,
                    format!("`{key}` is {}, not a string", value.get_ref().type_str()),
                )
            })?;
            if text.len() > limit || text.contains('\0') {
                return Err(ManifestError::new(
                    ManifestStatus::InvalidToml,
                    format!(
                        "`{key}` of {} bytes: at most {limit} are allowed, none of them NUL",
                        text.len()
                    ),
                ));
            }
            if !text.is_empty() {
                return Ok(text.to_owned());
            }
        }
        Err(ManifestError::new(missing, format!("`{key}` is missing or empty")))
    }

    /// `provides` and `requires`, of any type, unless empty text.
    fn no_dependencies(&self) -> Result<(), ManifestError> {
        for key in ["provides", "requires"] {
            if self.values(key).any(|value| value.get_ref().as_str() != Some("")) {
                return Err(ManifestError::new(
                    ManifestStatus::ForbiddenDependencyGraph,
                    format!("`{key}`: a package carries what it needs and depends on no other"),
                ));
            }
        }
        Ok(())
    }

    fn commands(&self) -> Result<BTreeMap<String, String>, ManifestError> {
        let mut found = Vec::new();
        for value in self.values("commands").map(Spanned::get_ref) {
            let Some(table) = value.as_table() else {
                return Err(invalid_command(format!(
                    "`commands` is {}, not a table",
                    value.type_str()
                )));
            };
            flatten(table, "", self.text, &mut found)?;
        }
        // EXOS's order: by place in the text, but empty names first.
        found.sort_by_key(|(name, _, place)| (!name.is_empty(), place.start));
        let mut commands = BTreeMap::new();
        for (name, target, _) in found {
            check_command_name(&name).map_err(invalid_command)?;
            check_target(&target)
                .map_err(|detail| invalid_command(format!("command `{name}` {detail}")))?;
            if commands.insert(name.clone(), target).is_some() {
                return Err(ManifestError::new(
                    ManifestStatus::DuplicateCommandName,
                    format!("command `{name}` is in [commands] and in [package.commands]"),
                ));
            }
        }
        Ok(commands)
    }
}

fn invalid_command(detail: String) -> ManifestError {
    ManifestError::new(ManifestStatus::InvalidCommandMap, detail)
}

/// Collects the commands of a table; those of a table inside it have dotted names. The depth
/// is bounded by the TOML parser.
fn flatten(
    table: &DeTable<'_>,
    prefix: &str,
    text: &str,
    found: &mut Vec<(String, String, Range<usize>)>,
) -> Result<(), ManifestError> {
    for (key, value) in table {
        let name = format!("{prefix}{}", key.get_ref());
        let spelled = text.get(key.span()).unwrap_or_default();
        if spelled.starts_with(['"', '\'']) {
            return Err(invalid_command(format!("command name {spelled} in quotes")));
        }
        match value.get_ref() {
            DeValue::Table(inner) => flatten(inner, &format!("{name}."), text, found)?,
            DeValue::String(target) => {
                found.push((name, target.to_string(), key.span()));
            }
            other => {
                return Err(invalid_command(format!(
                    "command `{name}` is {}, not a string",
                    other.type_str()
                )));
            }
        }
    }
    Ok(())
}

fn check_command_name(name: &str) -> Result<(), String> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.is_empty() || name.len() > COMMAND_NAME_BYTES || !name.bytes().all(good) {
        return Err(format!(
            "command name `{}`: 1 to {COMMAND_NAME_BYTES} of A-Z, a-z, 0-9, `-`, `_`, `.` are \
             allowed",
            name.escape_debug()
        ));
    }
    Ok(())
}

/// A package path: absolute, normalised, below the root, and not spelled as it is mounted.
fn check_target(target: &str) -> Result<(), String> {
    let shown = target.escape_debug();
    let Some(rest) = target.strip_prefix('/') else {
        return Err(format!("`{shown}` does not begin with `/`"));
    };
    if target.len() > TARGET_BYTES || target.contains('\0') {
        return Err(format!("of {} bytes, at most {TARGET_BYTES}, none NUL", target.len()));
    }
    if rest.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
        return Err(format!("`{shown}` has an empty, `.` or `..` segment"));
    }
    if rest == "package" || rest.starts_with("package/") {
        return Err(format!("`{shown}` begins with `/package`: paths begin at the package's root"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINIMAL: &str = "name = \"n\"\nversion = \"1.0\"\narch = \"x86-64\"\n\
                           kernel_api = \"1.0\"\nentry = \"/bin/app\"\n";

    fn status(text: &str) -> ManifestStatus {
        Manifest::parse(text.as_bytes()).err().map_or(ManifestStatus::Ok, |error| error.status)
    }

    #[test]
    fn keys_are_found_in_two_places() {
        let package = format!("[package]\n{MINIMAL}");
        assert_eq!(status(&package), ManifestStatus::Ok);
        let mixed = format!("name = \"\"\n[package]\n{MINIMAL}");
        assert_eq!(Manifest::parse(mixed.as_bytes()).expect("good").name, "n");
        assert_eq!(status("[package]\nname = \"n\""), ManifestStatus::MissingVersion);
        // EXOS sees text where TOML sees numbers.
        for number in ["1.10", "0x1F", "1_000", "-1", "+1.5e3", "inf"] {
            let bare = MINIMAL.replace("\"1.0\"", number);
            assert_eq!(Manifest::parse(bare.as_bytes()).expect("good").kernel_api, number);
        }
    }

    #[test]
    fn commands_are_judged() {
        let cases = [
            ("[commands]\na = \"/a\"\nb.c = \"/b\"", ManifestStatus::Ok),
            ("[commands]\na = \"/a\"\na = \"/b\"", ManifestStatus::DuplicateCommandName),
            (
                "[commands]\na = \"/a\"\n[package.commands]\na = \"/b\"",
                ManifestStatus::DuplicateCommandName,
            ),
            ("[commands]\n\"a\" = \"/a\"", ManifestStatus::InvalidCommandMap),
            ("[commands]\na = \"a\"", ManifestStatus::InvalidCommandMap),
            ("[commands]\na = \"/package/a\"", ManifestStatus::InvalidCommandMap),
            ("[commands]\na = 1", ManifestStatus::InvalidCommandMap),
            ("commands = 1", ManifestStatus::InvalidCommandMap),
            ("requires = []", ManifestStatus::ForbiddenDependencyGraph),
            ("requires = \"\"", ManifestStatus::Ok),
            ("[other]\nrequires = \"x\"", ManifestStatus::Ok),
            ("a = 1\na = 2", ManifestStatus::InvalidToml),
        ];
        for (tail, expected) in cases {
            assert_eq!(status(&format!("{MINIMAL}{tail}\n")), expected, "{tail}");
        }
    }

    #[test]
    fn compatibility_is_a_step_of_its_own() {
        let host = Host { arches: &["x86-64"], kernel_api: ApiVersion { major: 1, minor: 2 } };
        let cases = [
            ("x86-64", "1.0", ManifestStatus::Ok),
            ("x86-64", "1.2", ManifestStatus::Ok),
            ("x86-64", "1.3", ManifestStatus::IncompatibleKernelApi),
            ("x86-64", "0.1", ManifestStatus::IncompatibleKernelApi),
            ("x86-64", "1", ManifestStatus::InvalidKernelApi),
            ("x86-32", "1", ManifestStatus::IncompatibleArch),
            ("amd64", "1", ManifestStatus::InvalidArch),
        ];
        for (arch, api, expected) in cases {
            let mut manifest = Manifest::parse(MINIMAL.as_bytes()).expect("good");
            (manifest.arch, manifest.kernel_api) = (arch.into(), api.into());
            let found = manifest.check_compatibility(&host).err();
            assert_eq!(found.map_or(ManifestStatus::Ok, |e| e.status), expected, "{arch} {api}");
        }
    }
}
