//! Who signs the versions of a package. A name that is known by some signers is not taken over by
//! another one, or by nobody, until the user says so (`spec/signature.md` §10). Nothing is kept for
//! that: installed packages and `trust.toml` say it.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::io;

use clap::Args;
use epk_format::signature::{KeyId, SignatureState};
use epk_format::trust::TrustedKeys;
use epk_format::{OpenOptions, Package};

use super::{Identity, Owner, Store, version};
use crate::exit::{Exit, Failure};
use crate::sources::parse_key;

/// Options of commands that install.
#[derive(Debug, Args)]
pub(crate) struct AcceptArgs {
    /// Let this key sign packages that others have signed before: its id, or `nobody`
    #[arg(long, value_name = "KEYID", value_parser = parse)]
    pub(crate) accept_signer: Vec<Signer>,
}

/// Who signed a package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Signer {
    Nobody,
    Key(KeyId),
}

impl Signer {
    /// `None` if nobody has looked.
    pub(crate) fn of(state: &SignatureState) -> Option<Self> {
        match state {
            SignatureState::Valid(id) | SignatureState::Untrusted(id) => {
                Some(Self::Key(id.clone()))
            }
            SignatureState::Unsigned => Some(Self::Nobody),
            SignatureState::NotChecked => None,
        }
    }

    /// Whether it is the key of this id.
    pub(crate) fn is(&self, id: &str) -> bool {
        matches!(self, Self::Key(key) if key.as_str() == id)
    }

    /// What `--accept-signer` takes.
    fn word(&self) -> &str {
        match self {
            Self::Nobody => "nobody",
            Self::Key(id) => id.as_str(),
        }
    }
}

impl fmt::Display for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobody => f.write_str("nobody"),
            Self::Key(id) => write!(f, "`{id}`"),
        }
    }
}

fn parse(text: &str) -> Result<Signer, String> {
    if text == "nobody" {
        return Ok(Signer::Nobody);
    }
    let id = parse_key(text).ok().and_then(|id| KeyId::parse(&id));
    id.map(Signer::Key).ok_or_else(|| "expected a key id, a public key, or `nobody`".to_owned())
}

/// The signers that a name is known by.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Known {
    keys: BTreeSet<KeyId>,
    /// Whether a version without a signature would be a change: the newest one has a signature, or
    /// the user has named a key.
    signed: bool,
}

/// Who has signed the other versions of a package that whoever uses `store` may run by its name,
/// and who is trusted for exactly this name.
pub(crate) fn known(
    identity: &Identity,
    store: &Store,
    trust: &TrustedKeys,
) -> Result<Known, Failure> {
    let mut others = store.versions_of(&identity.name)?;
    others.retain(|package| package.identity != *identity);
    if store.owner == Owner::User {
        others.extend(Store::of(Owner::System)?.versions_of(&identity.name)?);
    }
    others.sort_by(|one, other| version::compare(&one.identity.version, &other.identity.version));
    let mut known = Known::default();
    for package in others {
        // Of a package that was verified when it came, and read without judging it now.
        let options = OpenOptions { verify_hash: false, ..OpenOptions::default() };
        let file = match File::open(&package.path) {
            Ok(file) => file,
            // It has just been removed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                return Err(Failure::system(format!("`{}`", package.path.display()), &error));
            }
        };
        let opened = Package::open(file, &options).map_err(|error| {
            Failure::package(&package.path, &error)
                .hint(format!("nobody knows who signed it: `pkgtool remove {}`", package.identity))
        })?;
        known.add(Signer::of(opened.signature()));
    }
    trust.bound_to(&identity.name).for_each(|id| known.add(Some(Signer::Key(id.clone()))));
    Ok(known)
}

impl Known {
    /// Adds the signer of a newer version, or at last a key that the user has named.
    fn add(&mut self, signer: Option<Signer>) {
        self.signed = matches!(signer, Some(Signer::Key(_)));
        if let Some(Signer::Key(id)) = signer {
            self.keys.insert(id);
        }
    }

    /// Whether a version by this signer may come in.
    pub(crate) fn admit(&self, identity: &Identity, signer: &Signer) -> Result<(), Failure> {
        let admitted = match signer {
            Signer::Key(id) => self.keys.is_empty() || self.keys.contains(id),
            // Somebody may have taken the signature away.
            Signer::Nobody => !self.signed,
        };
        if admitted {
            return Ok(());
        }
        let known: Vec<&str> = self.keys.iter().map(KeyId::as_str).collect();
        Err(Failure::new(
            Exit::Signature,
            format!(
                "`{identity}` is signed by {signer}, and `{}` is known to be signed by `{}` \
                 (SIGNER_CHANGED)",
                identity.name.escape_debug(),
                known.join("`, `"),
            ),
        )
        .hint(format!("if the publisher has announced that: `--accept-signer {}`", signer.word())))
    }
}

#[cfg(test)]
mod tests {
    use epk_format::signature::SigningKey;

    use super::*;

    #[test]
    fn who_is_admitted() {
        let key = |seed: u8| Signer::Key(SigningKey::from_seed(&[seed; 32]).public().id());
        let (a, b, nobody) = (key(1), key(2), Signer::Nobody);
        let identity = Identity { name: "app".into(), version: "9".into() };
        // Signers from the oldest version to the newest and keys for the name, and of `a`, `b` and
        // nobody those who are admitted.
        type Case<'c> = (&'c [&'c Signer], [bool; 3]);
        let cases: &[Case<'_>] = &[
            (&[], [true, true, true]),
            (&[&nobody], [true, true, true]),
            (&[&a], [true, false, false]),
            (&[&a, &b], [true, true, false]),
            (&[&nobody, &a], [true, false, false]),
            (&[&a, &nobody], [true, false, true]),
        ];
        for (versions, admitted) in cases {
            let mut known = Known::default();
            versions.iter().for_each(|signer| known.add(Some((*signer).clone())));
            let found = [&a, &b, &nobody].map(|signer| known.admit(&identity, signer).is_ok());
            assert_eq!(found, *admitted, "{versions:?}");
        }
    }

    #[test]
    fn what_users_write() {
        let key = SigningKey::from_seed(&[1; 32]).public();
        assert_eq!(parse("nobody"), Ok(Signer::Nobody));
        for text in [key.to_base64(), key.id().to_string()] {
            assert_eq!(parse(&text), Ok(Signer::Key(key.id())));
        }
        assert!(parse("ed25519:x").is_err());
    }
}
