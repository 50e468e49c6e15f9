//! Packages in an EPK image: the vendored closure as one verified, compressed file.
//!
//! An image holds what the vendor directory would: `ID/VERSION/NAME.dmp` and the sidecars. It can
//! be mounted there, and the gate reads it as it is. The same packages make the same bytes.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use epk_format::digest::Sha256;
use epk_format::package::{Kind, NodeId, Scratch};
use epk_format::resolve::Resolved;
use epk_format::write::{self, ContentId, Contents, Format, Options, Plan, PlanEntry};
use epk_format::{OpenOptions, Package};

use crate::files::{self, FileError};
use crate::keys::sha256_text;
use crate::problem::Problem;
use crate::relpath::{RelPath, shown};

/// The first bytes of an image.
const MAGIC: [u8; 3] = *b"EPK";
/// How deep folders in an image are looked into.
const MAX_DEPTH: usize = 32;

/// Whether the file at `path` looks like an image.
#[must_use]
pub fn is_image(path: &Path) -> bool {
    let mut magic = [0; MAGIC.len()];
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file())
        && File::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok()
        && magic == MAGIC
}

/// Files on their way into an image.
pub type Files = BTreeMap<RelPath, Content>;

/// What is in a file on its way into an image.
#[derive(Clone, Debug)]
pub enum Content {
    /// These bytes.
    Held(Vec<u8>),
    /// The bytes of a file, which has this size and hash.
    Stored {
        /// The folder in which it lies; no link below it is followed.
        root: PathBuf,
        /// Where it lies there.
        path: RelPath,
        /// Its bytes.
        size: u64,
        /// Its hash, `sha256:…`.
        sha256: String,
    },
}

impl Content {
    /// The file at `path` in `root`, which was read as `bytes`, of the hash `sha256`.
    #[must_use]
    pub fn stored(root: &Path, path: &RelPath, bytes: &[u8], sha256: &str) -> Self {
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Self::Stored { root: root.to_owned(), path: path.clone(), size, sha256: sha256.to_owned() }
    }

    fn size(&self) -> u64 {
        match self {
            Self::Held(bytes) => u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            Self::Stored { size, .. } => *size,
        }
    }

    fn read(&self) -> io::Result<Cow<'_, [u8]>> {
        match self {
            Self::Held(bytes) => Ok(Cow::Borrowed(bytes)),
            Self::Stored { root, path, size, sha256 } => {
                let bytes = files::read_below(root, path, *size).map_err(io::Error::other)?;
                if sha256_text(&Sha256::of(&bytes)) != *sha256 {
                    return Err(io::Error::other(format!("`{path}` changed while it was read")));
                }
                Ok(Cow::Owned(bytes))
            }
        }
    }
}

/// Writes `files` into an image at `output`, under the manifest `manifest`. What lies at `output`
/// is replaced only if it is an image, or nothing. Returns the image's hash and size.
///
/// # Errors
/// `IMAGE_INVALID`, `FILE_ERROR`; `output` is then as it was.
pub fn write_image(files: &Files, manifest: &str, output: &Path) -> Result<(Sha256, u64), Problem> {
    let place = shown(output);
    let wrong = |message: String| Problem::new("IMAGE_INVALID", message).in_file(place.as_str());
    if fs::symlink_metadata(output).is_ok() && !is_image(output) {
        return Err(wrong("is there already and is no image; it is not replaced".to_owned()));
    }
    let parent = files::parent_of(output);
    files::create_dirs(parent)?;
    let failed = |error: io::Error| {
        Problem::from(FileError::Io { action: "write", path: place.clone(), error })
    };
    let entries = files
        .iter()
        .enumerate()
        .map(|(number, (path, content))| {
            let path = path.as_str().as_bytes();
            PlanEntry::file(path, 0o644, ContentId(number), content.size())
        })
        .collect();
    let plan = Plan::new(Format::V1, entries).map_err(|error| wrong(error.to_string()))?;
    let threads = NonZeroUsize::new(rayon::current_num_threads()).unwrap_or(NonZeroUsize::MIN);
    let options = Options { threads, ..Options::default() };
    let mut file = tempfile::Builder::new()
        .prefix(".drift-")
        .suffix(".tmp")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(parent)
        .map_err(failed)?;
    let contents = Numbered(files.values().collect());
    let written = write::write(
        &plan,
        &contents,
        manifest.as_bytes(),
        &options,
        None,
        &(),
        file.as_file_mut(),
    )
    .map_err(|error| wrong(error.to_string()))?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(output).map_err(|error| failed(error.error))?;
    files::sync_directory(parent)?;
    Ok((written.package_hash, written.size))
}

