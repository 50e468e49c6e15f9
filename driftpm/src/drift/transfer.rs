//! Copying packages with their sidecars: verified and written to temporary files in parallel,
//! named one after the other.

use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::files::{self, FileError, Staged};
use crate::json::Limit;
use crate::progress::Progress;
use crate::relpath::{RelPath, sidecar_of};

/// How many packages are prepared before the first of them is named: enough to keep processors
/// and disk busy, few enough that an early error wastes little.
const BATCH: usize = 1024;

/// From how many packages on the whole file system is synced at once rather than each file: that
/// may wait for other programs' writes, which a handful of packages should not.
const MANY: usize = 16;

/// A package and its sidecar under temporary names.
#[derive(Debug)]
#[must_use = "a staged package vanishes unless it is committed"]
pub struct StagedPackage {
    package: Staged,
    sidecar: Option<Staged>,
    sidecar_path: PathBuf,
}

impl StagedPackage {
    /// Writes both files for `path` below `root`.
    ///
    /// # Errors
    /// [`FileError`]
    pub fn write(
        root: &Path,
        path: &RelPath,
        package: &[u8],
        sidecar: Option<&[u8]>,
    ) -> Result<Self, FileError> {
        files::create_parents_below(root, path)?;
        let destination = path.below(root);
        let sidecar_path = sidecar_of(&destination);
        let package = Staged::write(&destination, package)?;
        let sidecar = sidecar.map(|bytes| Staged::write(&sidecar_path, bytes)).transpose()?;
        Ok(Self { package, sidecar, sidecar_path })
    }

    fn sync(&self) -> Result<(), FileError> {
        self.package.sync()?;
        self.sidecar.as_ref().map_or(Ok(()), Staged::sync)
    }

    /// Gives both files their names. Without a sidecar, one that lies there from another time is
    /// removed: it would speak about other bytes.
    ///
    /// # Errors
    /// [`FileError`]
    pub fn commit(self) -> Result<(), FileError> {
        if self.sidecar.is_none() {
            files::remove_if_there(&self.sidecar_path)?;
        }
        self.package.commit()?;
        self.sidecar.map_or(Ok(()), Staged::commit)
    }
}

/// Reads the sidecar beside `path` in `root`, if there is one.
///
/// # Errors
/// [`FileError`], except that it is missing.
pub fn read_sidecar(root: &Path, path: &RelPath) -> Result<Option<Vec<u8>>, FileError> {
    match files::read_below(root, &path.sidecar(), Limit::SIDECAR.file()) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes the bytes of packages staged below `root` durable, before they get their names.
///
/// # Errors
/// [`FileError`]
pub fn sync_staged<'a>(
    root: &Path,
    staged: impl Iterator<Item = &'a StagedPackage>,
) -> Result<(), FileError> {
    let staged: Vec<&StagedPackage> = staged.collect();
    if staged.len() >= MANY {
        files::sync_file_system(root)
    } else {
        staged.into_iter().try_for_each(StagedPackage::sync)
    }
}

/// Prepares `items` in parallel, batch by batch, hands each batch's results to `seal`, and then
/// one after the other, in order, to `take`, until one of them breaks.
pub fn in_order<T: Sync, R: Send, B>(
    items: &[T],
    progress: &dyn Progress,
    prepare: impl Fn(&T) -> R + Sync,
    seal: impl Fn(&[R]) -> ControlFlow<B>,
    mut take: impl FnMut(&T, R) -> ControlFlow<B>,
) -> Option<B> {
    for batch in items.chunks(BATCH) {
        let results: Vec<R> = batch
            .par_iter()
            .map(|item| {
                let result = prepare(item);
                progress.step();
                result
            })
            .collect();
        if let ControlFlow::Break(value) = seal(&results) {
            return Some(value);
        }
        for (item, result) in batch.iter().zip(results) {
            if let ControlFlow::Break(value) = take(item, result) {
                return Some(value);
            }
        }
    }
    None
}

/// Makes the names of everything at `paths` below `root` durable.
///
/// # Errors
/// [`FileError`]
pub fn sync_directories<'a>(
    root: &Path,
    paths: impl Iterator<Item = &'a RelPath>,
) -> Result<(), FileError> {
    let directories: BTreeSet<PathBuf> =
        paths.map(|path| files::parent_of(&path.below(root)).to_owned()).collect();
    directories.iter().try_for_each(|directory| files::sync_directory(directory))
}

/// Which package a path belongs to, so that no two packages share a file.
#[derive(Debug, Default)]
pub struct Claims(HashMap<String, String>);

impl Claims {
    /// Claims `path` and its sidecar's for `package_id`.
    ///
    /// # Errors
    /// The package that has one of them already.
    pub fn claim(&mut self, path: &RelPath, package_id: &str) -> Result<(), String> {
        let names = [path.as_str().to_owned(), path.sidecar().as_str().to_owned()];
        let taken = names.iter().find_map(|name| self.0.get(name)).filter(|id| *id != package_id);
        if let Some(owner) = taken {
            return Err(owner.clone());
        }
        for name in names {
            self.0.insert(name, package_id.to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;

    #[test]
    fn results_come_in_order_and_stop_at_the_first_break() {
        let items: Vec<usize> = (0..BATCH * 2).collect();
        let mut taken = Vec::new();
        let last = BATCH + 7;
        let seal = |_: &[usize]| ControlFlow::Continue(());
        let broke = in_order(
            &items,
            &Silent,
            |item| item * 2,
            seal,
            |item, result| {
                taken.push(result);
                if *item == last { ControlFlow::Break("enough") } else { ControlFlow::Continue(()) }
            },
        );
        assert_eq!(broke, Some("enough"));
        assert_eq!(taken, (0..=last).map(|item| item * 2).collect::<Vec<usize>>());
    }

    #[test]
    fn a_path_has_one_owner() {
        let rel = |text| RelPath::parse(text).unwrap();
        let mut claims = Claims::default();
        claims.claim(&rel("a.dmp"), "a").unwrap();
        claims.claim(&rel("a.dmp"), "a").unwrap();
        assert_eq!(claims.claim(&rel("./a.dmp"), "b"), Err("a".into()));
        assert_eq!(claims.claim(&rel("a.dmp.sig"), "b"), Err("a".into()));
        claims.claim(&rel("b.dmp.sig"), "b").unwrap();
        assert_eq!(claims.claim(&rel("b.dmp"), "c"), Err("b".into()));
    }

    #[test]
    fn a_stale_sidecar_goes_with_its_package() {
        let folder = tempfile::tempdir().unwrap();
        let path = RelPath::parse("x/a.dmp").unwrap();
        let sidecar = folder.path().join("x/a.dmp.sig");
        StagedPackage::write(folder.path(), &path, b"1", Some(b"s")).unwrap().commit().unwrap();
        assert_eq!(std::fs::read(&sidecar).unwrap(), b"s");
        StagedPackage::write(folder.path(), &path, b"2", None).unwrap().commit().unwrap();
        assert!(!sidecar.exists());
        assert_eq!(std::fs::read(folder.path().join("x/a.dmp")).unwrap(), b"2");
    }
}
