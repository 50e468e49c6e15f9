//! The resolver against an independent oracle, over thousands of generated registries.
//!
//! The oracle knows nothing of queues. It enumerates every path from the project, by brute
//! force; the place of a package in a breadth-first walk is its shortest path, the smallest in
//! name order among equals. The first package in that order which is missing, broken or a
//! second version decides the error. A cycle is a package that reaches itself. Of an install
//! order it asks for the property that defines it: each package's key is the place of its last
//! dependency, then its id, and keys rise.

use std::collections::{BTreeMap, BTreeSet};

use driftpm::boruna::error::Error;
use driftpm::boruna::manifest::PackageManifest;
use driftpm::boruna::name::PackageId;
use driftpm::boruna::resolve::{PackageSource, resolve};

/// xorshift64*: the same registries on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % limit
    }
}

type Dependencies = BTreeMap<String, String>;

#[derive(Clone, PartialEq, Debug)]
struct Stored {
    dependencies: Dependencies,
    broken: bool,
}

/// A registry by `(name, version)`, and the project's dependencies.
#[derive(Debug)]
struct World {
    root: Dependencies,
    packages: BTreeMap<(String, String), Stored>,
}

impl World {
    fn generate(random: &mut Random) -> Self {
        // Names whose ids sort differently from themselves: `a.b@` < `a1@` < `a@`.
        let names = ["a", "a.b", "a1", "aa", "b", "c", "d"];
        let used = 2 + random.below(6) as usize;
        let kind = random.below(4);
        let versions: &[&str] = if kind == 1 { &["1.0.0", "2.0.0", "01.0.0"] } else { &["1.0.0"] };
        let mut packages = BTreeMap::new();
        for (at, name) in names.iter().enumerate().take(used) {
            for version in versions {
                let missing = kind == 3 && random.below(12) == 0;
                if missing {
                    continue;
                }
                let mut dependencies = Dependencies::new();
                for (other, target) in names.iter().enumerate().take(used) {
                    // Acyclic unless cycles are wanted: only earlier names.
                    if (other < at || kind == 2) && random.below(3) == 0 {
                        let version = versions[random.below(versions.len() as u64) as usize];
                        dependencies.insert((*target).to_string(), version.to_string());
                    }
                }
                let broken = kind == 3 && random.below(12) == 0;
                packages.insert(
                    ((*name).to_string(), (*version).to_string()),
                    Stored { dependencies, broken },
                );
            }
        }
        let mut root = Dependencies::new();
        for name in names.iter().take(used) {
            if random.below(2) == 0 {
                let version = versions[random.below(versions.len() as u64) as usize];
                root.insert((*name).to_string(), version.to_string());
            }
        }
        Self { root, packages }
    }

    fn manifest(name: &str, version: &str, stored: &Stored) -> PackageManifest {
        PackageManifest {
            name: name.to_string(),
            version: version.to_string(),
            description: if stored.broken { "" } else { "d" }.to_string(),
            dependencies: stored.dependencies.clone(),
            required_capabilities: Vec::new(),
            exposed_modules: vec!["core".to_string()],
            integrity: None,
        }
    }
}

impl PackageSource for World {
    fn manifest(&self, id: &PackageId) -> Result<PackageManifest, Error> {
        let key = (id.name().to_string(), id.version().to_string());
        let stored = self.packages.get(&key).ok_or_else(|| Error::NotFound(id.to_string()))?;
        Ok(Self::manifest(id.name(), id.version(), stored))
    }
}

fn id((name, version): (&String, &String)) -> String {
    format!("{name}@{version}")
}

/// The shortest, then smallest, path to every package: every simple path is tried.
fn first_paths(world: &World) -> BTreeMap<(String, String), Vec<String>> {
    fn extend(
        world: &World,
        dependencies: &Dependencies,
        path: &mut Vec<String>,
        best: &mut BTreeMap<(String, String), Vec<String>>,
    ) {
        for (name, version) in dependencies {
            let key = (name.clone(), version.clone());
            path.push(name.clone());
            let better =
                best.get(&key).is_none_or(|known| (path.len(), &*path) < (known.len(), known));
            if better {
                best.insert(key.clone(), path.clone());
                // A better path to a package can only make paths through it better.
                if let Some(stored) = world.packages.get(&key) {
                    extend(world, &stored.dependencies.clone(), path, best);
                }
            }
            path.pop();
        }
    }

    let mut best = BTreeMap::new();
    extend(world, &world.root, &mut Vec::new(), &mut best);
    best
}

fn reaches_itself(world: &World, start: &(String, String)) -> bool {
    let mut seen = BTreeSet::new();
    let mut frontier = vec![start.clone()];
    while let Some(key) = frontier.pop() {
        for (name, version) in world.packages.get(&key).iter().flat_map(|one| &one.dependencies) {
            let next = (name.clone(), version.clone());
            if next == *start {
                return true;
            }
            if seen.insert(next.clone()) {
                frontier.push(next);
            }
        }
    }
    false
}

