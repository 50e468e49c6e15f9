//! The tree that an archive describes: what the last entry of each path says, as tar does when it
//! unpacks, without a filesystem.

use std::collections::BTreeMap;
use std::ops::Bound;

use epk_format::path::display;
use epk_format::time::Timestamp;
use epk_format::write::{ContentId, Xattr};

use super::limits::Limits;
use super::problem::Problem;

/// An entry of an archive, whatever it is.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// As the archive spells it.
    pub(crate) path: Vec<u8>,
    pub(crate) meta: Meta,
}

/// What all kinds of entries have.
#[derive(Debug, Clone)]
pub(crate) struct Meta {
    /// Permissions and special bits.
    pub(crate) mode: u32,
    pub(crate) owner: (u64, u64),
    pub(crate) modified: Timestamp,
    /// With their whole names, of every kind.
    pub(crate) xattrs: Vec<Xattr>,
}

/// A file, whatever names it has.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) content: ContentId,
    pub(crate) size: u64,
    pub(crate) meta: Meta,
}

/// What lies at a path.
#[derive(Debug)]
pub(crate) enum Node {
    Folder(Meta),
    /// A number in [`Tree::files`].
    File(usize),
    Symlink(Vec<u8>, Meta),
    /// A socket, pipe or device, by its name.
    Special(&'static str, Meta),
}

/// How an archive goes over what is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    /// As tar: a folder with something in it stays a folder.
    Archive,
    /// As a layer of an image: anything replaces anything.
    Layer,
}

/// The tree so far.
pub(crate) struct Tree {
    /// By path, with the number of the layer that said so last.
    nodes: BTreeMap<Vec<u8>, (Node, u32)>,
    files: Vec<File>,
    layer: u32,
    over: Over,
    pub(crate) limits: Limits,
}

impl Tree {
    /// An empty tree.
    pub(crate) fn new(limits: Limits) -> Self {
        Self { nodes: BTreeMap::new(), files: Vec::new(), layer: 0, over: Over::Archive, limits }
    }

    /// What follows lies over what is there.
    pub(crate) fn begin_layer(&mut self) {
        self.layer += 1;
        self.over = Over::Layer;
    }

    /// Whether entries lie over those of lower layers.
    pub(crate) fn is_layered(&self) -> bool {
        self.over == Over::Layer
    }

    pub(crate) fn folder(&mut self, entry: Entry) -> Result<(), Problem> {
        let path = self.place(&entry)?;
        match self.nodes.get_mut(&path) {
            // What lies in it stays.
            Some((Node::Folder(old), layer)) => (*old, *layer) = (entry.meta, self.layer),
            _ => self.put(path, Node::Folder(entry.meta))?,
        }
        Ok(())
    }

    /// Gives the file's number, for [`Tree::name`].
    pub(crate) fn file(
        &mut self,
        entry: Entry,
        content: ContentId,
        size: u64,
    ) -> Result<usize, Problem> {
        let path = self.place(&entry)?;
        self.files.push(File { content, size, meta: entry.meta });
        let number = self.files.len() - 1;
        self.put(path, Node::File(number))?;
        Ok(number)
    }

    /// Another name of a file.
    pub(crate) fn name(&mut self, entry: &Entry, number: usize) -> Result<(), Problem> {
        let path = self.place(entry)?;
        self.put(path, Node::File(number))
    }

    pub(crate) fn symlink(&mut self, entry: Entry, target: Vec<u8>) -> Result<(), Problem> {
        self.limits.node(target.len())?;
        let path = self.place(&entry)?;
        self.put(path, Node::Symlink(target, entry.meta))
    }

    /// A socket, pipe or device.
    pub(crate) fn special(&mut self, entry: Entry, what: &'static str) -> Result<(), Problem> {
        let path = self.place(&entry)?;
        self.put(path, Node::Special(what, entry.meta))
    }

