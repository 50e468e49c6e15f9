//! A shelf of damaged packages, each with a name, and what `pkgtool verify --json` says of it.
//!
//! The verdicts are in `fixtures.json`; `EPK_UPDATE=1` writes it anew, for a look at the
//! difference.

use std::fs;
use std::path::Path;

use epk_format::digest::Sha256;
use epk_format::signature::SigningKey;
use epk_format::write::Compression;
use epk_tests::files::temp_folder;
use epk_tests::tool::{self, Outcome};
use epk_tests::tree::{Item, MANIFEST, Recipe, Tree};
use serde_json::{Map, Value, json};

const SEED: [u8; 32] = [5; 32];

/// An image that is about to be damaged.
struct Image(Vec<u8>);

impl Image {
    fn new(manifest: &str, signed: bool) -> Self {
        let tree = Tree::default()
            .file("aa/x", "first")
            .file("aa/y", "second")
            .file("bb", "a long line of text, a long line of text, a long line of text")
            .with("cc", Item::Alias("aa".into()))
            .with("dd", Item::Folder);
        let recipe = Recipe {
            format: epk_format::Format::V1,
            manifest: manifest.into(),
            chunk_size: 64,
            compression: Compression::Auto,
            seed: signed.then_some(SEED),
        };
        Self(tree.image(&recipe))
    }

    fn number(&self, at: usize) -> usize {
        let bytes: [u8; 8] = self.0[at..at + 8].try_into().expect("eight bytes");
        usize::try_from(u64::from_le_bytes(bytes)).expect("small")
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// Replaces the only place where `from` is, by as many bytes.
    fn replace(&mut self, from: &[u8], to: &[u8]) {
        assert_eq!(from.len(), to.len());
        let found: Vec<usize> =
            (0..=self.0.len() - from.len()).filter(|&at| self.0[at..].starts_with(from)).collect();
        assert_eq!(found.len(), 1, "{:?} is at {found:?}", from.escape_ascii().to_string());
        self.put(found[0], to);
    }

    /// Where the entry of a path begins.
    fn entry(&self, path: &str) -> usize {
        let table = self.number(16)..self.number(16) + self.number(24);
        let ends = table.clone().filter(|&at| self.0[at..table.end].starts_with(path.as_bytes()));
        ends.map(|at| at - 96).next().expect("a path in the table")
    }

    /// Where a row of the block table begins.
    fn block(&self, index: usize) -> usize {
        self.number(32) + index * 52
    }

    /// Where a block's stored bytes begin.
    fn data(&self, index: usize) -> usize {
        self.number(self.block(index))
    }

    /// Makes PackageHash right again, so that the next rule is asked.
    fn reseal(&mut self) {
        let signature = self.number(64)..self.number(64) + self.number(72);
        let mut hashed = self.0.clone();
        hashed[80..112].fill(0);
        hashed.drain(signature);
        let hash = Sha256::of(&hashed);
        self.put(80, hash.as_bytes());
    }
}

type Damage = fn(&mut Image);

/// Name, options, whether it is signed, what is done to it, and whether the hash is made right.
const SHELF: &[(&str, &[&str], bool, Damage, bool)] = &[
    ("intact", &["--deep"], false, |_| {}, false),
    ("intact-signed", &["--deep"], true, |_| {}, false),
    ("intact-trusted", &["--signature", "required", "--trust", "trusted"], true, |_| {}, false),
    ("no-bytes", &[], false, |i| i.0.clear(), false),
    ("header-alone", &[], false, |i| i.0.truncate(128), false),
    ("half", &[], false, |i| i.0.truncate(i.0.len() / 2), false),
    ("last-byte-missing", &[], false, |i| i.0.truncate(i.0.len() - 1), false),
    ("one-byte-more", &[], false, |i| i.0.push(0), false),
    ("magic-of-version-2", &[], false, |i| i.put(3, b"2"), false),
    ("version-2", &[], false, |i| i.put(6, &[2]), false),
    ("reserved-byte", &[], false, |i| i.put(127, &[1]), true),
    ("hash-bit", &[], false, |i| i.put(80, &[i.0[80] ^ 1]), false),
    ("mode-bit", &[], false, |i| i.put(i.entry("bb") + 20, &[0xff]), false),
    ("manifest-letter", &[], false, |i| i.replace(b"1.2.3", b"1.2.4"), false),
    ("stored-byte", &["--deep"], false, |i| i.put(i.data(1), b"S"), false),
    ("stored-byte-resealed", &["--deep"], false, |i| i.put(i.data(1), b"S"), true),
    ("zlib-byte-resealed", &["--deep"], false, |i| i.put(i.data(2) + 4, &[0]), true),
    ("zlib-byte-resealed-shallow", &[], false, |i| i.put(i.data(2) + 4, &[0]), true),
    ("file-hash-resealed", &["--deep"], false, |i| i.put(i.entry("bb") + 60, &[0; 2]), true),
    ("file-size", &[], false, |i| i.put(i.entry("bb") + 32, &[1]), true),
    ("block-beyond-the-end", &[], false, |i| i.put(i.block(0) + 2, &[1]), true),
    ("block-method-9", &[], false, |i| i.put(i.block(0) + 16, &[9]), true),
    ("encrypted", &[], false, |i| i.put(8, &[i.0[8] | 4]), true),
    ("path-out-of-the-package", &[], false, |i| i.replace(b"aa/x", b"../x"), true),
    ("path-absolute", &[], false, |i| i.replace(b"aa/x", b"/a/x"), true),
    ("path-twice", &[], false, |i| i.replace(b"aa/x", b"aa/y"), true),
    ("path-below-a-file", &[], false, |i| i.replace(b"aa/x", b"bb/x"), true),
    ("path-not-utf8", &[], false, |i| i.replace(b"aa/x", b"a\xff/x"), true),
    ("alias-to-a-file", &[], false, |i| i.replace(b"ccaa", b"ccbb"), true),
    ("alias-to-itself", &[], false, |i| i.replace(b"ccaa", b"cccc"), true),
    ("manifest-gone", &[], false, |i| i.put(56, &[0; 8]), true),
    ("manifest-no-toml", &[], false, |i| i.replace(b"name = ", b"name : "), true),
    ("manifest-without-entry", &[], false, |i| i.replace(b"entry", b"enter"), true),
    ("other-machine", &["--compat"], false, |i| i.replace(b"x86-64", b"arm-64"), true),
    ("later-api", &["--compat"], false, |i| i.replace(b"= \"1.0\"", b"= \"9.0\""), true),
    ("signature-bit", &[], true, |i| i.put(i.number(64) + 100, &[0xaa, 0x55]), false),
    ("signature-magic", &[], true, |i| i.put(i.number(64), b"X"), false),
    ("signature-of-another-package", &[], true, |i| i.replace(b"second", b"SECOND"), true),
    ("unsigned-required", &["--signature", "required", "--trust", "trusted"], false, |_| {}, false),
    ("untrusted-required", &["--signature", "required", "--trust", "nobody"], true, |_| {}, false),
    (
        "algorithm-none-required",
        &["--signature", "required", "--trust", "trusted"],
        true,
        |i| i.put(i.number(64) + 8, &[0; 40]),
        false,
    ),
    (
        "signature-bit-disabled",
        &["--signature", "disabled"],
        true,
        |i| i.put(i.number(64), b"X"),
        false,
    ),
];

/// Hashes and key ids depend on what is packed, not on what is tested.
fn masked(text: &str) -> String {
    let mut masked = String::new();
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let digits = rest.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(rest.len());
        if digits == 64 {
            masked.push_str("HASH");
            rest = &rest[64..];
        } else {
            let step = digits.max(letter.len_utf8());
            masked.push_str(&rest[..step]);
            rest = &rest[step..];
        }
    }
    masked
}

