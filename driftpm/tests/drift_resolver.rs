//! The resolver against an independent oracle: thousands of generated repositories, each solved
//! by trying everything, with rules for constraints and platforms written a second time.

use std::collections::{BTreeMap, HashMap};

use driftpm::drift::identity::Identity;
use driftpm::drift::platform::{Platform, Requirement};
use driftpm::drift::resolve::{
    Artifact, Catalogue, Constraint, Need, Offer, Order, Solution, VersionSource, solve,
};
use driftpm::problem::Problem;

/// A generator of numbers that is the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound).unwrap()).unwrap()
    }

    fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        let at = self.below(list.len());
        &list[at]
    }
}

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
const VERSIONS: [&str; 9] = [
    "0.1.0",
    "0.2.0",
    "1.0.0-rc.1",
    "1.0.0",
    "1.1.0",
    "1.2.0-beta",
    "1.2.0",
    "2.0.0-rc.1",
    "2.0.0",
];
const CONSTRAINTS: [&str; 15] = [
    "*",
    "^1",
    "^1.1",
    "^0.1",
    "~1.0",
    "=1.0.0",
    "=1.2.0",
    ">=1.0.0",
    "<2.0.0",
    ">=1.0.0, <1.2.0",
    "^2",
    "^1.0.0-rc.1",
    "^1.2.0-beta",
    "=2.0.0-rc.1",
    "<1.0.0",
];

/// A made-up repository: of each package its versions, what each needs, and whether it runs here.
#[derive(Clone, Debug)]
struct World {
    versions: BTreeMap<&'static str, Vec<Version>>,
    needs: Vec<(&'static str, &'static str)>,
}

#[derive(Clone, Debug)]
struct Version {
    text: &'static str,
    needs: BTreeMap<&'static str, &'static str>,
    runs_here: bool,
}

fn generate(random: &mut Random) -> World {
    let count = 2 + random.below(NAMES.len() - 1);
    let names = &NAMES[..count];
    let mut versions = BTreeMap::new();
    for name in names {
        // Sometimes a package that others need is not there at all.
        if random.below(24) == 0 {
            continue;
        }
        let mut list = Vec::new();
        for text in VERSIONS {
            if random.below(10) >= 6 {
                continue;
            }
            let mut needs = BTreeMap::new();
            for _ in 0..random.below(4) / 2 {
                let other = *random.pick(names);
                if other != *name {
                    needs.insert(other, *random.pick(&CONSTRAINTS));
                }
            }
            list.push(Version { text, needs, runs_here: random.below(12) > 0 });
        }
        versions.insert(*name, list);
    }
    let needs = (0..1 + random.below(3))
        .map(|_| (*random.pick(names), *random.pick(&CONSTRAINTS)))
        .collect();
    World { versions, needs }
}

impl VersionSource for World {
    fn name(&self) -> &str {
        "main"
    }

    fn packages(&self) -> Result<Vec<String>, Problem> {
        Ok(self.versions.keys().map(ToString::to_string).collect())
    }

    fn offers(&self, package: &str) -> Result<Vec<Offer>, Problem> {
        let list = self.versions.get(package).map(Vec::as_slice).unwrap_or_default();
        Ok(list.iter().map(|version| offer(package, version)).collect())
    }

    fn fetch(&self, _: &str, _: &str) -> Result<Artifact, Problem> {
        unreachable!("nothing is fetched to resolve")
    }
}

fn offer(package: &str, version: &Version) -> Offer {
    let os = if version.runs_here { "linux" } else { "plan9" };
    Offer {
        identity: Identity {
            package_id: package.to_owned(),
            version: version.text.to_owned(),
            target: "any".to_owned(),
        },
        dependencies: version
            .needs
            .iter()
            .map(|(name, constraint)| (name.to_string(), constraint.to_string()))
            .collect(),
        platform: Requirement { os: [os.to_owned()].into(), ..Requirement::default() },
        sha256: String::new(),
        sig_sha256: None,
        signer_kids: Vec::new(),
        path: String::new(),
        native: false,
        yanked: false,
    }
}

fn linux() -> Platform {
    Platform {
        os: "linux".into(),
        arch: "x86_64".into(),
        abi: "gnu".into(),
        libc: None,
        capabilities: std::collections::BTreeSet::new(),
    }
}

/// The oracle's own idea of a version: three numbers, and the words of a pre-release.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Numbers([u64; 3], Vec<String>);

impl Numbers {
    fn parse(text: &str) -> Self {
        let (numbers, pre) = text.split_once('-').unwrap_or((text, ""));
        let mut parts = numbers.split('.').map(|part| part.parse().unwrap());
        let numbers = [(); 3].map(|()| parts.next().unwrap_or(0));
        let pre = pre.split('.').filter(|word| !word.is_empty()).map(str::to_owned).collect();
        Self(numbers, pre)
    }

