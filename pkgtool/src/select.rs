//! Walking a package's tree, or the parts of it that a command names.

use std::fs::File;
use std::path::Path;

use epk_format::Package;
use epk_format::package::{Kind, Node, NodeId};
use epk_format::path;

use crate::exit::Failure;

/// A node on the walk.
pub(crate) struct Visit<'v> {
    /// Its path from the root, without a leading `/`. Never empty.
    pub(crate) path: &'v [u8],
    pub(crate) node: Node,
}

/// Visits every node below the root that one of the patterns names or lies below one named, in
/// the order of paths, parents first. No patterns name everything. A pattern without a match is
/// an error.
pub(crate) fn walk(
    package: &Package<File>,
    file: &Path,
    patterns: &[String],
    mut visit: impl FnMut(Visit<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let patterns: Vec<Vec<&[u8]>> = patterns.iter().map(|text| components(text)).collect();
    let mut matched = vec![false; patterns.len()];
    let failure = |error: &epk_format::Error| Failure::package(file, error);
    // Folders still to read, the next one last. Packages may be deep: no recursion.
    let children = package.children(NodeId::ROOT).map_err(|error| failure(&error))?;
    let mut stack: Vec<(Vec<u8>, NodeId)> = Vec::new();
    let push = |stack: &mut Vec<(Vec<u8>, NodeId)>, prefix: &[u8], children: Vec<_>| {
        for (name, id, _) in children.into_iter().rev() {
            let name: Vec<u8> = name;
            let joined = if prefix.is_empty() { name } else { [prefix, &name].join(&b'/') };
            stack.push((joined, id));
        }
    };
    push(&mut stack, b"", children);
    while let Some((path, id)) = stack.pop() {
        let node = package.node(id).map_err(|error| failure(&error))?;
        let relation = relate(&patterns, &path, &mut matched);
        if relation == Relation::Inside {
            visit(Visit { path: &path, node })?;
        }
        if node.kind == Kind::Folder && relation != Relation::Outside {
            let children = package.children(id).map_err(|error| failure(&error))?;
            push(&mut stack, &path, children);
        }
    }
    // A pattern without components names the root, which is always there.
    let named = patterns.iter().zip(&matched).filter(|(pattern, _)| !pattern.is_empty());
    match named.into_iter().find(|(_, matched)| !**matched) {
        None => Ok(()),
        Some((pattern, _)) => Err(Failure::refused(format!(
            "`{}`: nothing at `/{}`",
            file.display(),
            path::display(&pattern.join(&b'/'))
        ))),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Relation {
    /// A pattern names it or a folder above it.
    Inside,
    /// Something below it may be named.
    Above,
    Outside,
}

fn components(text: &str) -> Vec<&[u8]> {
    path::split(text.as_bytes()).filter(|&name| !matches!(name, b"" | b".")).collect()
}

fn relate(patterns: &[Vec<&[u8]>], path: &[u8], matched: &mut [bool]) -> Relation {
    if patterns.is_empty() {
        return Relation::Inside;
    }
    let names: Vec<&[u8]> = path::split(path).collect();
    let mut relation = Relation::Outside;
    for (pattern, matched) in patterns.iter().zip(matched) {
        let fits = pattern.iter().zip(&names).all(|(pattern, name)| matches(pattern, name));
        if fits && pattern.len() <= names.len() {
            *matched = true;
            relation = Relation::Inside;
        } else if fits && relation == Relation::Outside {
            relation = Relation::Above;
        }
    }
    relation
}

/// `*` stands for any run of bytes, `?` for one.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    // Where to go on after the last `*` when what follows it didn't fit.
    let mut retry: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p + 1, n));
                p += 1;
            }
            Some(&byte) if byte == b'?' || Some(&byte) == name.get(n) => {
                p += 1;
                n += 1;
            }
            _ => match retry {
                Some((after, from)) => {
                    retry = Some((after, from + 1));
                    (p, n) = (after, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern.get(p..).is_some_and(|rest| rest.iter().all(|&byte| byte == b'*'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs() {
        let cases = [
            ("*", "", true),
            ("a*c", "abc", true),
            ("a*c", "abcd", false),
            ("a*b*c", "aXbXbXc", true),
            ("?", "", false),
            ("?x", "ax", true),
            ("**", "anything", true),
            ("a", "b", false),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn relations() {
        let patterns = [components("/usr/l*"), components("bin")];
        let mut matched = [false; 2];
        assert_eq!(relate(&patterns, b"usr", &mut matched), Relation::Above);
        assert_eq!(relate(&patterns, b"usr/lib", &mut matched), Relation::Inside);
        assert_eq!(relate(&patterns, b"usr/lib/x", &mut matched), Relation::Inside);
        assert_eq!(relate(&patterns, b"usr/bin", &mut matched), Relation::Outside);
        assert_eq!(matched, [true, false]);
    }
}
