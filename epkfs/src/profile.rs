//! Noting which files are read, in the order of their first reads: an access profile, by which a
//! packer puts what a start needs first and together.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use epk_format::package::{Kind, NodeId};
use epk_format::source::Source;
use epk_format::{Error, Package};

use crate::lock;

/// Writes a line to a file for each file of a package when it is first read: its path, without a
/// slash at the beginning. A line is written before the bytes are delivered, so whoever outlives
/// all readers finds them all.
pub(crate) struct Recorder {
    output: Mutex<Arc<File>>,
    /// The files that can have a line: those without a line break in their path. One of its
    /// names stands for each.
    files: HashMap<NodeId, Recorded>,
}

struct Recorded {
    path: Vec<u8>,
    read: AtomicBool,
}

impl Recorder {
    /// Reads the names of all files, which takes time in proportion to their number.
    pub(crate) fn new<S: Source>(package: &Package<S>, output: Arc<File>) -> Result<Self, Error> {
        let mut files = HashMap::new();
        let mut folders = vec![(Vec::new(), NodeId::ROOT)];
        while let Some((prefix, folder)) = folders.pop() {
            for (name, id, kind) in package.children(folder)? {
                let path = if prefix.is_empty() { name } else { [&*prefix, &*name].join(&b'/') };
                match kind {
                    Kind::Folder => folders.push((path, id)),
                    Kind::File if !path.contains(&b'\n') => {
                        files.entry(id).or_insert(Recorded { path, read: false.into() });
                    }
                    Kind::File | Kind::Link => {}
                }
            }
        }
        Ok(Self { output: Mutex::new(output), files })
    }

    /// A file is read.
    pub(crate) fn read(&self, id: NodeId) {
        let Some(file) = self.files.get(&id) else { return };
        if file.read.swap(true, Ordering::Relaxed) {
            return;
        }
        let line = [&*file.path, b"\n"].concat();
        if let Err(error) = lock(&self.output).write_all(&line) {
            tracing::warn!(%error, "cannot write to the access profile");
        }
    }
}
