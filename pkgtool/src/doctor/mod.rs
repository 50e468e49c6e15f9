//! What of this machine helps or hinders packages, found out by doing where that is possible, and
//! what to do about it.

mod binfmt;
mod checks;
mod namespaces;

use serde::Serialize;
use serde_json::{Value, json};

/// How bad something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// As it should be.
    Ok,
    /// Something is missing that packages run without.
    Note,
    /// Something that makes applications run in a worse way, or not at all.
    Problem,
}

impl State {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Problem => "problem",
        }
    }
}

/// What was found out about one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// What was looked at; a word that stays the same.
    pub(crate) check: &'static str,
    pub(crate) state: State,
    /// What was found, in one word of a fixed set.
    pub(crate) result: &'static str,
    /// What was found, for people.
    pub(crate) found: String,
    /// What changes it, for people: mostly a command.
    pub(crate) remedy: Option<String>,
}

impl Finding {
    fn new(
        check: &'static str,
        state: State,
        result: &'static str,
        found: impl Into<String>,
    ) -> Self {
        Self { check, state, result, found: found.into(), remedy: None }
    }

    fn ok(check: &'static str, result: &'static str, found: impl Into<String>) -> Self {
        Self::new(check, State::Ok, result, found)
    }

    fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}

/// The object epk.doctor/1.
pub(crate) fn to_json(findings: &[Finding]) -> Value {
    let problems = findings.iter().filter(|finding| finding.state == State::Problem).count();
    json!({ "schema": "epk.doctor/1", "problems": problems, "findings": findings })
}

/// Everything that was found, in a fixed order.
pub(crate) fn examine() -> Vec<Finding> {
    let device = checks::device();
    let helper = checks::helper();
    let [user_namespaces, mounting] = namespaces::examine();
    let mut findings =
        vec![checks::kernel(), device, helper, user_namespaces, mounting, checks::landlock()];
    findings.push(checks::confinement());
    findings.push(binfmt::examine());
    findings.push(checks::mounts());
    findings.push(checks::way(&findings));
    findings
}
