//! Which of two versions is the newer one.
//!
//! A manifest's version may be any text, so this order takes any. It agrees with Semantic
//! Versioning 2.0.0 where a version is one, and is total: different texts are never equal.

use std::cmp::Ordering;

/// Compares two versions (`spec/store.md` §3).
///
/// A version is a release, and after the first `-` a pre-release, which comes before the release
/// itself; what follows the first `+` decides only between versions that are equal without.
pub(crate) fn compare(left: &str, right: &str) -> Ordering {
    let (left_core, left_build) = split(left, '+');
    let (right_core, right_build) = split(right, '+');
    let (left_release, left_pre) = split(left_core, '-');
    let (right_release, right_pre) = split(right_core, '-');
    natural(left_release, right_release)
        .then_with(|| match (left_pre, right_pre) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
            (Some(left), Some(right)) => natural(left, right),
        })
        .then_with(|| natural(left_build.unwrap_or(""), right_build.unwrap_or("")))
        .then_with(|| left.cmp(right))
}

fn split(text: &str, at: char) -> (&str, Option<&str>) {
    match text.split_once(at) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}

/// Runs of digits are numbers and come before other runs; whoever has nothing more comes first.
fn natural(left: &str, right: &str) -> Ordering {
    let (mut left, mut right) = (runs(left), runs(right));
    loop {
        let order = match (left.next(), right.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(left), Some(right)) => match (is_number(left), is_number(right)) {
                (true, true) => number(left, right),
                (true, false) => Ordering::Less,
                (false, true) => Ordering::Greater,
                (false, false) => left.cmp(right),
            },
        };
        if order.is_ne() {
            return order;
        }
    }
}

/// The parts between dots and at the seams of digits and anything else.
fn runs(text: &str) -> impl Iterator<Item = &str> {
    text.split('.').flat_map(|part| {
        let mut rest = part;
        std::iter::from_fn(move || {
            let digits = is_number(rest);
            let end = rest.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(rest.len());
            let (run, after) = rest.split_at(end);
            rest = after;
            (!run.is_empty()).then_some(run)
        })
    })
}

fn is_number(run: &str) -> bool {
    run.starts_with(|c: char| c.is_ascii_digit())
}

/// Numbers of any length.
fn number(left: &str, right: &str) -> Ordering {
    let (left, right) = (left.trim_start_matches('0'), right.trim_start_matches('0'));
    left.len().cmp(&right.len()).then_with(|| left.cmp(right))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_order() {
        // Each is above the ones before it; the middle is §11 of Semantic Versioning.
        let versions = [
            "",
            "0",
            "0.9",
            "0.10",
            "1.0.0-1",
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-beta",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1.0.0-rc.1",
            "1.0.0",
            "1.0.0+build.2",
            "1.0.0+build.10",
            "1.2b",
            "2",
            "2.0",
            "02.00",
            "20261120",
            "99999999999999999999999999999999999999999",
            "a",
            "ü",
        ];
        let mut sorted = versions;
        sorted.reverse();
        sorted.sort_by(|left, right| compare(left, right));
        // Equal numbers in other spellings: the text decides, so that nothing is equal.
        assert_eq!(compare("02.00", "2.0"), Ordering::Less);
        let expected = {
            let mut versions = versions.to_vec();
            versions.swap(17, 18);
            versions
        };
        assert_eq!(sorted.to_vec(), expected);
    }
}
