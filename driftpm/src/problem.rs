//! What commands on projects say when something is wrong: a stable code, what was found, and
//! where.

use std::fmt;
use std::ops::Deref;

use crate::files::FileError;
use crate::json::{Value, object};

/// One thing that is wrong. Behind a pointer, since most of what is asked comes out well and an
/// error should not make every answer large.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem(Box<Fields>);

/// The fields of a [`Problem`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields {
    /// A stable code, see `spec/drift-projects.md`.
    pub code: &'static str,
    /// What was found and what was allowed, for people; may have several lines.
    pub message: String,
    /// The file concerned.
    pub file: Option<String>,
    /// The field of it concerned, for instance `deps.http.constraint`.
    pub field: Option<String>,
    /// The package or target concerned.
    pub subject: Option<String>,
    /// What may help.
    pub hint: Option<String>,
}

impl Deref for Problem {
    type Target = Fields;

    fn deref(&self) -> &Fields {
        &self.0
    }
}

impl Problem {
    /// A problem that knows its code and message only.
    #[must_use]
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self(Box::new(Fields { code, message, file: None, field: None, subject: None, hint: None }))
    }

    /// The same under another code.
    #[must_use]
    pub fn coded(mut self, code: &'static str) -> Self {
        self.0.code = code;
        self
    }

    /// With the file concerned.
    #[must_use]
    pub fn in_file(mut self, file: impl Into<String>) -> Self {
        self.0.file = Some(file.into());
        self
    }

    /// With the field concerned.
    #[must_use]
    pub fn at(mut self, field: impl Into<String>) -> Self {
        self.0.field = Some(field.into());
        self
    }

    /// With the package or target concerned.
    #[must_use]
    pub fn about(mut self, subject: impl Into<String>) -> Self {
        self.0.subject = Some(subject.into());
        self
    }

    /// With what may help.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// The JSON object of reports, always with all keys.
    #[must_use]
    pub fn to_json(&self) -> Value {
        object([
            ("code", self.code.into()),
            ("message", self.message.as_str().into()),
            ("file", self.file.as_deref().into()),
            ("field", self.field.as_deref().into()),
            ("subject", self.subject.as_deref().into()),
            ("hint", self.hint.as_deref().into()),
        ])
    }
}

/// For people: code, place, message, and the hint on a line of its own.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] ", self.code)?;
        match (&self.file, &self.field) {
            (Some(file), Some(field)) => write!(f, "`{file}`: `{field}`: ")?,
            (Some(file), None) => write!(f, "`{file}`: ")?,
            (None, Some(field)) => write!(f, "`{field}`: ")?,
            (None, None) => {}
        }
        f.write_str(&self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, "\nhint: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

impl From<FileError> for Problem {
    fn from(error: FileError) -> Self {
        Self::new("FILE_ERROR", error.to_string())
    }
}
