//! Why no versions go together, in sentences.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::rc::Rc;

use pubgrub::{
    DefaultStringReporter, DerivationTree, Derived, External, Map, ReportFormatter, Reporter as _,
    Term, VersionSet as _,
};

use super::set::Places;
use super::solve::{Node, World};

type Tree = DerivationTree<Node, Places, String>;
type Fact = External<Node, Places, String>;
type Step = Derived<Node, Places, String>;
type Terms = Map<Node, Term<Places>>;

/// How many versions a sentence names before it only counts them.
const NAMED: usize = 4;
/// The longest proof that is written out, in facts and steps.
const STEPS: usize = 200;
/// How many facts of a longer one are shown, and how many packages are described.
const SHOWN: usize = 24;

/// The proof in sentences, then what is known of the packages it speaks about. Of a proof that
/// nobody would read the facts nearest to its end.
pub(super) fn explain(world: &World<'_>, mut tree: Tree) -> String {
    let words = Words { world };
    let mut lines = vec!["no versions go together:".to_owned()];
    let (facts, whole) = facts(&tree);
    if whole {
        // Both walk the tree again and again, and cost the square of its size.
        tree.collapse_no_versions();
        let proof = DefaultStringReporter::report_with_formatter(&tree, &words);
        lines.extend(proof.lines().filter(|line| !line.is_empty()).map(|line| format!("  {line}")));
    } else {
        let shown = facts.iter().filter(|fact| !matches!(fact, External::NotRoot(_, _)));
        lines.extend(shown.take(SHOWN).map(|fact| format!("  {}", words.format_external(fact))));
        lines.push("  … and more than people would read".to_owned());
    }
    let mut names: Vec<&Rc<str>> = Vec::new();
    for fact in &facts {
        let nodes: &[&Node] = match fact {
            External::FromDependencyOf(node, _, other, _) => &[node, other],
            External::NotRoot(node, _)
            | External::NoVersions(node, _)
            | External::Custom(node, _, _) => &[node],
        };
        for node in nodes {
            if let Node::Package(name) = node
                && !names.contains(&name)
            {
                names.push(name);
            }
        }
    }
    names.truncate(SHOWN);
    names.sort();
    lines.push("what there is:".to_owned());
    lines.extend(names.into_iter().map(|name| format!("  {}", words.inventory(name))));
    lines.join("\n")
}

/// The facts on which a proof rests, those nearest to its end first, and whether that is all.
fn facts(tree: &Tree) -> (Vec<Fact>, bool) {
    let mut facts = Vec::new();
    let mut seen = HashSet::new();
    let mut waiting: VecDeque<&Tree> = VecDeque::from([tree]);
    while let Some(tree) = waiting.pop_front() {
        // Steps that are used twice are the same value behind two pointers.
        if !seen.insert(std::ptr::from_ref(tree)) {
            continue;
        }
        if seen.len() > STEPS {
            return (facts, false);
        }
        match tree {
            DerivationTree::External(fact) => facts.push(fact.clone()),
            DerivationTree::Derived(step) => waiting.extend([&*step.cause1, &*step.cause2]),
        }
    }
    (facts, true)
}

struct Words<'a> {
    world: &'a World<'a>,
}

impl Words<'_> {
    /// What is known of a package.
    fn inventory(&self, name: &Rc<str>) -> String {
        let Ok(package) = self.world.known(name) else {
            return format!("`{name}`: its repository cannot be read");
        };
        let Some(repository) = &package.facts.repository else {
            return format!("`{name}`: no repository that it may come from knows it");
        };
        let mut versions: Vec<String> =
            package.facts.candidates.iter().map(|one| one.version.to_string()).collect();
        let count = versions.len();
        if count > 2 * NAMED {
            versions.drain(NAMED..count.saturating_sub(NAMED));
            versions.insert(NAMED, "…".to_owned());
        }
        let mut line = match count {
            0 => format!("`{name}` in `{repository}`: no version that can be used here"),
            _ => format!("`{name}` in `{repository}`: {}", versions.join(", ")),
        };
        for (version, reason) in package.facts.unusable.iter().take(NAMED) {
            line.push_str(&format!("; not {version} ({reason})"));
        }
        if package.facts.unusable.len() > NAMED {
            line.push_str("; and others");
        }
        line
    }

    /// A package with some of its versions.
    fn some(&self, node: &Node, set: &Places) -> String {
        let Node::Package(name) = node else { return self.world.root.clone() };
        let Ok(package) = self.world.known(name) else { return node.to_string() };
        let all = &package.facts.candidates;
        let chosen: Vec<String> =
            set.among(all.len()).filter_map(|at| Some(all.get(at)?.version.to_string())).collect();
        if chosen.len() == all.len() {
            return format!("every version of {node}");
        }
        match chosen.len() {
            0 => format!("{node}"),
            1..=NAMED => format!("{node} {}", chosen.join(" or ")),
            count => {
                let (first, last) = (chosen.first(), chosen.last());
                let between = first
                    .zip(last)
                    .map_or_else(String::new, |(first, last)| format!(" from {first} to {last}"));
                format!("{node} in {count} versions{between}")
            }
        }
    }

    /// What `node` in versions `set` asks of `dependency`: as its manifests spell it.
    fn asked(&self, node: &Node, set: &Places, dependency: &Node, of: &Places) -> String {
        let Node::Package(wanted) = dependency else { return dependency.to_string() };
        let mut texts = BTreeSet::new();
        match node {
            Node::Root => {
                let needs = self.world.needs.iter().filter(|need| need.package == **wanted);
                texts.extend(needs.map(|need| need.constraint.to_string()));
            }
            Node::Package(name) => {
                let Ok(package) = self.world.known(name) else { return dependency.to_string() };
                let all = &package.facts.candidates;
                for candidate in set.among(all.len()).filter_map(|at| all.get(at)) {
                    texts.extend(candidate.needs.get(&**wanted).map(ToString::to_string));
                }
            }
        }
        if texts.is_empty() {
            return self.some(dependency, of);
        }
        let texts: Vec<String> = texts.into_iter().map(|text| format!("`{text}`")).collect();
        let known = self.world.known(wanted);
        let nothing =
            known.is_ok_and(|package| of.among(package.facts.candidates.len()).next().is_none());
        let nothing = if nothing { ", which no version is" } else { "" };
        format!("{dependency} {}{nothing}", texts.join(" or "))
    }
}

