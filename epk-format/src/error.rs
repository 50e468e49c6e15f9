//! Why an image is refused, and what can go wrong while one is read.
//!
//! Every refusal has a stable number. `spec/reject-codes.toml` lists them; a test holds the
//! list and [`RejectCode`] together.

use std::fmt;
use std::io;

macro_rules! reject_codes {
    ($($(#[$doc:meta])* $variant:ident = $number:literal, $name:literal;)*) => {
        /// The stable reason of a refusal: 1 to 13 as EXOS numbers them, ours from 100.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum RejectCode {
            $($(#[$doc])* $variant,)*
        }

        impl RejectCode {
            /// Every code, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The number, as `pkgtool verify --json` prints it.
            #[must_use]
            pub fn number(self) -> u16 {
                match self {
                    $(Self::$variant => $number,)*
                }
            }

            /// The name, in capitals.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

/// The name that stands for "no refusal", number 0.
pub const OK_NAME: &str = "EPK_VALIDATION_OK";

reject_codes! {
    /// A parameter makes no sense. EXOS's number; images don't cause it.
    InvalidArgument = 1, "EPK_VALIDATION_INVALID_ARGUMENT";
    /// The file does not begin with `EPK1`.
    InvalidMagic = 2, "EPK_VALIDATION_INVALID_MAGIC";
    /// A version of the format that this reader doesn't know.
    UnsupportedVersion = 3, "EPK_VALIDATION_UNSUPPORTED_VERSION";
    /// A flag that this reader doesn't know, in the header or in an entry.
    UnsupportedFlags = 4, "EPK_VALIDATION_UNSUPPORTED_FLAGS";
    /// The file is shorter than a header, or its HeaderSize is wrong.
    InvalidHeaderSize = 5, "EPK_VALIDATION_INVALID_HEADER_SIZE";
    /// A range leaves the file.
    InvalidBounds = 6, "EPK_VALIDATION_INVALID_BOUNDS";
    /// Reserved by EXOS, never given.
    InvalidAlignment = 7, "EPK_VALIDATION_INVALID_ALIGNMENT";
    /// The sections overlap or stand in the wrong order.
    InvalidSectionOrder = 8, "EPK_VALIDATION_INVALID_SECTION_ORDER";
    /// The head or the size of a table is wrong.
    InvalidTableFormat = 9, "EPK_VALIDATION_INVALID_TABLE_FORMAT";
    /// A field of the header, an entry or a block is wrong.
    InvalidEntryFormat = 10, "EPK_VALIDATION_INVALID_ENTRY_FORMAT";
    /// PackageHash isn't the hash of the package.
    HashMismatch = 11, "EPK_VALIDATION_HASH_MISMATCH";
    /// The signature is missing where one is required, malformed, or wrong.
    SignatureFailed = 12, "EPK_VALIDATION_SIGNATURE_FAILED";
    /// A table is larger than this reader is willing to hold in memory.
    OutOfMemory = 13, "EPK_VALIDATION_OUT_OF_MEMORY";
    /// The content is said to be encrypted: there is no scheme to decrypt it.
    Encrypted = 100, "EPK_STRICT_ENCRYPTED";
    /// The manifest is larger than the limit.
    ManifestTooLarge = 101, "EPK_STRICT_MANIFEST_TOO_LARGE";
    /// The signature blob is larger than the limit.
    SignatureTooLarge = 102, "EPK_STRICT_SIGNATURE_TOO_LARGE";
    /// More files and folders than the limit.
    TooManyNodes = 103, "EPK_STRICT_TOO_MANY_NODES";
    /// More inline data than the limit.
    InlineTooLarge = 104, "EPK_STRICT_INLINE_TOO_LARGE";
    /// A block's plain size is above the limit.
    BlockTooLarge = 105, "EPK_STRICT_BLOCK_TOO_LARGE";
    /// A block without compression whose two sizes differ.
    BlockSizeMismatch = 106, "EPK_STRICT_BLOCK_SIZE_MISMATCH";
    /// A file's size isn't the sum of its blocks, or not the size of its inline data.
    FileSizeMismatch = 107, "EPK_STRICT_FILE_SIZE_MISMATCH";
    /// A path isn't UTF-8.
    PathNotUtf8 = 110, "EPK_STRICT_PATH_NOT_UTF8";
    /// A path contains a NUL byte.
    PathHasNul = 111, "EPK_STRICT_PATH_HAS_NUL";
    /// A path begins or ends with `/`, or contains `//`.
    PathEmptyComponent = 112, "EPK_STRICT_PATH_EMPTY_COMPONENT";
    /// A path contains the component `.` or `..`.
    PathDotComponent = 113, "EPK_STRICT_PATH_DOT_COMPONENT";
    /// A path, or one of its components, is longer than the limit.
    PathTooLong = 114, "EPK_STRICT_PATH_TOO_LONG";
    /// Two entries have one path.
    DuplicatePath = 115, "EPK_STRICT_DUPLICATE_PATH";
    /// An entry lies below a file or below a folder alias.
    ParentNotFolder = 116, "EPK_STRICT_PARENT_NOT_FOLDER";
    /// A folder alias doesn't lead to a folder of the package.
    InvalidAlias = 117, "EPK_STRICT_INVALID_ALIAS";
    /// A signature is required and the package's blob says "algorithm none".
    SignatureAlgorithmNone = 120, "EPK_STRICT_SIGNATURE_ALGORITHM_NONE";
    /// The key has a small order or isn't canonically encoded: one signature fits many messages.
    SignatureWeakKey = 121, "EPK_STRICT_SIGNATURE_WEAK_KEY";
    /// A signature is required and the key that made it isn't trusted.
    SignatureUntrusted = 122, "EPK_STRICT_SIGNATURE_UNTRUSTED";
    /// The key that signed, or is said to have, is revoked.
    SignatureRevoked = 123, "EPK_STRICT_SIGNATURE_REVOKED";
    /// A block doesn't inflate to its plain size. Found when it is read.
    BlockDamaged = 130, "EPK_STRICT_BLOCK_DAMAGED";
    /// A block isn't what its ChunkHash says. Found when it is read.
    ChunkHashMismatch = 131, "EPK_STRICT_CHUNK_HASH_MISMATCH";
    /// A file isn't what its FileHash says. Found by a deep verification.
    FileHashMismatch = 132, "EPK_STRICT_FILE_HASH_MISMATCH";
    /// Sections of format 2.0 that don't follow one another, or bytes that belong to none.
    SectionGap = 140, "EPK_STRICT_SECTION_GAP";
    /// The superblock, or tables that don't fill the metadata.
    MetadataLayout = 141, "EPK_STRICT_METADATA_LAYOUT";
    /// A page of metadata isn't what the hash tree says. Found when it is first touched.
    PageHashMismatch = 142, "EPK_STRICT_PAGE_HASH_MISMATCH";
    /// A node with a kind, mode, time or range that it can't have.
    NodeFormat = 143, "EPK_STRICT_NODE_FORMAT";
    /// An entry with a name or a kind that it can't have.
    EntryFormat = 144, "EPK_STRICT_ENTRY_FORMAT";
    /// A folder whose entries aren't sorted, or has a name twice.
    EntryOrder = 145, "EPK_STRICT_ENTRY_ORDER";
    /// A folder that is entered from another place than its own.
    FolderLinkage = 146, "EPK_STRICT_FOLDER_LINKAGE";
    /// A file whose chunks don't hold its content.
    ContentRange = 147, "EPK_STRICT_CONTENT_RANGE";
    /// A row of the block table that can't be.
    BlockFormat = 148, "EPK_STRICT_BLOCK_FORMAT";
    /// An extended attribute that can't be.
    XattrFormat = 149, "EPK_STRICT_XATTR_FORMAT";
    /// Rows or strings that nothing refers to, or link counts that don't add up. Found by
    /// `verify`.
    Unreferenced = 150, "EPK_STRICT_UNREFERENCED";
}

impl RejectCode {
    /// Whether it is about the signature or the trust in it, not about what is signed.
    #[must_use]
    pub fn concerns_signature(self) -> bool {
        matches!(
            self,
            Self::SignatureFailed
                | Self::SignatureTooLarge
                | Self::SignatureAlgorithmNone
                | Self::SignatureWeakKey
                | Self::SignatureUntrusted
                | Self::SignatureRevoked
        )
    }
}

impl fmt::Display for RejectCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.number())
    }
}

/// Where in an image something was found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Location {
    /// The image as a whole.
    Image,
    /// A byte position in the image.
    Offset(u64),
    /// An entry of the table of contents: its number from 0 and its byte position.
    Entry {
        /// Number of the entry, from 0.
        index: u32,
        /// Byte position of the entry in the image.
        offset: u64,
    },
    /// A path inside the package, printed with everything but printable characters escaped.
    Path(Vec<u8>),
    /// A block, by its number from 0.
    Block(u32),
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image => f.write_str("the image"),
            Self::Offset(offset) => write!(f, "offset {offset:#x}"),
            Self::Entry { index, offset } => write!(f, "entry {index} at offset {offset:#x}"),
            Self::Path(path) => write!(f, "`/{}`", crate::path::display(path)),
            Self::Block(index) => write!(f, "block {index}"),
        }
    }
}

