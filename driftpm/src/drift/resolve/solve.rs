//! Which versions go together, by PubGrub.

use std::cell::{Cell, OnceCell, RefCell};
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::rc::Rc;

use pubgrub::{
    Dependencies, DependencyConstraints, DependencyProvider, PackageResolutionStatistics,
    PubGrubError, VersionSet as _,
};

use super::explain::explain;
use super::set::{Place, Places};
use super::{Candidate, Catalogue, Constraint, Known};
use crate::problem::Problem;

/// Something that is needed: a package and which versions will do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// The package's id.
    pub package: String,
    /// Which versions will do.
    pub constraint: Constraint,
}

/// Which of several versions is better.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// The newest.
    #[default]
    Newest,
    /// The oldest: whether constraints promise too much shows only then.
    Minimal,
}

impl Order {
    /// The name in locks.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Newest => "newest",
            Self::Minimal => "minimal",
        }
    }
}

/// A package that was chosen.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// The repository it comes from.
    pub repository: String,
    /// Version, file and needs.
    pub candidate: Candidate,
}

/// One version of every package that is needed, by id.
pub type Solution = BTreeMap<String, Chosen>;

/// How many versions are tried before the search is given up: some questions have no short answer,
/// and a repository may ask one on purpose. Real projects need a few for each package.
const MAX_TRIES: usize = 1_000_000;
/// How much may be taken back: a version that is tried again costs a look at every package that is
/// known by then, and more the deeper it is. Of 200 packages each may be tried 250 times; a chain of
/// thousands that leads nowhere ends here.
const MAX_WORK: usize = 10_000_000;
/// Proofs are as deep as they are long, and are walked by recursion. Only what is used of a stack
/// takes memory.
const STACK: usize = 1 << 30;

/// Finds one version of every package such that all needs of `root` and of the packages
/// themselves are met. `preferred` versions are taken where they will do.
///
/// # Errors
/// `RESOLUTION_IMPOSSIBLE`, with a proof that people can follow; `RESOLUTION_TOO_HARD`; a repository
/// that cannot be used.
pub fn solve(
    root: &str,
    needs: &[Need],
    catalogue: &Catalogue<'_>,
    order: Order,
    preferred: &HashMap<String, String>,
) -> Result<Solution, Problem> {
    std::thread::scope(|scope| {
        let search = || search(root, needs, catalogue, order, preferred);
        let thread = std::thread::Builder::new()
            .name("resolver".to_owned())
            .stack_size(STACK)
            .spawn_scoped(scope, search)
            .map_err(|error| {
                Problem::new("RESOLUTION_TOO_HARD", format!("cannot start to search: {error}"))
            })?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn search(
    root: &str,
    needs: &[Need],
    catalogue: &Catalogue<'_>,
    order: Order,
    preferred: &HashMap<String, String>,
) -> Result<Solution, Problem> {
    let world = World {
        root: root.to_owned(),
        needs,
        catalogue,
        order,
        preferred,
        known: RefCell::default(),
        effort: Effort::default(),
    };
    let selected = match pubgrub::resolve(&world, Node::Root, ROOT_PLACE) {
        Ok(selected) => selected,
        Err(PubGrubError::NoSolution(tree)) => {
            let message = explain(&world, tree);
            return Err(Problem::new("RESOLUTION_IMPOSSIBLE", message));
        }
        Err(
            PubGrubError::ErrorRetrievingDependencies { source, .. }
            | PubGrubError::ErrorChoosingVersion { source, .. }
            | PubGrubError::ErrorInShouldCancel(source),
        ) => return Err(source),
    };
    let mut solution = Solution::new();
    for (node, place) in selected {
        let Node::Package(name) = node else { continue };
        let known = world.known(&name)?;
        let repository = known.facts.repository.clone().unwrap_or_default();
        let Some(candidate) = known.facts.candidates.get(place) else { continue };
        solution.insert(name.to_string(), Chosen { repository, candidate: candidate.clone() });
    }
    Ok(solution)
}

/// The project itself has one version.
pub(super) const ROOT_PLACE: Place = 0;

/// What is chosen versions of: the project itself, or a package.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Node {
    Root,
    Package(Rc<str>),
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => f.write_str("the project"),
            Self::Package(name) => write!(f, "`{name}`"),
        }
    }
}

/// A package as the solver sees it.
pub(super) struct Package {
    pub(super) facts: Known,
    /// The place of the version that is preferred.
    preferred: OnceCell<Option<Place>>,
}

/// Everything the solver asks.
pub(super) struct World<'a> {
    pub(super) root: String,
    pub(super) needs: &'a [Need],
    catalogue: &'a Catalogue<'a>,
    order: Order,
    preferred: &'a HashMap<String, String>,
    known: RefCell<HashMap<Rc<str>, Rc<Package>>>,
    effort: Effort,
}

/// What was spent on a search.
#[derive(Default)]
struct Effort {
    tries: Cell<usize>,
    work: Cell<usize>,
}