    /// Where the version stands: a pre-release before its release.
    fn rank(&self) -> ([u64; 3], bool, Vec<String>) {
        (self.0, self.1.is_empty(), self.1.clone())
    }
}

/// The oracle's own reading of the constraints above.
fn meets(constraint: &str, version: &str) -> bool {
    let version = Numbers::parse(version);
    let parts: Vec<&str> = constraint.split(", ").collect();
    let in_range = parts.iter().all(|part| {
        let at = part.find(|c: char| c.is_ascii_digit() || c == '*').unwrap();
        let (operator, text) = part.split_at(at);
        if text == "*" {
            return true;
        }
        let named = text.split('-').next().unwrap().split('.').count();
        let least = Numbers::parse(text);
        let [major, minor, _] = least.0;
        let before = |end: [u64; 3]| version.0 < end;
        let from = version.rank() >= least.rank();
        match operator {
            "^" if major > 0 => from && before([major + 1, 0, 0]),
            "^" => from && before([0, minor + 1, 0]),
            "~" if named > 1 => from && before([major, minor + 1, 0]),
            "~" => from && before([major + 1, 0, 0]),
            "=" => version == least,
            ">=" => from,
            "<" => version.rank() < least.rank(),
            other => panic!("{other}"),
        }
    });
    // A pre-release only where one of the same three numbers is named.
    let named = parts.iter().any(|part| {
        part.split_once('-').is_some_and(|(start, _)| {
            Numbers::parse(start.trim_start_matches(|c: char| !c.is_ascii_digit())).0 == version.0
        })
    });
    in_range && (version.1.is_empty() || named)
}

type Choice = BTreeMap<&'static str, &'static str>;

impl World {
    fn version(&self, name: &str, text: &str) -> Option<&Version> {
        self.versions.get(name)?.iter().find(|version| version.text == text && version.runs_here)
    }

    /// Whether a choice meets every need of the project and of what is chosen.
    fn holds(&self, choice: &Choice) -> bool {
        let met = |name: &str, constraint: &str| {
            choice.get(name).is_some_and(|version| meets(constraint, version))
        };
        self.needs.iter().all(|(name, constraint)| met(name, constraint))
            && choice.iter().all(|(name, text)| {
                self.version(name, text).is_some_and(|version| {
                    version.needs.iter().all(|(name, constraint)| met(name, constraint))
                })
            })
    }