/// A refusal: which rule, where, and what was found against what was allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {detail} [{code}]")]
pub struct Reject {
    /// The rule.
    pub code: RejectCode,
    /// The place.
    pub at: Location,
    /// What was found and what was allowed.
    pub detail: String,
}

impl Reject {
    /// A refusal at a place.
    #[must_use]
    pub fn new(code: RejectCode, at: Location, detail: impl Into<String>) -> Self {
        Self { code, at, detail: detail.into() }
    }
}

/// Why bytes of an image could not be delivered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The image breaks a rule of the format.
    #[error(transparent)]
    Rejected(#[from] Reject),
    /// The image could not be read.
    #[error("cannot read {length} bytes at offset {offset:#x}: {source}")]
    Io {
        /// Where the read began.
        offset: u64,
        /// How much was asked for.
        length: usize,
        /// What the storage said.
        source: io::Error,
    },
    /// The image is not what it was when it was opened, or changed while it was opened.
    #[error("the image changed while it was read, near offset {offset:#x}")]
    Changed {
        /// Where the difference was noticed.
        offset: u64,
    },
}

impl Error {
    /// The refusal's code, if this is one.
    #[must_use]
    pub fn code(&self) -> Option<RejectCode> {
        match self {
            Self::Rejected(reject) => Some(reject.code),
            Self::Io { .. } | Self::Changed { .. } => None,
        }
    }
}
