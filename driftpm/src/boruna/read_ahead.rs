//! Reads the packages of a closure on all processors while the resolver walks it.
//!
//! What the resolver will ask for next is known as soon as a manifest is read, so nobody waits
//! for a level of the graph to be complete: whoever has nothing to do takes the next package,
//! reads its manifest, queues its dependencies, and hashes its files while the kernel still has
//! their directory at hand. The resolver's own thread helps while what it needs is not there
//! yet. What is found, and which error counts, is decided by the walk alone.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use nix::sched::{CloneFlags, unshare};

use super::error::Error;
use super::hash::{ContentState, Integrity};
use super::manifest::PackageManifest;
use super::name::PackageId;
use super::registry::Registry;
use super::resolve::{PackageSource, Resolution, resolve};

/// More threads than this only wait for each other in the kernel.
const MOST_THREADS: usize = 16;

/// Resolves `root` and computes the content hashes of its closure from the files, from the
/// bottom up. `HASH` files are not opened.
///
/// # Errors
///
/// Those of [`resolve`]; then `read src/…` or `read dir …` of the first package in install
/// order that can't be read.
pub(super) fn resolve_and_hash(
    root: &PackageManifest,
    registry: &Registry,
) -> Result<(Resolution, BTreeMap<PackageId, Integrity>), Error> {
    let shared = ReadAhead { registry, state: Mutex::default(), changed: Condvar::new() };
    shared.lock().enqueue(root.dependency_ids());
    let threads = thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS);
    thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(|| {
                // A table of open files of its own: the kernel then need not guard every open,
                // read and close against the other threads. If it says no, that is only slower.
                let _ = unshare(CloneFlags::CLONE_FILES);
                shared.until(|state| state.stopped.then_some(()))
            });
        }
        let found = resolve(root, &shared).and_then(|resolution| {
            let hashes = shared.integrities(&resolution)?;
            Ok((resolution, hashes))
        });
        shared.lock().stopped = true;
        shared.changed.notify_all();
        found
    })
}

struct ReadAhead<'a> {
    registry: &'a Registry,
    state: Mutex<State>,
    /// There is something to do, or something was done.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    places: HashMap<PackageId, usize>,
    packages: Vec<Package>,
    /// The first package that nobody has taken.
    next: usize,
    /// Threads at work, and threads that wait.
    busy: usize,
    idle: usize,
    stopped: bool,
}

struct Package {
    id: PackageId,
    manifest: Option<Result<PackageManifest, Error>>,
    content: Option<Result<Box<ContentState>, Error>>,
}

impl State {
    fn enqueue(&mut self, ids: impl IntoIterator<Item = PackageId>) {
        for id in ids {
            if !self.places.contains_key(&id) {
                self.places.insert(id.clone(), self.packages.len());
                self.packages.push(Package { id, manifest: None, content: None });
            }
        }
    }

    fn package(&mut self, id: &PackageId) -> Option<&mut Package> {
        self.packages.get_mut(*self.places.get(id)?)
    }

    fn take_next(&mut self) -> Option<(usize, PackageId)> {
        let at = self.next;
        let id = self.packages.get(at)?.id.clone();
        self.next += 1;
        Some((at, id))
    }
}

impl ReadAhead<'_> {
    fn lock(&self) -> MutexGuard<'_, State> {
        // What a thread that panicked left is whole: nothing panics with the lock held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works until something is there, or nothing will change any more.
    fn until<T>(&self, mut there: impl FnMut(&mut State) -> Option<T>) -> Option<T> {
        let mut state = self.lock();
        loop {
            if let Some(found) = there(&mut state) {
                return Some(found);
            }
            if let Some((at, id)) = state.take_next() {
                state.busy += 1;
                drop(state);
                let busy = Busy(self);
                self.read(at, &id);
                drop(busy);
                state = self.lock();
            } else if state.busy == 0 {
                return None;
            } else {
                state.idle += 1;
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.idle -= 1;
            }
        }
    }

    fn read(&self, at: usize, id: &PackageId) {
        let manifest = self.registry.manifest(id);
        let read = manifest.as_ref().ok();
        let hashed = read.map(PackageManifest::hashed_json);
        let dependencies: Vec<_> =
            read.into_iter().flat_map(PackageManifest::dependency_ids).collect();
        let mut state = self.lock();
        state.enqueue(dependencies);
        if let Some(package) = state.packages.get_mut(at) {
            package.manifest = Some(manifest);
        }
        let anyone = state.idle > 0;
        drop(state);
        if anyone {
            self.changed.notify_all();
        }
        let Some(hashed) = hashed else { return };
        let content = self.registry.content(id, &hashed);
        if let Some(package) = self.lock().packages.get_mut(at) {
            package.content = Some(content.map(Box::new));
        }
    }

    /// Hashes from the bottom up.
    fn integrities(
        &self,
        resolution: &Resolution,
    ) -> Result<BTreeMap<PackageId, Integrity>, Error> {
        let mut done: Vec<Integrity> = Vec::with_capacity(resolution.order.len());
        for (id, dependencies) in resolution.order.iter().zip(&resolution.dependencies) {
            let Some(manifest) = resolution.packages.get(id) else { continue };
            let content = match self.until(|state| state.package(id)?.content.take()) {
                Some(content) => *content?,
                None => self.registry.content(id, &manifest.hashed_json())?,
            };
            let hashes = dependencies.iter().filter_map(|at| Some(done.get(*at)?.as_str()));
            let names = manifest.dependencies.keys().map(String::as_str);
            done.push(content.finish(names.zip(hashes)));
        }
        Ok(resolution.order.iter().cloned().zip(done).collect())
    }
}

