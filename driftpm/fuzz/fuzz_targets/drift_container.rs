//! Any bytes as a Drift package, with hashes as they are and with hashes made right, so that what
//! lies behind them is reached.
//!
//! Invariants: no panic; what the full reader accepts and what has an identity, the light reader
//! accepts too; accepted blobs are inside the file and have their hashes.
#![no_main]

use driftpm::drift::container::{ENTRY_LEN, HEADER_LEN, read_full, read_identity, read_light};
use epk_format::digest::Sha256;
use libfuzzer_sys::fuzz_target;

fn check(bytes: &[u8]) {
    let light = read_light(bytes);
    let Ok(full) = read_full(bytes) else { return };
    if let Ok(identity) = read_identity(&full.manifest) {
        assert_eq!(light.expect("the light reader sees less").identity, identity);
    }
    for blob in &full.blobs {
        let start = usize::try_from(blob.offset).unwrap();
        let end = start + usize::try_from(blob.length).unwrap();
        assert_eq!(Sha256::of(&bytes[start..end]), blob.sha256);
    }
}

/// Writes the right hashes of manifest, blobs and table where lengths and offsets allow it.
fn repair(bytes: &mut [u8]) -> Option<()> {
    let number = |at: usize, bytes: &[u8]| {
        Some(usize::try_from(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?)).ok()?)
    };
    let manifest_end = HEADER_LEN.checked_add(number(16, bytes)?)?;
    let hash = Sha256::of(bytes.get(HEADER_LEN..manifest_end)?);
    bytes.get_mut(24..56)?.copy_from_slice(hash.as_bytes());
    let table_end =
        number(56, bytes)?.checked_mul(ENTRY_LEN).and_then(|len| manifest_end.checked_add(len))?;
    for at in (manifest_end..table_end).step_by(ENTRY_LEN) {
        let offset = number(at + 32, bytes)?;
        let end = offset.checked_add(number(at + 40, bytes)?)?;
        let hash = Sha256::of(bytes.get(offset..end)?);
        bytes.get_mut(at..at + 32)?.copy_from_slice(hash.as_bytes());
    }
    let hash = Sha256::of(bytes.get(manifest_end..table_end)?);
    bytes.get_mut(68..100)?.copy_from_slice(hash.as_bytes());
    Some(())
}

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    let mut repaired = bytes.to_vec();
    let _ = repair(&mut repaired);
    check(&repaired);
});
