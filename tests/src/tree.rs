//! Trees in memory, to be packed and compared with what a mount shows.

use std::collections::BTreeMap;
use std::io::{self, Cursor, Read};
use std::num::NonZeroUsize;
use std::path::Path;

use epk_format::digest::Sha256;
use epk_format::signature::SigningKey;
use epk_format::time::Timestamp;
use epk_format::write::{
    self, Compression, ContentId, Contents, Format, Options, Plan, PlanEntry, Signer,
};

/// The manifest of all test images.
pub const MANIFEST: &str = "name = \"org.example.test\"\nversion = \"1.2.3\"\narch = \"x86-64\"\n\
kernel_api = \"1.0\"\nentry = \"/bin/app\"\n";

/// A thing in a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A file.
    File {
        /// Its content.
        bytes: Vec<u8>,
        /// Its permissions.
        mode: u32,
    },
    /// A folder.
    Folder,
    /// A folder alias, with its target from the package's root.
    Alias(String),
}

/// Paths and what they are.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    /// By path from the root, without a leading slash.
    pub items: BTreeMap<String, Item>,
    /// Modification times, in seconds since 1970; what isn't here has none.
    pub times: BTreeMap<String, i64>,
}

impl Tree {
    /// Adds a file that its owner may write.
    #[must_use]
    pub fn file(self, path: &str, bytes: impl Into<Vec<u8>>) -> Self {
        self.with(path, Item::File { bytes: bytes.into(), mode: 0o644 })
    }

    /// Adds anything.
    #[must_use]
    pub fn with(mut self, path: &str, item: Item) -> Self {
        self.items.insert(path.into(), item);
        self
    }

    /// Says when something was changed.
    #[must_use]
    pub fn changed(mut self, path: &str, seconds: i64) -> Self {
        self.times.insert(path.into(), seconds);
        self
    }

    /// A file's content.
    #[must_use]
    pub fn bytes(&self, path: &str) -> &[u8] {
        match self.items.get(path) {
            Some(Item::File { bytes, .. }) => bytes,
            other => panic!("`{path}` is {other:?}"),
        }
    }

    /// Packs the tree, in blocks of `chunk_size` bytes.
    pub fn pack(&self, image: &Path, chunk_size: u32, compression: Compression) {
        let recipe = Recipe { chunk_size, compression, ..Recipe::default() };
        std::fs::write(image, self.image(&recipe)).expect("the image can be written");
    }

    /// The tree as an image.
    #[must_use]
    pub fn image(&self, recipe: &Recipe) -> Vec<u8> {
        let entries = self.items.iter().enumerate().map(|(index, (path, item))| {
            let entry = match item {
                Item::File { bytes, mode } => {
                    PlanEntry::file(path.as_str(), *mode, ContentId(index), bytes.len() as u64)
                }
                Item::Folder => PlanEntry::folder(path.as_str()),
                Item::Alias(target) => PlanEntry::alias(path.as_str(), target.as_str()),
            };
            let time = self.times.get(path).map(|&seconds| Timestamp { seconds, nanoseconds: 0 });
            PlanEntry { modified: time, ..entry }
        });
        let format = recipe.format;
        let chunk_size = match format {
            Format::V1 => recipe.chunk_size,
            Format::V2 => recipe.chunk_size.next_power_of_two().clamp(4096, 1 << 20),
        };
        let plan = Plan::new(format, entries.collect()).expect("a tree that can be packed");
        let options = Options {
            chunk_size,
            compression: recipe.compression,
            threads: NonZeroUsize::MIN,
            ..Options::default()
        };
        let signer = recipe.seed.map(|seed| SeedSigner(SigningKey::from_seed(&seed)));
        let signer = signer.as_ref().map(|signer| signer as &dyn Signer);
        let mut output = Cursor::new(Vec::new());
        write::write(&plan, self, recipe.manifest.as_bytes(), &options, signer, &(), &mut output)
            .expect("the image can be written");
        output.into_inner()
    }
}

/// How a tree becomes an image.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// The format.
    pub format: Format,
    /// The manifest's text.
    pub manifest: String,
    /// Bytes of content in a block.
    pub chunk_size: u32,
    /// Which blocks are compressed.
    pub compression: Compression,
    /// The seed of the key that signs it, if one does.
    pub seed: Option<[u8; 32]>,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            format: format(),
            manifest: MANIFEST.into(),
            chunk_size: 65_536,
            compression: Compression::Zlib,
            seed: None,
        }
    }
}

struct SeedSigner(SigningKey);

impl Signer for SeedSigner {
    fn sign(&self, hash: &Sha256) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(self.0.sign(hash))
    }
}

impl Contents for Tree {
    fn open(&self, _: ContentId, path: &[u8]) -> io::Result<Box<dyn Read + Send + '_>> {
        let path = std::str::from_utf8(path).map_err(io::Error::other)?;
        Ok(Box::new(self.bytes(path)))
    }
}

/// The variable that says in which format trees are packed: `1`, unless set, or `2`.
pub const FORMAT_VARIABLE: &str = "EPK_TEST_FORMAT";

/// The format in which trees are packed.
#[must_use]
pub fn format() -> Format {
    match std::env::var(FORMAT_VARIABLE).as_deref() {
        Ok("2") => Format::V2,
        Ok("1") | Err(_) => Format::V1,
        Ok(other) => panic!("{FORMAT_VARIABLE} is `{other}`, not 1 or 2"),
    }
}

/// Random numbers, the same for one seed.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Begins a sequence.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `bound`, which isn't 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }

    /// Bytes that zlib makes about half as long.
    #[must_use]
    pub fn text(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| b"0123456789abcdef"[usize::from(self.byte() & 15)]).collect()
    }

    /// Bytes that don't compress.
    #[must_use]
    pub fn noise(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.byte()).collect()
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).unwrap_or(0)
    }
}
