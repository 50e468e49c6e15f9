//! From a project's dependencies to the whole closure and its install order.
//!
//! Breadth first, in name order, one version a name; then packages whose dependencies are all
//! done come out in waves. Which error wins when there are several is part of the behaviour:
//! the walk stops at the first package, in the order of the walk, that can't be loaded, breaks
//! a rule, or conflicts with one before it. Cycles are looked for only after the walk.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap};
use std::hash::{Hash, Hasher};

use super::error::Error;
use super::manifest::PackageManifest;
use super::name::PackageId;
use super::registry::check_manifest;

/// A manifest that was read, unchecked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The manifest.
    pub manifest: Box<PackageManifest>,
    /// What it depends on, by name; what is not valid is left out.
    pub dependencies: Vec<PackageId>,
}

impl From<PackageManifest> for Loaded {
    fn from(manifest: PackageManifest) -> Self {
        let mut dependencies = Vec::with_capacity(manifest.dependencies.len());
        dependencies.extend(manifest.dependency_ids());
        Self { manifest: Box::new(manifest), dependencies }
    }
}

/// Where manifests come from.
pub trait PackageSource {
    /// The manifest of one package, unchecked.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] or whatever went wrong.
    fn manifest(&self, id: &PackageId) -> Result<PackageManifest, Error>;

    /// The manifests of several packages and their dependencies, in the order asked for.
    fn load(&self, ids: &[PackageId]) -> Vec<Result<Loaded, Error>> {
        ids.iter().map(|id| self.manifest(id).map(Loaded::from)).collect()
    }
}

/// A closure without conflicts and cycles. The project itself is not part of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolution {
    /// Every package with its checked manifest.
    pub packages: BTreeMap<PackageId, Box<PackageManifest>>,
    /// The same ids, each after its dependencies.
    pub order: Vec<PackageId>,
    /// For each package in `order`, its place in `packages`.
    pub places: Vec<usize>,
    /// For each package in `order`, the places there of its dependencies, by name.
    pub dependencies: Vec<Vec<usize>>,
}

/// Resolves the dependencies of `root`.
///
/// # Errors
///
/// [`Error::Load`], [`Error::InvalidPackage`], [`Error::Conflict`] or [`Error::Cycle`].
pub fn resolve(root: &PackageManifest, source: &impl PackageSource) -> Result<Resolution, Error> {
    let found = walk(root, source)?;
    // Let a package's number be its place in id order, so that sorting numbers sorts ids.
    let mut by_id: Vec<usize> = (0..found.len()).collect();
    by_id.sort_unstable_by(|a, b| id_of(&found, *a).cmp(&id_of(&found, *b)));
    let mut number = vec![0; found.len()];
    for (new, old) in by_id.iter().enumerate() {
        if let Some(place) = number.get_mut(*old) {
            *place = new;
        }
    }
    let renumber = |list: &Vec<usize>, to: &[usize]| -> Vec<usize> {
        list.iter().filter_map(|old| to.get(*old).copied()).collect()
    };
    let graph: Vec<Vec<usize>> = by_id
        .iter()
        .filter_map(|old| Some(renumber(&found.get(*old)?.dependencies, &number)))
        .collect();
    let id_at = |number: usize| id_of(&found, *by_id.get(number)?);

    let order = install_order(&graph).map_err(|ring| Error::Cycle {
        path: ring.into_iter().filter_map(|at| Some(id_at(at)?.to_string())).collect(),
    })?;
    let mut place = vec![0; order.len()];
    for (at, number) in order.iter().enumerate() {
        if let Some(place) = place.get_mut(*number) {
            *place = at;
        }
    }
    Ok(Resolution {
        order: order.iter().filter_map(|number| id_at(*number).cloned()).collect(),
        dependencies: order
            .iter()
            .filter_map(|number| Some(renumber(graph.get(*number)?, &place)))
            .collect(),
        packages: {
            // Moved in id order: sorting whole manifests would move each of them many times.
            let mut found: Vec<_> = found.into_iter().map(Some).collect();
            let sorted = by_id.iter().filter_map(|old| found.get_mut(*old)?.take());
            sorted.map(|package| (package.id, package.manifest)).collect()
        },
        places: order,
    })
}

/// A package as the walk found it; its dependencies are places in the walk.
struct Found {
    id: PackageId,
    manifest: Box<PackageManifest>,
    dependencies: Vec<usize>,
}

/// An id that stands for all versions of its package.
struct Named(PackageId);

impl Borrow<str> for Named {
    fn borrow(&self) -> &str {
        self.0.name()
    }
}

