//! Images in an OCI layout (image-spec 1.1): a folder of blobs that name each other by their hashes.
//! The layers of one image are put over each other.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use epk_format::digest::{Hasher, Sha256};
use epk_format::path::display;
use oci_spec::image::{
    Arch, Descriptor, DigestAlgorithm, ImageIndex, ImageManifest, MediaType, Os,
};

use super::problem::Problem;
use super::spool::Spool;
use super::tree::Tree;
use super::{archive, compression};

/// What makes a folder an OCI layout.
const MARK: &str = "oci-layout";
/// The annotation with an image's name.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The same as containerd and Docker write it, with a repository.
const IMAGE_NAME: &str = "io.containerd.image.name";
/// Most bytes of an index or manifest (distribution-spec: registries take 4 MiB).
const JSON_BYTES: u64 = 4 << 20;
/// Indexes in indexes.
const DEPTH: usize = 4;

/// An OCI layout.
pub(crate) struct Layout {
    folder: PathBuf,
}

impl Layout {
    /// The layout in a folder; `None` when it is none.
    pub(crate) fn open(folder: &Path) -> Option<Self> {
        folder.join(MARK).is_file().then(|| Self { folder: folder.to_owned() })
    }

    /// Puts the layers of an image into a tree.
    pub(crate) fn read(
        &self,
        image: Option<&str>,
        tree: &mut Tree,
        spool: &mut Spool,
    ) -> Result<(), Problem> {
        let manifest = self.manifest(image)?;
        for layer in manifest.layers() {
            tree.begin_layer();
            self.layer(layer, tree, spool)?;
        }
        Ok(())
    }

    /// Finds the image's manifest.
    fn manifest(&self, image: Option<&str>) -> Result<ImageManifest, Problem> {
        let file = self.open_file(&self.folder.join("index.json"))?;
        let index = parse_index(&read_all(file, JSON_BYTES, "index.json")?, "index.json")?;
        let mut chosen = choose(index.manifests(), image)?.clone();
        for _ in 0..DEPTH {
            let name = chosen.digest().to_string();
            let text = self.json(&chosen)?;
            if !matches!(chosen.media_type(), MediaType::ImageIndex)
                && !chosen.media_type().to_string().contains("manifest.list")
            {
                let manifest = ImageManifest::from_reader(&*text);
                return manifest.map_err(|error| {
                    Problem::Damaged(format!("`{name}` is no image manifest: {error}"))
                });
            }
            let index = parse_index(&text, &name)?;
            chosen = for_this_machine(index.manifests())?.clone();
        }
        Err(Problem::Refused(format!("has more than {DEPTH} indexes in each other")))
    }