impl ReportFormatter<Node, Places, String> for Words<'_> {
    type Output = String;

    fn format_external(&self, fact: &Fact) -> String {
        match fact {
            External::NotRoot(_, _) => format!("{} is to be built", self.world.root),
            External::NoVersions(node, set) if *set == Places::full() => {
                format!("there is no {node}")
            }
            External::NoVersions(node, _) => format!("{node} has no other versions"),
            External::Custom(node, set, reason) => {
                format!("{} cannot be used: {reason}", self.some(node, set))
            }
            External::FromDependencyOf(node, set, dependency, of) => {
                format!("{} needs {}", self.some(node, set), self.asked(node, set, dependency, of))
            }
        }
    }

    fn format_terms(&self, terms: &Terms) -> String {
        let mut terms: Vec<(&Node, &Term<Places>)> = terms.iter().collect();
        terms.sort_by_key(|(node, _)| (*node).clone());
        match terms.as_slice() {
            [] | [(Node::Root, _)] => format!("{} cannot be resolved", self.world.root),
            [(node, Term::Positive(set))] => format!("{} cannot be used", self.some(node, set)),
            [(node, Term::Negative(set))] => format!("{} is needed", self.some(node, set)),
            [(node, Term::Positive(set)), (other, Term::Negative(of))]
            | [(other, Term::Negative(of)), (node, Term::Positive(set))] => {
                format!("{} needs {}", self.some(node, set), self.some(other, of))
            }
            several => {
                let list: Vec<String> = several
                    .iter()
                    .map(|(node, term)| match term {
                        Term::Positive(set) => self.some(node, set),
                        Term::Negative(set) => format!("not {}", self.some(node, set)),
                    })
                    .collect();
                format!("{} do not go together", list.join(" and "))
            }
        }
    }

    fn explain_both_external(&self, a: &Fact, b: &Fact, terms: &Terms) -> String {
        let (a, b) = (self.format_external(a), self.format_external(b));
        format!("because {a} and {b}, {}", self.format_terms(terms))
    }

    fn explain_both_ref(
        &self,
        a_line: usize,
        a: &Step,
        b_line: usize,
        b: &Step,
        terms: &Terms,
    ) -> String {
        let (a, b) = (self.format_terms(&a.terms), self.format_terms(&b.terms));
        let end = self.format_terms(terms);
        format!("because {a} ({a_line}) and {b} ({b_line}), {end}")
    }

    fn explain_ref_and_external(
        &self,
        line: usize,
        step: &Step,
        fact: &Fact,
        terms: &Terms,
    ) -> String {
        let (step, fact) = (self.format_terms(&step.terms), self.format_external(fact));
        format!("because {step} ({line}) and {fact}, {}", self.format_terms(terms))
    }

    fn and_explain_external(&self, fact: &Fact, terms: &Terms) -> String {
        format!("and because {}, {}", self.format_external(fact), self.format_terms(terms))
    }

    fn and_explain_ref(&self, line: usize, step: &Step, terms: &Terms) -> String {
        let step = self.format_terms(&step.terms);
        format!("and because {step} ({line}), {}", self.format_terms(terms))
    }

    fn and_explain_prior_and_external(&self, prior: &Fact, fact: &Fact, terms: &Terms) -> String {
        let (prior, fact) = (self.format_external(prior), self.format_external(fact));
        format!("and because {prior} and {fact}, {}", self.format_terms(terms))
    }
}
