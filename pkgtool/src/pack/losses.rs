//! What a format can't hold: 1.0 knows little, 2.0 all but owners, device nodes, sockets and special
//! permission bits. Nothing of it is dropped unless somebody said so, and what is
//! dropped is counted.

use std::fmt;

use serde::Serialize;

use crate::exit::{Exit, Failure};
use epk_format::path;
use epk_format::write::Format;

/// What to do about symbolic links.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Symlinks {
    /// Pack them as they are; refused in format 1.0, which has none
    #[default]
    Keep,
    /// Refuse to pack
    Error,
    /// Pack what they point to, as files and folders of their own
    Follow,
    /// As `follow`, but make links to folders of the package folder aliases
    Alias,
    /// Leave them out
    Skip,
}

/// What to do about things that can't be packed at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Unpackable {
    /// Refuse to pack
    #[default]
    Error,
    /// Leave them out
    Skip,
}

/// What to do about properties of files that can't be packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Property {
    /// Refuse to pack
    #[default]
    Error,
    /// Pack the file without the property
    Drop,
}

/// What may be lost.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Policy {
    pub(crate) symlinks: Symlinks,
    /// Whether links may lead out of the folder.
    pub(crate) follow_outside: bool,
    pub(crate) special: Unpackable,
    pub(crate) names: Unpackable,
    pub(crate) mode_bits: Property,
    pub(crate) xattrs: Property,
}

/// A reason not to pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Symlink,
    /// A link that `follow` can't follow.
    Link,
    /// A link that leads out of the folder.
    OutsideLink,
    Special,
    Name,
    ModeBits,
    Xattr,
    Time,
}

impl Kind {
    const ALL: [Self; 8] = [
        Self::Symlink,
        Self::Link,
        Self::OutsideLink,
        Self::Special,
        Self::Name,
        Self::ModeBits,
        Self::Xattr,
        Self::Time,
    ];

    /// What to do about it.
    fn hint(self) -> &'static str {
        match self {
            Self::Symlink => {
                "`--symlinks follow` packs what links point to, `alias` makes links to folders \
                 folder aliases, `skip` leaves links out"
            }
            Self::Link => "mend or remove these links, or leave all links out by `--symlinks skip`",
            Self::OutsideLink => "`--follow-outside` packs what lies outside of the folder, too",
            Self::Special => "`--special skip` leaves sockets, pipes and devices out",
            Self::Name => "`--names skip` leaves out what has such a name",
            Self::ModeBits => "`--mode-bits drop` packs the files with plain permissions",
            Self::Xattr => "`--xattrs drop` packs the files without these attributes",
            Self::Time => "`--mtime zero` packs the files without times",
        }
    }
}

/// One thing that can't be packed as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) kind: Kind,
    pub(crate) path: Vec<u8>,
    /// What it is: "symbolic link to `x`".
    pub(crate) what: String,
    /// Whether format 2.0 could hold it, under the same options.
    pub(crate) held_by_2: bool,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = path::display(if self.path.is_empty() { b"." } else { &self.path });
        write!(f, "`{path}`: {}", self.what)
    }
}

/// What the package doesn't have of the folder, in numbers of paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(crate) struct Lost {
    /// Names of files that share their content with an earlier name, packed as separate files.
    pub(crate) hard_links: u64,
    /// Links packed as what they point to.
    pub(crate) symlinks_followed: u64,
    /// Links left out.
    pub(crate) symlinks_skipped: u64,
    /// Sockets, pipes and devices left out.
    pub(crate) special_skipped: u64,
    /// Files and folders left out for their names, not counting what folders hold.
    pub(crate) names_skipped: u64,
    /// Files packed without set-user-id, set-group-id or sticky bit.
    pub(crate) mode_bits_dropped: u64,
    /// Files and folders packed without attributes, capabilities or access lists.
    pub(crate) xattrs_dropped: u64,
    /// Folders whose permissions are neither 0755 nor 0777: in format 1.0 all folders are alike.
    pub(crate) folder_modes: u64,
}

