//! What is imported: found out by its content, never by its name.

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::path::Path;

use epk_format::write::Contents;

use super::describe::Description;
use super::oci::Layout;
use super::problem::Problem;
use super::spool::Spool;
use super::squashfs::SquashFs;
use super::tree::Tree;
use super::{appimage, archive, compression, squashfs};

/// What stands for standard input.
pub(crate) const STDIN: &str = "-";

/// What was read.
pub(crate) struct Loaded {
    /// The bytes of the tree's files.
    pub(crate) contents: Box<dyn Contents>,
    /// What is known of the application.
    pub(crate) description: Description,
    /// In a word: `tar archive`.
    pub(crate) kind: &'static str,
}

/// Reads everything into `tree`. `spool` makes files without names. `image` chooses one of an OCI
/// layout.
pub(crate) fn load(
    path: &Path,
    image: Option<&str>,
    tree: &mut Tree,
    spool: impl FnOnce() -> Result<File, Problem>,
) -> Result<Loaded, Problem> {
    if path.as_os_str() == STDIN {
        return stream(io::stdin().lock(), tree, spool);
    }
    let open = |error| Problem::System("cannot open".into(), error);
    let file = File::open(path).map_err(open)?;
    let kind = file.metadata().map_err(open)?;
    if kind.is_dir() {
        let layout = Layout::open(path).ok_or_else(|| {
            Problem::Refused(
                "is a folder and no OCI layout; `pkgtool pack` makes packages of folders".into(),
            )
        })?;
        let mut spool = Spool::new(spool()?);
        layout.read(image, tree, &mut spool)?;
        return Ok(loaded(spool, Description::default(), "OCI layout"));
    }
    if kind.is_file() { seekable(file, tree, spool) } else { stream(file, tree, spool) }
}

/// Reads something that can be read once only.
fn stream(
    mut input: impl Read,
    tree: &mut Tree,
    spool: impl FnOnce() -> Result<File, Problem>,
) -> Result<Loaded, Problem> {
    let first = first_bytes(&mut input)?;
    let input = first.as_slice().chain(input);
    if first.starts_with(squashfs::MAGIC) || appimage::is_elf(&first) {
        let mut file = spool()?;
        let most = tree.limits.most();
        let copied = io::copy(&mut input.take(most.saturating_add(1)), &mut file);
        let copied = copied.map_err(|error| Problem::System("cannot keep it".into(), error))?;
        if copied > most {
            let message = format!("is an image of more than {most} bytes (`--max-size`)");
            return Err(Problem::Refused(message));
        }
        return image(file, &first, tree);
    }
    of_archive(input, tree, spool)
}

fn seekable(
    mut file: File,
    tree: &mut Tree,
    spool: impl FnOnce() -> Result<File, Problem>,
) -> Result<Loaded, Problem> {
    let first = first_bytes(&mut file)?;
    if first.starts_with(squashfs::MAGIC) || appimage::is_elf(&first) {
        return image(file, &first, tree);
    }
    file.seek(SeekFrom::Start(0)).map_err(Problem::read)?;
    of_archive(file, tree, spool)
}

fn first_bytes(input: &mut impl Read) -> Result<Vec<u8>, Problem> {
    let mut first = Vec::new();
    let most = u64::try_from(compression::FIRST).unwrap_or(u64::MAX);
    input.take(most).read_to_end(&mut first).map_err(Problem::read)?;
    Ok(first)
}

/// Reads a SquashFS image or an AppImage.
fn image(file: File, first: &[u8], tree: &mut Tree) -> Result<Loaded, Problem> {
    if first.starts_with(squashfs::MAGIC) {
        let mut image = SquashFs::open(file, 0)?;
        image.read(tree)?;
        return Ok(loaded(image, Description::default(), "SquashFS image"));
    }
    match appimage::type_of(first) {
        Some(2) => {}
        Some(1) => {
            let message =
                "is an AppImage of type 1, which is an ISO 9660 image; type 2 can be read";
            return Err(Problem::Refused(message.into()));
        }
        _ => return Err(Problem::Refused("is a program, and no AppImage".into())),
    }
    let (offset, arch) = appimage::payload(&file)?;
    let mut image = SquashFs::open(file, offset)?;
    image.read(tree)?;
    let description = Description::of_app_image(tree, &image, arch);
    Ok(loaded(image, description, "AppImage"))
}

fn of_archive(
    input: impl Read,
    tree: &mut Tree,
    spool: impl FnOnce() -> Result<File, Problem>,
) -> Result<Loaded, Problem> {
    let (first, mut plain) = compression::open(input)?;
    if first.is_empty() {
        return Err(Problem::Damaged("is empty".into()));
    }
    if !archive::looks_like_one(&first) {
        let what = match &*first {
            [b'E', b'P', b'K', b'1', ..] => "is a package already",
            [b'P', b'K', 3, 4, ..] => "is a zip archive",
            [b'h', b's', b'q', b's', ..] => "is a compressed SquashFS image: decompress it first",
            _ => "is no tar archive, SquashFS image, AppImage or OCI layout",
        };
        return Err(Problem::Refused(what.into()));
    }
    let mut spool = Spool::new(spool()?);
    archive::read(&mut plain, tree, &mut spool)?;
    Ok(loaded(spool, Description::default(), "tar archive"))
}

fn loaded(
    contents: impl Contents + 'static,
    description: Description,
    kind: &'static str,
) -> Loaded {
    Loaded { contents: Box::new(contents), description, kind }
}
