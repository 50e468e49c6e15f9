//! Trust on first use: the first signer of a name is asked about once, and from then on is the
//! only one, until somebody says otherwise.
//!
//! It never applies to reserved names, to revoked keys, to names below a first part that others
//! speak for already, and to names that look like one of those. What is agreed to is written into
//! the project's store at once.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::super::sidecar::enclosed_signers;
use super::verify::{Distrust, Trust, verify_package};
use crate::files::{self, FileError};
use crate::index::Signed;
use crate::json::Limit;
use crate::keys::PublicKey;
use crate::problem::Problem;
use crate::trust::{TrustFile, is_reserved};

/// Whether first signers are accepted.
#[derive(Clone, Copy, Debug)]
pub enum Consent {
    /// Never: nobody can be asked.
    Never,
    /// Always: the user has said so beforehand.
    Always,
    /// The user is asked; the text is a question.
    Ask(fn(&str) -> bool),
}

/// Trust stores that first signers can enter.
#[derive(Debug)]
pub struct FirstUse {
    /// The project's store.
    store: PathBuf,
    trust: Mutex<Trust>,
    consent: Consent,
}

/// What is known of a signed package.
#[derive(Clone, Debug)]
pub struct Examined {
    /// Why the gate would refuse it.
    refusal: Option<Distrust>,
    /// The keys that it encloses and that have signed it.
    signers: Vec<(String, PublicKey)>,
    modules: Vec<String>,
}

impl FirstUse {
    /// The stores as they were read; `store` is the file of the project's.
    #[must_use]
    pub fn new(store: PathBuf, trust: Trust, consent: Consent) -> Self {
        Self { store, trust: Mutex::new(trust), consent }
    }

    /// One question at a time, and the answer to one is known to the next.
    fn trust(&self) -> MutexGuard<'_, Trust> {
        self.trust.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the state of an index pass if a key that is bound to its repository has signed it, or
    /// if it is the first and that is agreed to.
    ///
    /// # Errors
    /// `SIGNER_REVOKED`, `SIGNER_CHANGED`, `FIRST_USE_REFUSED`
    pub fn admit_index(&self, place: &str, signed: &Signed) -> Result<(), Problem> {
        let mut trust = self.trust();
        let live: BTreeMap<&String, &PublicKey> =
            signed.signers.iter().filter(|(kid, _)| !trust.revokes(kid)).collect();
        let Some((kid, key)) = live.iter().next() else {
            let kid = signed.signers.keys().next().map(String::as_str).unwrap_or_default();
            return Err(revoked(kid).about(place));
        };
        if let Some(bound) = trust.project.repositories.get(place) {
            if live.keys().any(|kid| bound.contains(*kid)) {
                return Ok(());
            }
            let message =
                format!("the index of `{place}` is signed by `{kid}`, which is not its key");
            return Err(changed(message).about(place));
        }
        let question = format!(
            "the index of `{place}` is signed by `{kid}`, which is new here. Trust it from now on?"
        );
        self.ask(&question, place)?;
        self.change(|store| store.bind_repository(place, key))?;
        trust.project.repositories.entry(place.to_owned()).or_default().insert((*kid).clone());
        Ok(())
    }

    /// What has to be known of a signed package to decide about it, computed without asking
    /// anybody: for many packages at once.
    #[must_use]
    pub fn examine(&self, bytes: &[u8], modules: &[String], sidecar: &[u8]) -> Examined {
        let trust = self.trust().clone();
        Examined {
            refusal: verify_package(bytes, modules, Some(sidecar), &trust, false).err(),
            signers: enclosed_signers(sidecar, bytes),
            modules: modules.to_vec(),
        }
    }

