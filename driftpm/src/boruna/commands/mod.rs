//! The command line of `boruna-pkg`, from arguments to what is to be printed.

mod args;
mod perform;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Parser as _;
use serde_json::{Value, json};

pub use args::{Args, Command};

use super::error::Error;

/// What the process knows apart from its arguments.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// The current directory, from which a compiler's relative path is found.
    pub directory: PathBuf,
    /// `BORUNA_COMPILER`.
    pub compiler: Option<String>,
    /// Whether `BORUNA_COMPAT` is set and not `0`.
    pub compat: bool,
}

/// What is to be printed, and the exit status.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// 0 success, 1 failure, 2 usage.
    pub status: u8,
}

/// A command that succeeded.
#[derive(Debug, Default)]
struct Done {
    text: String,
    notes: Vec<String>,
    json: Value,
    /// The gate answers in JSON whether asked to or not, and can say no without an error.
    always_json: bool,
    refused: bool,
}

/// Runs the command that `arguments`, the program's name first, ask for.
#[must_use]
pub fn run(arguments: impl IntoIterator<Item = OsString>, environment: &Environment) -> Outcome {
    let args = match Args::try_parse_from(arguments) {
        Ok(args) => args,
        Err(error) => {
            let text = error.render().to_string();
            return if error.use_stderr() {
                Outcome { stderr: text, status: 2, ..Outcome::default() }
            } else {
                Outcome { stdout: text, ..Outcome::default() }
            };
        }
    };
    let compat = args.compat || environment.compat;
    match perform::perform(&args, environment, compat) {
        Ok(done) => succeeded(&args, done),
        Err(error) => failed(&args, &error, compat),
    }
}

fn succeeded(args: &Args, done: Done) -> Outcome {
    let mut stderr: String = done.notes.iter().map(|note| format!("note: {note}\n")).collect();
    let stdout = if args.json || done.always_json {
        let mut json = done.json;
        if let Some(object) = json.as_object_mut() {
            object.insert("command".to_string(), json!(args.command.name()));
            object.insert("ok".to_string(), json!(!done.refused));
            if !done.notes.is_empty() {
                object.insert("notes".to_string(), json!(done.notes));
            }
        }
        if args.json {
            stderr.clear();
        }
        printed(&json)
    } else {
        done.text
    };
    Outcome { stdout, stderr, status: u8::from(done.refused) }
}

fn failed(args: &Args, error: &Error, compat: bool) -> Outcome {
    let mut stderr = String::new();
    let mut line = |text: &str| {
        stderr.push_str(text);
        stderr.push('\n');
    };
    error.preamble().iter().for_each(|text| line(text));
    line(&format!("error: {error}"));
    if !compat {
        error.details().iter().for_each(|text| line(text));
    }
    let stdout = if args.json {
        let name = args.command.name();
        printed(&json!({ "command": name, "ok": false, "error": error.to_json() }))
    } else {
        String::new()
    };
    Outcome { stdout, stderr, status: 1 }
}

fn printed(json: &Value) -> String {
    let mut text = serde_json::to_string_pretty(json).unwrap_or_default();
    text.push('\n');
    text
}
