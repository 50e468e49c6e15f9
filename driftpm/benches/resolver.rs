//! How long the resolver takes where it should be quick, and where somebody wants it to be slow:
//!
//!     cargo bench -p driftpm --bench resolver

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use driftpm::drift::identity::Identity;
use driftpm::drift::platform::{Platform, Requirement, detect};
use driftpm::drift::resolve::{
    Artifact, Catalogue, Constraint, Need, Offer, Order, VersionSource, solve,
};
use driftpm::problem::Problem;

/// Versions, each with the numbers of the packages that it needs and in which versions.
type Versions = Vec<(String, Vec<(usize, String)>)>;

/// Packages `p0`, `p1`, …, whose versions and needs are a function of the number.
struct Made<F>(F);

impl<F: Fn(usize) -> Versions + Send + Sync> VersionSource for Made<F> {
    fn name(&self) -> &str {
        "made"
    }

    fn packages(&self) -> Result<Vec<String>, Problem> {
        Ok(Vec::new())
    }

    fn offers(&self, package: &str) -> Result<Vec<Offer>, Problem> {
        let number: usize = package.trim_start_matches('p').parse().unwrap();
        let offer = |(version, needs): (String, Vec<(usize, String)>)| Offer {
            identity: Identity { package_id: package.into(), version, target: "any".into() },
            dependencies: needs.into_iter().map(|(at, text)| (format!("p{at}"), text)).collect(),
            platform: Requirement::default(),
            sha256: String::new(),
            sig_sha256: None,
            signer_kids: Vec::new(),
            path: String::new(),
            native: false,
            yanked: false,
        };
        Ok((self.0)(number).into_iter().map(offer).collect())
    }

    fn fetch(&self, _: &str, _: &str) -> Result<Artifact, Problem> {
        unreachable!("nothing is fetched to resolve")
    }
}

/// A number that looks like chance, from a seed.
fn chance(seed: &mut u64, below: usize) -> usize {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    usize::try_from(*seed >> 33).unwrap() % below
}

/// 200 packages in ten versions each, with needs within the next thirty.
fn usual(number: usize) -> Versions {
    let mut seed = u64::try_from(number).unwrap();
    let versions = (1..3).flat_map(|major| (0..5).map(move |minor| (major, minor)));
    let version = |(major, minor)| {
        let mut needs = BTreeMap::new();
        for _ in 0..chance(&mut seed, 4) {
            let other = (number + 1 + chance(&mut seed, 30)) % 200;
            if other > number {
                needs.insert(other, format!(">=1.{}, <3", chance(&mut seed, 3)));
            }
        }
        (format!("{major}.{minor}.0"), needs.into_iter().collect())
    };
    versions.map(version).collect()
}

/// Each needs the next, and the last one something that is nowhere.
fn chain(length: usize) -> impl Fn(usize) -> Versions {
    move |number| {
        let version = |text: &str| (text.to_owned(), vec![(number + 1, "^1".to_owned())]);
        if number < length { ["1.0.0", "1.1.0"].map(version).to_vec() } else { Vec::new() }
    }
}

fn measure(what: &str, platform: &Platform, source: &dyn VersionSource, needs: usize) {
    let catalogue = Catalogue::new(vec![source], platform);
    let need = |at| Need { package: format!("p{at}"), constraint: Constraint::any() };
    let needs: Vec<Need> = (0..needs).map(need).collect();
    let begin = Instant::now();
    let solved = solve("demo", &needs, &catalogue, Order::Newest, &HashMap::new());
    let outcome = match solved {
        Ok(solution) => format!("{} packages", solution.len()),
        Err(problem) => format!("{}, {} lines", problem.code, problem.message.lines().count()),
    };
    println!("{what}: {outcome} in {:?}", begin.elapsed());
}

fn main() {
    let platform = detect("linux", "x86_64", "", &[], None);
    measure("200 of 100,000 packages", &platform, &Made(usual), 200);
    for length in [1_250, 2_500, 5_000, 10_000] {
        let source = Made(chain(length));
        measure(&format!("a chain of {length} to nowhere"), &platform, &source, 1);
    }
}
