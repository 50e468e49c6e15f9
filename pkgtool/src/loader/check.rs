//! Whether the programs and libraries of a package find what they need: in the package, or in
//! the fixed system runtime (`spec/runtime.md` §11). Nothing is executed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::path::Path;

use epk_format::manifest::Manifest;
use epk_format::package::{Kind as NodeKind, NodeId};
use epk_format::{Error, Package};

use super::boundary;
use super::elf::{Elf, Kind, Machine};
use super::objects::{Object, Objects};
use super::problem::{Problem, What};
use super::program::{self, Loader};
use super::search::{Found, Place, Search, expand, folders};
use super::view::{Seen, folder_of, follow, name_of, seen_as};
use crate::exit::Failure;

/// What was found out.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Programs among the files.
    pub(crate) programs: usize,
    /// Libraries among the files.
    pub(crate) libraries: usize,
    /// What would not work, by file.
    pub(crate) problems: Vec<Problem>,
    /// What is wrong with the package itself.
    pub(crate) errors: Vec<Error>,
}

/// Checks every ELF file of a package, which lies in `file`.
pub(crate) fn check(
    package: &Package<File>,
    file: &Path,
    manifest: &Manifest,
) -> Result<Report, Failure> {
    let mut objects = Objects::of(package, file)?;
    let errors = std::mem::take(&mut objects.errors);
    let malformed = std::mem::take(&mut objects.malformed);
    let search = Search::new(package, &objects);
    let arch = Machine::of_arch(&manifest.arch);
    let mut check = Checking { package, objects: &objects, search, arch, found: BTreeMap::new() };
    for (path, reason) in malformed {
        check.report(&path, What::Malformed { reason });
    }
    let (programs, libraries) =
        check.run(manifest).map_err(|error| Failure::package(file, &error))?;
    let problems = check.found.into_values().collect();
    Ok(Report { programs, libraries, problems, errors })
}

struct Checking<'p> {
    package: &'p Package<File>,
    objects: &'p Objects,
    search: Search<'p>,
    /// The manifest's machine; none if nobody knows it.
    arch: Option<Machine>,
    /// By file and what is wrong, so that what several programs meet is said once.
    found: BTreeMap<(Vec<u8>, String), Problem>,
}

/// How a program, or a library that some program opens, is loaded.
struct Load {
    /// Its number in the list.
    number: usize,
    /// Where it is loaded from.
    path: Vec<u8>,
    /// Where the loader was told to look first.
    first: Vec<Place>,
    /// The name of the package's loader; none if it is the host's.
    own: Option<Vec<u8>>,
    /// Names that are taken already.
    names: HashSet<Vec<u8>>,
}

/// A file that has been loaded.
struct Loaded {
    number: usize,
    path: Vec<u8>,
    /// Who needed it, as a number in the same list.
    by: Option<usize>,
}

