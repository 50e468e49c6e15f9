//! Signing a package: with a key file, or by a command.
//!
//! Whatever comes out is verified before it is written: a package whose signature nobody accepts
//! is worse than none.

use std::error::Error;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use epk_format::digest::Sha256;
use epk_format::signature::{
    self, Blob, KEY_BYTES, KeyId, PublicKey, SIGNATURE_BYTES, SigningKey, Strength,
};
use epk_format::write::Signer;
use thiserror::Error;

use crate::exit::{Exit, Failure};

/// What stands for the hash in a signature command.
const PLACEHOLDER: &str = "{hash}";
/// How a blob begins.
const BLOB_MAGIC: &[u8] = b"SIGS";

type Problem = Box<dyn Error + Send + Sync>;

/// Why a signature command's output is no signature.
#[derive(Debug, Error)]
pub(crate) enum SignError {
    #[error("cannot run the signature command")]
    Run(#[source] std::io::Error),
    #[error("the signature command ended with {0}")]
    Ended(std::process::ExitStatus),
    #[error(
        "the signature command printed {0} bytes that are neither a signature blob nor a \
         signature of {SIGNATURE_BYTES} bytes, raw or in hexadecimal digits"
    )]
    Output(usize),
    #[error("the signature command printed a bare signature, and no `--public-key` says whose")]
    NoKey,
    #[error("the signature is by the key {found}, `--public-key` is {expected}")]
    OtherKey { found: KeyId, expected: KeyId },
    #[error("the signature blob says `algorithm none`: it signs nothing")]
    Nothing,
    #[error("the key {0} is weak: its signatures fit other packages, too")]
    Weak(KeyId),
    #[error(transparent)]
    Invalid(#[from] signature::SignatureError),
}

/// Signs with a private key.
pub(crate) struct KeySigner(SigningKey);

impl KeySigner {
    /// Reads a key file. Says on stderr when others may read it, too.
    pub(crate) fn read(file: &Path) -> Result<Self, Failure> {
        let what = || format!("cannot read the key `{}`", file.display());
        let text = fs::read_to_string(file).map_err(|error| Failure::system(what(), &error))?;
        let metadata = fs::metadata(file).map_err(|error| Failure::system(what(), &error))?;
        if metadata.permissions().mode() & 0o077 != 0 {
            eprintln!("warning: the key `{}` can be read by others", file.display());
            eprintln!("hint: `chmod 600 {}`", file.display());
        }
        match SigningKey::from_base64(&text) {
            Some(key) => Ok(Self(key)),
            None => {
                let message = format!("`{}` is no signing key", file.display());
                Err(Failure::new(Exit::Signature, message)
                    .hint(format!("a key file is {KEY_BYTES} bytes in base64")))
            }
        }
    }
}

impl Signer for KeySigner {
    fn sign(&self, package_hash: &Sha256) -> Result<Vec<u8>, Problem> {
        let blob = self.0.sign(package_hash);
        check(&blob, None, package_hash)?;
        Ok(blob)
    }
}

/// Has a command sign.
pub(crate) struct CommandSigner {
    command: String,
    key: Option<PublicKey>,
}

impl CommandSigner {
    pub(crate) fn new(command: &str, key: Option<PublicKey>) -> Self {
        Self { command: command.to_owned(), key }
    }
}

impl Signer for CommandSigner {
    fn sign(&self, package_hash: &Sha256) -> Result<Vec<u8>, Problem> {
        let output = Command::new("sh")
            .arg("-c")
            .arg(with_hash(&self.command, package_hash))
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .map_err(SignError::Run)?;
        if !output.status.success() {
            return Err(SignError::Ended(output.status).into());
        }
        let blob = blob_of(&output.stdout, self.key.as_ref())?;
        check(&blob, self.key.as_ref(), package_hash)?;
        Ok(blob)
    }
}

/// The command with the hash in its place: the first `{hash}`, or else the last argument.
fn with_hash(command: &str, hash: &Sha256) -> String {
    let hash = hash.to_hex();
    if command.contains(PLACEHOLDER) {
        command.replacen(PLACEHOLDER, &hash, 1)
    } else {
        format!("{command} {hash}")
    }
}

/// The blob that a command's output is or makes.
fn blob_of(output: &[u8], key: Option<&PublicKey>) -> Result<Vec<u8>, SignError> {
    // No output is both: a signature's last byte is at most 0x1f, a digit is above.
    let signature = if is_signature(output) { Some(output.to_vec()) } else { from_hex(output) };
    let signature = signature.filter(|bytes| is_signature(bytes));
    let signature = signature.ok_or(SignError::Output(output.len()))?;
    match <[u8; SIGNATURE_BYTES]>::try_from(signature) {
        Ok(bare) => Ok(signature::blob(key.ok_or(SignError::NoKey)?, &bare)),
        Err(blob) => Ok(blob),
    }
}

fn is_signature(bytes: &[u8]) -> bool {
    let hexadecimal = bytes.iter().all(|byte| byte.is_ascii_hexdigit() || is_space(*byte));
    bytes.starts_with(BLOB_MAGIC) || (bytes.len() == SIGNATURE_BYTES && !hexadecimal)
}

fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace()
}

