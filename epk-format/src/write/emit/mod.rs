//! Where everything lies in an image, one module a format, and what both need.

pub(super) mod v1;
pub(super) mod v2;

use std::io::{self, Seek, SeekFrom};

use zerocopy::little_endian::{U32, U64};

use super::Signer;
use super::error::{Limit, WriteError};
use crate::digest::Sha256;
use crate::layout::header::{Flags, Header};
use crate::limits;

/// The highest end of a section or block of format 1.0: EXOS computes with 32 bits. A signature
/// ends below it in format 2.0, too.
const MAX_END: u64 = u32::MAX as u64;
/// How often a signer is asked until its blob's size settles.
const SIGNER_RUNS: usize = 4;
/// Bytes written or read at once.
const BUFFER: usize = 1 << 20;

/// Has the package signed, and fills in the header's signature fields and hash. The blob's size
/// is under the hash that it signs, so a wrong guess means another run.
fn sign(
    signer: &dyn Signer,
    offset: u64,
    header: &mut Header,
    hash: &mut dyn FnMut(&mut Header) -> Result<Sha256, WriteError>,
) -> Result<Vec<u8>, WriteError> {
    let mut flags = Flags::from_bits_retain(header.flags.get());
    flags.insert(Flags::HAS_SIGNATURE);
    header.flags = U32::new(flags.bits());
    header.signature_offset = U64::new(offset);
    let mut size = signer.expected_size();
    let mut sizes = Vec::new();
    for _ in 0..SIGNER_RUNS {
        limit(Limit::SignatureSize, size, limits::SIGNATURE_BYTES)?;
        end(Limit::SignatureEnd, offset, size)?;
        header.signature_size = U64::new(size);
        let package_hash = hash(&mut *header)?;
        let blob = signer.sign(&package_hash).map_err(WriteError::Signer)?;
        if blob.is_empty() {
            return Err(WriteError::EmptySignature);
        }
        if length(blob.len()) == size {
            header.package_hash = package_hash.0;
            return Ok(blob);
        }
        size = length(blob.len());
        sizes.push(size);
    }
    Err(WriteError::SignatureSize { runs: SIGNER_RUNS, sizes })
}

/// Fails when the output has bytes already.
fn check_empty(output: &mut impl Seek) -> Result<(), WriteError> {
    match output.seek(SeekFrom::End(0)).map_err(at(0))? {
        0 => Ok(()),
        found => Err(WriteError::OutputNotEmpty { found }),
    }
}

/// A length in memory as the format counts.
fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

fn limit(what: Limit, found: u64, allowed: u64) -> Result<u64, WriteError> {
    if found > allowed { Err(WriteError::Limit { what, found, allowed }) } else { Ok(found) }
}

fn end(what: Limit, offset: u64, size: u64) -> Result<u64, WriteError> {
    limit(what, offset.saturating_add(size), MAX_END)
}

fn narrow(what: Limit, value: u64) -> Result<U32, WriteError> {
    let error = |_| WriteError::Limit { what, found: value, allowed: MAX_END };
    u32::try_from(value).map(U32::new).map_err(error)
}

fn at(offset: u64) -> impl FnOnce(io::Error) -> WriteError {
    move |source| WriteError::Output { offset, source }
}