impl PartialEq for Named {
    fn eq(&self, other: &Self) -> bool {
        self.0.name() == other.0.name()
    }
}

impl Eq for Named {}

impl Hash for Named {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.name().hash(state);
    }
}

fn id_of(found: &[Found], at: usize) -> Option<&PackageId> {
    found.get(at).map(|package| &package.id)
}

/// What the walk has met and not yet looked at.
#[derive(Default)]
struct Queue {
    /// The place in the walk of the first package of each name.
    places: HashMap<Named, usize>,
    /// Places of packages that have the name of another one before them, and which that is.
    conflicts: HashMap<usize, PackageId>,
    waiting: Vec<PackageId>,
    next: usize,
}

impl Queue {
    /// The place of a package. It is queued once: the walk would skip it when it met it again.
    /// Of one that is in conflict that doesn't matter, for there the walk ends.
    fn place(&mut self, id: PackageId) -> usize {
        match self.places.get_key_value(id.name()) {
            Some((Named(first), place)) if *first == id => return *place,
            Some((Named(first), _)) => {
                self.conflicts.insert(self.next, first.clone());
            }
            None => {
                self.places.insert(Named(id.clone()), self.next);
            }
        }
        self.waiting.push(id);
        self.next += 1;
        self.next - 1
    }
}

fn walk(root: &PackageManifest, source: &impl PackageSource) -> Result<Vec<Found>, Error> {
    let mut queue = Queue::default();
    let mut found: Vec<Found> = Vec::new();
    for id in root.dependency_ids() {
        queue.place(id);
    }
    while !queue.waiting.is_empty() {
        // Everything queued is one step further from the project than what came before, and
        // can be read at once. It is looked at in turn, so errors keep their order.
        let wave = std::mem::take(&mut queue.waiting);
        let loaded = source.load(&wave);
        for (id, loaded) in wave.into_iter().zip(loaded) {
            let Loaded { manifest, dependencies } = loaded
                .map_err(|reason| Error::Load { id: id.to_string(), reason: Box::new(reason) })?;
            check_manifest(&id, &manifest)?;
            if let Some(first) = queue.conflicts.get(&found.len()) {
                let first = first.to_string();
                return Err(Error::Conflict { first, second: id.to_string() });
            }
            let dependencies = dependencies.into_iter().map(|id| queue.place(id)).collect();
            found.push(Found { id, manifest, dependencies });
        }
    }
    Ok(found)
}

/// First all packages without dependencies, in order; then, first in first out, what each one
/// sets free, in order among themselves. If some are never free, a ring of them.
fn install_order(dependencies: &[Vec<usize>]) -> Result<Vec<usize>, Vec<usize>> {
    let mut waiting: Vec<usize> = dependencies.iter().map(Vec::len).collect();
    let mut dependents: Vec<Vec<usize>> = vec![Vec::new(); dependencies.len()];
    for (dependent, list) in dependencies.iter().enumerate() {
        for &dependency in list {
            if let Some(list) = dependents.get_mut(dependency) {
                list.push(dependent);
            }
        }
    }
    let free = waiting.iter().enumerate().filter(|(_, count)| **count == 0);
    let mut order: Vec<usize> = free.map(|(number, _)| number).collect();
    let mut next = 0;
    while let Some(done) = order.get(next).copied() {
        next += 1;
        // Filled in rising order, so what is set free comes sorted.
        for &dependent in dependents.get(done).into_iter().flatten() {
            if let Some(count) = waiting.get_mut(dependent) {
                *count -= 1;
                if *count == 0 {
                    order.push(dependent);
                }
            }
        }
    }
    if order.len() == dependencies.len() {
        Ok(order)
    } else {
        Err(find_cycle(dependencies, &waiting))
    }
}

