//! What `pack` says when it is done.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use epk_format::path::display;
use epk_format::signature::KeyId;
use epk_format::write::{Kind, Plan, Written};
use serde::Serialize;

use super::losses::{Lost, counted};

/// The summary of `pack --json`: one object, schema `epk.pack/1`.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    schema: &'static str,
    path: String,
    format: String,
    size: u64,
    package_hash: String,
    entries: u64,
    files: u64,
    folders: u64,
    aliases: u64,
    symlinks: u64,
    blocks: u64,
    compressed_blocks: u64,
    plain_bytes: u64,
    stored_bytes: u64,
    shared: Shared,
    /// `null` when the package isn't signed.
    signature: Option<Signature>,
    lost: Lost,
}

/// What is stored once for several, which only format 2.0 does.
#[derive(Debug, Serialize)]
struct Shared {
    /// Files with the content of another one, not counting hard links.
    files: u64,
    /// Bytes of content that are zeros, or those of another file or block.
    bytes: u64,
}

#[derive(Debug, Serialize)]
struct Signature {
    key_id: String,
    size: u64,
}

impl Summary {
    pub(crate) fn new(
        path: &Path,
        plan: &Plan,
        written: &Written,
        key: Option<&KeyId>,
        lost: Lost,
    ) -> Self {
        let count = |wanted: fn(&Kind) -> bool| {
            let below = plan.entries().iter().filter(|entry| !entry.path.is_empty());
            let entries = below.filter(|entry| wanted(&entry.kind));
            u64::try_from(entries.count()).unwrap_or(u64::MAX)
        };
        Self {
            schema: "epk.pack/1",
            path: path.to_string_lossy().into_owned(),
            format: plan.format().to_string(),
            size: written.size,
            package_hash: format!("sha256:{}", written.package_hash),
            entries: written.entries,
            files: written.files,
            folders: count(|kind| *kind == Kind::Folder),
            aliases: count(|kind| matches!(kind, Kind::Alias { .. })),
            symlinks: count(|kind| matches!(kind, Kind::Symlink { .. })),
            blocks: written.blocks,
            compressed_blocks: written.compressed_blocks,
            plain_bytes: written.plain_bytes,
            stored_bytes: written.stored_bytes,
            shared: Shared { files: written.shared_files, bytes: written.shared_bytes },
            signature: key.map(|key| Signature {
                key_id: key.as_str().to_owned(),
                size: written.signature_size,
            }),
            lost,
        }
    }

    /// The same for people, line by line.
    pub(crate) fn lines(&self) -> Vec<String> {
        let path = display(Path::new(&self.path).as_os_str().as_bytes()).into_owned();
        let kinds = [(self.files, "file"), (self.folders, "folder")];
        let kinds = kinds.map(|(count, what)| counted(count, what)).join(" and ");
        let aliases = match self.aliases {
            0 => String::new(),
            1 => ", 1 folder alias".to_owned(),
            count => format!(", {count} folder aliases"),
        };
        let symlinks = match self.symlinks {
            0 => String::new(),
            count => format!(", {}", counted(count, "symbolic link")),
        };
        let mut lines = vec![
            format!("packed {kinds}{symlinks}{aliases} into `{path}`"),
            format!(
                "{}: {} of content stored as {} in {}, {} of them compressed",
                counted(self.size, "byte"),
                counted(self.plain_bytes, "byte"),
                self.stored_bytes,
                counted(self.blocks, "block"),
                self.compressed_blocks
            ),
            format!("package hash {}", self.package_hash),
        ];
        if self.shared.bytes > 0 {
            lines.push(format!(
                "{} not stored twice; {} like another",
                counted(self.shared.bytes, "byte"),
                counted(self.shared.files, "file")
            ));
        }
        if let Some(signature) = &self.signature {
            lines.push(format!("signed by {}", signature.key_id));
        }
        lines.extend(self.lost.notes().into_iter().map(|note| format!("note: {note}")));
        lines
    }
}
