//! From a project's dependencies to the whole closure and its install order.
//!
//! Breadth first, in name order, one version a name; then packages whose dependencies are all
//! done come out in waves. Which error wins when there are several is part of the behaviour:
//! the walk stops at the first package, in the order of the walk, that can't be loaded, breaks
//! a rule, or conflicts with one before it. Cycles are looked for only after the walk.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use super::error::Error;
use super::manifest::PackageManifest;
use super::name::PackageId;
use super::registry::check_manifest;

/// Where manifests come from.
pub trait PackageSource {
    /// The manifest of one package, unchecked.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] or whatever went wrong.
    fn manifest(&self, id: &PackageId) -> Result<PackageManifest, Error>;

    /// The manifests of several packages, in the order asked for.
    fn manifests(&self, ids: &[PackageId]) -> Vec<Result<PackageManifest, Error>> {
        ids.iter().map(|id| self.manifest(id)).collect()
    }
}

/// A closure without conflicts and cycles. The project itself is not part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolution {
    /// Every package with its checked manifest.
    pub packages: BTreeMap<PackageId, PackageManifest>,
    /// The same ids, each after its dependencies.
    pub order: Vec<PackageId>,
}

/// Resolves the dependencies of `root`.
///
/// # Errors
///
/// [`Error::Load`], [`Error::InvalidPackage`], [`Error::Conflict`] or [`Error::Cycle`].
pub fn resolve(root: &PackageManifest, source: &impl PackageSource) -> Result<Resolution, Error> {
    let packages = walk(root, source)?;
    let order = install_order(&packages)?;
    Ok(Resolution { packages, order })
}

fn walk(
    root: &PackageManifest,
    source: &impl PackageSource,
) -> Result<BTreeMap<PackageId, PackageManifest>, Error> {
    let mut queue: VecDeque<PackageId> = root.dependency_ids().collect();
    let mut by_name: HashMap<String, PackageId> = HashMap::new();
    let mut resolved = BTreeMap::new();
    let mut loaded = HashMap::new();
    while let Some(id) = queue.pop_front() {
        if resolved.contains_key(&id) {
            continue;
        }
        if !loaded.contains_key(&id) {
            // Everything queued is wanted sooner or later; asked for together it can be read
            // in parallel. Only what the walk reaches is looked at, so errors keep their order.
            let mut wave = vec![id.clone()];
            let mut seen = HashSet::from([&id]);
            let others = queue.iter().filter(|other| !resolved.contains_key(*other));
            wave.extend(others.filter(|other| seen.insert(*other)).cloned());
            let manifests = source.manifests(&wave);
            loaded.extend(wave.into_iter().zip(manifests));
        }
        let Some(manifest) = loaded.remove(&id) else { continue };
        let manifest = manifest
            .map_err(|reason| Error::Load { id: id.to_string(), reason: Box::new(reason) })?;
        check_manifest(&id, &manifest)?;
        if let Some(first) = by_name.get(id.name()) {
            return Err(Error::Conflict { first: first.to_string(), second: id.to_string() });
        }
        by_name.insert(id.name().to_string(), id.clone());
        queue.extend(manifest.dependency_ids().filter(|id| !resolved.contains_key(id)));
        resolved.insert(id, manifest);
    }
    Ok(resolved)
}

/// First all packages without dependencies, sorted by id; then, first in first out, what each
/// one sets free, sorted by id among themselves.
fn install_order(packages: &BTreeMap<PackageId, PackageManifest>) -> Result<Vec<PackageId>, Error> {
    // A package's number is its place in id order, so sorting numbers sorts ids.
    let ids: Vec<&PackageId> = packages.keys().collect();
    let number: HashMap<&PackageId, usize> =
        ids.iter().enumerate().map(|(number, id)| (*id, number)).collect();
    let dependencies: Vec<Vec<usize>> = packages
        .values()
        .map(|manifest| {
            manifest.dependency_ids().filter_map(|id| number.get(&id).copied()).collect()
        })
        .collect();
    let mut waiting: Vec<usize> = dependencies.iter().map(Vec::len).collect();
    let mut dependents: Vec<Vec<usize>> = vec![Vec::new(); ids.len()];
    for (dependent, list) in dependencies.iter().enumerate() {
        for &dependency in list {
            if let Some(list) = dependents.get_mut(dependency) {
                list.push(dependent);
            }
        }
    }
    let free = waiting.iter().enumerate().filter(|(_, count)| **count == 0);
    let mut queue: VecDeque<usize> = free.map(|(number, _)| number).collect();
    let mut order = Vec::with_capacity(ids.len());
    while let Some(done) = queue.pop_front() {
        order.push(done);
        // Filled in rising order, so what is set free comes sorted.
        for &dependent in dependents.get(done).into_iter().flatten() {
            if let Some(count) = waiting.get_mut(dependent) {
                *count -= 1;
                if *count == 0 {
                    queue.push_back(dependent);
                }
            }
        }
    }
    let name = |number: usize| ids.get(number).map(|id| (*id).clone());
    if order.len() < ids.len() {
        let path = find_cycle(&dependencies, &waiting);
        let path = path.into_iter().filter_map(name).map(|id| id.to_string()).collect();
        return Err(Error::Cycle { path });
    }
    Ok(order.into_iter().filter_map(name).collect())
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
