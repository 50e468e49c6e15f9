//! The ELF files of a package.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;

use epk_format::package::{Kind as NodeKind, NodeId};
use epk_format::{Error, Package};

use super::elf::{self, Broken, Elf};
use crate::convert::contents::Files;
use crate::exit::Failure;
use crate::select;

/// An ELF file of the package.
#[derive(Debug)]
pub(super) struct Object {
    /// Its first path from the package's root, beginning with `/`.
    pub(super) path: Vec<u8>,
    pub(super) elf: Elf,
}

/// All of them, and what could not be read.
#[derive(Debug, Default)]
pub(super) struct Objects {
    /// In the order of their paths.
    pub(super) list: Vec<Object>,
    /// Where each node is in the list.
    pub(super) by_node: HashMap<NodeId, usize>,
    /// Files that begin as ELF files and are none that can be loaded, and why not.
    pub(super) malformed: Vec<(Vec<u8>, String)>,
    /// What is wrong with the package itself.
    pub(super) errors: Vec<Error>,
}

impl Objects {
    /// Looks into every file of a package, which lies in `file`.
    pub(super) fn of(package: &Package<File>, file: &Path) -> Result<Self, Failure> {
        let mut objects = Self::default();
        let reader = Files::new(package, Vec::new());
        select::walk(package, file, &[], |visit| {
            let known = objects.by_node.contains_key(&visit.node.id);
            if visit.node.kind != NodeKind::File || known {
                return Ok(());
            }
            let path = [b"/", visit.path].concat();
            match read(&reader, visit.node.id, visit.node.size) {
                Ok(Some(elf)) => {
                    objects.by_node.insert(visit.node.id, objects.list.len());
                    objects.list.push(Object { path, elf });
                }
                Ok(None) => {}
                Err(Broken::Malformed(reason)) => objects.malformed.push((path, reason)),
                Err(Broken::Read(error)) => objects.errors.push(error),
            }
            Ok(())
        })?;
        Ok(objects)
    }
}

/// Reads what a file says of its loading; `None` if it is no ELF file.
pub(super) fn read(
    reader: &Files<'_>,
    id: NodeId,
    size: u64,
) -> Result<Option<Elf>, Broken<Error>> {
    elf::read(size, |offset, buffer| fill(reader, id, offset, buffer))
}

/// Fills a buffer with a file's bytes, as far as it has any.
pub(super) fn fill(
    reader: &Files<'_>,
    id: NodeId,
    mut offset: u64,
    mut buffer: &mut [u8],
) -> Result<(), Error> {
    while !buffer.is_empty() {
        let count = reader.copy(id, offset, buffer)?;
        if count == 0 {
            break;
        }
        offset = offset.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        buffer = buffer.get_mut(count..).unwrap_or_default();
    }
    Ok(())
}