    /// Another name of what lies at `target`, a path as the archive spells it.
    pub(crate) fn hard_link(&mut self, entry: &Entry, target: &[u8]) -> Result<(), Problem> {
        let path = self.place(entry)?;
        let shown = display(&path).into_owned();
        let refused = |what: &str| {
            let target = display(target);
            Problem::Refused(format!("`{shown}` is a hard link to `{target}`, {what}"))
        };
        let to = clean(target).map_err(|what| refused(&format!("which {what}")))?;
        let node = match self.nodes.get(&to).map(|(node, _)| node) {
            Some(Node::File(number)) => Node::File(*number),
            // A package has one name for each of these.
            Some(Node::Symlink(target, meta)) => {
                self.limits.node(target.len())?;
                Node::Symlink(target.clone(), meta.clone())
            }
            Some(Node::Special(what, meta)) => Node::Special(what, meta.clone()),
            Some(Node::Folder(_)) => return Err(refused("which is a folder")),
            None => return Err(refused("which is not in the archive before it")),
        };
        if to == path { Ok(()) } else { self.put(path, node) }
    }

    /// Takes away what lower layers have at a path.
    pub(crate) fn white_out(&mut self, path: &[u8]) -> Result<(), Problem> {
        let path = self.clean(path)?;
        if path.is_empty() {
            return Err(Problem::Refused("has a layer that takes the root away".into()));
        }
        if self.nodes.get(&path).is_some_and(|(_, layer)| *layer < self.layer) {
            self.nodes.remove(&path);
        }
        self.clear(&path);
        Ok(())
    }

    /// Takes away what lower layers have in a folder.
    pub(crate) fn make_opaque(&mut self, folder: &[u8]) -> Result<(), Problem> {
        let folder = self.clean(folder)?;
        self.clear(&folder);
        Ok(())
    }

    /// Removes what lower layers have below a path.
    fn clear(&mut self, folder: &[u8]) {
        let gone: Vec<Vec<u8>> = below(&self.nodes, folder)
            .filter(|(_, (_, layer))| *layer < self.layer)
            .map(|(path, _)| path.clone())
            .collect();
        for path in gone {
            self.nodes.remove(&path);
        }
    }

    /// Makes the folder at `path` the root, and forgets the rest.
    pub(crate) fn descend(&mut self, path: &[u8]) -> Result<(), Problem> {
        let folder = clean(path.strip_prefix(b"/").unwrap_or(path))
            .map_err(|what| Problem::Refused(format!("`{}` {what}", display(path))))?;
        if folder.is_empty() {
            return Ok(());
        }
        let shown = display(&folder).into_owned();
        for end in (0..=folder.len()).filter(|&at| matches!(folder.get(at), None | Some(b'/'))) {
            if let Some((Node::Symlink(target, _), _)) = self.nodes.get(&folder[..end]) {
                let (link, target) = (display(&folder[..end]), display(target));
                let message = format!("`{link}` is a symbolic link to `{target}`; name its target");
                return Err(Problem::Refused(message));
            }
        }
        let root = match self.nodes.remove(&folder) {
            Some((Node::Folder(kept), layer)) => Some((Node::Folder(kept), layer)),
            None if below(&self.nodes, &folder).next().is_some() => None,
            None => return Err(Problem::Refused(format!("has nothing at `{shown}`"))),
            Some(_) => return Err(Problem::Refused(format!("`{shown}` is not a folder"))),
        };
        let prefix = [&folder[..], b"/"].concat();
        let nodes = std::mem::take(&mut self.nodes).into_iter();
        self.nodes = nodes
            .filter_map(|(path, node)| Some((path.strip_prefix(&prefix[..])?.to_vec(), node)))
            .collect();
        self.nodes.extend(root.map(|node| (Vec::new(), node)));
        Ok(())
    }

    /// The content and size of the file at a path.
    pub(crate) fn content(&self, path: &[u8]) -> Option<(ContentId, u64)> {
        match self.nodes.get(path)?.0 {
            Node::File(number) => self.files.get(number).map(|file| (file.content, file.size)),
            _ => None,
        }
    }

    /// Whether something lies at a path.
    pub(crate) fn has(&self, path: &[u8]) -> bool {
        self.nodes.contains_key(path)
    }

    /// The names at the root.
    pub(crate) fn names(&self) -> impl Iterator<Item = &[u8]> {
        let paths = self.nodes.keys().map(Vec::as_slice);
        paths.filter(|path| !path.is_empty() && !path.contains(&b'/'))
    }