/// Hexadecimal digits of either case, white space between them ignored.
fn from_hex(text: &[u8]) -> Option<Vec<u8>> {
    let digits = text.iter().filter(|byte| !is_space(**byte));
    let digits: Option<Vec<u8>> = digits.map(|&digit| nibble(digit)).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    let pair = |pair: &[u8]| pair.iter().fold(0, |byte, digit| byte << 4 | digit);
    Some(digits.chunks(2).map(pair).collect())
}

fn nibble(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// Verifies a blob as EXOS will, and stricter: it must bind its key to this package.
fn check(blob: &[u8], key: Option<&PublicKey>, hash: &Sha256) -> Result<(), SignError> {
    let Blob::Ed25519 { key: found, signature } = Blob::parse(blob)? else {
        return Err(SignError::Nothing);
    };
    if let Some(expected) = key.filter(|expected| **expected != found) {
        return Err(SignError::OtherKey { found: found.id(), expected: expected.id() });
    }
    match signature::verify(&found, &signature, hash)? {
        Strength::Strong => Ok(()),
        Strength::Weak => Err(SignError::Weak(found.id())),
    }
}

/// Reads `--public-key`: base64 of the key, or a file with it.
pub(crate) fn public_key(text: &str) -> Result<PublicKey, Failure> {
    if let Some(key) = PublicKey::from_base64(text) {
        return Ok(key);
    }
    let content = fs::read_to_string(text).map_err(|error| {
        Failure::system(format!("`{text}` is no public key, and no file can be read there"), &error)
    })?;
    PublicKey::from_base64(&content).ok_or_else(|| {
        let message = format!("the file `{text}` holds no public key");
        Failure::new(Exit::Signature, message).hint(format!("it is {KEY_BYTES} bytes in base64"))
    })
}

/// The key that a package's blob carries.
pub(crate) fn key_of(blob: &[u8]) -> Option<KeyId> {
    match Blob::parse(blob) {
        Ok(Blob::Ed25519 { key, .. }) => Some(key.id()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(&[seed; 32])
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02X}\n ")).collect()
    }

    #[test]
    fn the_hash_takes_its_place() {
        let hash = Sha256::of(b"");
        let digits = hash.to_hex();
        assert_eq!(with_hash("sign", &hash), format!("sign {digits}"));
        assert_eq!(with_hash("a {hash} {hash}", &hash), format!("a {digits} {{hash}}"));
    }

    #[test]
    fn takes_blobs_and_bare_signatures_in_both_spellings() {
        let hash = Sha256::of(b"package");
        let blob = key(1).sign(&hash);
        let public = key(1).public();
        let bare = &blob[blob.len() - SIGNATURE_BYTES..];
        for output in [blob.clone(), hex(&blob).into_bytes()] {
            assert_eq!(blob_of(&output, None).expect("a blob"), blob);
        }
        for output in [bare.to_vec(), hex(bare).into_bytes()] {
            assert_eq!(blob_of(&output, Some(&public)).expect("a blob"), blob);
            assert!(matches!(blob_of(&output, None), Err(SignError::NoKey)));
        }
        for output in [&b""[..], b"SIG", b"abc", &bare[1..], &[b'a'; 64], b"zz"] {
            let refused = blob_of(output, Some(&public));
            assert!(matches!(refused, Err(SignError::Output(_))), "{output:?}");
        }
    }

    #[test]
    fn only_what_verifies_is_kept() {
        let hash = Sha256::of(b"package");
        let blob = key(1).sign(&hash);
        let public = key(1).public();
        check(&blob, None, &hash).expect("valid");
        check(&blob, Some(&public), &hash).expect("valid");
        let other = check(&blob, Some(&key(2).public()), &hash);
        assert!(matches!(other, Err(SignError::OtherKey { .. })));
        let wrong = check(&blob, None, &Sha256::of(b"another"));
        assert!(matches!(wrong, Err(SignError::Invalid(_))));
        let mut none = blob.clone();
        none[8] = 0;
        none.truncate(48);
        none[16..].fill(0);
        assert!(matches!(check(&none, None, &hash), Err(SignError::Nothing)));
        assert!(matches!(check(&blob[..100], None, &hash), Err(SignError::Invalid(_))));
        // The identity as a key, with the signature (identity, 0): true of every message.
        let mut identity = [0; 32];
        identity[0] = 1;
        let mut signature = [0; 64];
        signature[0] = 1;
        let weak = signature::blob(&PublicKey::from_bytes(identity), &signature);
        assert!(matches!(check(&weak, None, &hash), Err(SignError::Weak(_))));
    }

    #[test]
    fn reads_public_keys_from_text_and_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let public = key(3).public();
        let text = public.to_base64();
        assert_eq!(public_key(&text).expect("a key"), public);
        let file = folder.path().join("key.pub");
        fs::write(&file, format!("{text}\n")).expect("written");
        let path = file.to_str().expect("text");
        assert_eq!(public_key(path).expect("a key"), public);
        fs::write(&file, "hello").expect("written");
        assert_eq!(public_key(path).expect_err("refused").exit, Exit::Signature);
        assert_eq!(public_key("none").expect_err("refused").exit, Exit::Environment);
    }
}