#[derive(Debug, PartialEq)]
enum Expected {
    Closure(BTreeSet<String>),
    Message(String),
    Cycle(BTreeSet<String>),
}

fn oracle(world: &World) -> Expected {
    let paths = first_paths(world);
    let mut walk: Vec<_> = paths.iter().collect();
    walk.sort_by_key(|(_, path)| (path.len(), (*path).clone()));
    let mut before: Vec<&(String, String)> = Vec::new();
    for (key, _) in walk {
        let label = id((&key.0, &key.1));
        let Some(stored) = world.packages.get(key) else {
            return Expected::Message(format!(
                "failed to load {label}: package {label} not found in registry"
            ));
        };
        if stored.broken {
            return Expected::Message(format!(
                "invalid package {label}: description must not be empty"
            ));
        }
        if let Some(other) = before.iter().find(|other| other.0 == key.0) {
            let first = id((&other.0, &other.1));
            return Expected::Message(format!(
                "version conflict: both '{first}' and '{label}' required"
            ));
        }
        before.push(key);
    }
    let labels = |keys: &[&(String, String)]| keys.iter().map(|key| id((&key.0, &key.1))).collect();
    let cyclic: Vec<_> = before.iter().copied().filter(|key| reaches_itself(world, key)).collect();
    if cyclic.is_empty() {
        Expected::Closure(labels(&before))
    } else {
        Expected::Cycle(labels(&cyclic))
    }
}

fn check_order(world: &World, order: &[PackageId]) {
    let place: BTreeMap<&str, usize> =
        order.iter().enumerate().map(|(place, id)| (id.as_str(), place)).collect();
    let keys: Vec<(Option<usize>, &str)> = order
        .iter()
        .map(|one| {
            let key = (one.name().to_string(), one.version().to_string());
            let dependencies = &world.packages[&key].dependencies;
            (dependencies.iter().map(|pair| place[id(pair).as_str()]).max(), one.as_str())
        })
        .collect();
    for (at, (last, _)) in keys.iter().enumerate() {
        assert!(
            last.is_none_or(|last| last < at),
            "{order:?} puts a package before its dependency"
        );
    }
    assert!(keys.is_sorted(), "{order:?}");
}

fn check_cycle(world: &World, path: &[String], cyclic: &BTreeSet<String>) {
    assert!(path.len() >= 2 && path.first() == path.last(), "{path:?}");
    assert_eq!(path[..path.len() - 1].iter().min(), path.first(), "begins with the smallest");
    assert_eq!(path[1..].iter().collect::<BTreeSet<_>>().len(), path.len() - 1, "{path:?}");
    for step in path.windows(2) {
        let (name, version) = step[0].split_once('@').expect("an id");
        let dependencies = &world.packages[&(name.to_string(), version.to_string())].dependencies;
        assert!(dependencies.iter().any(|pair| id(pair) == step[1]), "{path:?}");
        assert!(cyclic.contains(&step[0]), "{path:?}");
    }
}

#[test]
fn resolver_agrees_with_brute_force() {
    let mut random = Random(0x00c0_ffee);
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for number in 0..12_000 {
        let world = World::generate(&mut random);
        let stored = Stored { dependencies: world.root.clone(), broken: false };
        let root = World::manifest("app", "0.1.0", &stored);
        let expected = oracle(&world);
        let kind = match (resolve(&root, &world), &expected) {
            (Ok(found), Expected::Closure(labels)) => {
                let packages: BTreeSet<_> =
                    found.packages.keys().map(ToString::to_string).collect();
                assert_eq!(&packages, labels, "registry {number}");
                let ordered: BTreeSet<_> = found.order.iter().map(ToString::to_string).collect();
                assert_eq!((ordered, found.order.len()), (packages, labels.len()));
                check_order(&world, &found.order);
                if labels.is_empty() { "empty" } else { "closure" }
            }
            (Err(Error::Cycle { path }), Expected::Cycle(labels)) => {
                check_cycle(&world, &path, labels);
                "cycle"
            }
            (Err(error), Expected::Message(message)) => {
                assert_eq!(&error.to_string(), message, "registry {number}: {world:?}");
                match error {
                    Error::Conflict { .. } => "conflict",
                    Error::Load { .. } => "missing",
                    Error::InvalidPackage { .. } => "broken",
                    _ => "other",
                }
            }
            (found, _) => panic!("registry {number}: {found:?}, not {expected:?}: {world:?}"),
        };
        *seen.entry(kind).or_default() += 1;
    }
    // The generator must go on producing every kind, or the comparison says little.
    for kind in ["closure", "cycle", "conflict", "missing", "broken"] {
        assert!(seen.get(kind).is_some_and(|count| *count >= 500), "{seen:?}");
    }
    assert!(!seen.contains_key("other"), "{seen:?}");
}