impl Effort {
    /// Counts another try, with so many packages known.
    fn one_more(&self, known: usize) -> Result<(), Problem> {
        let tries = self.tries.get().saturating_add(1);
        self.tries.set(tries);
        if tries > known {
            self.work.set(self.work.get().saturating_add(known));
        }
        if tries <= MAX_TRIES && self.work.get() <= MAX_WORK {
            return Ok(());
        }
        let message = format!("no answer after {tries} versions of {known} packages were tried");
        Err(Problem::new("RESOLUTION_TOO_HARD", message)
            .hint("narrower constraints in `deps` make the search shorter"))
    }
}

impl World<'_> {
    /// The package of that name; looked up once.
    pub(super) fn known(&self, name: &Rc<str>) -> Result<Rc<Package>, Problem> {
        if let Some(package) = self.known.borrow().get(name) {
            return Ok(Rc::clone(package));
        }
        let facts = self.catalogue.look_up(name)?;
        let package = Rc::new(Package { facts, preferred: OnceCell::new() });
        self.known.borrow_mut().insert(Rc::clone(name), Rc::clone(&package));
        Ok(package)
    }

    /// The places of the versions that meet `constraint`.
    pub(super) fn places(package: &Package, constraint: &Constraint) -> Places {
        let candidates = &package.facts.candidates;
        Places::of(candidates.len(), |place| {
            candidates.get(place).is_some_and(|candidate| constraint.matches(&candidate.version))
        })
    }

    fn preferred(&self, name: &str, package: &Package) -> Option<Place> {
        *package.preferred.get_or_init(|| {
            let version = self.preferred.get(name)?;
            package
                .facts
                .candidates
                .iter()
                .position(|candidate| candidate.offer.identity.version == *version)
        })
    }
}

impl DependencyProvider for World<'_> {
    type P = Node;
    type V = Place;
    type VS = Places;
    /// Conflicts first, then few versions, then the name: the same answer every time.
    type Priority = (u32, Reverse<usize>, Reverse<Node>);
    type M = String;
    type Err = Problem;

    fn prioritize(
        &self,
        node: &Node,
        range: &Places,
        conflicts: &PackageResolutionStatistics,
    ) -> Self::Priority {
        let count = match node {
            Node::Root => 1,
            // A repository that fails will say so when a version is to be chosen.
            Node::Package(name) => self
                .known(name)
                .map_or(0, |package| range.among(package.facts.candidates.len()).count()),
        };
        (conflicts.conflict_count(), Reverse(count), Reverse(node.clone()))
    }

    fn choose_version(&self, node: &Node, range: &Places) -> Result<Option<Place>, Problem> {
        let Node::Package(name) = node else {
            return Ok(range.has(ROOT_PLACE).then_some(ROOT_PLACE));
        };
        self.effort.one_more(self.known.borrow().len())?;
        let package = self.known(name)?;
        if let Some(place) = self.preferred(name, &package).filter(|place| range.has(*place)) {
            return Ok(Some(place));
        }
        let mut places = range.among(package.facts.candidates.len());
        Ok(match self.order {
            Order::Newest => places.next_back(),
            Order::Minimal => places.next(),
        })
    }

    fn get_dependencies(
        &self,
        node: &Node,
        place: &Place,
    ) -> Result<Dependencies<Node, Places, String>, Problem> {
        let mut list: DependencyConstraints<Node, Places> = DependencyConstraints::default();
        let mut add = |package: &str, constraint: &Constraint| -> Result<(), Problem> {
            let name: Rc<str> = package.into();
            let places = Self::places(&*self.known(&name)?, constraint);
            let all = list.entry(Node::Package(name)).or_insert_with(Places::full);
            *all = all.intersection(&places);
            Ok(())
        };
        match node {
            Node::Root => {
                for need in self.needs {
                    add(&need.package, &need.constraint)?;
                }
            }
            Node::Package(name) => {
                let package = self.known(name)?;
                let Some(candidate) = package.facts.candidates.get(*place) else {
                    return Ok(Dependencies::Unavailable("it is not there".to_owned()));
                };
                if candidate.needs.contains_key(&**name) {
                    return Ok(Dependencies::Unavailable("it needs itself".to_owned()));
                }
                for (package, constraint) in &candidate.needs {
                    add(package, constraint)?;
                }
            }
        }
        Ok(Dependencies::Available(list))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_ends() {
        // Packages known, and how often a version of one may be tried.
        for (known, most) in [(3, MAX_TRIES), (100_000, 100_100), (1_000_000, MAX_TRIES)] {
            let effort = Effort::default();
            let tries = (0..).take_while(|_| effort.one_more(known).is_ok()).count();
            assert_eq!(tries, most, "{known}");
            assert_eq!(effort.one_more(known).unwrap_err().code, "RESOLUTION_TOO_HARD");
        }
    }
}
