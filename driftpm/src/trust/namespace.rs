//! Namespaces: patterns over module ids.

use std::collections::{BTreeMap, BTreeSet};

/// Module ids below these, and the ids themselves, belong to the toolchain.
const RESERVED: [&str; 3] = ["std", "lang", "drift"];

/// Whether only toolchain keys may speak for this module: `std`, `lang`, `drift` and everything
/// below.
#[must_use]
pub fn is_reserved(module: &str) -> bool {
    RESERVED.contains(&module.split('.').next().unwrap_or_default())
}

/// The keys that may speak for `module`: those of the heaviest pattern that matches it.
///
/// `P.*` matches `P` and everything below; any other pattern only the identical id. The weight is
/// the length of the pattern without `.*`; the patterns `m` and `m.*` tie for module `m`, and
/// their keys unite. A heavier pattern replaces a lighter one, even with an empty list.
pub(super) fn allowed_keys<'a>(
    namespaces: &'a BTreeMap<String, BTreeSet<String>>,
    module: &str,
) -> BTreeSet<&'a str> {
    // Longest first: the module itself, then its ancestors, one dot after the other.
    let exact = namespaces.get(module).filter(|_| !module.ends_with(".*"));
    let mut stem = Some(module);
    while let Some(current) = stem {
        let below = namespaces.get(&format!("{current}.*"));
        let same = exact.filter(|_| current.len() == module.len());
        if below.is_some() || same.is_some() {
            return below.into_iter().chain(same).flatten().map(String::as_str).collect();
        }
        stem = current.rsplit_once('.').map(|(parent, _)| parent);
    }
    BTreeSet::new()
}

/// Whether some pattern matches `module`.
pub(super) fn is_bound(namespaces: &BTreeMap<String, BTreeSet<String>>, module: &str) -> bool {
    let exact = namespaces.contains_key(module) && !module.ends_with(".*");
    let stems = std::iter::successors(Some(module), |stem| Some(stem.rsplit_once('.')?.0));
    exact || stems.into_iter().any(|stem| namespaces.contains_key(&format!("{stem}.*")))
}

/// What is left of a name when everything is taken away that people overlook: case, separators,
/// and characters that look like others.
#[must_use]
pub fn skeleton(name: &str) -> String {
    let lower = name.to_lowercase().replace("rn", "m").replace("vv", "w");
    let alike = |c: char| match c {
        '-' | '_' => None,
        '0' => Some('o'),
        '1' | 'i' | '|' => Some('l'),
        '3' => Some('e'),
        '5' => Some('s'),
        'а' => Some('a'),
        'е' => Some('e'),
        'о' => Some('o'),
        'р' => Some('p'),
        'с' => Some('c'),
        'х' => Some('x'),
        'у' => Some('y'),
        'і' => Some('l'),
        other => Some(other),
    };
    lower.chars().filter_map(alike).collect()
}

/// Why a namespace is not accepted from a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NamespaceError {
    /// No characters.
    #[error("is empty")]
    Empty,
    /// White space or control characters.
    #[error("contains white space or a control character")]
    Space,
    /// `*` elsewhere than in a final `.*`.
    #[error("has a `*` that is not the end of a final `.*`; it would match nothing")]
    Wildcard,
    /// Nothing before `.*`, or two dots in a row.
    #[error("has an empty part between its dots")]
    EmptyPart,
    /// Only toolchain keys speak for it.
    #[error("is reserved: only keys of the toolchain are accepted for it")]
    Reserved,
}

/// Whether a user may bind a key to `namespace`.
///
/// # Errors
/// [`NamespaceError`]
pub fn check_namespace(namespace: &str) -> Result<(), NamespaceError> {
    let stem = namespace.strip_suffix(".*").unwrap_or(namespace);
    if namespace.is_empty() {
        Err(NamespaceError::Empty)
    } else if namespace.chars().any(|c| c.is_whitespace() || c.is_control()) {
        Err(NamespaceError::Space)
    } else if stem.contains('*') {
        Err(NamespaceError::Wildcard)
    } else if stem.split('.').any(str::is_empty) {
        Err(NamespaceError::EmptyPart)
    } else if is_reserved(stem) {
        Err(NamespaceError::Reserved)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(patterns: &[(&str, &[&str])]) -> BTreeMap<String, BTreeSet<String>> {
        patterns
            .iter()
            .map(|(pattern, kids)| {
                ((*pattern).to_owned(), kids.iter().map(|kid| (*kid).to_owned()).collect())
            })
            .collect()
    }

    #[test]
    fn the_heaviest_pattern_wins() {
        let namespaces = map(&[
            ("acme.*", &["A"]),
            ("acme.crypto", &["E"]),
            ("acme.crypto.*", &["P"]),
            ("acme.http.*", &[]),
            ("zeta", &["Z"]),
            ("*", &["S"]),
            ("ac*", &["S"]),
            (".*", &["D"]),
        ]);
        for (module, expected) in [
            ("acme", &["A"][..]),
            ("acme.x.y", &["A"]),
            ("acmex", &[]),
            ("Acme.x", &[]),
            ("acme.crypto", &["E", "P"]),
            ("acme.crypto.aes", &["P"]),
            ("acme.http", &[]),
            ("acme.http.client", &[]),
            ("zeta", &["Z"]),
            ("zeta.x", &[]),
            ("*", &["S"]),
            ("ac*", &["S"]),
            ("", &["D"]),
            (".zeta", &["D"]),
            ("beta", &[]),
        ] {
            let found: Vec<_> = allowed_keys(&namespaces, module).into_iter().collect();
            assert_eq!(found, expected, "{module:?}");
        }
    }

    #[test]
    fn bound_even_to_nobody() {
        let namespaces = map(&[("acme.*", &["A"]), ("acme.http.*", &[]), ("zeta", &["Z"])]);
        for (module, bound) in
            [("acme", true), ("acme.http.x", true), ("zeta", true), ("zeta.x", false), ("b", false)]
        {
            assert_eq!(is_bound(&namespaces, module), bound, "{module}");
        }
    }

    #[test]
    fn names_that_look_alike() {
        for (one, other, alike) in [
            ("acme", "Acme", true),
            ("acme", "асme", true),
            ("acme", "ac-me", true),
            ("acme", "acrne", true),
            ("lib", "1ib", true),
            ("acme", "acne", false),
            ("acme", "acmes", false),
        ] {
            assert_eq!(skeleton(one) == skeleton(other), alike, "{one} {other}");
        }
    }

    #[test]
    fn reserves_the_toolchains_names() {
        for (module, reserved) in [
            ("std", true),
            ("std.io", true),
            ("lang.x", true),
            ("drift.a.b", true),
            ("stdx", false),
        ] {
            assert_eq!(is_reserved(module), reserved, "{module}");
        }
    }

    #[test]
    fn users_bind_sensible_namespaces() {
        for (namespace, expected) in [
            ("acme.*", Ok(())),
            ("acme", Ok(())),
            ("ünï.*", Ok(())),
            ("", Err(NamespaceError::Empty)),
            ("a b", Err(NamespaceError::Space)),
            ("*", Err(NamespaceError::Wildcard)),
            ("a.*.c", Err(NamespaceError::Wildcard)),
            (".*", Err(NamespaceError::EmptyPart)),
            ("a..b", Err(NamespaceError::EmptyPart)),
            ("std.*", Err(NamespaceError::Reserved)),
            ("drift", Err(NamespaceError::Reserved)),
        ] {
            assert_eq!(check_namespace(namespace), expected, "{namespace:?}");
        }
    }
}
