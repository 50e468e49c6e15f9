//! The packages: good ones, and one for each way in which a package can be bad.

use epk_format::digest::Sha256;
use epk_format::package::BlockIndex;
use epk_format::signature::SigningKey;
use epk_format::{Format, OpenOptions, Package};
use epk_tests::app::App;
use epk_tests::tree::{Item, Recipe};

/// What `/file` holds in all of them.
pub(crate) const CONTENT: &[u8] = b"a line of text, a line of text, a line of text\n";

const TRUSTED: [u8; 32] = [7; 32];
const STRANGER: [u8; 32] = [8; 32];
const THIEF: [u8; 32] = [9; 32];

/// The keys of `--trust own-trusted`.
pub(crate) fn trusted_keys() -> String {
    format!("{}\n", SigningKey::from_seed(&TRUSTED).public().id())
}

/// The user's file of keys, which takes one back.
pub(crate) fn trust_file() -> String {
    format!("[revoked.\"{}\"]\n", SigningKey::from_seed(&THIEF).public().id())
}

/// A kind of package.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    /// Options of trust, given to every command.
    pub(crate) options: &'static [&'static str],
    /// The image, if there is such a one in this format.
    pub(crate) make: fn(Format) -> Option<Vec<u8>>,
    /// How verify, extract, mount, reading and run end.
    pub(crate) expected: [&'static str; 5],
}

/// Refused by whatever opens it.
macro_rules! refused {
    ($status:literal, $code:literal) => {
        [
            concat!($status, " ", $code),
            concat!($status, " ", $code),
            concat!($status, " ", $code),
            "—",
            concat!("125 ", $code),
        ]
    };
}

const REQUIRED: &[&str] = &["--signature", "required", "--trust", "own-trusted"];

pub(crate) const KINDS: &[Kind] = &[
    Kind {
        name: "good",
        options: &[],
        make: |format| Some(image(format, &app(), None)),
        expected: ["0", "0", "0", "0", "9"],
    },
    Kind {
        name: "good, signed by a trusted key, which is required",
        options: REQUIRED,
        make: |format| Some(image(format, &app(), Some(TRUSTED))),
        expected: ["0", "0", "0", "0", "9"],
    },
    Kind {
        name: "no package",
        options: &[],
        make: |format| damaged(format, None, |image| image[0] ^= 1),
        expected: refused!("4", "EPK_VALIDATION_INVALID_MAGIC (2)"),
    },
    Kind {
        name: "version 9",
        options: &[],
        make: |format| damaged(format, None, |image| image[4..8].fill(9)),
        expected: refused!("4", "EPK_VALIDATION_UNSUPPORTED_VERSION (3)"),
    },
    Kind {
        name: "cut short, of format 1.0",
        options: &[],
        make: |format| (format == Format::V1).then(|| damaged(format, None, cut_short))?,
        expected: refused!("4", "EPK_VALIDATION_INVALID_BOUNDS (6)"),
    },
    Kind {
        name: "cut short, of format 2.0",
        options: &[],
        make: |format| (format == Format::V2).then(|| damaged(format, None, cut_short))?,
        expected: refused!("4", "EPK_STRICT_SECTION_GAP (140)"),
    },
    Kind {
        name: "corrupt hash",
        options: &[],
        make: |format| damaged(format, None, |image| image[PACKAGE_HASH] ^= 1),
        expected: refused!("4", "EPK_VALIDATION_HASH_MISMATCH (11)"),
    },
    Kind {
        name: "corrupt manifest",
        options: &[],
        make: |format| damaged(format, None, |image| replace(image, b"1.2.3", b"1.2.4")),
        expected: refused!("4", "EPK_VALIDATION_HASH_MISMATCH (11)"),
    },
    Kind {
        name: "corrupt block of format 1.0",
        options: &[],
        make: |format| {
            (format == Format::V1).then(|| damaged(format, None, |image| spoil_file(image)))?
        },
        expected: refused!("4", "EPK_VALIDATION_HASH_MISMATCH (11)"),
    },
    Kind {
        name: "corrupt block of format 2.0",
        options: &[],
        make: |format| {
            (format == Format::V2).then(|| damaged(format, None, |image| spoil_file(image)))?
        },
        expected: [
            "4 EPK_STRICT_CHUNK_HASH_MISMATCH (131)",
            "4 EPK_STRICT_CHUNK_HASH_MISMATCH (131)",
            "0",
            "2 EIO",
            "125 EPK_STRICT_CHUNK_HASH_MISMATCH (131)",
        ],
    },
    Kind {
        name: "bad signature",
        options: &[],
        make: |format| damaged(format, Some(TRUSTED), |image| spoil_signature(image)),
        expected: refused!("5", "EPK_VALIDATION_SIGNATURE_FAILED (12)"),
    },
    Kind {
        name: "no signature, which is required",
        options: REQUIRED,
        make: |format| Some(image(format, &app(), None)),
        expected: refused!("5", "EPK_VALIDATION_SIGNATURE_FAILED (12)"),
    },
    Kind {
        name: "signed by a stranger, and a trusted key is required",
        options: REQUIRED,
        make: |format| Some(image(format, &app(), Some(STRANGER))),
        expected: refused!("5", "EPK_STRICT_SIGNATURE_UNTRUSTED (122)"),
    },
    Kind {
        name: "signed by a revoked key",
        options: &[],
        make: |format| Some(image(format, &app(), Some(THIEF))),
        expected: refused!("5", "EPK_STRICT_SIGNATURE_REVOKED (123)"),
    },
    Kind {
        name: "incompatible kernel_api",
        options: &[],
        make: |format| Some(image(format, &App { kernel_api: "1.9".into(), ..app() }, None)),
        expected: [
            "6 incompatible_kernel_api (15)",
            "0",
            "0",
            "0",
            "125 incompatible_kernel_api (15)",
        ],
    },
    Kind {
        name: "incompatible arch",
        options: &[],
        make: |format| Some(image(format, &App { arch: "arm-64".into(), ..app() }, None)),
        expected: ["6 invalid_arch (12)", "0", "0", "0", "125 invalid_arch (12)"],
    },
    Kind {
        name: "invalid folder alias",
        options: &[],
        make: |format| {
            // In format 2.0 they are symbolic links, which may say anything.
            (format == Format::V1).then(|| damaged(format, None, |image| spoil_alias(image)))?
        },
        expected: refused!("4", "EPK_STRICT_INVALID_ALIAS (117)"),
    },
    Kind {
        name: "entry that is not there",
        options: &[],
        make: |format| Some(image(format, &App { entry: "/bin/none".into(), ..app() }, None)),
        expected: ["0", "0", "0", "0", "127"],
    },
    Kind {
        name: "entry without permission to execute",
        options: &[],
        make: |format| Some(image(format, &App { entry: "/file".into(), ..app() }, None)),
        expected: ["0", "0", "0", "0", "126"],
    },
];