impl Checking<'_> {
    /// Gives the numbers of programs and libraries.
    fn run(&mut self, manifest: &Manifest) -> Result<(usize, usize), Error> {
        let targets = self.targets(manifest)?;
        let list = &self.objects.list;
        let is_program = |number: usize, object: &Object| {
            let target = targets.iter().any(|(target, _)| *target == number);
            target || looks_like_program(&object.elf)
        };
        let (mut programs, mut libraries) = (Vec::new(), Vec::new());
        for (number, object) in list.iter().enumerate() {
            match object.elf.kind {
                Kind::Other => {}
                _ if is_program(number, object) => programs.push(number),
                _ => libraries.push(number),
            }
        }
        for &number in programs.iter().chain(&libraries) {
            let target = targets.iter().any(|(target, _)| *target == number);
            self.check_machine(number, target);
        }
        let mut reached = HashSet::new();
        let mut names = HashSet::new();
        // For the machines that the package has loaders for: where they look first, and their names.
        let mut own_loaders: HashMap<Machine, (Vec<Place>, Option<Vec<u8>>)> = HashMap::new();
        for &number in &programs {
            // Whoever is for another machine has been named already.
            let Some(object) = list.get(number).filter(|object| self.is_judged(object)) else {
                continue;
            };
            for loader in ways(&targets, number) {
                let host = loader.is_none() && !self.names_own_loader(object)?;
                let first = loader.as_ref().map(places).unwrap_or_default();
                match &loader {
                    Some(loader) => self.check_loader(object, loader),
                    None => self.check_interpreter(object)?,
                }
                let path = seen_as(&object.path);
                let given = loader.as_ref().map(|loader| loader.file.as_slice());
                let own = given.or(object.elf.interpreter.as_deref().filter(|_| !host));
                let own = own.map(|loader| name_of(loader).to_vec());
                if own.is_some()
                    && (given.is_some() || !own_loaders.contains_key(&object.elf.machine))
                {
                    own_loaders.insert(object.elf.machine, (first.clone(), own.clone()));
                }
                let load = Load { number, path, first, own, names: HashSet::new() };
                names.extend(self.load(load, &mut reached)?);
            }
        }
        // What no program needs is opened while one runs, and finds what that one has loaded.
        for &number in &libraries {
            let unknown = |object: &&Object| !reached.contains(&number) && self.is_judged(object);
            let Some(object) = list.get(number).filter(unknown) else { continue };
            let path = seen_as(&object.path);
            let own = own_loaders.get(&object.elf.machine);
            let (first, own) = own.cloned().unwrap_or_default();
            let load = Load { number, path, first, own, names: names.clone() };
            self.load(load, &mut reached)?;
        }
        if self.search.is_exhausted() {
            self.report(b"/", What::TooMuch);
        }
        Ok((programs.len(), libraries.len()))
    }

    /// The programs that the manifest's targets become, and the loader that they are given to.
    fn targets(&mut self, manifest: &Manifest) -> Result<Vec<(usize, Option<Loader>)>, Error> {
        let mut targets = Vec::new();
        for target in std::iter::once(&manifest.entry).chain(manifest.commands.values()) {
            let program = program::of(self.package, target)?;
            if let Some((interpreter, script)) = program.missing {
                self.report(&script, What::NoInterpreter { interpreter });
            }
            let Some((id, _)) = program.becomes else { continue };
            if let Some(&number) = self.objects.by_node.get(&id) {
                targets.push((number, program.through));
            }
        }
        Ok(targets)
    }

    fn check_machine(&mut self, number: usize, target: bool) {
        let Some(object) = self.objects.list.get(number) else { return };
        let (Some(arch), found) = (self.arch, object.elf.machine) else { return };
        if !fits(arch, found) || (target && found != arch) {
            self.report(&object.path, What::Machine { found, wanted: arch });
        }
    }

    /// Whether a file could be loaded at all.
    fn is_judged(&self, object: &Object) -> bool {
        self.arch.is_none_or(|arch| fits(arch, object.elf.machine))
    }

    fn check_loader(&mut self, object: &Object, loader: &Loader) {
        if !loader.executable {
            let interpreter = loader.file.clone();
            self.report(&object.path, What::NotExecutable { interpreter });
        }
    }

    /// Whether the kernel finds the loader of a program in the package.
    fn names_own_loader(&self, object: &Object) -> Result<bool, Error> {
        let Some(named) = &object.elf.interpreter else { return Ok(false) };
        Ok(follow(self.package, named)? != Seen::Host)
    }

    /// Whether there is the loader that the kernel looks for.
    fn check_interpreter(&mut self, object: &Object) -> Result<(), Error> {
        let Some(named) = &object.elf.interpreter else { return Ok(()) };
        let interpreter = named.clone();
        let problem = match follow(self.package, named)? {
            Seen::Host if boundary::has_interpreter(named, object.elf.machine) => None,
            Seen::Host | Seen::Missing => Some(What::NoInterpreter { interpreter }),
            Seen::Inside(id, _) => {
                self.is_no_program(id)?.then_some(()).map(|()| What::NotExecutable { interpreter })
            }
        };
        if let Some(problem) = problem {
            self.report(&object.path, problem);
        }
        Ok(())
    }

    fn is_no_program(&self, id: NodeId) -> Result<bool, Error> {
        let node = self.package.node(id)?;
        Ok(node.kind != NodeKind::File || node.mode & 0o111 == 0)
    }

    /// Loads a file with all that it needs, the nearest first, as the loader would. Gives all
    /// names that are taken then, and notes what was reached.
    fn load(
        &mut self,
        load: Load,
        reached: &mut HashSet<usize>,
    ) -> Result<HashSet<Vec<u8>>, Error> {
        let Load { number, path, first, own, mut names } = load;
        let host = own.is_none();
        let musl = own.as_deref().is_some_and(|name| name.starts_with(b"ld-musl-"));
        // The loader has loaded itself; of the host's the boundary knows.
        names.extend(own);
        let mut loaded = vec![Loaded { number, path, by: None }];
        let mut next = 0;
        while let Some(Loaded { number, path, .. }) = loaded.get(next) {
            let (number, path) = (*number, path.clone());
            let Some(object) = self.objects.list.get(number) else { break };
            names.extend(object.elf.soname.clone());
            for needed in &object.elf.needed {
                let known = names.contains(needed) || (musl && is_in_musl(needed));
                if known || self.search.is_exhausted() {
                    continue;
                }
                let places = self.places(next, &loaded, &first);
                let found = if needed.contains(&b'/') {
                    let name = expand(needed, folder_of(&path));
                    self.search.at(name, &object.elf)?
                } else {
                    self.search.find(needed, &places, &object.elf)?
                };
                let machine = object.elf.machine;
                match found {
                    Found::Object(number, path) => {
                        if host && is_tied_to_loader(needed, machine) {
                            let what = What::Mixed { needed: needed.clone(), found: path.clone() };
                            self.report(&object.path, what);
                        }
                        names.insert(needed.clone());
                        reached.insert(number);
                        if !loaded.iter().any(|known| known.number == number) {
                            loaded.push(Loaded { number, path, by: Some(next) });
                        }
                    }
                    Found::Nothing(_)
                        if host
                            && object.elf.default_folders
                            && boundary::has_library(needed, machine) =>
                    {
                        names.insert(needed.clone());
                    }
                    Found::Nothing(instead) => {
                        let elsewhere = self.elsewhere(needed, machine);
                        let needed = needed.clone();
                        let what = What::Missing { needed, places, instead, elsewhere, host };
                        self.report(&object.path, what);
                    }
                }
            }
            next += 1;
        }
        reached.insert(number);
        Ok(names)
    }

    /// Where the loader looks for what the file `at` of those loaded needs, in its order.
    fn places(&self, at: usize, loaded: &[Loaded], first: &[Place]) -> Vec<Place> {
        let elf = |loaded: &Loaded| self.objects.list.get(loaded.number).map(|o| &o.elf);
        let mut places = Vec::new();
        let own = loaded.get(at).and_then(|own| Some((own, elf(own)?)));
        let Some((own, own_elf)) = own else { return places };
        if own_elf.runpath.is_none() {
            // Its own, and those of whoever led to it, back to the program.
            let mut next = Some(at);
            while let Some(link) = next.and_then(|number| loaded.get(number)) {
                if let Some(elf) = elf(link).filter(|elf| elf.runpath.is_none()) {
                    places.extend(folders(elf.rpath.as_ref(), &link.path, "RPATH"));
                }
                next = link.by;
            }
        }
        places.extend_from_slice(first);
        places.extend(folders(own_elf.runpath.as_ref(), &own.path, "RUNPATH"));
        let mut seen = HashSet::new();
        places.retain(|place| seen.insert(place.folder.clone()));
        places
    }

    /// A library of the package with this name, wherever it lies.
    fn elsewhere(&self, name: &[u8], machine: Machine) -> Option<Vec<u8>> {
        let mut list = self.objects.list.iter();
        let found =
            list.find(|object| object.elf.machine == machine && name_of(&object.path) == name);
        found.map(|object| object.path.clone())
    }

    fn report(&mut self, file: &[u8], what: What) {
        let problem = Problem { file: file.to_vec(), what };
        self.found.entry((file.to_vec(), problem.key())).or_insert(problem);
    }
}