impl Lost {
    /// What people are told, a line each.
    pub(crate) fn notes(&self) -> Vec<String> {
        let table = [
            (self.hard_links, "hard link", "packed as separate files"),
            (self.symlinks_followed, "symbolic link", "packed as what they point to"),
            (self.symlinks_skipped, "symbolic link", "left out"),
            (self.special_skipped, "special file", "left out"),
            (self.names_skipped, "unpackable name", "left out"),
            (self.mode_bits_dropped, "file", "packed without special permission bits"),
            (self.xattrs_dropped, "path", "packed without extended attributes"),
            (
                self.folder_modes,
                "folder",
                "with unusual permissions, which format 1.0 doesn't keep",
            ),
        ];
        let lost = table.into_iter().filter(|(count, ..)| *count > 0);
        lost.map(|(count, what, how)| format!("{} {how}", counted(count, what))).collect()
    }
}

/// "1 file", "2 files".
pub(crate) fn counted(count: u64, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

/// The refusal: every finding with its path, and a hint for each kind.
pub(crate) fn refuse(format: Format, findings: &[Finding]) -> Failure {
    let mut message = match findings.len() {
        1 => format!("format {format} cannot hold this:"),
        count => format!("format {format} cannot hold these {count} things:"),
    };
    for finding in findings {
        message.push_str(&format!("\n  {finding}"));
    }
    let mut failure = Failure::new(Exit::Finding, message);
    let held = findings.iter().filter(|finding| finding.held_by_2).count();
    if format == Format::V1 && held > 0 {
        let what = match findings.len() {
            1 => "it".to_owned(),
            all if all == held => "them".to_owned(),
            _ => format!("{held} of them"),
        };
        failure = failure.hint(format!("format 2.0 holds {what}: leave out `--format 1`"));
    }
    for kind in Kind::ALL {
        if findings.iter().any(|finding| finding.kind == kind) {
            failure = failure.hint(kind.hint());
        }
    }
    failure
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_loss_is_told() {
        let one = Lost {
            hard_links: 1,
            symlinks_followed: 1,
            symlinks_skipped: 1,
            special_skipped: 1,
            names_skipped: 1,
            mode_bits_dropped: 1,
            xattrs_dropped: 1,
            folder_modes: 1,
        };
        let fields = serde_json::to_value(one).expect("JSON");
        assert_eq!(one.notes().len(), fields.as_object().map_or(0, serde_json::Map::len));
        assert_eq!(Lost::default().notes(), Vec::<String>::new());
        let two = Lost { hard_links: 2, ..Lost::default() };
        assert_eq!(two.notes(), ["2 hard links packed as separate files"]);
    }

    #[test]
    fn a_refusal_names_every_path_and_every_way_out() {
        let finding = |kind, path: &[u8], what: &str| Finding {
            kind,
            path: path.to_vec(),
            what: what.to_owned(),
            held_by_2: kind == Kind::Time,
        };
        let findings = Kind::ALL.map(|kind| finding(kind, b"a\x1bb", "x"));
        let text = format!("{:?}", refuse(Format::V1, &findings));
        assert_eq!(text.matches("a\\\\x1bb").count(), Kind::ALL.len(), "{text}");
        for kind in Kind::ALL {
            assert!(text.contains(kind.hint()), "{kind:?}");
        }
        assert!(text.contains("format 2.0 holds 1 of them: leave out `--format 1`"), "{text}");
        let one = [finding(Kind::Time, b"", "x")];
        let text = format!("{:?}", refuse(Format::V1, &one));
        assert!(text.contains("`.`: x") && text.contains("format 2.0 holds it"), "{text}");
        for (format, findings) in [(Format::V1, &findings[..1]), (Format::V2, &one)] {
            let text = format!("{:?}", refuse(format, findings));
            assert!(!text.contains("leave out `--format 1`"), "{text}");
        }
    }
}