    /// Where a chain of links that begins at `path` leads inside of the tree.
    pub(crate) fn follow(&self, path: &[u8]) -> Option<Vec<u8>> {
        let mut path = path.to_vec();
        for _ in 0..40 {
            let Some((Node::Symlink(target, _), _)) = self.nodes.get(&path) else {
                return self.has(&path).then_some(path);
            };
            let parent = path.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
            let mut parts: Vec<&[u8]> = match target.strip_prefix(b"/") {
                Some(_) => return None,
                None => path[..parent].split(|&b| b == b'/').filter(|p| !p.is_empty()).collect(),
            };
            for part in target.split(|&byte| byte == b'/') {
                match part {
                    b"" | b"." => {}
                    b".." => drop(parts.pop()?),
                    part => parts.push(part),
                }
            }
            path = parts.join(&b'/');
        }
        None
    }

    /// Takes what lies at a path out.
    pub(crate) fn remove(&mut self, path: &[u8]) {
        self.nodes.remove(path);
    }

    /// Everything, by path, and the files that nodes number.
    pub(crate) fn into_nodes(self) -> (impl Iterator<Item = (Vec<u8>, Node)>, Vec<File>) {
        (self.nodes.into_iter().map(|(path, (node, _))| (path, node)), self.files)
    }

    /// Where an entry goes.
    fn place(&mut self, entry: &Entry) -> Result<Vec<u8>, Problem> {
        let path = self.clean(&entry.path)?;
        let attributes = entry.meta.xattrs.iter().map(|xattr| xattr.name.len() + xattr.value.len());
        self.limits.node(path.len() + attributes.sum::<usize>())?;
        for (at, _) in path.iter().enumerate().filter(|&(_, &byte)| byte == b'/') {
            let above = match self.nodes.get(&path[..at]) {
                None | Some((Node::Folder(_), _)) => continue,
                Some((Node::Symlink(..), _)) => "a symbolic link",
                Some((Node::File(_), _)) => "a file",
                Some((Node::Special(what, _), _)) => what,
            };
            let (path, above_path) = (display(&path), display(&path[..at]));
            let message = format!("`{path}` lies below `{above_path}`, which is {above}");
            return Err(Problem::Refused(message));
        }
        Ok(path)
    }

    fn clean(&self, path: &[u8]) -> Result<Vec<u8>, Problem> {
        clean(path).map_err(|what| {
            Problem::Refused(format!("has an entry `{}`, which {what}", display(path)))
        })
    }

    fn put(&mut self, path: Vec<u8>, node: Node) -> Result<(), Problem> {
        let folder = matches!(node, Node::Folder(_));
        if path.is_empty() && !folder {
            return Err(Problem::Refused("has a root that is not a folder".into()));
        }
        if !folder {
            match self.over {
                Over::Layer => self.clear(&path),
                Over::Archive => {}
            }
            if below(&self.nodes, &path).next().is_some() {
                let path = display(&path);
                let message = format!("`{path}` is a folder with entries, and then something else");
                return Err(Problem::Refused(message));
            }
        }
        self.nodes.insert(path, (node, self.layer));
        Ok(())
    }
}

/// What lies below a folder.
fn below<'t>(
    nodes: &'t BTreeMap<Vec<u8>, (Node, u32)>,
    folder: &[u8],
) -> impl Iterator<Item = (&'t Vec<u8>, &'t (Node, u32))> {
    let prefix = if folder.is_empty() { Vec::new() } else { [folder, b"/"].concat() };
    // The root itself is not below it.
    let first =
        if prefix.is_empty() { Bound::Excluded(vec![]) } else { Bound::Included(prefix.clone()) };
    nodes.range((first, Bound::Unbounded)).take_while(move |(path, _)| path.starts_with(&prefix))
}

/// A path without empty components and `.`, or what is wrong with it.
pub(crate) fn clean(path: &[u8]) -> Result<Vec<u8>, &'static str> {
    if path.starts_with(b"/") {
        return Err("begins at the root of the filesystem");
    }
    let parts: Vec<&[u8]> =
        path.split(|&byte| byte == b'/').filter(|part| !matches!(*part, b"" | b".")).collect();
    if parts.contains(&&b".."[..]) {
        return Err("leads up by `..`");
    }
    Ok(parts.join(&b'/'))
}
