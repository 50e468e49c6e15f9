//! Capability policy: what a project and its packages may ask for.
//!
//! A policy stands in `policy.ax.json` beside the manifest, or in the manifest itself, under
//! `policy` or as top-level keys. Each one that is stated must hold.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::capability::canonical;
use super::error::{Error, Violation};
use super::files;
use super::manifest::{MANIFEST_NAME, PackageManifest};
use super::resolve::Resolution;

/// The policy's file name.
pub const POLICY_NAME: &str = "policy.ax.json";

/// The keys of a manifest that state a policy.
pub const POLICY_KEYS: [&str; 3] = ["policy", "allowed_capabilities", "denied_capabilities"];

/// What one policy says, as written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct CapabilityPolicy {
    /// Only these; nothing when empty.
    #[serde(default)]
    pub allowed_capabilities: Option<Vec<String>>,
    /// All but these.
    #[serde(default)]
    pub denied_capabilities: Option<Vec<String>>,
}

/// A checked policy: canonical names, at most one of the two lists.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    place: String,
    list: BTreeSet<&'static str>,
    allows: bool,
}

/// Every policy stated for a project.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policies(Vec<Rule>);

impl Policies {
    /// The policies of a project whose manifest has the given text.
    ///
    /// # Errors
    ///
    /// `read policy: …` and those of [`Policies::from_texts`].
    pub fn load(project: &Path, manifest_text: &str) -> Result<Self, Error> {
        let file = match files::read_text(&project.join(POLICY_NAME)) {
            Ok(text) => Some(text),
            Err(error) if files::is_absent(&error) => None,
            Err(reason) => return Err(Error::Io { action: "read policy".to_string(), reason }),
        };
        Self::from_texts(file.as_deref(), manifest_text)
    }

    /// The policies in the text of a policy file, if there is one, and of a manifest.
    ///
    /// # Errors
    ///
    /// `parse policy: …`, both lists in one policy, a name that is no capability.
    pub fn from_texts(file: Option<&str>, manifest_text: &str) -> Result<Self, Error> {
        let mut rules = Vec::new();
        if let Some(text) = file {
            let policy = serde_json::from_str(text).map_err(|error| Error::Parse {
                what: "policy".to_string(),
                reason: error.to_string(),
            })?;
            rules.extend(check(POLICY_NAME, policy)?);
        }
        let inside = |error: serde_json::Error| Error::Parse {
            what: format!("policy in {MANIFEST_NAME}"),
            reason: error.to_string(),
        };
        if let Value::Object(mut manifest) = serde_json::from_str(manifest_text).map_err(inside)? {
            if let Some(policy) = manifest.remove("policy").filter(|policy| !policy.is_null()) {
                let policy = serde_json::from_value(policy).map_err(inside)?;
                rules.extend(check(&format!("policy in {MANIFEST_NAME}"), policy)?);
            }
            let policy = serde_json::from_value(Value::Object(manifest)).map_err(inside)?;
            rules.extend(check(MANIFEST_NAME, policy)?);
        }
        Ok(Self(rules))
    }

    /// Uses of forbidden capabilities by a closure and, if given, the project itself.
    #[must_use]
    pub fn violations(
        &self,
        root: Option<&PackageManifest>,
        closure: &Resolution,
    ) -> Vec<Violation> {
        let packages = root
            .into_iter()
            .map(|manifest| (manifest, true))
            .chain(closure.packages.values().map(|manifest| (&**manifest, false)));
        let mut found = Vec::new();
        for (manifest, is_root) in packages {
            for written in &manifest.required_capabilities {
                let Some(name) = canonical(written) else { continue };
                let broken = self.0.iter().find(|rule| rule.list.contains(name) != rule.allows);
                if let Some(rule) = broken {
                    found.push(Violation {
                        capability: name.to_string(),
                        package: manifest.label(),
                        written: written.clone(),
                        is_root,
                        policy: rule.place.clone(),
                    });
                }
            }
        }
        found.sort_by(|a, b| (&a.capability, &a.package).cmp(&(&b.capability, &b.package)));
        found.dedup();
        found
    }

    /// That there are no [`Policies::violations`].
    ///
    /// # Errors
    ///
    /// [`Error::PolicyViolation`] with all of them.
    pub fn check(&self, root: Option<&PackageManifest>, closure: &Resolution) -> Result<(), Error> {
        let found = self.violations(root, closure);
        if found.is_empty() { Ok(()) } else { Err(Error::PolicyViolation(found)) }
    }
}

/// The canonical capabilities that a project and its closure ask for.
#[must_use]
pub fn requirements(root: &PackageManifest, closure: &Resolution) -> BTreeSet<&'static str> {
    let manifests = std::iter::once(root).chain(closure.packages.values().map(Box::as_ref));
    manifests
        .flat_map(|manifest| &manifest.required_capabilities)
        .filter_map(|name| canonical(name))
        .collect()
}