/// Files by their numbers in the plan.
struct Numbered<'a>(Vec<&'a Content>);

impl Contents for Numbered<'_> {
    fn open(&self, id: ContentId, path: &[u8]) -> io::Result<Box<dyn Read + Send + '_>> {
        match self.0.get(id.0) {
            Some(content) => Ok(Box::new(io::Cursor::new(content.read()?))),
            None => Err(io::Error::other(format!("no content for {}", path.escape_ascii()))),
        }
    }
}

/// An image that is open; its hash was checked.
pub struct Image {
    path: String,
    package: Package<File>,
}

impl std::fmt::Debug for Image {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Image").field(&self.path).finish()
    }
}

impl Image {
    /// Opens the image at `path`.
    ///
    /// # Errors
    /// `IMAGE_INVALID`
    pub fn open(path: &Path) -> Result<Self, Problem> {
        let wrong = |message: String| Problem::new("IMAGE_INVALID", message).in_file(shown(path));
        let file = File::open(path).map_err(|error| wrong(error.to_string()))?;
        let package = Package::open(file, &OpenOptions::default())
            .map_err(|error| wrong(error.to_string()))?;
        Ok(Self { path: shown(path), package })
    }

    /// The image's own path.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// A file in the image as messages show it.
    #[must_use]
    pub fn shown(&self, inside: &RelPath) -> String {
        format!("{}:{inside}", self.path)
    }

    fn problem(&self, error: &dyn ToString) -> Problem {
        Problem::new("IMAGE_INVALID", error.to_string()).in_file(self.path.as_str())
    }

    /// All `*.dmp` in it, sorted.
    ///
    /// # Errors
    /// `IMAGE_INVALID`
    pub fn packages(&self) -> Result<Vec<RelPath>, Problem> {
        let mut found = Vec::new();
        let root = self.find(b"/")?.ok_or_else(|| self.problem(&"it has no root"))?;
        let mut waiting: Vec<(NodeId, String, usize)> = vec![(root, String::new(), 0)];
        while let Some((folder, path, depth)) = waiting.pop() {
            for (name, id, kind) in
                self.package.children(folder).map_err(|error| self.problem(&error))?
            {
                let Ok(name) = std::str::from_utf8(&name) else { continue };
                let path = if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
                match kind {
                    Kind::Folder if depth < MAX_DEPTH => {
                        waiting.push((id, path, depth.saturating_add(1)));
                    }
                    Kind::Folder => return Err(self.problem(&"folders nest too deep")),
                    Kind::File if path.ends_with(".dmp") => {
                        found.push(
                            RelPath::parse(&path).map_err(|error| {
                                self.problem(&format!("`{path}` in it {error}"))
                            })?,
                        );
                    }
                    Kind::File | Kind::Link => {}
                }
            }
        }
        found.sort();
        Ok(found)
    }

    fn find(&self, path: &[u8]) -> Result<Option<NodeId>, Problem> {
        match self.package.resolve(path, false).map_err(|error| self.problem(&error))? {
            Resolved::Found(id) => Ok(Some(id)),
            Resolved::Missing | Resolved::NotFolder | Resolved::Loop => Ok(None),
        }
    }

    /// The bytes of a file, at most `limit`; `None` if there is none.
    ///
    /// # Errors
    /// `IMAGE_INVALID`
    pub fn read(&self, path: &RelPath, limit: u64) -> Result<Option<Vec<u8>>, Problem> {
        let Some(id) = self.find(format!("/{path}").as_bytes())? else { return Ok(None) };
        let node = self.package.node(id).map_err(|error| self.problem(&error))?;
        if node.kind != Kind::File {
            return Err(self.problem(&format!("`{path}` in it is no file")));
        }
        if node.size > limit {
            let message = format!("`{path}` has {} bytes, at most {limit} are read", node.size);
            return Err(self.problem(&message));
        }
        let mut bytes = Vec::new();
        self.package
            .read(id, 0..u64::MAX, &mut Scratch::default(), |part| {
                bytes.extend_from_slice(part);
                Ok::<(), epk_format::Error>(())
            })
            .map_err(|error| self.problem(&format!("`{path}` in it: {error}")))?;
        Ok(Some(bytes))
    }
}
