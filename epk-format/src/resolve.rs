//! Walking paths inside a package the way Linux walks them, with the package's root as `/`.

use std::collections::VecDeque;

use crate::error::Error;
use crate::package::{Kind, NodeId, Package};
use crate::path;
use crate::source::Source;

/// Most links on the way of one path, as in Linux (`MAXSYMLINKS`, include/linux/namei.h).
const LINKS: usize = 40;

/// Where a path leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolved {
    /// To this node.
    Found(NodeId),
    /// Nowhere (`ENOENT`).
    Missing,
    /// Through something that isn't a folder (`ENOTDIR`).
    NotFolder,
    /// Through too many links (`ELOOP`).
    Loop,
}

impl<S: Source> Package<S> {
    /// Walks `path` from the root. Links on the way are followed, one at the end only when
    /// `follow` says so; nothing leads above the root.
    ///
    /// # Errors
    /// What reading the package's tree says.
    pub fn resolve(&self, path: &[u8], follow: bool) -> Result<Resolved, Error> {
        let mut at = NodeId::ROOT;
        let mut links = 0;
        let mut rest: VecDeque<Vec<u8>> = path::split(path).map(<[u8]>::to_vec).collect();
        while let Some(component) = rest.pop_front() {
            if self.node(at)?.kind != Kind::Folder {
                return Ok(Resolved::NotFolder);
            }
            match component.as_slice() {
                b"" | b"." => continue,
                b".." => {
                    at = self.parent(at)?;
                    continue;
                }
                _ => {}
            }
            let Some(next) = self.lookup(at, &component)? else { return Ok(Resolved::Missing) };
            if self.node(next)?.kind != Kind::Link || (rest.is_empty() && !follow) {
                at = next;
                continue;
            }
            links += 1;
            if links > LINKS {
                return Ok(Resolved::Loop);
            }
            let target = self.link_target(next)?;
            if target.starts_with(b"/") {
                at = NodeId::ROOT;
            }
            for component in path::split(&target).map(<[u8]>::to_vec).rev() {
                rest.push_front(component);
            }
        }
        Ok(Resolved::Found(at))
    }
}