    /// Lets a signed package pass if it is trusted, or if its signer is the first of its names and
    /// that is agreed to. Packages are to come in an order that does not depend on chance: of two
    /// signers of one new name, the first is asked about and the second is refused.
    ///
    /// # Errors
    /// `SIGNER_REVOKED`, `SIGNER_CHANGED`, `NAMESPACE_RESERVED`, `NAMESPACE_TAKEN`,
    /// `NAMESPACE_LOOKALIKE`, `FIRST_USE_REFUSED`, `FIRST_USE_NO_KEY`, and the gate's codes
    pub fn admit_package(&self, package_id: &str, examined: &Examined) -> Result<(), Problem> {
        let Examined { refusal, signers, modules } = examined;
        let Some(refusal) = refusal else { return Ok(()) };
        let mut trust = self.trust();
        let about = |problem: Problem| problem.about(package_id);
        let plain = || about(Problem::new(refusal.code(), refusal.to_string()));
        if let Some(module) = modules.iter().find(|module| is_reserved(module)) {
            let refusal = Distrust::Reserved(module.clone());
            return Err(about(Problem::new(refusal.code(), refusal.to_string())));
        }
        if matches!(refusal, Distrust::Sidecar(_) | Distrust::OtherPackage(_) | Distrust::NoModules)
        {
            return Err(plain());
        }
        let names: Vec<&str> = signers.iter().map(|(kid, _)| kid.as_str()).collect();
        let names = names.join("`, `");
        let live: Vec<&(String, PublicKey)> =
            signers.iter().filter(|(kid, _)| !trust.revokes(kid)).collect();
        if live.is_empty() && !signers.is_empty() {
            return Err(about(revoked(&names)));
        }
        let mut new: Vec<&str> = Vec::new();
        for module in modules {
            if trust.project.is_bound(module) {
                let allowed = trust.project.allowed_keys(module);
                if !live.iter().any(|(kid, _)| allowed.contains(kid.as_str())) {
                    if signers.is_empty() {
                        return Err(plain());
                    }
                    let message = format!(
                        "module `{module}` is bound to other keys than `{names}`, which signed it"
                    );
                    return Err(about(changed(message)));
                }
                continue;
            }
            let first = module.split('.').next().unwrap_or(module);
            if let Some(known) = trust.project.relative_of(first) {
                let (code, how) = if known == first {
                    ("NAMESPACE_TAKEN", "is")
                } else {
                    ("NAMESPACE_LOOKALIKE", "looks like")
                };
                let message = format!(
                    "`{module}` {how} below `{known}`, for which others speak; its signers are `{names}`"
                );
                return Err(about(
                    Problem::new(code, message)
                        .hint("if it is right: `drift trust add-key --namespace …`"),
                ));
            }
            if !new.contains(&first) {
                new.push(first);
            }
        }
        let Some((kid, key)) = live.first() else {
            let message = "the package is new here, and no signature encloses its key";
            return Err(about(Problem::new("FIRST_USE_NO_KEY", message).hint(
                "`drift trust add-key` adds it; publishers enclose it by `drift sign --include-pubkey`",
            )));
        };
        if new.is_empty() {
            // Another package has brought in the signer since this one was looked at.
            return Ok(());
        }
        let patterns: Vec<String> = new.iter().map(|first| format!("{first}.*")).collect();
        let question = format!(
            "package `{package_id}` is signed by `{kid}`, the first one here to speak for `{}`. \
             Trust it for that from now on?",
            patterns.join("`, `")
        );
        self.ask(&question, package_id)?;
        self.change(|store| {
            for pattern in &patterns {
                store
                    .add_key(pattern, &key.to_base64(), Some(kid))
                    .map_err(|error| Problem::new("TRUST_STORE_INVALID", error.to_string()))?;
            }
            Ok(())
        })?;
        trust.project.keys.insert(kid.clone(), *key);
        for pattern in patterns {
            trust.project.namespaces.entry(pattern).or_default().insert(kid.clone());
        }
        Ok(())
    }

    fn ask(&self, question: &str, subject: &str) -> Result<(), Problem> {
        let hint = match self.consent {
            Consent::Always => return Ok(()),
            Consent::Ask(ask) if ask(question) => return Ok(()),
            Consent::Ask(_) => "nothing was changed",
            Consent::Never => "`--trust-on-first-use` accepts first signers without asking",
        };
        let message = question.split(". Trust").next().unwrap_or(question);
        Err(Problem::new("FIRST_USE_REFUSED", message).about(subject).hint(hint))
    }

