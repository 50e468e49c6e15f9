//! The two tables of `spec/conformance.md`: how each command ends, and where that was seen.

use std::collections::{BTreeMap, BTreeSet};

use crate::packages::KINDS;
use crate::trial::COMMANDS;

/// What stands in the place of something that was not tried.
pub(crate) const HOLE: &str = "**hole**";

/// Processor and format of each column of the second table.
const COLUMNS: [(&str, &str); 4] =
    [("x86-64", "1.0"), ("x86-64", "2.0"), ("x86-32", "1.0"), ("x86-32", "2.0")];

const USERS: [&str; 3] = ["root", "ordinary user", "user in a user namespace"];

/// What was seen on one processor.
pub(crate) struct Table {
    processor: &'static str,
    /// Who could be tried: not everybody can become root.
    users: Vec<&'static str>,
    /// By package and format: who saw it do what it should.
    seen: BTreeMap<(&'static str, &'static str), BTreeSet<&'static str>>,
}

impl Table {
    pub(crate) fn new(processor: &'static str, users: Vec<&'static str>) -> Self {
        Self { processor, users, seen: BTreeMap::new() }
    }

    /// There is no such package in this format.
    pub(crate) fn has_none(&mut self, package: &'static str, format: &'static str) {
        self.seen.insert((package, format), BTreeSet::new());
    }

    pub(crate) fn saw(&mut self, package: &'static str, format: &'static str, user: &'static str) {
        self.seen.entry((package, format)).or_default().insert(user);
    }

    /// The specification with these tables. What could not be tried here stays as it is there.
    pub(crate) fn put_into(&self, text: &str) -> String {
        let with_expected = replaced(text, "expected", &expected());
        replaced(&with_expected, "seen", &self.seen_in(text))
    }

    fn seen_in(&self, text: &str) -> String {
        let mut table = String::from("| package |");
        for (processor, format) in COLUMNS {
            table.push_str(&format!(" {processor}, {format} |"));
        }
        table.push_str("\n|---|---|---|---|---|\n");
        for kind in KINDS {
            table.push_str(&format!("| {} |", kind.name));
            for (index, (processor, format)) in COLUMNS.into_iter().enumerate() {
                let before = cell(text, kind.name, index + 1);
                table.push_str(&format!(" {} |", self.cell(kind.name, processor, format, before)));
            }
            table.push('\n');
        }
        table
    }

    fn cell(&self, package: &str, processor: &str, format: &str, before: &str) -> String {
        let seen = self.seen.iter().find(|((p, f), _)| *p == package && *f == format);
        let Some((_, seen)) = seen.filter(|_| processor == self.processor) else {
            return if before.is_empty() { HOLE.into() } else { before.into() };
        };
        if seen.is_empty() {
            return "none".into();
        }
        let words = USERS.map(|user| {
            let was_before = !self.users.contains(&user) && before.contains(short(user));
            if seen.contains(user) || was_before { short(user) } else { HOLE }
        });
        words.join(", ")
    }
}

fn short(user: &str) -> &str {
    match user {
        "ordinary user" => "user",
        "user in a user namespace" => "nested",
        other => other,
    }
}

fn expected() -> String {
    let mut table = format!("| package | {} |\n|---", COMMANDS.join(" | "));
    table.push_str(&"|---".repeat(COMMANDS.len()));
    table.push_str("|\n");
    for kind in KINDS {
        table.push_str(&format!("| {} | {} |\n", kind.name, kind.expected.join(" | ")));
    }
    table
}

/// What stands in a column of the second table now.
fn cell<'t>(text: &'t str, package: &str, column: usize) -> &'t str {
    let Some((_, table)) = text.split_once(&begin("seen")) else { return "" };
    let row = table.lines().find(|line| line.starts_with(&format!("| {package} |")));
    row.and_then(|row| row.split(" | ").nth(column)).unwrap_or_default().trim_end_matches(" |")
}

fn begin(name: &str) -> String {
    format!("<!-- {name}: made by tests/conformance -->\n")
}

fn replaced(text: &str, name: &str, table: &str) -> String {
    let begin = begin(name);
    let end = format!("<!-- end of {name} -->");
    let (before, rest) = text.split_once(&begin).expect("the place of the table");
    let (_, after) = rest.split_once(&end).expect("the table's end");
    format!("{before}{begin}\n{table}\n{end}{after}")
}