/// Someone is at work until this is dropped, be it by a panic.
struct Busy<'s, 'a>(&'s ReadAhead<'a>);

impl Drop for Busy<'_, '_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.busy -= 1;
        let anyone = state.idle > 0;
        drop(state);
        if anyone {
            self.0.changed.notify_all();
        }
    }
}

impl PackageSource for ReadAhead<'_> {
    fn manifest(&self, id: &PackageId) -> Result<PackageManifest, Error> {
        let read = self.until(|state| state.package(id)?.manifest.take());
        read.unwrap_or_else(|| self.registry.manifest(id))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    type Outcome = Result<(), Box<dyn std::error::Error>>;

    fn manifest(label: &str, dependencies: &[&str]) -> PackageManifest {
        let (name, version) = label.split_once('@').unwrap_or((label, ""));
        let split = |id: &&str| id.split_once('@').map(|(a, b)| (a.to_string(), b.to_string()));
        PackageManifest {
            name: name.to_string(),
            version: version.to_string(),
            description: "d".to_string(),
            dependencies: dependencies.iter().filter_map(split).collect(),
            required_capabilities: Vec::new(),
            exposed_modules: vec!["core".to_string()],
            integrity: None,
        }
    }

    fn put(registry: &Path, label: &str, dependencies: &[&str]) -> Outcome {
        let package = registry.join(label.replace('@', "/"));
        fs::create_dir_all(package.join("src"))?;
        fs::write(package.join("src/core.ax"), label)?;
        let text = manifest(label, dependencies).to_pretty_json();
        Ok(fs::write(package.join("package.ax.json"), text)?)
    }

    #[test]
    fn a_wide_and_deep_closure_is_hashed_bottom_up() -> Outcome {
        let dir = tempfile::tempdir()?;
        let label = |at: usize| format!("p{at}@1.0.0");
        for at in 0..200_usize {
            let below: Vec<String> =
                [1, 2, 17].iter().filter_map(|step| at.checked_sub(*step)).map(label).collect();
            put(dir.path(), &label(at), &below.iter().map(String::as_str).collect::<Vec<_>>())?;
        }
        let registry = Registry::open(dir.path())?;
        let root = manifest("root@1.0.0", &["p199@1.0.0"]);
        let (resolution, hashes) = resolve_and_hash(&root, &registry)?;
        assert_eq!(resolution, resolve(&root, &registry)?);
        assert_eq!(hashes.len(), 200);
        for (id, found) in &resolution.packages {
            let below = found.dependency_ids();
            let known: Vec<_> =
                below.filter_map(|id| Some((id.name().to_string(), hashes.get(&id)?))).collect();
            assert_eq!(known.len(), found.dependencies.len());
            let known = known.iter().map(|(name, hash)| (name.as_str(), hash.as_str()));
            let expected = registry.content(id, &found.hashed_json())?.finish(known);
            assert_eq!(hashes.get(id), Some(&expected), "{id}");
        }
        Ok(())
    }

    #[test]
    fn the_walk_decides_which_error_counts() -> Outcome {
        let dir = tempfile::tempdir()?;
        for (label, dependencies) in [
            ("a@1.0.0", &["c@1.0.0"][..]),
            ("b@1.0.0", &["c@2.0.0", "gone@1.0.0"]),
            ("c@1.0.0", &[]),
            ("c@2.0.0", &[]),
            ("x@1.0.0", &["y@1.0.0"]),
            ("y@1.0.0", &["x@1.0.0"]),
            ("bad@1.0.0", &[]),
        ] {
            put(dir.path(), label, dependencies)?;
        }
        std::os::unix::fs::symlink("none", dir.path().join("bad/1.0.0/src/link"))?;
        let registry = Registry::open(dir.path())?;
        let message = |dependencies: &[&str]| {
            let root = manifest("root@1.0.0", dependencies);
            resolve_and_hash(&root, &registry).map(|_| ()).map_err(|error| error.to_string())
        };
        for (dependencies, expected) in [
            (
                &["a@1.0.0", "b@1.0.0"][..],
                "version conflict: both 'c@1.0.0' and 'c@2.0.0' required",
            ),
            (&["b@1.0.0"], "failed to load gone@1.0.0: package gone@1.0.0 not found in registry"),
            (&["bad@1.0.0", "x@1.0.0"], "circular dependency detected"),
            (&["bad@1.0.0"], "read src/link: No such file or directory (os error 2)"),
        ] {
            assert_eq!(message(dependencies), Err(expected.to_string()), "{dependencies:?}");
        }
        assert_eq!(message(&[]), Ok(()));
        Ok(())
    }
}