/// An application that ends with a status of its own.
fn app() -> App {
    let mut app = App::script("exit 9").with_file("file", CONTENT);
    app.tree = app.tree.with("folder", Item::Folder).with("link", Item::Alias("folder".into()));
    app
}

fn image(format: Format, app: &App, seed: Option<[u8; 32]>) -> Vec<u8> {
    let manifest = app.manifest();
    app.tree.image(&Recipe { format, manifest, seed, ..Recipe::default() })
}

fn damaged(format: Format, seed: Option<[u8; 32]>, damage: fn(&mut Vec<u8>)) -> Option<Vec<u8>> {
    let mut image = image(format, &app(), seed);
    damage(&mut image);
    Some(image)
}

/// Where PackageHash lies, in both formats.
const PACKAGE_HASH: usize = 0x50;

fn cut_short(image: &mut Vec<u8>) {
    image.truncate(image.len() - 1);
}

/// Changes a stored byte of the last block, which has `/file`; in format 2.0
/// the entry's script, too.
fn spoil_file(image: &mut [u8]) {
    let package = Package::open(&*image, &OpenOptions::default()).expect("intact");
    let last = package.block_count() - 1;
    let block = package.block(BlockIndex(last)).expect("a block");
    let middle = usize::try_from(block.offset + u64::from(block.stored_size) / 2).expect("small");
    image[middle] ^= 1;
}

/// Changes the signature's last byte.
fn spoil_signature(image: &mut [u8]) {
    let package = Package::open(&*image, &OpenOptions::default()).expect("intact");
    let header = package.header();
    let end = header.signature_offset.get() + header.signature_size.get();
    image[usize::try_from(end).expect("small") - 1] ^= 1;
}

/// Lets the alias lead nowhere, and makes PackageHash right again: for format 1.0.
fn spoil_alias(image: &mut [u8]) {
    replace(image, b"linkfolder", b"linknofold");
    image[PACKAGE_HASH..PACKAGE_HASH + 32].fill(0);
    let hash = Sha256::of(image);
    image[PACKAGE_HASH..PACKAGE_HASH + 32].copy_from_slice(hash.as_bytes());
}

/// Replaces the only place where `from` is.
fn replace(image: &mut [u8], from: &[u8], to: &[u8]) {
    let found: Vec<usize> =
        (0..=image.len() - from.len()).filter(|&at| image[at..].starts_with(from)).collect();
    assert_eq!(found.len(), 1, "{:?} is at {found:?}", from.escape_ascii().to_string());
    image[found[0]..found[0] + to.len()].copy_from_slice(to);
}