/// A ring among packages that still wait. Each of them waits for another one that waits, so
/// following the first such dependency must come back to a package seen before.
fn find_cycle(dependencies: &[Vec<usize>], waiting: &[usize]) -> Vec<usize> {
    let waits = |number: usize| waiting.get(number).is_some_and(|count| *count > 0);
    let mut place: HashMap<usize, usize> = HashMap::new();
    let mut path = Vec::new();
    let mut next = (0..waiting.len()).find(|number| waits(*number));
    while let Some(number) = next {
        if let Some(start) = place.get(&number) {
            let mut ring = path.split_off(*start);
            let smallest = ring.iter().enumerate().min_by_key(|(_, number)| **number);
            let first = smallest.map_or(0, |(at, _)| at);
            ring.rotate_left(first);
            ring.extend(ring.first().copied());
            return ring;
        }
        place.insert(number, path.len());
        path.push(number);
        let list = dependencies.get(number).into_iter().flatten();
        next = list.copied().find(|dependency| waits(*dependency));
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `name@version: dependency dependency …` a line.
    struct Table(HashMap<PackageId, PackageManifest>);

    impl PackageSource for Table {
        fn manifest(&self, id: &PackageId) -> Result<PackageManifest, Error> {
            self.0.get(id).cloned().ok_or_else(|| Error::NotFound(id.to_string()))
        }
    }

    fn manifest(label: &str, dependencies: &str) -> PackageManifest {
        let (name, version) = label.split_once('@').unwrap_or((label, ""));
        PackageManifest {
            name: name.to_string(),
            version: version.to_string(),
            description: "d".to_string(),
            dependencies: dependencies
                .split_whitespace()
                .filter_map(|text| text.split_once('@'))
                .map(|(name, version)| (name.to_string(), version.to_string()))
                .collect(),
            required_capabilities: Vec::new(),
            exposed_modules: vec!["core".to_string()],
            integrity: None,
        }
    }

    fn run(root: &str, registry: &[(&str, &str)]) -> Result<String, String> {
        let table = Table(
            registry
                .iter()
                .filter_map(|(label, deps)| Some((PackageId::parse(label)?, manifest(label, deps))))
                .collect(),
        );
        match resolve(&manifest("app@0.1.0", root), &table) {
            Ok(found) => {
                let order: Vec<_> = found.order.iter().map(PackageId::as_str).collect();
                Ok(order.join(" "))
            }
            Err(error) => Err(format!("{error}{}", error.details().join(""))),
        }
    }

    #[test]
    fn what_is_set_free_queues_behind_the_wave() {
        // Not "the smallest ready id first": a.top is free before z, but comes after it.
        let order = run(
            "a.top@1.0.0 z@1.0.0",
            &[("a.top@1.0.0", "b@1.0.0"), ("b@1.0.0", ""), ("z@1.0.0", "")],
        );
        assert_eq!(order.as_deref(), Ok("b@1.0.0 z@1.0.0 a.top@1.0.0"));
    }

    #[test]
    fn the_first_error_of_the_walk_wins() {
        let registry = [
            ("b@1.0.0", "sh@0.2.0"),
            ("c@1.0.0", "sh@0.1.0"),
            ("d@1.0.0", "sh@9.0.0"),
            ("sh@0.1.0", ""),
            ("sh@0.2.0", ""),
        ];
        for (root, error) in [
            ("b@1.0.0 c@1.0.0", "version conflict: both 'sh@0.2.0' and 'sh@0.1.0' required"),
            ("c@1.0.0 sh@0.2.0", "version conflict: both 'sh@0.2.0' and 'sh@0.1.0' required"),
            ("b@1.0.0 d@1.0.0", "failed to load sh@9.0.0: package sh@9.0.0 not found in registry"),
            ("gone@1.0.0", "failed to load gone@1.0.0: package gone@1.0.0 not found in registry"),
        ] {
            assert_eq!(run(root, &registry), Err(error.to_string()), "{root}");
        }
    }

    #[test]
    fn cycles_come_with_their_path() {
        for (root, registry, path) in [
            ("x@1.0.0", &[("x@1.0.0", "x@1.0.0")][..], "x@1.0.0 -> x@1.0.0"),
            (
                "entry@1.0.0 fine@1.0.0",
                &[
                    ("entry@1.0.0", "q@1.0.0"),
                    ("fine@1.0.0", ""),
                    ("q@1.0.0", "r@1.0.0"),
                    ("r@1.0.0", "fine@1.0.0 p@1.0.0"),
                    ("p@1.0.0", "q@1.0.0"),
                ][..],
                "p@1.0.0 -> q@1.0.0 -> r@1.0.0 -> p@1.0.0",
            ),
        ] {
            let error = format!("circular dependency detected  {path}");
            assert_eq!(run(root, registry), Err(error), "{root}");
        }
    }

    #[test]
    fn a_manifest_must_be_for_its_folder() {
        let mut table = HashMap::new();
        if let Some(id) = PackageId::parse("b@1.0.0") {
            table.insert(id, manifest("zzz@1.0.0", ""));
        }
        let error = resolve(&manifest("app@0.1.0", "b@1.0.0"), &Table(table));
        assert_eq!(
            error.map_err(|error| error.to_string()),
            Err("invalid package b@1.0.0: the manifest in b/1.0.0 is for zzz@1.0.0".to_string())
        );
    }
}