    fn json(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Problem> {
        let (name, mut blob) = self.blob(descriptor)?;
        let text = read_all(&mut blob, JSON_BYTES, &name)?;
        blob.finish(&name)?;
        Ok(text)
    }

    fn layer(
        &self,
        descriptor: &Descriptor,
        tree: &mut Tree,
        spool: &mut Spool,
    ) -> Result<(), Problem> {
        let (name, mut blob) = self.blob(descriptor)?;
        let read = (|| {
            let (first, mut plain) = compression::open(&mut blob)?;
            if !archive::looks_like_one(&first) {
                return Err(Problem::Refused("is no tar archive".into()));
            }
            archive::read(&mut plain, tree, spool)
        })();
        // What is damaged is damaged: its hash says nothing more.
        read.map_err(|problem| match problem {
            Problem::Damaged(what) => Problem::Damaged(format!("layer `{name}` {what}")),
            Problem::Refused(what) => Problem::Refused(format!("layer `{name}` {what}")),
            system => system,
        })?;
        blob.finish(&name)
    }

    /// Opens a blob, to be hashed while it is read.
    fn blob(&self, descriptor: &Descriptor) -> Result<(String, Blob), Problem> {
        let digest = descriptor.digest();
        let name = digest.to_string();
        if *digest.algorithm() != DigestAlgorithm::Sha256 {
            let message = format!("names a blob by `{name}`; sha256 can be verified");
            return Err(Problem::Refused(message));
        }
        // The crate has checked that it is 64 hexadecimal digits; this keeps it so.
        let digits = digest.digest();
        let expected = hex(digits);
        let expected =
            expected.ok_or_else(|| Problem::Damaged(format!("names a blob `{name}`")))?;
        let file = self.open_file(&self.folder.join("blobs/sha256").join(digits))?;
        Ok((name, Blob { file, hasher: Hasher::new(), read: 0, size: descriptor.size(), expected }))
    }

    fn open_file(&self, path: &Path) -> Result<File, Problem> {
        let inside = path.strip_prefix(&self.folder).unwrap_or(path).display();
        File::open(path).map_err(|error| {
            if error.kind() == io::ErrorKind::NotFound {
                return Problem::Damaged(format!("has no `{inside}`"));
            }
            Problem::System(format!("cannot open `{inside}`"), error)
        })
    }
}

fn parse_index(text: &[u8], name: &str) -> Result<ImageIndex, Problem> {
    ImageIndex::from_reader(text)
        .map_err(|error| Problem::Damaged(format!("`{name}` is no image index: {error}")))
}

/// The image that is meant.
fn choose<'d>(all: &'d [Descriptor], image: Option<&str>) -> Result<&'d Descriptor, Problem> {
    let names = |one: &'d Descriptor| {
        let annotations = one.annotations().as_ref();
        let named = [REF_NAME, IMAGE_NAME].map(|key| annotations?.get(key).map(String::as_str));
        named.into_iter().flatten()
    };
    let Some(image) = image else {
        return match all {
            [one] => Ok(one),
            [] => Err(Problem::Refused("has no image".into())),
            many => {
                let list: Vec<_> = many
                    .iter()
                    .map(|one| match names(one).next() {
                        Some(name) => display(name.as_bytes()).into_owned(),
                        None => one.digest().to_string(),
                    })
                    .collect();
                let (count, list) = (many.len(), list.join("`, `"));
                let message = format!("has {count} images, `--image` says which: `{list}`");
                Err(Problem::Refused(message))
            }
        };
    };
    let found: Vec<_> = all
        .iter()
        .filter(|one| one.digest().to_string() == image || names(one).any(|name| name == image))
        .collect();
    match *found {
        [one] => Ok(one),
        [] => Err(Problem::Refused(format!("has no image `{image}`"))),
        _ => Err(Problem::Refused(format!("has more than one image `{image}`; name its digest"))),
    }
}

/// Of an image for several machines, the one for this.
fn for_this_machine(all: &[Descriptor]) -> Result<&Descriptor, Problem> {
    if let [one] = all {
        return Ok(one);
    }
    let own = if cfg!(target_arch = "x86") { Arch::i386 } else { Arch::Amd64 };
    let fits = |one: &&Descriptor| {
        let platform = one.platform().as_ref();
        platform
            .is_some_and(|platform| *platform.os() == Os::Linux && *platform.architecture() == own)
    };
    let found = all.iter().find(fits);
    found.ok_or_else(|| Problem::Refused(format!("has no image for Linux on {own}")))
}

/// A blob that is being read.
struct Blob {
    file: File,
    hasher: Hasher,
    read: u64,
    size: u64,
    expected: Sha256,
}

impl Blob {
    /// Reads the rest, and compares all with the digest.
    fn finish(mut self, name: &str) -> Result<(), Problem> {
        io::copy(&mut self, &mut io::sink()).map_err(Problem::read)?;
        let found = self.hasher.finish();
        if found != self.expected || self.read != self.size {
            let (read, size) = (self.read, self.size);
            let message = format!("blob `{name}` of {size} bytes is {read} with SHA-256 {found}");
            return Err(Problem::Damaged(message));
        }
        Ok(())
    }
}

impl Read for Blob {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        self.read += u64::try_from(read).unwrap_or(0);
        Ok(read)
    }
}

/// Reads at most `most` bytes.
fn read_all(input: impl Read, most: u64, name: &str) -> Result<Vec<u8>, Problem> {
    let mut text = Vec::new();
    input.take(most + 1).read_to_end(&mut text).map_err(Problem::read)?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > most {
        return Err(Problem::Refused(format!("`{name}` has more than {most} bytes")));
    }
    Ok(text)
}

fn hex(digits: &str) -> Option<Sha256> {
    let mut hash = [0; 32];
    if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, at) in hash.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(digits.get(at..at + 2)?, 16).ok()?;
    }
    Some(Sha256(hash))
}