fn verdict(folder: &Path, name: &str, options: &[&str], image: &[u8]) -> Value {
    let file = format!("{name}.epk");
    fs::write(folder.join(&file), image).expect("writable");
    let verify = |extra: &[&str]| {
        let mut command = tool::pkgtool();
        Outcome::of(command.arg("verify").args(options).args(extra).arg(&file).current_dir(folder))
    };
    let done = verify(&["--json"]);
    let lines = done.json();
    assert_eq!(lines.len(), 1, "{name}: {}", done.text());
    let valid = lines[0]["valid"] == true;
    assert_eq!(valid, done.status.success(), "{name}");
    assert_eq!(valid, done.stderr.is_empty(), "{name}: {}", done.stderr);
    // The same in words.
    let words = verify(&[]);
    assert_eq!(words.status, done.status, "{name}");
    assert_eq!(words.text().contains(": valid, "), valid, "{name}: {}", words.text());
    json!({
        "options": options.join(" "),
        "exit": done.status.code(),
        "message": done.stderr.trim_end(),
        "verdict": lines[0],
        "words": words.text().lines().collect::<Vec<_>>(),
    })
}

#[test]
fn the_shelf_gets_its_verdicts() {
    let folder = temp_folder();
    let key = SigningKey::from_seed(&SEED).public();
    let other = SigningKey::from_seed(&[1; 32]).public();
    fs::write(folder.path().join("trusted"), format!("# ours\n{}\n", key.id())).expect("writable");
    fs::write(folder.path().join("nobody"), format!("{}\n", other.to_base64())).expect("writable");

    let mut verdicts = Map::new();
    for (name, options, signed, damage, reseal) in SHELF {
        let mut image = Image::new(MANIFEST, *signed);
        damage(&mut image);
        if *reseal {
            image.reseal();
        }
        verdicts.insert((*name).into(), verdict(folder.path(), name, options, &image.0));
    }
    assert_eq!(verdicts.len(), SHELF.len(), "two have one name");
    let found = serde_json::to_string_pretty(&Value::Object(verdicts)).expect("JSON");
    let found = format!("{}\n", masked(&found));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("damage/fixtures.json");
    if std::env::var_os("EPK_UPDATE").is_some() {
        fs::write(&path, &found).expect("writable");
        return;
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    let wrong: Vec<_> = found.lines().zip(expected.lines()).filter(|(f, e)| f != e).collect();
    assert!(found == expected, "`{}` says otherwise, first: {:?}", path.display(), wrong.first());
}