    fn change(
        &self,
        change: impl FnOnce(&mut TrustFile) -> Result<(), Problem>,
    ) -> Result<(), Problem> {
        let directory = files::parent_of(&self.store);
        files::create_dirs(directory)?;
        let _guard = files::lock_directory(directory)?;
        let mut store = match files::read(&self.store, Limit::SETTINGS.file()) {
            Ok(bytes) => TrustFile::parse(&bytes)
                .map_err(|error| Problem::new("TRUST_STORE_INVALID", error.to_string()))?,
            Err(FileError::Missing(_)) => TrustFile::empty(),
            Err(error) => return Err(error.into()),
        };
        change(&mut store)?;
        Ok(files::write_atomically(&self.store, &store.to_bytes())?)
    }
}

fn revoked(kid: &str) -> Problem {
    Problem::new("SIGNER_REVOKED", format!("the signing key `{kid}` is revoked"))
}

fn changed(message: String) -> Problem {
    Problem::new("SIGNER_CHANGED", message)
        .hint("if the publisher has announced a new key: `drift trust rotate`")
}

#[cfg(test)]
mod tests {
    use super::super::super::sidecar::Draft;
    use super::*;
    use crate::keys::PrivateKey;
    use crate::keys::testing::key;
    use epk_format::digest::Sha256;

    const PACKAGE: &[u8] = b"the bytes of a package";

    fn sidecar(keys: &[&PrivateKey]) -> Vec<u8> {
        let mut draft = Draft::new(&Sha256::of(PACKAGE));
        for key in keys {
            draft.sign(key, PACKAGE, true);
        }
        draft.to_bytes()
    }

    /// What becomes of packages of these modules and signers, one after the other.
    fn codes(trust: Trust, packages: &[(&[&str], &[&PrivateKey])]) -> Vec<&'static str> {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("drift/trust.json");
        let first_use = FirstUse::new(store, trust, Consent::Always);
        let code = |(modules, keys): &(&[&str], &[&PrivateKey])| {
            let modules: Vec<String> = modules.iter().map(|module| (*module).to_owned()).collect();
            let examined = first_use.examine(PACKAGE, &modules, &sidecar(keys));
            match first_use.admit_package("p", &examined) {
                Ok(()) => {
                    // Whoever gets in by the first use gets through the gate.
                    let trust = first_use.trust().clone();
                    verify_package(PACKAGE, &modules, Some(&sidecar(keys)), &trust, false).unwrap();
                    "OK"
                }
                Err(problem) => problem.code,
            }
        };
        packages.iter().map(code).collect()
    }

    #[test]
    fn the_first_signer_and_no_other() {
        let (one, two) = (key(1), key(2));
        let found = codes(
            Trust::default(),
            &[
                (&["acme.a"], &[&one]),
                (&["acme.b", "acme"], &[&one]),
                (&["acme.c"], &[&two]),
                (&["acme.c"], &[&two, &one]),
                (&["acme.d", "zeta.a"], &[&two]),
                (&["zeta.a"], &[&two]),
                (&["zeta.a", "acme.a"], &[&two, &one]),
                (&["std.a"], &[&one]),
                (&["new.a", "std.a"], &[&one]),
            ],
        );
        let expected = [
            "OK",
            "OK",
            "SIGNER_CHANGED",
            "OK",
            "SIGNER_CHANGED",
            "OK",
            "OK",
            "NAMESPACE_RESERVED",
            "NAMESPACE_RESERVED",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_revoked_key_brings_nobody_in() {
        let (one, two) = (key(1), key(2));
        let mut trust = Trust::default();
        trust.project.revoked.insert(one.public().id());
        trust.project.keys.insert(one.public().id(), one.public());
        trust.project.namespaces.insert("acme.*".into(), [one.public().id()].into());
        let found = codes(
            trust,
            &[
                (&["acme.a"], &[&one]),
                (&["other.a"], &[&one]),
                // The key that may speak is revoked, the other one may not speak.
                (&["acme.a"], &[&one, &two]),
                (&["other.a"], &[&one, &two]),
            ],
        );
        assert_eq!(found, ["SIGNER_REVOKED", "SIGNER_REVOKED", "SIGNER_CHANGED", "OK"]);
    }

    #[test]
    fn a_namespace_that_nobody_may_speak_for_stays_so() {
        let mut trust = Trust::default();
        trust.project.namespaces.insert("acme.*".into(), Default::default());
        assert_eq!(codes(trust, &[(&["acme.a"], &[&key(1)])]), ["SIGNER_CHANGED"]);
    }
}
