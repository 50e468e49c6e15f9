//! Paths as the application sees them: the package is `/package`, everything else is the host's.

use std::collections::VecDeque;
use std::fs::File;

use epk_format::package::{Kind, NodeId};
use epk_format::{Error, Package, path};

use crate::isolation::PACKAGE;

/// Most links on the way of one path, as in Linux (`MAXSYMLINKS`, include/linux/namei.h).
const LINKS: usize = 40;

/// Where a path leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    /// To this node of the package, whose path from the package's root begins with `/` and has
    /// no link in it; the root's is empty.
    Inside(NodeId, Vec<u8>),
    /// To nothing.
    Missing,
    /// Out of the package.
    Host,
}

/// Follows an absolute path with all its links. Unlike [`Package::resolve`], for which the
/// package's root is `/`, it knows links that begin with `/package` and such that lead out.
pub(super) fn follow(package: &Package<File>, path: &[u8]) -> Result<Seen, Error> {
    let mut rest: VecDeque<Vec<u8>> = path::split(path).map(<[u8]>::to_vec).collect();
    let mut links = 0;
    // The nodes from the package's root to where the walk is; none above the package.
    let mut inside: Option<Vec<(NodeId, Vec<u8>)>> = None;
    while let Some(name) = rest.pop_front() {
        if matches!(name.as_slice(), b"" | b".") {
            continue;
        }
        let Some(way) = &mut inside else {
            match name.as_slice() {
                b".." => {}
                name if PACKAGE.as_bytes().strip_prefix(b"/") == Some(name) => {
                    inside = Some(Vec::new());
                }
                _ => return Ok(Seen::Host),
            }
            continue;
        };
        let at = way.last().map_or(NodeId::ROOT, |(id, _)| *id);
        if package.node(at)?.kind != Kind::Folder {
            return Ok(Seen::Missing);
        }
        if name == b".." {
            if way.pop().is_none() {
                inside = None;
            }
            continue;
        }
        let Some(next) = package.lookup(at, &name)? else { return Ok(Seen::Missing) };
        if package.node(next)?.kind != Kind::Link {
            way.push((next, name));
            continue;
        }
        links += 1;
        if links > LINKS {
            return Ok(Seen::Missing);
        }
        let target = package.link_target(next)?;
        if target.starts_with(b"/") {
            inside = None;
        }
        for component in path::split(&target).map(<[u8]>::to_vec).rev() {
            rest.push_front(component);
        }
    }
    let Some(way) = inside else { return Ok(Seen::Host) };
    let id = way.last().map_or(NodeId::ROOT, |(id, _)| *id);
    let path = way.iter().flat_map(|(_, name)| [b"/", name.as_slice()].concat()).collect();
    Ok(Seen::Inside(id, path))
}

/// A path inside the package as the application sees it.
pub(super) fn seen_as(path: &[u8]) -> Vec<u8> {
    [PACKAGE.as_bytes(), path].concat()
}

/// The folder that a path's last component lies in.
pub(super) fn folder_of(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
    path.get(..end).unwrap_or_default()
}

/// A path's last component.
pub(super) fn name_of(path: &[u8]) -> &[u8] {
    path.rsplit(|&byte| byte == b'/').next().unwrap_or_default()
}