    /// Whether any choice holds: tries all.
    fn has_solution(&self) -> bool {
        fn go(world: &World, left: &[&'static str], choice: &mut Choice) -> bool {
            let Some((name, rest)) = left.split_first() else { return world.holds(choice) };
            if go(world, rest, choice) {
                return true;
            }
            for text in VERSIONS {
                if world.version(name, text).is_some() {
                    choice.insert(name, text);
                    if go(world, rest, choice) {
                        return true;
                    }
                    choice.remove(name);
                }
            }
            false
        }
        go(self, &NAMES, &mut Choice::new())
    }

    fn solve(
        &self,
        order: Order,
        preferred: &HashMap<String, String>,
    ) -> Result<Solution, Problem> {
        let needs: Vec<Need> = self
            .needs
            .iter()
            .map(|(package, constraint)| Need {
                package: package.to_string(),
                constraint: Constraint::parse(constraint).unwrap(),
            })
            .collect();
        let platform = linux();
        let catalogue = Catalogue::new(vec![self], &platform);
        solve("demo", &needs, &catalogue, order, preferred)
    }
}

fn choice(solution: &Solution) -> Choice {
    let find = |list: &[&'static str], text: &str| *list.iter().find(|one| **one == text).unwrap();
    solution
        .iter()
        .map(|(name, chosen)| {
            (find(&NAMES, name), find(&VERSIONS, &chosen.candidate.offer.identity.version))
        })
        .collect()
}

/// What is needed, directly or not, and nothing else.
fn reachable(world: &World, choice: &Choice) -> Vec<&'static str> {
    let mut found: Vec<&'static str> = world.needs.iter().map(|(name, _)| *name).collect();
    let mut at = 0;
    while let Some(name) = found.get(at) {
        let version = world.version(name, choice[name]).unwrap();
        found.extend(version.needs.keys());
        at += 1;
        let mut seen = std::collections::HashSet::new();
        found.retain(|name| seen.insert(*name));
    }
    found.sort_unstable();
    found
}

#[test]
fn agrees_with_trying_everything() {
    let mut random = Random(20_261_120);
    let (mut solved, mut refused) = (0, 0);
    for round in 0..4000 {
        let world = generate(&mut random);
        for order in [Order::Newest, Order::Minimal] {
            let result = world.solve(order, &HashMap::new());
            let possible = world.has_solution();
            match result {
                Err(problem) => {
                    assert_eq!(problem.code, "RESOLUTION_IMPOSSIBLE");
                    assert!(!possible, "round {round}: {world:#?}\n{problem}");
                    refused += 1;
                }
                Ok(solution) => {
                    let choice = choice(&solution);
                    assert!(world.holds(&choice), "round {round}: {world:#?}\n{choice:?}");
                    let names: Vec<&str> = choice.keys().copied().collect();
                    assert_eq!(reachable(&world, &choice), names, "round {round}: {world:#?}");
                    no_single_step_is_better(&world, &choice, order, round);
                    solved += 1;
                }
            }
        }
    }
    assert!(solved > 2000 && refused > 2000, "{solved} solved, {refused} refused");
}

/// No package could have a better version while the others stay.
fn no_single_step_is_better(world: &World, choice: &Choice, order: Order, round: usize) {
    let rank = |text: &str| VERSIONS.iter().position(|one| *one == text).unwrap();
    for (name, chosen) in choice {
        for version in &world.versions[name] {
            let better = match order {
                Order::Newest => rank(version.text) > rank(chosen),
                Order::Minimal => rank(version.text) < rank(chosen),
            };
            if better {
                let mut other = choice.clone();
                other.insert(name, version.text);
                let text = version.text;
                assert!(!world.holds(&other), "round {round}: {name} {text} {world:#?} {choice:?}");
            }
        }
    }
}

#[test]
fn locked_versions_stay_where_they_can() {
    let mut random = Random(7);
    let mut kept = 0;
    for round in 0..2000 {
        let world = generate(&mut random);
        let Ok(oldest) = world.solve(Order::Minimal, &HashMap::new()) else { continue };
        let locked: HashMap<String, String> = oldest
            .iter()
            .map(|(name, chosen)| (name.clone(), chosen.candidate.offer.identity.version.clone()))
            .collect();
        let again = world.solve(Order::Newest, &locked).unwrap();
        assert_eq!(choice(&again), choice(&oldest), "round {round}: {world:#?}");
        // Without one of them the rest still holds together.
        for free in locked.keys() {
            let mut others = locked.clone();
            others.remove(free);
            let changed = world.solve(Order::Newest, &others).unwrap();
            assert!(world.holds(&choice(&changed)));
        }
        kept += 1;
    }
    assert!(kept > 500, "{kept}");
}

#[test]
fn the_same_question_has_the_same_answer() {
    let mut random = Random(99);
    for _ in 0..300 {
        let mut world = generate(&mut random);
        let text = |world: &World| match world.solve(Order::Newest, &HashMap::new()) {
            Ok(solution) => format!("{:?}", choice(&solution)),
            Err(problem) => problem.to_string(),
        };
        let first = text(&world);
        for list in world.versions.values_mut() {
            list.reverse();
        }
        assert_eq!(text(&world), first);
    }
}

/// A proof may be as long as a repository wants it; neither it nor what people see of it runs away.
#[test]
fn a_long_proof_is_no_danger() {
    struct Chain(usize);
    impl VersionSource for Chain {
        fn name(&self) -> &str {
            "chain"
        }
        fn packages(&self) -> Result<Vec<String>, Problem> {
            Ok(Vec::new())
        }
        fn offers(&self, package: &str) -> Result<Vec<Offer>, Problem> {
            let number: usize = package.trim_start_matches('p').parse().unwrap();
            if number >= self.0 {
                return Ok(Vec::new());
            }
            let offers = ["1.0.0", "1.1.0"].map(|text| {
                let version = Version { text, needs: BTreeMap::new(), runs_here: true };
                let mut offer = offer(package, &version);
                offer.dependencies.insert(format!("p{}", number + 1), "^1".to_owned());
                offer
            });
            Ok(offers.to_vec())
        }
        fn fetch(&self, _: &str, _: &str) -> Result<Artifact, Problem> {
            unreachable!("nothing is fetched to resolve")
        }
    }
    let (chain, platform) = (Chain(1_000), linux());
    let catalogue = Catalogue::new(vec![&chain], &platform);
    let need = Need { package: "p0".into(), constraint: Constraint::parse("*").unwrap() };
    let problem = solve("demo", &[need], &catalogue, Order::Newest, &HashMap::new()).unwrap_err();
    assert_eq!(problem.code, "RESOLUTION_IMPOSSIBLE");
    assert!(problem.message.lines().count() < 60, "{}", problem.message);
    assert!(problem.message.contains("demo needs `p0` `*`"), "{}", problem.message);
    assert!(problem.message.contains("more than people would read"), "{}", problem.message);
}

/// A package with its version and needs.
type Row<'a> = (&'static str, &'static str, &'a [(&'static str, &'static str)]);

