//! A plan for people, and for programs (epk.plan/1 of `spec/cli.md`).

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;

use epk_format::path::display;
use serde_json::{Value, json};

use super::level::{Capabilities, Inherit, Namespace};
use super::plan::{Access, Mount, Plan};

/// What is executed.
pub(crate) struct Program<'p> {
    pub(crate) path: &'p str,
    pub(crate) arguments: &'p [OsString],
}

/// The plan as an object.
pub(crate) fn json(plan: &Plan, program: &Program<'_>) -> Value {
    let set: serde_json::Map<String, Value> =
        plan.environment.set.iter().map(|(key, value)| (lossy(key), lossy(value).into())).collect();
    json!({
        "schema": "epk.plan/1",
        "isolation": plan.level.name(),
        "program": program.path,
        "arguments": program.arguments.iter().map(lossy).collect::<Vec<_>>(),
        "working_folder": super::USER_DATA,
        "namespaces": names(plan),
        "mounts": plan.mounts.iter().map(mount).collect::<Vec<_>>(),
        "environment": {
            "inherit": match plan.environment.inherit {
                Inherit::All => json!("all"),
                Inherit::Nothing => json!("nothing"),
                Inherit::Only(names) => json!(names),
            },
            "set": set,
        },
        "capabilities": capabilities(plan),
        "no_new_privileges": true,
        "refused_ioctls": ["TIOCSTI", "TIOCLINUX"],
        "landlock": plan.landlock.iter().map(|(path, access)| {
            json!({"path": lossy(path), "access": access.name()})
        }).collect::<Vec<_>>(),
    })
}

/// The plan in lines that drive no terminal.
pub(crate) fn lines(plan: &Plan, program: &Program<'_>) -> Vec<String> {
    let lines = plain_lines(plan, program).into_iter();
    lines.map(|line| display(OsStr::new(&line).as_bytes()).into_owned()).collect()
}

fn plain_lines(plan: &Plan, program: &Program<'_>) -> Vec<String> {
    let mut lines = vec![
        format!("isolation    {}", plan.level.name()),
        format!("program      {}", program.path),
        format!("namespaces   {}", names(plan).join(" ")),
        format!("capabilities {}", capabilities(plan)),
    ];
    for one in &plan.mounts {
        let value = mount(one);
        let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
        let from = value.get("source").and_then(Value::as_str).map(|path| format!(" from {path}"));
        let mode = if value.get("writable") == Some(&json!(true)) { " writable" } else { "" };
        let from = from.unwrap_or_default();
        lines.push(format!("mount        {} {}{from}{mode}", text("target"), text("what")));
    }
    let inherit = match plan.environment.inherit {
        Inherit::All => "all".to_owned(),
        Inherit::Nothing => "nothing".to_owned(),
        Inherit::Only(names) => names.join(" "),
    };
    lines.push(format!("inherit      {inherit}"));
    let variable = |(key, value): &(OsString, OsString)| {
        format!("set          {}={}", lossy(key), lossy(value))
    };
    lines.extend(plan.environment.set.iter().map(variable));
    lines.extend(
        plan.landlock
            .iter()
            .map(|(path, access)| format!("landlock     {} {}", path.display(), access.name())),
    );
    lines
}

fn names(plan: &Plan) -> Vec<&'static str> {
    ["mount"].into_iter().chain(plan.namespaces.iter().copied().map(Namespace::name)).collect()
}

fn capabilities(plan: &Plan) -> &'static str {
    match plan.capabilities {
        Capabilities::Kept => "kept",
        Capabilities::Dropped => "dropped",
    }
}

fn mount(mount: &Mount) -> Value {
    let target = mount.target().map_or_else(|| "/".to_owned(), lossy);
    match mount {
        Mount::HostRoot => json!({"what": "host-root", "target": target}),
        Mount::Runtime { path } => {
            json!({"what": "host", "target": target, "source": lossy(path), "writable": false, "optional": true})
        }
        Mount::Device { path } => {
            json!({"what": "device", "target": target, "source": lossy(path)})
        }
        Mount::Host { source, writable, optional, .. } => {
            json!({"what": "host", "target": target, "source": lossy(source), "writable": writable, "optional": optional})
        }
        Mount::Empty { mode, .. } => {
            json!({"what": "empty", "target": target, "mode": format!("{mode:04o}"), "writable": true})
        }
        Mount::Folder { mode, .. } => {
            json!({"what": "folder", "target": target, "mode": format!("{mode:04o}")})
        }
        Mount::Link { text, .. } => {
            json!({"what": "link", "target": target, "text": lossy(text)})
        }
        Mount::Processes { or_hosts } => {
            json!({"what": "processes", "target": target, "or_hosts": or_hosts})
        }
        Mount::Terminals => json!({"what": "terminals", "target": target}),
        Mount::Package { writable } => {
            json!({"what": "package", "target": target, "writable": writable})
        }
    }
}

impl Access {
    fn name(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Read => "read",
            Self::Execute => "execute",
            Self::Use => "use",
            Self::All => "all",
        }
    }
}

fn lossy(text: impl AsRef<OsStr>) -> String {
    text.as_ref().to_string_lossy().into_owned()
}
