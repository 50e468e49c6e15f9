//! Any bytes as a signature blob.
//!
//! Invariants: no panic; nothing but algorithm "none" passes without a signature that the key
//! really made, which no fuzzer can make; a file of keys that is read is written as what it was.
#![no_main]

use epk_format::digest::Sha256;
use epk_format::signature::{Blob, KeyId, PublicKey, Strength, verify};
use epk_format::trust::{Settings, TrustStore, TrustedKeys};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = TrustedKeys::parse(text);
        let _ = Settings::parse(text);
        if let Ok(store) = TrustStore::parse(text) {
            let again = store.to_text().expect("text");
            assert_eq!(TrustStore::parse(&again), Ok(store));
        }
        let _ = PublicKey::from_base64(text);
        if let Some(id) = KeyId::parse(text) {
            assert_eq!(id.as_str(), text);
        }
    }
    let Ok(Blob::Ed25519 { key, signature }) = Blob::parse(bytes) else { return };
    let message = Sha256::of(b"a package that nobody signed");
    assert_ne!(verify(&key, &signature, &message), Ok(Strength::Strong));
});
