//! What a manifest says can be run, and whether a package holds it.

use std::io::Read as _;

use epk_format::manifest::Manifest;
use epk_format::write::{self, Contents, Plan, PlanEntry};

use crate::loader::elf::Machine;

/// Bytes of a file that tell for which machine it is.
const HEAD: u64 = 20;

/// Says which targets of the manifest could not be run. The format allows them: a package may be
/// made to be completed by other means.
pub(crate) fn warn(manifest: &Manifest, plan: &Plan, contents: &dyn Contents) {
    let commands = manifest.commands.iter().map(|(name, target)| (name.as_str(), target));
    for (name, target) in std::iter::once(("entry", &manifest.entry)).chain(commands) {
        let problem = match plan.get(target.trim_start_matches('/').as_bytes()) {
            // It may lie behind an alias.
            None if plan.entries().iter().any(|e| matches!(e.kind, write::Kind::Alias { .. })) => {
                continue;
            }
            None => "is not in the package".to_owned(),
            Some(entry) => match problem(entry, &manifest.arch, contents) {
                Some(problem) => problem,
                None => continue,
            },
        };
        eprintln!("warning: manifest: `{name}`: `{target}` {problem}");
    }
}

fn problem(entry: &PlanEntry, arch: &str, contents: &dyn Contents) -> Option<String> {
    match entry.kind {
        write::Kind::File { .. } if entry.permissions & 0o111 == 0 => {
            Some("has no permission to execute".to_owned())
        }
        write::Kind::File { content, .. } => {
            let mut head = Vec::new();
            // What can't be read ends the packing, and is told there.
            let file = contents.open(content, &entry.path).ok()?;
            file.take(HEAD).read_to_end(&mut head).ok()?;
            let machine = Machine::of(&head).filter(|machine| machine.arch() != arch)?;
            Some(format!("is for {machine}, and `arch` says {}", arch.escape_debug()))
        }
        // Where a link leads is known when it is followed.
        write::Kind::Symlink { .. } => None,
        _ => Some("is not a file".to_owned()),
    }
}