fn check(place: &str, policy: CapabilityPolicy) -> Result<Option<Rule>, Error> {
    let (names, allows) = match (policy.allowed_capabilities, policy.denied_capabilities) {
        (Some(_), Some(_)) => {
            return Err(Error::Policy(
                "cannot specify both allowed_capabilities and denied_capabilities".to_string(),
            ));
        }
        (Some(names), None) => (names, true),
        (None, Some(names)) => (names, false),
        (None, None) => return Ok(None),
    };
    let mut list = BTreeSet::new();
    for name in names {
        // A misspelt name in a list of what is denied would deny nothing.
        let known = canonical(&name)
            .ok_or_else(|| Error::Policy(format!("unknown capability '{name}' in {place}")))?;
        list.insert(known);
    }
    Ok(Some(Rule { place: place.to_string(), list, allows }))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::name::PackageId;
    use super::*;

    fn manifest(name: &str, capabilities: &[&str]) -> PackageManifest {
        PackageManifest {
            name: name.to_string(),
            version: "1.0.0".to_string(),
            description: "d".to_string(),
            dependencies: BTreeMap::new(),
            required_capabilities: capabilities.iter().map(ToString::to_string).collect(),
            exposed_modules: vec!["core".to_string()],
            integrity: None,
        }
    }

    fn closure(packages: &[(&str, &[&str])]) -> Resolution {
        let packages = packages.iter().filter_map(|(name, capabilities)| {
            Some((PackageId::new(name, "1.0.0")?, Box::new(manifest(name, capabilities))))
        });
        Resolution { packages: packages.collect(), ..Resolution::default() }
    }

    fn outcome(file: Option<&str>, keys: &str) -> String {
        let packages = closure(&[("lib.io", &["fs.read", "random"]), ("lib.web", &["net"])]);
        let root = manifest("app", &["fs.write"]);
        let text = format!("{{{keys}}}");
        match Policies::from_texts(file, &text)
            .and_then(|found| found.check(Some(&root), &packages))
        {
            Ok(()) => "ok".to_string(),
            Err(Error::PolicyViolation(found)) => found
                .iter()
                .map(|one| format!("{} {}", one.package, one.capability))
                .collect::<Vec<_>>()
                .join(", "),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn evaluation() {
        for (file, keys, expected) in [
            (None, "", "ok"),
            (Some("{}"), "", "ok"),
            (Some(r#"{"allowed_capabilities":null,"denied_capabilities":null}"#), "", "ok"),
            // Aliases mean the same on both sides.
            (Some(r#"{"denied_capabilities":["net.fetch"]}"#), "", "lib.web@1.0.0 net.fetch"),
            (Some(r#"{"denied_capabilities":["net"]}"#), "", "lib.web@1.0.0 net.fetch"),
            // The project's own capabilities count.
            (
                Some(r#"{"allowed_capabilities":["net.fetch","fs.read","random"]}"#),
                "",
                "app@1.0.0 fs.write",
            ),
            (
                Some(r#"{"allowed_capabilities":[]}"#),
                "",
                "lib.io@1.0.0 fs.read, app@1.0.0 fs.write, lib.web@1.0.0 net.fetch, \
                 lib.io@1.0.0 random",
            ),
            // In the manifest, in either form.
            (None, r#""denied_capabilities":["random"]"#, "lib.io@1.0.0 random"),
            (None, r#""policy":{"denied_capabilities":["random"]}"#, "lib.io@1.0.0 random"),
            // Every policy must hold.
            (
                Some(r#"{"denied_capabilities":["random"]}"#),
                r#""policy":{"denied_capabilities":["fs.write"]}"#,
                "app@1.0.0 fs.write, lib.io@1.0.0 random",
            ),
            (
                Some(r#"{"allowed_capabilities":[],"denied_capabilities":[]}"#),
                "",
                "cannot specify both allowed_capabilities and denied_capabilities",
            ),
            (
                Some(r#"{"denied_capabilities":["net.fetc"]}"#),
                "",
                "unknown capability 'net.fetc' in policy.ax.json",
            ),
            (
                Some("3"),
                "",
                "parse policy: invalid type: integer `3`, expected struct CapabilityPolicy at \
                 line 1 column 1",
            ),
            (
                None,
                r#""policy":3"#,
                "parse policy in package.ax.json: invalid type: integer `3`, expected struct \
                 CapabilityPolicy",
            ),
        ] {
            assert_eq!(outcome(file, keys), expected, "{file:?} {keys}");
        }
    }
}
