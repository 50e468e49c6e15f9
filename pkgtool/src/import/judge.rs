//! From a tree to a plan's entries: what a package can't hold is refused or left out, as the options
//! say, each thing by its path.

use std::collections::BTreeMap;

use epk_format::path::display;
use epk_format::write::{ContentId, Format, Kind as PlanKind, PlanEntry, Xattr, check_path};

use super::tree::{Meta, Node, Tree};
use crate::pack::losses::{Finding, Kind, Lost, Policy, Property, Unpackable};
use crate::pack::times::{BadTime, Times};
use crate::pack::{MANIFEST, walk, xattrs};

/// The format that trees become packages of.
pub(crate) const FORMAT: Format = Format::V2;
/// Set-user-id, set-group-id, sticky.
const SPECIAL_BITS: u32 = 0o7000;
/// Paths named for each owner.
const NAMED: usize = 3;

/// Owners other than root and the importer, by user and group.
pub(crate) type Owners = BTreeMap<(u64, u64), Owned>;

/// What an owner has.
#[derive(Debug, Default)]
pub(crate) struct Owned {
    pub(crate) count: u64,
    /// Some of the paths.
    pub(crate) paths: Vec<Vec<u8>>,
}

/// Who judges, and what about.
pub(crate) struct Judge {
    pub(crate) policy: Policy,
    pub(crate) times: Times,
    /// User and group of the importer.
    pub(crate) user: (u64, u64),
}

/// What a tree came to.
#[derive(Default)]
pub(crate) struct Judged {
    pub(crate) entries: Vec<PlanEntry>,
    /// The content and size of the manifest at the root, which is no entry.
    pub(crate) manifest: Option<(ContentId, u64)>,
    /// What forbids a package, in path order.
    pub(crate) findings: Vec<Finding>,
    /// What is left out because somebody said so.
    pub(crate) dropped: Vec<Finding>,
    pub(crate) owners: Owners,
    pub(crate) lost: Lost,
}

impl Judge {
    /// Judges a tree. If `manifest_apart`, the manifest at the root becomes no entry.
    pub(crate) fn judge(&self, mut tree: Tree, manifest_apart: bool) -> Judged {
        let manifest = tree.content(MANIFEST.as_bytes()).filter(|_| manifest_apart);
        if manifest.is_some() {
            tree.remove(MANIFEST.as_bytes());
        }
        let mut judged = Judged { manifest, ..Judged::default() };
        let (nodes, files) = tree.into_nodes();
        for (path, node) in nodes {
            let meta = match &node {
                Node::Folder(meta) | Node::Symlink(_, meta) | Node::Special(_, meta) => meta,
                Node::File(number) => match files.get(*number) {
                    Some(file) => &file.meta,
                    None => continue,
                },
            };
            // The root's path is empty, which no other's is.
            if !path.is_empty()
                && let Err(problem) = check_path(FORMAT, &path)
            {
                let skip = self.policy.names == Unpackable::Skip;
                judged.lost.names_skipped += u64::from(skip);
                judged.find(Kind::Name, &path, problem.to_string(), skip);
                continue;
            }
            self.note_owner(meta, &path, &mut judged.owners);
            let (kind, meta_of_link);
            let meta = match node {
                Node::Special(what, _) => {
                    let skip = self.policy.special == Unpackable::Skip;
                    judged.lost.special_skipped += u64::from(skip);
                    judged.find(Kind::Special, &path, what.to_owned(), skip);
                    continue;
                }
                Node::Folder(_) => {
                    kind = PlanKind::Folder;
                    meta
                }
                Node::File(number) => {
                    let Some(file) = files.get(number) else { continue };
                    kind = PlanKind::File { content: file.content, size: file.size };
                    meta
                }
                Node::Symlink(ref target, _) => {
                    kind = PlanKind::Symlink { target: target.clone() };
                    // Links have all permissions, and special bits mean nothing.
                    meta_of_link = Meta { mode: 0o777, ..meta.clone() };
                    &meta_of_link
                }
            };
            let entry = self.keep(meta, path, kind, &mut judged);
            judged.entries.push(entry);
        }
        judged
    }

    fn note_owner(&self, meta: &Meta, path: &[u8], owners: &mut Owners) {
        let known = |id: u64, own: u64| id == 0 || id == own;
        let (user, group) = meta.owner;
        if known(user, self.user.0) && known(group, self.user.1) {
            return;
        }
        let owned = owners.entry(meta.owner).or_default();
        owned.count += 1;
        if owned.paths.len() < NAMED {
            owned.paths.push(path.to_vec());
        }
    }

    /// What of an entry the package will have; what it can't have is dealt with.
    fn keep(&self, meta: &Meta, path: Vec<u8>, kind: PlanKind, judged: &mut Judged) -> PlanEntry {
        let bits = meta.mode & SPECIAL_BITS;
        if bits != 0 {
            let drop = self.policy.mode_bits == Property::Drop;
            judged.lost.mode_bits_dropped += u64::from(drop);
            let what = format!("permission bits {bits:04o} ({})", walk::bit_names(bits));
            judged.find(Kind::ModeBits, &path, what, drop);
        }
        let (xattrs, lost) = sort_xattrs(&meta.xattrs);
        if !lost.is_empty() {
            let drop = self.policy.xattrs == Property::Drop;
            judged.lost.xattrs_dropped += u64::from(drop);
            let what = format!("extended attributes {}", lost.join(", "));
            judged.find(Kind::Xattr, &path, what, drop);
        }
        let modified = self.times.of(FORMAT, meta.modified).unwrap_or_else(|BadTime| {
            let what = format!("changed {} seconds after 1970", meta.modified.seconds);
            judged.find(Kind::Time, &path, what, false);
            None
        });
        PlanEntry { path, kind, permissions: meta.mode & 0o777, modified, xattrs }
    }
}

impl Judged {
    /// Notes what can't be kept: as dropped, or as a reason not to make a package.
    fn find(&mut self, kind: Kind, path: &[u8], what: String, dropped: bool) {
        let list = if dropped { &mut self.dropped } else { &mut self.findings };
        list.push(Finding { kind, path: path.to_vec(), what, held_by_2: false });
    }
}

/// The attributes that a package has, and the names of those that would be lost. Labels of
/// security modules belong to a machine, not to a file, as when a folder is packed.
fn sort_xattrs(all: &[Xattr]) -> (Vec<Xattr>, Vec<String>) {
    let (mut kept, mut lost) = (Vec::new(), Vec::new());
    for xattr in all {
        if xattr.name.starts_with(b"user.") {
            kept.push(xattr.clone());
        } else if xattrs::is_meaningful(&xattr.name) {
            lost.push(display(&xattr.name).into_owned());
        }
    }
    lost.sort();
    (kept, lost)
}
