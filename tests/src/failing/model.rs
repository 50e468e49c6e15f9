//! What is on a disk: by what was done to it, and by how much of that a power cut left.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// The root folder's number.
pub const ROOT: u64 = 1;

/// One change, or one promise that changes last.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the words say it")]
pub enum Step {
    Create { folder: u64, name: OsString, inode: u64, is_folder: bool, mode: u16 },
    Write { inode: u64, offset: usize, bytes: Vec<u8> },
    Resize { inode: u64, size: usize },
    Mode { inode: u64, mode: u16 },
    Link { inode: u64, folder: u64, name: OsString },
    Remove { folder: u64, name: OsString },
    Rename { from: (u64, OsString), to: (u64, OsString) },
    SyncFile(u64),
    SyncFolder(u64),
}

/// A file or a folder.
#[derive(Debug, Clone)]
pub struct Node {
    /// A folder's entries; `None` of a file.
    pub entries: Option<BTreeMap<OsString, u64>>,
    /// A file's bytes.
    pub bytes: Vec<u8>,
    /// Permissions.
    pub mode: u16,
}

/// A disk's content.
#[derive(Debug, Clone)]
pub struct Content(pub BTreeMap<u64, Node>);

impl Default for Content {
    fn default() -> Self {
        let root = Node { entries: Some(BTreeMap::new()), bytes: Vec::new(), mode: 0o755 };
        Self([(ROOT, root)].into())
    }
}

/// What of the changes that nobody synced a power cut leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// None.
    Nothing,
    /// Names, but no content.
    Names,
    /// Names, and the first half of what was written to each file.
    NamesAndHalf,
    /// All.
    Everything,
}

impl Cut {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Nothing, Self::Names, Self::NamesAndHalf, Self::Everything];
}

impl Content {
    /// The number of what has a name in a folder.
    #[must_use]
    pub fn find(&self, folder: u64, name: &OsStr) -> Option<u64> {
        self.0.get(&folder)?.entries.as_ref()?.get(name).copied()
    }

    fn entries(&mut self, folder: u64) -> &mut BTreeMap<OsString, u64> {
        let folder = self.0.get_mut(&folder).expect("a folder that is there");
        folder.entries.as_mut().expect("a folder")
    }

    fn node(&mut self, inode: u64) -> &mut Node {
        self.0.get_mut(&inode).expect("a node that is there")
    }

    /// Does what a step says. What no name leads to any more is kept: somebody may have it open.
    pub fn apply(&mut self, step: &Step) {
        match step.clone() {
            Step::Create { folder, name, inode, is_folder, mode } => {
                let entries = is_folder.then(BTreeMap::new);
                self.0.insert(inode, Node { entries, bytes: Vec::new(), mode });
                self.entries(folder).insert(name, inode);
            }
            Step::Write { inode, offset, bytes } => {
                let all = &mut self.node(inode).bytes;
                let end = offset + bytes.len();
                if all.len() < end {
                    all.resize(end, 0);
                }
                all[offset..end].copy_from_slice(&bytes);
            }
            Step::Resize { inode, size } => self.node(inode).bytes.resize(size, 0),
            Step::Mode { inode, mode } => self.node(inode).mode = mode,
            Step::Link { inode, folder, name } => {
                self.entries(folder).insert(name, inode);
            }
            Step::Remove { folder, name } => {
                self.entries(folder).remove(&name);
            }
            Step::Rename { from, to } => {
                let inode = self.entries(from.0).remove(&from.1).expect("a name that is there");
                self.entries(to.0).insert(to.1, inode);
            }
            Step::SyncFile(_) | Step::SyncFolder(_) => {}
        }
    }

    /// What is left of `before`, which lasts, and of steps after it, when the power goes.
    #[must_use]
    pub fn after_power_cut(before: &Self, steps: &[Step], cut: Cut) -> Self {
        let (mut live, mut lasting) = (before.clone(), before.clone());
        for step in steps {
            live.apply(step);
            match step {
                Step::Create { inode, is_folder, mode, .. } => {
                    // Without a name, until its folder is synced.
                    let entries = is_folder.then(BTreeMap::new);
                    lasting.0.insert(*inode, Node { entries, bytes: Vec::new(), mode: *mode });
                }
                Step::SyncFile(inode) => {
                    lasting.node(*inode).bytes.clone_from(&live.node(*inode).bytes);
                }
                Step::SyncFolder(folder) => {
                    *lasting.entries(*folder) = live.entries(*folder).clone();
                }
                _ => {}
            }
        }
        match cut {
            Cut::Everything => return live,
            Cut::Nothing => {}
            Cut::Names | Cut::NamesAndHalf => {
                for (inode, node) in &live.0 {
                    let kept = lasting.node(*inode);
                    kept.entries.clone_from(&node.entries);
                    // Of a file with unsynced bytes the disk has its length and some of them.
                    if cut == Cut::NamesAndHalf && kept.bytes != node.bytes {
                        kept.bytes.clone_from(&node.bytes);
                        let half = node.bytes.len() / 2;
                        kept.bytes[half..].fill(0);
                    }
                }
            }
        }
        lasting
    }

    /// The files, by their paths below the root.
    #[must_use]
    pub fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        let mut folders = vec![(PathBuf::new(), ROOT)];
        while let Some((path, folder)) = folders.pop() {
            let entries = self.0.get(&folder).and_then(|node| node.entries.as_ref());
            for (name, inode) in entries.into_iter().flatten() {
                let node = &self.0[inode];
                match &node.entries {
                    Some(_) => folders.push((path.join(name), *inode)),
                    None => {
                        found.insert(path.join(name), node.bytes.clone());
                    }
                }
            }
        }
        found
    }

    /// Frees what no name leads to.
    pub fn forget_removed(&mut self) {
        let mut named = std::collections::BTreeSet::from([ROOT]);
        let mut folders = vec![ROOT];
        while let Some(folder) = folders.pop() {
            let entries = self.0.get(&folder).and_then(|node| node.entries.as_ref());
            for &inode in entries.into_iter().flat_map(BTreeMap::values) {
                named.insert(inode);
                folders.push(inode);
            }
        }
        self.0.retain(|inode, _| named.contains(inode));
    }

    /// Bytes of all files, those without a name included.
    #[must_use]
    pub fn used(&self) -> usize {
        self.0.values().map(|node| node.bytes.len()).sum()
    }
}
