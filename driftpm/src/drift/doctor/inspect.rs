//! Reading package files once, in parallel, for the checks that need them.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;

use epk_format::digest::Sha256;
use rayon::prelude::*;

use super::super::container;
use super::super::identity::Identity;
use crate::files::{FileError, MAX_PACKAGE, read_below};
use crate::keys::sha256_text;
use crate::progress::Progress;
use crate::relpath::RelPath;

/// A directory and a path in it.
pub(super) type Place = (PathBuf, RelPath);

/// What a package file turned out to be.
#[derive(Clone, Debug)]
pub(super) enum Inspection {
    /// It is not there.
    Missing,
    /// It is there, but cannot be read.
    Unreadable(String),
    /// It was read.
    Read {
        /// Its hash.
        sha256: String,
        /// Its identity as the light reader sees it, or why it sees none.
        light: Result<Identity, String>,
        /// Why the full reader refuses it, if it does.
        full: Result<(), String>,
    },
}

/// The package files that were read.
#[derive(Debug, Default)]
pub(super) struct Inspector(HashMap<Place, Inspection>);

impl Inspector {
    /// Reads every place once.
    pub(super) fn read_all(&mut self, places: BTreeSet<Place>, progress: &dyn Progress) {
        progress.begin("reading packages", places.len());
        let places: Vec<Place> = places.into_iter().collect();
        self.0 = places
            .into_par_iter()
            .map(|place| {
                let inspection = inspect(&place);
                progress.step();
                (place, inspection)
            })
            .collect();
    }

    /// What was found at `place`; a place that nobody announced counts as missing.
    pub(super) fn at(&self, place: &Place) -> &Inspection {
        self.0.get(place).unwrap_or(&Inspection::Missing)
    }
}

fn inspect((root, path): &Place) -> Inspection {
    let bytes = match read_below(root, path, MAX_PACKAGE) {
        Ok(bytes) => bytes,
        Err(FileError::Missing(_)) => return Inspection::Missing,
        Err(error) => return Inspection::Unreadable(error.to_string()),
    };
    Inspection::Read {
        sha256: sha256_text(&Sha256::of(&bytes)),
        light: container::read_light(&bytes).map(|light| light.identity).map_err(|e| e.to_string()),
        full: container::read_full(&bytes).map(|_| ()).map_err(|error| error.to_string()),
    }
}
