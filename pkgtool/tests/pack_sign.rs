//! Signed packages: by key and by command, and what is refused.

mod support;

use std::fs;

use epk_format::digest::Sha256;
use epk_format::signature::{Blob, SigningKey};
use support::Place;

/// A place with `key`, `key.pub`, and a `signer` that answers with the file named by its
/// argument: the signature of the package that this folder makes.
fn place(seed: u8) -> (Place, SigningKey) {
    let place = Place::app();
    let key = SigningKey::from_seed(&[seed; 32]);
    place.file("key", key.to_base64().as_bytes(), 0o600);
    place.file("key.pub", key.public().to_base64().as_bytes(), 0o644);
    (place, key)
}

/// The hash that a signed package of this place has, asked from a command that notes it.
fn hash(place: &Place) -> Sha256 {
    place.pack(&["--signature-command", "echo {hash} > hash; exit 1"]).fails(5, &["ended with"]);
    let text = fs::read_to_string(place.path("hash")).expect("noted");
    fs::remove_file(place.path("hash")).expect("removed");
    Sha256::from_hex(text.trim()).expect("64 lower-case digits")
}

/// Makes a command that prints these bytes.
fn prints(place: &Place, bytes: &[u8]) -> String {
    place.file("answer", bytes, 0o644);
    "cat answer #".to_owned()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_key_signs() {
    let (place, key) = place(1);
    let json = place.pack(&["--sign", "key", "--json"]).ok().json();
    assert_eq!(json["signature"]["key_id"], key.public().id().as_str());
    assert_eq!(json["signature"]["size"], 144);
    let image = place.image();
    support::shown(&image);
    let offset = u64::from_le_bytes(image[0x40..0x48].try_into().expect("8 bytes"));
    let blob = &image[usize::try_from(offset).expect("in memory")..][..144];
    let signed = Sha256(image[80..112].try_into().expect("32 bytes"));
    assert_eq!(blob, key.sign(&signed));
    assert!(
        matches!(Blob::parse(blob), Ok(Blob::Ed25519 { key: found, .. }) if found == key.public())
    );
    assert_eq!(signed, hash(&place), "the command is asked about the same hash");
    // Signing is deterministic, too.
    place.pack(&["--sign", "key", "--threads", "3"]).ok();
    assert!(place.image() == image);
}

#[test]
fn key_files_are_checked() {
    let (place, _) = place(1);
    place.file("open", &fs::read(place.path("key")).expect("readable"), 0o644);
    let ran = place.pack(&["--sign", "open"]).ok();
    assert!(ran.stderr.contains("warning: the key `open` can be read by others"), "{ran:?}");
    place.file("bad", b"hello", 0o600);
    place.pack(&["--sign", "bad"]).fails(5, &["`bad` is no signing key"]);
    place.pack(&["--sign", "none"]).fails(3, &["cannot read the key `none`"]);
}

#[test]
fn a_command_signs_in_every_spelling() {
    let (place, key) = place(2);
    let blob = key.sign(&hash(&place));
    place.pack(&["--sign", "key"]).ok();
    let expected = place.image();
    for bytes in [blob.clone(), hex(&blob).into_bytes(), (hex(&blob) + "\n").into_bytes()] {
        let command = prints(&place, &bytes);
        place.pack(&["--signature-command", &command]).ok();
        assert!(place.image() == expected);
    }
    let bare = &blob[80..];
    let public = key.public().to_base64();
    for bytes in [bare.to_vec(), hex(bare).to_uppercase().into_bytes()] {
        for public in [public.as_str(), "key.pub"] {
            let command = prints(&place, &bytes);
            place.pack(&["--signature-command", &command, "--public-key", public]).ok();
            assert!(place.image() == expected);
        }
    }
}

#[test]
fn the_hash_is_an_argument() {
    let (place, _) = place(2);
    let expected = hash(&place).to_hex();
    // Without a place of its own, it is the last argument; only the first place is filled.
    for (command, noted) in [
        ("set -- x; f() { echo \"$1 $#\" > hash; }; f", format!("{expected} 1")),
        ("echo {hash} {hash} > hash; exit 1", format!("{expected} {{hash}}")),
    ] {
        assert_eq!(place.pack(&["--signature-command", command]).code, Some(5));
        let text = fs::read_to_string(place.path("hash")).expect("noted");
        assert_eq!(text.trim(), noted);
    }
}

#[test]
fn a_blob_of_another_size_is_asked_for_again() {
    let (place, key) = place(3);
    // 16 bytes of padding: EXOS accepts them. The size is under the hash, so the first answer
    // is about another hash and must not be taken for wrong before its size is known.
    let mut padded = key.sign(&hash(&place));
    padded.resize(160, 0);
    place.file("first", &padded, 0o644);
    let command = "echo {hash} >> asked; cat first";
    place.pack(&["--signature-command", command]).fails(5, &["does not fit"]);
    let asked = fs::read_to_string(place.path("asked")).expect("noted");
    let asked: Vec<_> = asked.lines().collect();
    assert_eq!(asked.len(), 2, "{asked:?}");
    let mut second = key.sign(&Sha256::from_hex(asked[1]).expect("a hash"));
    second.resize(160, 0);
    place.file("second", &second, 0o644);
    let command = format!("if [ {{hash}} = {} ]; then cat first; else cat second; fi", asked[0]);
    let json = place.pack(&["--signature-command", &command, "--json"]).ok().json();
    assert_eq!(json["signature"]["size"], 160);
    support::shown(&place.image());
}

#[test]
fn what_nobody_accepts_is_not_written() {
    let (place, key) = place(4);
    let hash = hash(&place);
    let blob = key.sign(&hash);
    let mut none = blob[..48].to_vec();
    none[8] = 0;
    none[16..].fill(0);
    let mut damaged = blob.clone();
    damaged[100] ^= 1;
    let other = SigningKey::from_seed(&[9; 32]);
    let table: [(&[u8], &[&str], &str); 8] = [
        (b"", &[], "neither a signature blob nor a signature"),
        (b"hello", &[], "neither a signature blob nor a signature"),
        (&blob[80..], &[], "no `--public-key` says whose"),
        (&blob[80..], &["--public-key", "other.pub"], "does not fit the package"),
        (&blob, &["--public-key", "other.pub"], "`--public-key` is ed25519:"),
        (&damaged, &[], "does not fit the package"),
        (&none, &[], "signs nothing"),
        (&blob[..100], &[], "malformed signature blob"),
    ];
    place.file("other.pub", other.public().to_base64().as_bytes(), 0o644);
    for (bytes, more, said) in table {
        let command = prints(&place, bytes);
        let options = [&["--signature-command", &command][..], more].concat();
        place.pack(&options).fails(5, &[said]);
        assert!(!place.path("app.epk").exists());
    }
    place.pack(&["--signature-command", "exit 3"]).fails(5, &["exit status: 3"]);
    let bad_key = ["--signature-command", "true", "--public-key", "key"];
    // A seed looks like a key: the signature tells.
    place.pack(&bad_key).fails(5, &[]);
}
