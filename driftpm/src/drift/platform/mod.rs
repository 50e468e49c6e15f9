//! Platforms: what a machine is, and what a package asks of it.

mod detect;
mod requirement;

pub use detect::detect;
pub use requirement::{LibcRequirement, Requirement};

use std::collections::BTreeSet;
use std::fmt;

use epk_format::digest::Sha256;

use super::project::Fields;
use crate::json::{Object, Value, object};
use crate::problem::Problem;

/// What a machine is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    /// The operating system: `linux`.
    pub os: String,
    /// The processor's architecture: `x86_64`, `aarch64`.
    pub arch: String,
    /// The binary interface: `gnu`, `musl`.
    pub abi: String,
    /// The C library, if there is one to link against.
    pub libc: Option<Libc>,
    /// What else it can do: features of the processor, things installed. Free words.
    pub capabilities: BTreeSet<String>,
}

/// A C library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Libc {
    /// Its name: `glibc`, `musl`.
    pub name: String,
    /// Its version: numbers with dots.
    pub version: LibcVersion,
}

/// Numbers with dots; `2.9` is before `2.10`, and `2` is `2.0`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LibcVersion(Vec<u64>);

impl LibcVersion {
    /// Reads `2.36`. Zeroes at the end mean nothing.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let number = |part: &str| {
            let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            if digits { part.parse().ok() } else { None }
        };
        let mut numbers = text.split('.').map(number).collect::<Option<Vec<u64>>>()?;
        while numbers.len() > 1 && numbers.last() == Some(&0) {
            numbers.pop();
        }
        (numbers.len() <= 4).then_some(Self(numbers))
    }
}

impl fmt::Display for LibcVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<String> = self.0.iter().map(u64::to_string).collect();
        f.write_str(&numbers.join("."))
    }
}

/// Whether `word` may name a part of a platform: small letters, digits, `_`, `.`, `+`; a dash
/// would make keys ambiguous.
fn is_word(word: &str) -> bool {
    !word.is_empty()
        && word.len() <= 64
        && word.starts_with(|c: char| c.is_ascii_alphanumeric())
        && word
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '.' | '+'))
        && !word.contains("..")
}

impl Platform {
    /// Reads a descriptor.
    ///
    /// # Errors
    /// With the code of `fields`
    pub(in crate::drift) fn from_json(fields: &Fields<'_>) -> Result<Self, Problem> {
        let word = |key| -> Result<String, Problem> {
            let text = fields.text(key)?;
            if is_word(text) {
                return Ok(text.to_owned());
            }
            Err(fields.wrong(key, not_a_word(text)))
        };
        let (os, arch, abi) = (word("os")?, word("arch")?, word("abi")?);
        let libc = match fields.get("libc") {
            None => None,
            Some(value) => {
                let fields = fields.below("libc", value)?;
                let name = fields.text("name")?;
                if !is_word(name) {
                    return Err(fields.wrong("name", not_a_word(name)));
                }
                let version = fields.text("version")?;
                let version = LibcVersion::parse(version).ok_or_else(|| {
                    fields.wrong("version", format!("`{version}` is no number with dots"))
                })?;
                let name = name.to_owned();
                fields.finish()?;
                Some(Libc { name, version })
            }
        };
        let capabilities = words(fields, "capabilities")?;
        fields.finish()?;
        Ok(Self { os, arch, abi, libc, capabilities })
    }

    /// The descriptor in files.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let libc = self.libc.as_ref().map(|libc| {
            Object::from([
                ("name", libc.name.as_str().into()),
                ("version", libc.version.to_string().into()),
            ])
        });
        object([
            ("os", self.os.as_str().into()),
            ("arch", self.arch.as_str().into()),
            ("abi", self.abi.as_str().into()),
            ("libc", libc.into()),
            ("capabilities", self.capabilities.iter().cloned().collect::<Vec<_>>().into()),
        ])
    }

    /// A name for the platform that is safe in paths: the same for equal descriptors, another one
    /// for others. Capabilities are in it by a hash.
    #[must_use]
    pub fn key(&self) -> String {
        let mut key = format!("{}-{}-{}", self.os, self.arch, self.abi);
        if let Some(libc) = &self.libc {
            key.push_str(&format!("-{}-{}", libc.name, libc.version));
        }
        if !self.capabilities.is_empty() {
            let list: Vec<&str> = self.capabilities.iter().map(String::as_str).collect();
            let hash = Sha256::of(list.join("\n").as_bytes()).to_string();
            key.push_str("-c");
            key.extend(hash.chars().take(12));
        }
        key
    }

    /// This platform with parts replaced, each given as `NAME=VALUE`: `os`, `arch`, `abi`, `libc`
    /// (`glibc:2.36` or `none`), `capabilities` (words with commas between, perhaps none).
    ///
    /// # Errors
    /// `PLATFORM_INVALID`
    pub fn with(mut self, parts: &[String]) -> Result<Self, Problem> {
        for part in parts {
            let wrong = |message: String| Problem::new("PLATFORM_INVALID", message);
            let (name, value) = part
                .split_once('=')
                .ok_or_else(|| wrong(format!("`{part}` is not of the form `NAME=VALUE`")))?;
            let word = || -> Result<String, Problem> {
                if is_word(value) { Ok(value.to_owned()) } else { Err(wrong(not_a_word(value))) }
            };
            match name {
                "os" => self.os = word()?,
                "arch" => self.arch = word()?,
                "abi" => self.abi = word()?,
                "libc" if value == "none" => self.libc = None,
                "libc" => {
                    let libc = value.split_once(':').and_then(|(name, version)| {
                        let version = LibcVersion::parse(version)?;
                        is_word(name).then(|| Libc { name: name.to_owned(), version })
                    });
                    let message = format!("`{value}` is neither `NAME:VERSION` nor `none`");
                    self.libc = Some(libc.ok_or_else(|| wrong(message))?);
                }
                "capabilities" => {
                    let list: Vec<&str> =
                        value.split(',').filter(|word| !word.is_empty()).collect();
                    if let Some(bad) = list.iter().find(|word| !is_word(word)) {
                        return Err(wrong(not_a_word(bad)));
                    }
                    self.capabilities = list.into_iter().map(str::to_owned).collect();
                }
                _ => {
                    let message = format!(
                        "`{name}`; `os`, `arch`, `abi`, `libc` and `capabilities` are known"
                    );
                    return Err(wrong(message));
                }
            }
        }
        Ok(self)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key())
    }
}

