//! Where a loader looks for a library: ld.so(8), as far as a package decides it.

use std::collections::HashMap;
use std::fs::File;

use epk_format::package::{Kind, NodeId};
use epk_format::{Error, Package};

use super::elf::Elf;
use super::objects::Objects;
use super::view::{Seen, folder_of, follow};

/// Most names that are looked up in folders for one package: what takes some seconds.
const LOOKUPS: u64 = 20_000_000;
/// Most folders that are remembered at once.
const REMEMBERED: usize = 65_536;

/// A folder on the way, and why it is on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) folder: Vec<u8>,
    pub(super) why: &'static str,
}

/// What was found under a name.
pub(super) enum Found {
    /// An ELF file for the right machine, by its number in the list, and the path that led to it.
    Object(usize, Vec<u8>),
    /// Nothing that could be loaded; a path to what is there instead, if anything is.
    Nothing(Option<Vec<u8>>),
}

/// Looks for libraries, and remembers which folders there are.
pub(super) struct Search<'p> {
    package: &'p Package<File>,
    objects: &'p Objects,
    /// Folders of the package; `None` for what is none.
    folders: HashMap<Vec<u8>, Option<NodeId>>,
    lookups: u64,
}

impl<'p> Search<'p> {
    pub(super) fn new(package: &'p Package<File>, objects: &'p Objects) -> Self {
        Self { package, objects, folders: HashMap::new(), lookups: 0 }
    }

    /// Whether more was looked up than any package needs.
    pub(super) fn is_exhausted(&self) -> bool {
        self.lookups > LOOKUPS
    }

    /// Looks for the library `name` of the machine of `elf`, in one place after another.
    pub(super) fn find(
        &mut self,
        name: &[u8],
        places: &[Place],
        elf: &Elf,
    ) -> Result<Found, Error> {
        let mut instead = None;
        for place in places {
            self.lookups += 1;
            if self.is_exhausted() {
                break;
            }
            let Some(folder) = self.folder(&place.folder)? else { continue };
            if self.package.lookup(folder, name)?.is_none() {
                continue;
            }
            match self.at([&*place.folder, b"/", name].concat(), elf)? {
                Found::Nothing(path) => instead = instead.or(path),
                found => return Ok(found),
            }
        }
        Ok(Found::Nothing(instead))
    }

    /// What lies at an absolute path.
    pub(super) fn at(&mut self, path: Vec<u8>, elf: &Elf) -> Result<Found, Error> {
        let Seen::Inside(id, _) = follow(self.package, &path)? else {
            return Ok(Found::Nothing(None));
        };
        let fits = |number: &&usize| {
            self.objects.list.get(**number).is_some_and(|found| found.elf.machine == elf.machine)
        };
        Ok(match self.objects.by_node.get(&id).filter(fits) {
            Some(&number) => Found::Object(number, path),
            None => Found::Nothing(Some(path)),
        })
    }

    fn folder(&mut self, path: &[u8]) -> Result<Option<NodeId>, Error> {
        if let Some(&known) = self.folders.get(path) {
            return Ok(known);
        }
        let folder = match follow(self.package, path)? {
            Seen::Inside(id, _) if self.package.node(id)?.kind == Kind::Folder => Some(id),
            _ => None,
        };
        if self.folders.len() >= REMEMBERED {
            self.folders.clear();
        }
        self.folders.insert(path.to_vec(), folder);
        Ok(folder)
    }
}

/// The folders of a list with `:` between them, for a file that was loaded from `path`: absolute
/// ones, with `$ORIGIN` replaced. Others mean something only where the application happens to
/// be, or, like `$LIB`, on one host or another.
pub(super) fn folders(list: Option<&Vec<u8>>, path: &[u8], why: &'static str) -> Vec<Place> {
    let parts = list.into_iter().flat_map(|list| list.split(|&byte| byte == b':'));
    let folders = parts.map(|part| expand(part, folder_of(path)));
    let folders = folders.filter(|folder| folder.starts_with(b"/") && !folder.contains(&b'$'));
    folders.map(|folder| Place { folder, why }).collect()
}

/// Replaces `$ORIGIN` and `${ORIGIN}` by the folder that a file was loaded from.
pub(super) fn expand(text: &[u8], origin: &[u8]) -> Vec<u8> {
    let mut expanded = Vec::new();
    let mut rest = text;
    while let Some(&byte) = rest.first() {
        let braced = rest.strip_prefix(b"${ORIGIN}");
        let bare = rest.strip_prefix(b"$ORIGIN").filter(|after| {
            !after.first().is_some_and(|&next| next == b'_' || next.is_ascii_alphanumeric())
        });
        if let Some(after) = braced.or(bare) {
            expanded.extend_from_slice(origin);
            rest = after;
        } else {
            expanded.push(byte);
            rest = rest.get(1..).unwrap_or_default();
        }
    }
    expanded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_folders() {
        let cases: [(&str, &[&str]); 7] = [
            ("$ORIGIN/../lib:/opt/lib", &["/package/bin/../lib", "/opt/lib"]),
            ("${ORIGIN}:$ORIGIN", &["/package/bin", "/package/bin"]),
            ("$ORIGINS/x:$LIB:/usr/$PLATFORM", &[]),
            ("lib::.", &[]),
            ("", &[]),
            ("/a/$ORIGIN", &["/a//package/bin"]),
            ("$", &[]),
        ];
        for (list, expected) in cases {
            let found = folders(Some(&list.into()), b"/package/bin/app", "RUNPATH");
            let found: Vec<_> = found.iter().map(|place| place.folder.as_slice()).collect();
            let expected: Vec<_> = expected.iter().map(|folder| folder.as_bytes()).collect();
            assert_eq!(found, expected, "{list}");
        }
        assert_eq!(folders(None, b"/package/bin/app", "RUNPATH"), []);
    }
}
