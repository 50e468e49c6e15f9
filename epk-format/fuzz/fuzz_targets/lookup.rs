//! A path and any bytes as an image: `[length of the path][path][image]`.
//!
//! Invariants: no panic; walking name by name finds what resolving the path finds; a folder is its
//! children's parent; a name that listing shows is found, and one that is found is listed; nothing
//! is found below a file, and `..` never leads above the root.
#![no_main]

use epk_format::package::{Kind, NodeId};
use epk_format::resolve::Resolved;
use epk_format::{Error, OpenOptions, Package, path};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((&length, rest)) = input.split_first() else { return };
    let Some((wanted, image)) = rest.split_at_checked(usize::from(length)) else { return };
    let options = OpenOptions { verify_hash: false, ..OpenOptions::default() };
    let Ok(package) = Package::open(image, &options) else { return };
    for follow in [false, true] {
        if let Ok(Resolved::Found(id)) = package.resolve(wanted, follow) {
            package.node(id).expect("what is found is there");
        }
    }
    // Where the metadata are broken, an error is all that can be asked for.
    let _ = by_names(&package, wanted);
});

fn by_names(package: &Package<&[u8]>, wanted: &[u8]) -> Result<(), Error> {
    let mut at = NodeId::ROOT;
    for name in path::split(wanted) {
        if matches!(name, b"" | b"." | b"..") {
            return Ok(());
        }
        let kind = package.node(at)?.kind;
        if kind != Kind::Folder {
            // Links are the resolver's matter.
            if kind == Kind::File {
                assert!(!matches!(package.resolve(wanted, false), Ok(Resolved::Found(_))));
            }
            return Ok(());
        }
        let children = package.children(at)?;
        let listed = children.iter().find(|(listed, ..)| listed == name).map(|&(_, id, _)| id);
        let found = package.lookup(at, name)?;
        assert!(listed == found || !package.audit().is_empty(), "{listed:?}, found {found:?}");
        let Some(child) = found else {
            assert!(!matches!(package.resolve(wanted, false), Ok(Resolved::Found(_))));
            return Ok(());
        };
        if package.node(child)?.kind == Kind::Folder {
            assert!(package.parent(child)? == at || !package.audit().is_empty());
        }
        at = child;
    }
    assert_eq!(package.resolve(wanted, false)?, Resolved::Found(at));
    Ok(())
}