fn not_a_word(text: &str) -> String {
    format!("{text:?} is no word of small letters, digits, `_`, `.` and `+`")
}

/// A list of words.
fn words(fields: &Fields<'_>, key: &'static str) -> Result<BTreeSet<String>, Problem> {
    let texts = fields.texts(key)?;
    match texts.iter().find(|word| !is_word(word)) {
        Some(bad) => Err(fields.wrong(key, not_a_word(bad))),
        None => Ok(texts.into_iter().collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{Limit, parse};

    fn linux() -> Platform {
        Platform {
            os: "linux".into(),
            arch: "x86_64".into(),
            abi: "gnu".into(),
            libc: Some(Libc { name: "glibc".into(), version: LibcVersion::parse("2.36").unwrap() }),
            capabilities: BTreeSet::new(),
        }
    }

    fn requirement(text: &str) -> Result<Requirement, Problem> {
        let value = parse(text.as_bytes(), Limit::SETTINGS).unwrap();
        Requirement::from_json(&Fields::top("X", "file", value.as_object().unwrap()))
    }

    #[test]
    fn keys_are_stable_and_tell_platforms_apart() {
        assert_eq!(linux().key(), "linux-x86_64-gnu-glibc-2.36");
        let with = |parts: &[&str]| {
            let parts: Vec<String> = parts.iter().map(ToString::to_string).collect();
            linux().with(&parts).map(|platform| platform.key())
        };
        assert_eq!(with(&["libc=none", "abi=none"]).unwrap(), "linux-x86_64-none");
        let key = with(&["capabilities=b,a"]).unwrap();
        assert_eq!(key, "linux-x86_64-gnu-glibc-2.36-c7e18f737311b");
        assert_eq!(key, with(&["capabilities=a,b,a"]).unwrap());
        for bad in ["os", "os=", "os=A", "os=a-b", "libc=glibc", "libc=g:x", "x=y", "arch=../x"] {
            assert_eq!(with(&[bad]).unwrap_err().code, "PLATFORM_INVALID", "{bad}");
        }
    }

    #[test]
    fn descriptors_read_back() {
        let platform = linux().with(&["capabilities=avx2,sse4.2".into()]).unwrap();
        let value = platform.to_json();
        let fields = Fields::top("X", "file", value.as_object().unwrap());
        assert_eq!(Platform::from_json(&fields).unwrap(), platform);
    }

    #[test]
    fn requirements_are_met_or_named() {
        let here = linux().with(&["capabilities=avx2".into()]).unwrap();
        for (text, problem) in [
            ("{}", None),
            (r#"{"os":["linux","macos"],"arch":["x86_64"]}"#, None),
            (r#"{"libc":{"name":"glibc","min_version":"2.9"}}"#, None),
            (r#"{"capabilities":["avx2"]}"#, None),
            (r#"{"os":["windows"]}"#, Some("os")),
            (r#"{"arch":["aarch64"]}"#, Some("arch")),
            (r#"{"abi":["musl"]}"#, Some("abi")),
            (r#"{"libc":{"name":"glibc","min_version":"2.37"}}"#, Some("2.37")),
            (r#"{"libc":{"name":"musl"}}"#, Some("musl")),
            (r#"{"capabilities":["avx2","avx512f"]}"#, Some("avx512f")),
        ] {
            let found = requirement(text).unwrap().unmet_by(&here);
            match problem {
                None => assert_eq!(found, None, "{text}"),
                Some(part) => assert!(found.clone().unwrap().contains(part), "{text}: {found:?}"),
            }
        }
        for bad in [
            r#"{"os":"linux"}"#,
            r#"{"os":[]}"#,
            r#"{"os":["Linux"]}"#,
            r#"{"libc":{}}"#,
            r#"{"libc":{"name":"glibc","min_version":"x"}}"#,
            r#"{"cpu":["x"]}"#,
        ] {
            assert!(requirement(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn versions_of_c_libraries_are_numbers() {
        let v = |text| LibcVersion::parse(text);
        assert!(v("2.9") < v("2.10") && v("2") == v("2.0") && v("2.36") < v("3"));
        for bad in ["", ".", "2.", "a", "2.x", "-1", "+1", "1.2.3.4.5"] {
            assert_eq!(v(bad), None, "{bad}");
        }
    }
}
