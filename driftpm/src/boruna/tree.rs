//! The dependency tree as text, and the graph behind it.
//!
//! Showing what is there must work when resolving does not: nothing is checked, a package that
//! can't be loaded is a leaf, and the versions of a conflict both appear.

use std::collections::{BTreeMap, HashSet, VecDeque};

use super::manifest::PackageManifest;
use super::name::PackageId;
use super::registry::Registry;

/// More lines than this and repeated sub-trees are drawn once only.
pub const FULL_TREE_LINES: usize = 10_000;

/// Everything reachable from a project, by `name@version` as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Graph {
    /// The project.
    pub root: String,
    /// Every package reached; `None` for one that could not be loaded.
    pub packages: BTreeMap<String, Option<Vec<String>>>,
}

impl Graph {
    /// Walks the registry from a project's dependencies.
    #[must_use]
    pub fn load(root: &PackageManifest, registry: &Registry) -> Self {
        let children = |manifest: &PackageManifest| -> Vec<String> {
            manifest
                .dependencies
                .iter()
                .map(|(name, version)| format!("{name}@{version}"))
                .collect()
        };
        let direct = children(root);
        let mut packages = BTreeMap::new();
        let mut queue: VecDeque<String> = direct.iter().cloned().collect();
        while let Some(label) = queue.pop_front() {
            if packages.contains_key(&label) {
                continue;
            }
            let found = PackageId::parse(&label).and_then(|id| registry.manifest(&id).ok());
            let found = found.map(|manifest| children(&manifest));
            queue.extend(found.iter().flatten().cloned());
            packages.insert(label, found);
        }
        // The project's own dependencies, even if another version of it, or it, is published.
        packages.insert(root.label(), Some(direct));
        Self { root: root.label(), packages }
    }

    /// The direct dependencies of a package.
    #[must_use]
    pub fn children(&self, label: &str) -> &[String] {
        self.packages.get(label).and_then(Option::as_deref).unwrap_or_default()
    }

    /// The tree, one package a line. Sub-trees that repeat are drawn in full, as the original
    /// does, while the whole stays below `full` lines; else the second time they are only
    /// marked `(*)`. A package below itself is marked `(cycle)`.
    #[must_use]
    pub fn lines(&self, full: usize) -> Vec<String> {
        self.draw(Some(full)).unwrap_or_else(|| self.draw(None).unwrap_or_default())
    }

    fn draw(&self, full: Option<usize>) -> Option<Vec<String>> {
        struct Level<'a> {
            label: &'a str,
            children: std::slice::Iter<'a, String>,
            indent: String,
        }

        let mut lines = vec![self.root.clone()];
        let mut drawn: HashSet<&str> = HashSet::new();
        let mut on_path: HashSet<&str> = HashSet::from([self.root.as_str()]);
        let mut levels = vec![Level {
            label: &self.root,
            children: self.children(&self.root).iter(),
            indent: String::new(),
        }];
        while let Some(level) = levels.last_mut() {
            let Some(child) = level.children.next() else {
                on_path.remove(level.label);
                levels.pop();
                continue;
            };
            let last = level.children.as_slice().is_empty();
            let branch = if last { "└── " } else { "├── " };
            let children = self.children(child);
            let cycle = on_path.contains(child.as_str());
            let repeated =
                !cycle && full.is_none() && !children.is_empty() && !drawn.insert(child.as_str());
            let mark = if cycle {
                " (cycle)"
            } else if repeated {
                " (*)"
            } else {
                ""
            };
            lines.push(format!("{}{branch}{child}{mark}", level.indent));
            if full.is_some_and(|limit| lines.len() > limit) {
                return None;
            }
            if !cycle && !repeated && !children.is_empty() {
                let indent = format!("{}{}", level.indent, if last { "    " } else { "│   " });
                on_path.insert(child);
                levels.push(Level { label: child, children: children.iter(), indent });
            }
        }
        Some(lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(packages: &[(&str, &[&str])]) -> Graph {
        let text = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
        Graph {
            root: "app".to_string(),
            packages: packages
                .iter()
                .map(|(label, children)| (label.to_string(), Some(text(children))))
                .collect(),
        }
    }

    #[test]
    fn repeats_are_drawn_in_full_or_marked() {
        let graph = graph(&[
            ("app", &["a", "b", "leaf"]),
            ("a", &["leaf", "gone"]),
            ("b", &["a"]),
            ("leaf", &[]),
        ]);
        let full = [
            "app",
            "├── a",
            "│   ├── leaf",
            "│   └── gone",
            "├── b",
            "│   └── a",
            "│       ├── leaf",
            "│       └── gone",
            "└── leaf",
        ];
        assert_eq!(graph.lines(9), full);
        let marked =
            ["app", "├── a", "│   ├── leaf", "│   └── gone", "├── b", "│   └── a (*)", "└── leaf"];
        assert_eq!(graph.lines(8), marked);
    }

    #[test]
    fn cycles_end() {
        let graph = graph(&[("app", &["x"]), ("x", &["y"]), ("y", &["app", "x", "y"])]);
        let lines = [
            "app",
            "└── x",
            "    └── y",
            "        ├── app (cycle)",
            "        ├── x (cycle)",
            "        └── y (cycle)",
        ];
        assert_eq!(graph.lines(100), lines);
    }

    #[test]
    fn a_ladder_does_not_explode() {
        // Each of 40 levels doubles the paths: 2^40 lines in full.
        let mut packages = vec![("app".to_string(), vec!["a0".to_string(), "b0".to_string()])];
        for level in 0..40 {
            for side in ["a", "b"] {
                let next = level + 1;
                packages
                    .push((format!("{side}{level}"), vec![format!("a{next}"), format!("b{next}")]));
            }
        }
        let packages = packages.into_iter().map(|(label, list)| (label, Some(list))).collect();
        let graph = Graph { root: "app".to_string(), packages };
        assert_eq!(graph.lines(FULL_TREE_LINES).len(), 1 + 2 * 81);
    }
}
