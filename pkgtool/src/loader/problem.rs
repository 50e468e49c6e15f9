//! What a program or library of a package would not find, in words and as JSON.

use std::fmt;

use epk_format::path::display;
use serde_json::{Value, json};

use super::elf::Machine;
use super::search::Place;

/// Something that would not work, and whose it is.
#[derive(Debug)]
pub(crate) struct Problem {
    /// The file, from the package's root, beginning with `/`.
    pub(super) file: Vec<u8>,
    pub(super) what: What,
}

/// What would not work.
#[derive(Debug)]
pub(super) enum What {
    /// A library isn't there.
    Missing {
        needed: Vec<u8>,
        /// Where it was looked for.
        places: Vec<Place>,
        /// What has its name, and is no library for the same machine.
        instead: Option<Vec<u8>>,
        /// Where the package has it all the same.
        elsewhere: Option<Vec<u8>>,
        /// Whether the fixed system runtime was asked, too.
        host: bool,
    },
    /// A part of a C library that is not the loader's.
    Mixed { needed: Vec<u8>, found: Vec<u8> },
    /// The loader, or a script's interpreter, isn't there.
    NoInterpreter { interpreter: Vec<u8> },
    /// The loader that the package carries can't be executed.
    NotExecutable { interpreter: Vec<u8> },
    /// It is for another machine.
    Machine { found: Machine, wanted: Machine },
    /// It is no ELF file that could be loaded.
    Malformed { reason: String },
    /// The search was given up.
    TooMuch,
}

impl Problem {
    /// The kind, as programs read it.
    pub(crate) fn kind(&self) -> &'static str {
        match self.what {
            What::Missing { .. } => "library-missing",
            What::Mixed { .. } => "mixed-runtime",
            What::NoInterpreter { .. } => "interpreter-missing",
            What::NotExecutable { .. } => "interpreter-not-executable",
            What::Machine { .. } => "wrong-machine",
            What::Malformed { .. } => "malformed",
            What::TooMuch => "too-much",
        }
    }

    /// What tells it from the other problems of the same file.
    pub(super) fn key(&self) -> String {
        let about = self.about().map(String::from_utf8_lossy).unwrap_or_default();
        format!("{} {about}", self.kind())
    }

    fn about(&self) -> Option<&[u8]> {
        match &self.what {
            What::Missing { needed, .. } | What::Mixed { needed, .. } => Some(needed),
            What::NoInterpreter { interpreter } | What::NotExecutable { interpreter } => {
                Some(interpreter)
            }
            What::Machine { .. } | What::Malformed { .. } | What::TooMuch => None,
        }
    }

    /// As an element of epk.verify/1.
    pub(crate) fn to_json(&self) -> Value {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let looked_in: Vec<String> = match &self.what {
            What::Missing { places, .. } => places.iter().map(|p| text(&p.folder)).collect(),
            _ => Vec::new(),
        };
        json!({
            "file": text(&self.file),
            "kind": self.kind(),
            "needed": self.about().map(text),
            "looked_in": looked_in,
            "detail": self.detail(),
        })
    }

    fn detail(&self) -> String {
        match &self.what {
            What::Missing { needed, places, instead, elsewhere, host } => {
                let mut text = missing(needed, places, *host);
                if let Some(path) = instead {
                    text.push_str(&format!("; `{}` is no library for its machine", display(path)));
                }
                if let Some(path) = elsewhere {
                    text.push_str(&format!(
                        "; no RUNPATH of it leads to the package's `{}`",
                        display(path)
                    ));
                }
                text
            }
            What::Mixed { needed, found } => format!(
                "needs `{}`, which is the package's `{}`, but its loader is the host's: both must \
                 come from one place",
                display(needed),
                display(found)
            ),
            What::NoInterpreter { interpreter } => format!(
                "is executed by `{}`, which is neither in the package nor in the system runtime",
                display(interpreter)
            ),
            What::NotExecutable { interpreter } => {
                format!("its loader `{}` is no executable file", display(interpreter))
            }
            What::Machine { found, wanted } => {
                format!("is for {found}, the package for {wanted}")
            }
            What::Malformed { reason } => format!("cannot be loaded: {reason}"),
            What::TooMuch => "there is more to look up than any package needs".to_owned(),
        }
    }
}

fn missing(needed: &[u8], places: &[Place], host: bool) -> String {
    let listed = places.iter().map(|place| format!("`{}` ({})", display(&place.folder), place.why));
    let mut listed: Vec<String> = listed.collect();
    if host {
        listed.push("the system runtime".to_owned());
    }
    let mut text = format!("needs `{}`, which is not in ", display(needed));
    match listed.as_slice() {
        [] => text.push_str("the package, and nothing says where to look"),
        places => text.push_str(&places.join(", ")),
    }
    text
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {}", display(&self.file), self.detail())
    }
}