/// The ways in which a program is executed: those of the targets that it is, or by the kernel.
fn ways(targets: &[(usize, Option<Loader>)], number: usize) -> Vec<Option<Loader>> {
    let mut ways: Vec<Option<Loader>> = Vec::new();
    for (_, way) in targets.iter().filter(|(target, _)| *target == number) {
        if !ways.contains(way) {
            ways.push(way.clone());
        }
    }
    if ways.is_empty() {
        ways.push(None);
    }
    ways
}

/// Programs have a loader, and no name as a library: the C library has both.
fn looks_like_program(elf: &Elf) -> bool {
    elf.kind == Kind::Program || (elf.interpreter.is_some() && elf.soname.is_none())
}

/// Whether a package for one machine may have files for another: an x86-64 host runs both.
fn fits(arch: Machine, found: Machine) -> bool {
    found == arch || (arch == Machine::X86_64 && found == Machine::X86_32)
}

/// Whether a library works with one loader only: that of its own C library.
fn is_tied_to_loader(name: &[u8], machine: Machine) -> bool {
    boundary::has_library(name, machine) && name != boundary::COMPILER_LIBRARY.as_bytes()
}

/// Whether musl's loader, which is its C library, too, takes a name for its own.
fn is_in_musl(name: &[u8]) -> bool {
    const PARTS: [&[u8]; 7] = [b"c", b"dl", b"m", b"pthread", b"rt", b"util", b"xnet"];
    let part = name.strip_prefix(b"lib").and_then(|rest| rest.split(|&byte| byte == b'.').next());
    part.is_some_and(|part| PARTS.contains(&part)) && name.contains(&b'.')
}

/// Where a loader that the package carries looks first.
fn places(loader: &Loader) -> Vec<Place> {
    let folders = loader.folders.iter().cloned();
    folders.map(|folder| Place { folder, why: "search order" }).collect()
}
