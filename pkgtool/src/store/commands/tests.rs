//! Stores of files whose content is the names of their commands, or `bad`.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::super::Owner;
use super::*;

struct Scene {
    place: tempfile::TempDir,
    stores: [Store; 2],
    /// So many changes were made.
    changes: AtomicU64,
}

/// When nothing was changed lately.
fn later() -> SystemTime {
    SystemTime::now() + Duration::from_secs(3600)
}

impl Scene {
    fn new() -> Self {
        let place = tempfile::tempdir().expect("a folder");
        let store = |owner: Owner| Store { owner, folder: place.path().join(owner.word()) };
        let stores = [store(Owner::User), store(Owner::System)];
        Self { place, stores, changes: AtomicU64::new(0) }
    }

    /// Writes beside the store and moves into it, as `add` does.
    fn add(&self, owner: Owner, name: &str, commands: &str) {
        let folder = &self.stores[usize::from(owner == Owner::System)].folder;
        fs::create_dir_all(folder).expect("made");
        let temporary = self.place.path().join("new");
        fs::write(&temporary, commands).expect("written");
        fs::rename(temporary, folder.join(format!("{name}.epk"))).expect("moved");
        self.mark(folder);
    }

    /// Two changes of a test may fall into one tick of the clock. This tells them apart.
    fn mark(&self, path: &Path) {
        let change = self.changes.fetch_add(1, Ordering::Relaxed);
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(change);
        File::open(path).and_then(|file| file.set_modified(time)).expect("set");
    }

    /// Writes to an installed package.
    fn overwrite(&self, file: &str, commands: &str) {
        let path = self.stores[0].folder.join(file);
        fs::write(&path, commands).expect("written");
        self.mark(&path);
    }

    fn cache(&self) -> PathBuf {
        self.place.path().join("cache")
    }

    fn index(&self) -> PathBuf {
        self.cache().join("epk").join(FILE)
    }

    /// What is found, unreadable packages after a `!`, and how many packages were opened for it.
    fn ask(&self, command: &str, now: SystemTime) -> (String, usize) {
        let mut opened = 0;
        let mut read = |package: &Installed| {
            opened += 1;
            match fs::read_to_string(&package.path) {
                Ok(text) if text != "bad" => Ok(text.split(' ').map(str::to_owned).collect()),
                _ => Err(Failure::refused(&package.identity)),
            }
        };
        let found = find(&self.stores, command, Some(&self.cache()), now, &mut read);
        let found = found.expect("looked for");
        let packages = found.packages.iter().map(|package| package.identity.to_string());
        let unreadable = found.unreadable.iter().map(|failure| format!("!{}", failure.message()));
        (packages.chain(unreadable).collect::<Vec<_>>().join(" "), opened)
    }

    #[track_caller]
    fn finds(&self, command: &str, expected: &str, opened: usize) {
        assert_eq!(self.ask(command, later()), (expected.to_owned(), opened), "{command}");
    }
}

#[test]
fn files_are_read_once() {
    let scene = Scene::new();
    scene.finds("x", "", 0);
    scene.add(Owner::User, "b@1", "x y");
    scene.add(Owner::User, "a@1", "x");
    scene.add(Owner::User, "a@2", "x z");
    scene.add(Owner::System, "a@3", "hidden");
    scene.add(Owner::System, "c@1", "x-2");
    scene.finds("x", "a@2 b@1", 3);
    for (command, expected) in
        [("x", "a@2 b@1"), ("y", "b@1"), ("z", "a@2"), ("x-2", "c@1"), ("hidden", ""), ("!", "")]
    {
        scene.finds(command, expected, 0);
    }
    // One more, one less, and another one in the place of one.
    scene.add(Owner::System, "d@1", "x");
    scene.finds("x", "a@2 b@1 d@1", 1);
    fs::remove_file(scene.stores[0].folder.join("a@2.epk")).expect("removed");
    scene.mark(&scene.stores[0].folder);
    scene.finds("x", "a@1 b@1 d@1", 1);
    scene.add(Owner::User, "b@1", "y");
    scene.finds("x", "a@1 d@1", 1);
    // A file that was written to, though its folder doesn't show it.
    scene.overwrite("a@1.epk", "other");
    scene.finds("x", "d@1", 1);
    scene.finds("other", "a@1", 0);
    // The whole store, which has hidden a package of the other one.
    fs::remove_dir_all(&scene.stores[0].folder).expect("removed");
    scene.finds("x", "d@1", 1);
    scene.finds("hidden", "a@3", 0);
}