fn world(list: &[Row<'_>]) -> World {
    let mut versions: BTreeMap<&'static str, Vec<Version>> = BTreeMap::new();
    for (name, text, needs) in list {
        let needs = needs.iter().copied().collect();
        versions.entry(name).or_default().push(Version { text, needs, runs_here: true });
    }
    World { versions, needs: Vec::new() }
}

#[test]
fn people_can_follow_the_proof() {
    let mut conflict = world(&[
        ("a", "1.0.0", &[("c", "^1")]),
        ("a", "1.1.0", &[("c", "^1.1")]),
        ("b", "1.0.0", &[("c", "^2")]),
        ("c", "1.0.0", &[]),
        ("c", "1.1.0", &[]),
        ("c", "2.0.0", &[]),
    ]);
    conflict.needs = vec![("a", "^1"), ("b", "*")];
    let problem = conflict.solve(Order::Newest, &HashMap::new()).unwrap_err();
    assert_eq!(
        problem.message,
        "no versions go together:\n  \
         because `a` 1.0.0 needs `c` `^1` and `a` 1.1.0 needs `c` `^1.1`, every version of `a` needs \
         `c` 1.0.0 or 1.1.0\n  \
         and because every version of `b` needs `c` `^2`, every version of `a` and every version of \
         `b` do not go together\n  \
         and because demo needs `b` `*` and demo needs `a` `^1`, demo cannot be resolved\n\
         what there is:\n  \
         `a` in `main`: 1.0.0, 1.1.0\n  \
         `b` in `main`: 1.0.0\n  \
         `c` in `main`: 1.0.0, 1.1.0, 2.0.0"
    );

    let mut missing = world(&[("a", "1.0.0", &[("d", "^1")])]);
    missing.versions.get_mut("a").unwrap().push(Version {
        text: "2.0.0",
        needs: BTreeMap::new(),
        runs_here: false,
    });
    missing.needs = vec![("a", ">=1.0.0")];
    let problem = missing.solve(Order::Newest, &HashMap::new()).unwrap_err();
    for part in [
        "`a` needs `d` `^1`, which no version is",
        "`d`: no repository that it may come from knows it",
        "not 2.0.0 (os plan9 is needed, this is linux)",
    ] {
        assert!(problem.message.contains(part), "{part:?} is not in:\n{}", problem.message);
    }

    let mut selfish = world(&[("a", "1.0.0", &[("a", "^1")])]);
    selfish.needs = vec![("a", "*")];
    let problem = selfish.solve(Order::Newest, &HashMap::new()).unwrap_err();
    assert!(problem.message.contains("it needs itself"), "{}", problem.message);
}

/// A later repository cannot slip in a higher version of what an earlier one has, nor a package
/// that the project binds to another.
#[test]
fn a_package_has_one_home() {
    struct Named(&'static str, World);
    impl VersionSource for Named {
        fn name(&self) -> &str {
            self.0
        }
        fn packages(&self) -> Result<Vec<String>, Problem> {
            self.1.packages()
        }
        fn offers(&self, package: &str) -> Result<Vec<Offer>, Problem> {
            self.1.offers(package)
        }
        fn fetch(&self, path: &str, sha256: &str) -> Result<Artifact, Problem> {
            self.1.fetch(path, sha256)
        }
    }
    let inside = Named("inside", world(&[("a", "1.0.0", &[("b", "*")])]));
    let outside = Named("outside", world(&[("a", "2.0.0", &[]), ("b", "1.0.0", &[])]));
    let platform = linux();
    let need = |constraint: &str| {
        vec![Need { package: "a".into(), constraint: Constraint::parse(constraint).unwrap() }]
    };
    let none = HashMap::new();
    let catalogue = Catalogue::new(vec![&inside, &outside], &platform);
    let solution = solve("demo", &need("*"), &catalogue, Order::Newest, &none).unwrap();
    let homes: Vec<(&str, &str)> =
        solution.iter().map(|(name, one)| (name.as_str(), one.repository.as_str())).collect();
    assert_eq!(homes, [("a", "inside"), ("b", "outside")]);
    let refused = solve("demo", &need("^2"), &catalogue, Order::Newest, &none).unwrap_err();
    assert_eq!(refused.code, "RESOLUTION_IMPOSSIBLE");

    let mut bound = Catalogue::new(vec![&inside, &outside], &platform);
    bound.bind("a", "outside");
    let solution = solve("demo", &need("*"), &bound, Order::Newest, &none).unwrap();
    assert_eq!(solution["a"].candidate.offer.identity.version, "2.0.0");
    bound.bind("a", "nowhere");
    assert!(solve("demo", &need("*"), &bound, Order::Newest, &none).is_err());
}
