//! Reading the fields of one JSON object, so that every complaint names file and field, and no
//! field is passed over.

use std::cell::RefCell;
use std::collections::BTreeSet;

use semver::Version;

use crate::json::{Object, Value};
use crate::problem::Problem;
use crate::relpath::RelPath;

/// The fields of an object that is being read.
pub(in crate::drift) struct Fields<'a> {
    code: &'static str,
    file: &'a str,
    at: String,
    object: &'a Object,
    asked: RefCell<BTreeSet<&'static str>>,
}

impl<'a> Fields<'a> {
    /// The fields of the whole document.
    pub(in crate::drift) fn top(code: &'static str, file: &'a str, object: &'a Object) -> Self {
        Self { code, file, at: String::new(), object, asked: RefCell::default() }
    }

    /// The fields of `value`, which lies at `key` below this object.
    pub(in crate::drift) fn below(&self, key: &str, value: &'a Value) -> Result<Self, Problem> {
        let Some(object) = value.as_object() else {
            return Err(self.wrong(key, format!("{}, not an object", value.kind())));
        };
        let (code, file, at) = (self.code, self.file, self.path(key));
        Ok(Self { code, file, at, object, asked: RefCell::default() })
    }

    fn path(&self, key: &str) -> String {
        if self.at.is_empty() { key.to_owned() } else { format!("{}.{key}", self.at) }
    }

    /// A problem with the field `key`.
    pub(in crate::drift) fn wrong(&self, key: &str, message: impl Into<String>) -> Problem {
        Problem::new(self.code, message).in_file(self.file).at(self.path(key))
    }

    fn missing(&self, key: &str) -> Problem {
        self.wrong(key, "missing")
    }

    /// The value of `key`; `null` counts as absent.
    pub(in crate::drift) fn get(&self, key: &'static str) -> Option<&'a Value> {
        self.asked.borrow_mut().insert(key);
        self.object.get(key).filter(|value| **value != Value::Null)
    }

    /// Checks that `format` is the given number.
    pub(in crate::drift) fn format(&self, key: &'static str, number: u64) -> Result<(), Problem> {
        match self.get(key) {
            Some(Value::Number(found)) if found.as_u64() == Some(number) => Ok(()),
            Some(found) => {
                let found = crate::canonical_json::canonical(found);
                Err(self.wrong(key, format!("{found}, only {number} is known")))
            }
            None => Err(self.missing(key)),
        }
    }

    /// A string that is not empty and has no control characters.
    pub(in crate::drift) fn optional_text(
        &self,
        key: &'static str,
    ) -> Result<Option<&'a str>, Problem> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Err(self.wrong(key, "an empty string")),
            Some(Value::String(text)) if text.chars().any(char::is_control) => {
                Err(self.wrong(key, format!("{text:?} has control characters")))
            }
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.wrong(key, format!("{}, not a string", other.kind()))),
        }
    }

    /// The same, and it must be there.
    pub(in crate::drift) fn text(&self, key: &'static str) -> Result<&'a str, Problem> {
        self.optional_text(key)?.ok_or_else(|| self.missing(key))
    }

    /// A name as [`check_name`](super::check_name) wants it.
    pub(in crate::drift) fn name(&self, key: &'static str) -> Result<&'a str, Problem> {
        let name = self.text(key)?;
        super::check_name(name).map_err(|message| self.wrong(key, message))?;
        Ok(name)
    }

    /// A version by the rules of SemVer.
    pub(in crate::drift) fn version(&self, key: &'static str) -> Result<Version, Problem> {
        let text = self.text(key)?;
        Version::parse(text).map_err(|error| self.wrong(key, format!("`{text}`: {error}")))
    }

    /// A boolean, `false` if it is absent.
    pub(in crate::drift) fn flag(&self, key: &'static str) -> Result<bool, Problem> {
        match self.get(key) {
            None => Ok(false),
            Some(Value::Bool(value)) => Ok(*value),
            Some(other) => Err(self.wrong(key, format!("{}, not a boolean", other.kind()))),
        }
    }

    /// An integer, if it is there.
    pub(in crate::drift) fn integer(&self, key: &'static str) -> Result<Option<i64>, Problem> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Number(number)) if number.as_i64().is_some() => Ok(number.as_i64()),
            Some(_) => Err(self.wrong(key, "no integer of 64 bits")),
        }
    }

    /// A list of strings, empty if it is absent; no string is empty or there twice.
    pub(in crate::drift) fn texts(&self, key: &'static str) -> Result<Vec<String>, Problem> {
        let Some(value) = self.get(key) else { return Ok(Vec::new()) };
        let Some(texts) = value.as_strings() else {
            return Err(self.wrong(key, "not a list of strings"));
        };
        let mut seen = BTreeSet::new();
        for text in &texts {
            if text.is_empty() || text.chars().any(char::is_control) {
                return Err(self.wrong(key, format!("{text:?} is in it")));
            }
            if !seen.insert(*text) {
                return Err(self.wrong(key, format!("`{text}` is in it twice")));
            }
        }
        Ok(texts.into_iter().map(str::to_owned).collect())
    }

    /// The same, of relative paths that stay below their folder.
    pub(in crate::drift) fn paths(&self, key: &'static str) -> Result<Vec<RelPath>, Problem> {
        self.texts(key)?.iter().map(|text| self.relative(key, text)).collect()
    }

    /// One relative path.
    pub(in crate::drift) fn relative(&self, key: &str, text: &str) -> Result<RelPath, Problem> {
        RelPath::parse(text).map_err(|error| self.wrong(key, format!("`{text}` {error}")))
    }

    /// The members of an object in the order of the file, none if it is absent.
    pub(in crate::drift) fn members(
        &self,
        key: &'static str,
    ) -> Result<Vec<(&'a str, &'a Value)>, Problem> {
        match self.get(key) {
            None => Ok(Vec::new()),
            Some(Value::Object(members)) => Ok(members.in_file_order()),
            Some(other) => Err(self.wrong(key, format!("{}, not an object", other.kind()))),
        }
    }

    /// The items of a list, none if it is absent.
    pub(in crate::drift) fn items(&self, key: &'static str) -> Result<&'a [Value], Problem> {
        match self.get(key) {
            None => Ok(&[]),
            Some(Value::Array(items)) => Ok(items),
            Some(other) => Err(self.wrong(key, format!("{}, not a list", other.kind()))),
        }
    }

    /// Refuses fields that nobody asked for. `x` is free for other tools.
    pub(in crate::drift) fn finish(&self) -> Result<(), Problem> {
        let asked = self.asked.borrow();
        let unknown = |key: &&str| !asked.contains(key) && *key != "x";
        match self.object.iter().map(|(key, _)| key).find(unknown) {
            None => Ok(()),
            Some(key) => {
                let known: Vec<String> = asked.iter().map(|key| format!("`{key}`")).collect();
                Err(self.wrong(key, format!("unknown; known are {}", known.join(", "))))
            }
        }
    }
}
