//! Why a package is in a project: the paths that lead to it.

use std::collections::{BTreeMap, HashSet, VecDeque};

use super::tree::Graph;

/// How many paths are listed before the rest is only mentioned.
pub const MOST_PATHS: usize = 100;

/// A graph can have more paths than anyone can walk; after this many steps the search ends.
const MOST_STEPS: usize = 1_000_000;

/// Paths from the project to a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// Each path from the project to the package, in tree order.
    pub paths: Vec<Vec<String>>,
    /// Whether there are, or may be, more.
    pub more: bool,
}

/// The paths to `wanted`, a name or `name@version`. At most `most` of them.
#[must_use]
pub fn paths(graph: &Graph, wanted: &str, most: usize) -> Paths {
    let is_wanted = |label: &str| {
        label == wanted || label.split_once('@').is_some_and(|(name, _)| name == wanted)
    };
    let leading = leading_to(graph, &is_wanted);
    let mut found = Paths { paths: Vec::new(), more: false };
    let mut path = vec![graph.root.as_str()];
    let mut on_path = HashSet::from([graph.root.as_str()]);
    let mut levels = vec![graph.children(&graph.root).iter()];
    for _ in 0..MOST_STEPS {
        let Some(children) = levels.last_mut() else { return found };
        let Some(child) = children.next() else {
            levels.pop();
            on_path.remove(path.pop().unwrap_or_default());
            continue;
        };
        if on_path.contains(child.as_str()) || !leading.contains(child.as_str()) {
            continue;
        }
        if is_wanted(child) {
            if found.paths.len() == most {
                break;
            }
            let whole = path.iter().copied().chain([child.as_str()]);
            found.paths.push(whole.map(str::to_string).collect());
        }
        path.push(child);
        on_path.insert(child);
        levels.push(graph.children(child).iter());
    }
    found.more = true;
    found
}

/// Every package from which a wanted one can be reached, itself included.
fn leading_to<'a>(graph: &'a Graph, is_wanted: &impl Fn(&str) -> bool) -> HashSet<&'a str> {
    let mut parents: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (label, children) in &graph.packages {
        for child in children.iter().flatten() {
            parents.entry(child).or_default().push(label);
        }
    }
    let mut leading = HashSet::new();
    let wanted = graph.packages.keys().map(String::as_str).filter(|label| is_wanted(label));
    let mut queue: VecDeque<&str> = wanted.collect();
    while let Some(label) = queue.pop_front() {
        if leading.insert(label) {
            queue.extend(parents.get(label).into_iter().flatten());
        }
    }
    leading
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(packages: &[(&str, &str)]) -> Graph {
        let packages = packages.iter().map(|(label, children)| {
            (label.to_string(), Some(children.split_whitespace().map(str::to_string).collect()))
        });
        Graph { root: "app@1".to_string(), packages: packages.collect() }
    }

    fn lines(graph: &Graph, wanted: &str, most: usize) -> (Vec<String>, bool) {
        let found = paths(graph, wanted, most);
        (found.paths.iter().map(|path| path.join(" ")).collect(), found.more)
    }

    #[test]
    fn every_path_in_tree_order() {
        let graph = graph(&[
            ("app@1", "b@1 c@1 other@1"),
            ("b@1", "a@1"),
            ("c@1", "a@2 b@1"),
            ("a@1", ""),
            ("a@2", ""),
            ("other@1", ""),
        ]);
        let all = ["app@1 b@1 a@1", "app@1 c@1 a@2", "app@1 c@1 b@1 a@1"].map(str::to_string);
        assert_eq!(lines(&graph, "a", 9), (all.to_vec(), false));
        assert_eq!(lines(&graph, "a@2", 9), (vec![all[1].clone()], false));
        assert_eq!(lines(&graph, "a", 2), (all[..2].to_vec(), true));
        assert_eq!(lines(&graph, "none", 9), (vec![], false));
    }

    #[test]
    fn cycles_end() {
        let graph = graph(&[("app@1", "x@1"), ("x@1", "y@1"), ("y@1", "x@1 app@1")]);
        assert_eq!(lines(&graph, "y", 9), (vec!["app@1 x@1 y@1".to_string()], false));
    }
}
