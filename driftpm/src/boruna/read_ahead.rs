//! Reads the packages of a closure on all processors while the resolver walks it.
//!
//! What the resolver will ask for next is known as soon as a manifest is read, so nobody waits
//! for a level of the graph to be complete: whoever has nothing to do takes the next package,
//! reads its manifest, queues its dependencies, and hashes its files while the kernel still has
//! their directory at hand. The resolver's own thread helps while what it needs is not there
//! yet. What is found, and which error counts, is decided by the walk alone.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::error::Error;
use super::hash::{ContentState, Integrity};
use super::manifest::PackageManifest;
use super::name::PackageId;
use super::parallel;
use super::registry::Registry;
use super::resolve::{Loaded, PackageSource, Resolution, resolve};

/// Most packages that a thread takes at once: it asks for the lock twice for all of them.
const SHARE: usize = 8;

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
    parallel::make_room();
    shared.lock().enqueue(root.dependency_ids());
    thread::scope(|scope| {
        for _ in 1..parallel::threads() {
            scope.spawn(|| {
                parallel::own_open_files();
                parallel::make_room();
                drop(shared.until(shared.lock(), |state| state.stopped.then_some(())));
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
    manifest: Option<Result<Loaded, Error>>,
    content: Option<Content>,
}

/// The hash of a package's files and manifest, if they can be read.
type Content = Result<Box<ContentState>, Error>;

impl State {
    fn enqueue(&mut self, ids: impl IntoIterator<Item = PackageId>) {
        for id in ids {
            if let Entry::Vacant(free) = self.places.entry(id) {
                let id = free.key().clone();
                free.insert(self.packages.len());
                self.packages.push(Package { id, manifest: None, content: None });
            }
        }
    }

    /// Someone is no longer at work.
    fn end(&mut self, shared: &ReadAhead<'_>) {
        self.busy -= 1;
        if self.idle > 0 {
            shared.changed.notify_all();
        }
    }

    fn package(&mut self, id: &PackageId) -> Option<&mut Package> {
        self.packages.get_mut(*self.places.get(id)?)
    }

    /// Packages to read, no more than what leaves others something to do.
    fn take_share(&mut self) -> Vec<(usize, PackageId)> {
        let waiting = self.packages.get(self.next..).unwrap_or_default();
        let count = (waiting.len() / SHARE).clamp(1, SHARE);
        let share: Vec<_> = waiting
            .iter()
            .take(count)
            .zip(self.next..)
            .map(|(one, at)| (at, one.id.clone()))
            .collect();
        self.next += share.len();
        share
    }
}

impl ReadAhead<'_> {
    fn lock(&self) -> MutexGuard<'_, State> {
        // What a thread that panicked left is whole: nothing panics with the lock held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works until something is there, or nothing will change any more.
    fn until<'s, T>(
        &'s self,
        mut state: MutexGuard<'s, State>,
        mut there: impl FnMut(&mut State) -> Option<T>,
    ) -> (MutexGuard<'s, State>, Option<T>) {
        loop {
            if let Some(found) = there(&mut state) {
                return (state, Some(found));
            }
            let share = state.take_share();
            if !share.is_empty() {
                state.busy += 1;
                drop(state);
                let busy = Busy(self);
                let contents = self.read(&share);
                state = busy.done(contents);
            } else if state.busy == 0 {
                return (state, None);
            } else {
                state.idle += 1;
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.idle -= 1;
            }
        }
    }

    /// Reads packages. Their manifests are told at once, their contents given back.
    fn read(&self, share: &[(usize, PackageId)]) -> Vec<(usize, Content)> {
        let load = |(at, id): &(usize, PackageId)| {
            let loaded = self.registry.manifest(id).map(Loaded::from);
            let hashed = loaded.as_ref().ok().map(|loaded| loaded.manifest.hashed_json());
            ((*at, loaded), hashed)
        };
        let mut loaded = Vec::with_capacity(share.len());
        let mut hashed = Vec::with_capacity(share.len());
        for (one, text) in share.iter().map(load) {
            loaded.push(one);
            hashed.push(text);
        }
        let dependencies = loaded.iter().filter_map(|(_, loaded)| loaded.as_ref().ok());
        let count = dependencies.clone().map(|loaded| loaded.dependencies.len()).sum();
        let mut ids: Vec<PackageId> = Vec::with_capacity(count);
        dependencies.for_each(|loaded| ids.extend_from_slice(&loaded.dependencies));
        let mut state = self.lock();
        state.enqueue(ids);
        for (at, loaded) in loaded {
            if let Some(package) = state.packages.get_mut(at) {
                package.manifest = Some(loaded);
            }
        }
        let anyone = state.idle > 0;
        drop(state);
        if anyone {
            self.changed.notify_all();
        }
        let content = |((at, id), hashed): (&(usize, PackageId), Option<String>)| {
            Some((*at, self.registry.content(id, &hashed?).map(Box::new)))
        };
        let mut contents = Vec::with_capacity(share.len());
        contents.extend(share.iter().zip(hashed).filter_map(content));
        contents
    }

    /// Hashes from the bottom up.
    fn integrities(
        &self,
        resolution: &Resolution,
    ) -> Result<BTreeMap<PackageId, Integrity>, Error> {
        let manifests: Vec<&PackageManifest> =
            resolution.packages.values().map(Box::as_ref).collect();
        let mut contents = Vec::with_capacity(resolution.order.len());
        let mut state = self.lock();
        for id in &resolution.order {
            let content;
            (state, content) = self.until(state, |state| state.package(id)?.content.take());
            contents.push(content.ok_or_else(|| Error::NotFound(id.to_string())).flatten()?);
        }
        drop(state);
        let mut done: Vec<Integrity> = Vec::with_capacity(contents.len());
        let order = contents.into_iter().zip(&resolution.places).zip(&resolution.dependencies);
        for ((content, place), dependencies) in order {
            let Some(manifest) = manifests.get(*place) else { continue };
            let hashes = dependencies.iter().filter_map(|at| Some(done.get(*at)?.as_str()));
            let names = manifest.dependencies.keys().map(String::as_str);
            done.push(content.finish(names.zip(hashes)));
        }
        // In the order of the ids, so that nothing is left to sort.
        let mut by_place: Vec<Option<Integrity>> = vec![None; manifests.len()];
        for (place, hash) in resolution.places.iter().zip(done) {
            if let Some(slot) = by_place.get_mut(*place) {
                *slot = Some(hash);
            }
        }
        let ids = resolution.packages.keys().cloned();
        Ok(ids.zip(by_place).filter_map(|(id, hash)| Some((id, hash?))).collect())
    }
}

/// Someone is at work until this is dropped, be it by a panic.
struct Busy<'s, 'a>(&'s ReadAhead<'a>);

impl<'s, 'a> Busy<'s, 'a> {
    /// Notes what came of it, and gives the state to go on with.
    fn done(self, contents: Vec<(usize, Content)>) -> MutexGuard<'s, State> {
        let Self(shared) = self;
        std::mem::forget(self);
        let mut state = shared.lock();
        state.end(shared);
        for (at, content) in contents {
            if let Some(package) = state.packages.get_mut(at) {
                package.content = Some(content);
            }
        }
        state
    }
}

impl Drop for Busy<'_, '_> {
    fn drop(&mut self) {
        self.0.lock().end(self.0);
    }
}

impl PackageSource for ReadAhead<'_> {
    fn manifest(&self, id: &PackageId) -> Result<PackageManifest, Error> {
        self.registry.manifest(id)
    }

    fn load(&self, ids: &[PackageId]) -> Vec<Result<Loaded, Error>> {
        let mut state = self.lock();
        let mut loaded = Vec::with_capacity(ids.len());
        for id in ids {
            let read;
            (state, read) = self.until(state, |state| state.package(id)?.manifest.take());
            // It was asked for before.
            loaded.push(read.unwrap_or_else(|| self.registry.manifest(id).map(Loaded::from)));
        }
        loaded
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