#[test]
fn what_cannot_be_read_is_tried_again() {
    let scene = Scene::new();
    scene.add(Owner::User, "a@1", "x");
    scene.add(Owner::User, "b@1", "bad");
    scene.finds("x", "a@1 !b@1", 2);
    scene.finds("x", "a@1 !b@1", 1);
    scene.overwrite("b@1.epk", "x");
    // Once to see that it can be read, once to read it.
    scene.finds("x", "a@1 b@1", 2);
    scene.finds("x", "a@1 b@1", 0);
}

#[test]
fn what_changed_just_now_is_not_believed() {
    let scene = Scene::new();
    let now = SystemTime::now();
    scene.add(Owner::User, "a@1", "x");
    assert_eq!(scene.ask("x", now), ("a@1".to_owned(), 1));
    assert_eq!(scene.ask("x", now), ("a@1".to_owned(), 1));
    scene.finds("x", "a@1", 1);
    scene.finds("x", "a@1", 0);
}

#[test]
fn a_wrong_index_costs_only_time() {
    let scene = Scene::new();
    for number in 0..40 {
        scene.add(Owner::User, &format!("p{number}@1"), &format!("c{number}"));
    }
    scene.finds("c7", "p7@1", 40);
    let good = fs::read(scene.index()).expect("there");
    scene.finds("c39", "p39@1", 0);
    assert_eq!(fs::read(scene.index()).expect("there"), good);
    // A byte, the end, everything; a foreign one with the right sum.
    let foreign = String::from_utf8(good.clone()).expect("text").replace("/user\n", "/other\n");
    let (_, rest) = foreign.split_once('\n').expect("lines");
    let foreign = format!("{}\n{rest}", index::first_line(rest));
    let mut flipped = good.clone();
    let middle = good.len() / 2;
    flipped[middle] ^= 1;
    for (wrong, opened) in [
        (flipped, 40),
        (good[..good.len() - 1].to_vec(), 40),
        (Vec::new(), 40),
        (b"\xff\xff\n\n\n".to_vec(), 40),
        (foreign.into_bytes(), 0),
    ] {
        fs::write(scene.index(), wrong).expect("written");
        scene.finds("c7", "p7@1", opened);
        assert_eq!(fs::read(scene.index()).expect("there"), good);
    }
    // One that others could have written.
    let mode = |mode| fs::set_permissions(scene.cache(), fs::Permissions::from_mode(mode));
    mode(0o777).expect("set");
    scene.finds("c7", "p7@1", 40);
    scene.finds("c7", "p7@1", 40);
    mode(0o700).expect("set");
    scene.finds("c7", "p7@1", 0);
}

/// Whoever reads while others write finds what is there.
#[test]
fn many_at_once() {
    let scene = Scene::new();
    for number in 0..20 {
        scene.add(Owner::User, &format!("p{number:02}@1"), "x");
    }
    let expected: Vec<String> = (0..20).map(|number| format!("p{number:02}@1")).collect();
    std::thread::scope(|scope| {
        for worker in 0..8_usize {
            let (scene, expected) = (&scene, &expected);
            scope.spawn(move || {
                for round in 0..50 {
                    if (worker + round) % 3 == 0 {
                        let _ = fs::remove_file(scene.index());
                    }
                    assert_eq!(scene.ask("x", later()).0, expected.join(" "));
                }
            });
        }
    });
}
