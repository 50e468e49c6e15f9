//! Opening a package of format 2.0: the header, PackageHash, the signature and the superblock.
//! Whatever the package holds, this reads and hashes the same few kilobytes.

use std::ops::Range;

use zerocopy::{FromZeros as _, IntoBytes as _};

use super::Metadata;
use super::pages::{Memo, Pages, lists};
use super::rows::Tables;
use crate::digest::{Hasher, Sha256};
use crate::error::{Error, Location, Reject, RejectCode};
use crate::layout::header::{Flags, Header, PACKAGE_HASH_OFFSET, SIZE};
use crate::layout::metadata::{SUPERBLOCK_SIZE, Superblock};
use crate::limits;
use crate::package::{Common, NodeId, OpenOptions, View};
use crate::source::Source;
use crate::validate::{read, signature};

/// Opens what comes after a header of version 2.0.
pub(crate) fn open<S: Source>(
    source: &S,
    size: u64,
    header: Header,
    options: &OpenOptions,
) -> Result<(Common, View), Error> {
    let sections = Sections::of(&header, size)?;
    let manifest = read(source, &sections.manifest)?;
    let blob = read(source, &sections.signature)?;
    let top = sections.lists.last().cloned().unwrap_or_default();
    let top = read(source, &top)?;
    if options.verify_hash {
        check_hash(&header, &manifest, &top)?;
    }
    let state = signature::check(&header, &sections.signature, Some(&blob), &manifest, options)?;

    let pages = Pages::new(
        sections.metadata.clone(),
        sections.plain_size,
        sections.lists.clone(),
        top,
        options.verify_hash,
    );
    let mut superblock = Superblock::new_zeroed();
    pages.read(source, &Memo::default(), 0, superblock.as_mut_bytes())?;
    let tables = check_superblock(&superblock, &sections, size)?;
    let mut metadata =
        Metadata { pages, tables, data: sections.metadata.end..size, shown_manifest: None };
    let view = super::View::new(source, &metadata);
    view.checked(NodeId::ROOT)?;
    let named = view.lookup(NodeId::ROOT, crate::tree::MANIFEST_NAME)?.is_some();
    if !manifest.is_empty() && !named {
        metadata.shown_manifest = Some(manifest.len() as u64);
    }
    let common = Common { header, size, manifest, signature: state, stamp: None };
    Ok((common, View::Pages(Box::new(metadata))))
}

/// Most bytes of metadata: as far as the 48 bits of a page's offset reach.
const MAX_METADATA: u64 = 1 << 48;

/// Where the sections lie. They follow one another without gaps.
struct Sections {
    /// The lists of the hash tree, that of the metadata pages first.
    lists: Vec<Range<u64>>,
    manifest: Range<u64>,
    signature: Range<u64>,
    metadata: Range<u64>,
    /// Bytes of the metadata when inflated.
    plain_size: u64,
}

impl Sections {
    fn of(header: &Header, size: u64) -> Result<Self, Reject> {
        let field = |offset: usize| Location::Offset(offset as u64);
        if header.flags.get() & !Flags::HAS_SIGNATURE.bits() != 0 {
            return Err(Reject::new(
                RejectCode::UnsupportedFlags,
                field(8),
                format!("flags {:#x}, format 2.0 knows 0x2", header.flags),
            ));
        }
        if header.header_size != SIZE as u32 {
            return Err(Reject::new(
                RejectCode::InvalidHeaderSize,
                field(12),
                format!("header size {}, not {SIZE}", header.header_size),
            ));
        }
        let [plain_size, reserved] = header.reserved;
        if reserved != 0 {
            return Err(Reject::new(
                RejectCode::InvalidEntryFormat,
                field(120),
                "reserved field of the header is not 0",
            ));
        }
        let section = |name: &str, at: usize, offset: u64, length: u64| {
            offset.checked_add(length).filter(|&end| end <= size).map(|end| offset..end).ok_or_else(
                || {
                    Reject::new(
                        RejectCode::InvalidBounds,
                        field(at),
                        format!("{name} of {length} bytes at {offset:#x} leaves the file of {size} bytes"),
                    )
                },
            )
        };
        let (metadata_offset, metadata_size) = (header.toc_offset.get(), header.toc_size.get());
        let metadata = section("metadata", 16, metadata_offset, metadata_size)?;
        let (tree_offset, tree_size) =
            (header.block_table_offset.get(), header.block_table_size.get());
        let tree = section("hash tree", 32, tree_offset, tree_size)?;
        let (manifest_offset, manifest_size) =
            (header.manifest_offset.get(), header.manifest_size.get());
        let manifest = section("manifest", 48, manifest_offset, manifest_size)?;
        let (signature_offset, signature_size) =
            (header.signature_offset.get(), header.signature_size.get());
        let signature = section("signature", 64, signature_offset, signature_size)?;
        limited(RejectCode::ManifestTooLarge, &manifest, "manifest", limits::MANIFEST_BYTES)?;
        limited(RejectCode::SignatureTooLarge, &signature, "signature", limits::SIGNATURE_BYTES)?;
        signature_fields(header)?;

        // One after another, from the header on; the data are what is left.
        let mut end = SIZE as u64;
        let parts = [("hash tree", 32, &tree), ("manifest", 48, &manifest)];
        let signed = (signature_size > 0).then_some(("signature", 64, &signature));
        let parts = parts.into_iter().chain(signed).chain([("metadata", 16, &metadata)]);
        for (name, at, range) in parts {
            if range.start != end {
                return Err(Reject::new(
                    RejectCode::SectionGap,
                    field(at),
                    format!(
                        "{name} begins at {:#x}, what is before it ends at {end:#x}",
                        range.start
                    ),
                ));
            }
            end = range.end;
        }
        let plain_size = plain_size.get();
        if !(SUPERBLOCK_SIZE as u64..=MAX_METADATA).contains(&plain_size) {
            return Err(Reject::new(
                RejectCode::MetadataLayout,
                field(112),
                format!("metadata of {plain_size} bytes, {SUPERBLOCK_SIZE} to {MAX_METADATA}"),
            ));
        }
        let lists = lists(plain_size)
            .filter(|lists| lists.first().map(|list| list.end) == Some(tree_size))
            .ok_or_else(|| {
                Reject::new(
                    RejectCode::MetadataLayout,
                    field(40),
                    format!("hash tree of {tree_size} bytes over metadata of {plain_size}"),
                )
            })?;
        let lists =
            lists.into_iter().map(|list| tree.start + list.start..tree.start + list.end).collect();
        Ok(Self { lists, manifest, signature, metadata, plain_size })
    }
}

fn limited(code: RejectCode, range: &Range<u64>, name: &str, limit: u64) -> Result<(), Reject> {
    let length = range.end - range.start;
    if length <= limit {
        return Ok(());
    }
    Err(Reject::new(
        code,
        Location::Offset(range.start),
        format!("{name} of {length} bytes, at most {limit} are read"),
    ))
}

fn signature_fields(header: &Header) -> Result<(), Reject> {
    let flag = header.flags.get() & Flags::HAS_SIGNATURE.bits() != 0;
    if flag != (header.signature_size != 0) || (!flag && header.signature_offset != 0) {
        return Err(Reject::new(
            RejectCode::InvalidEntryFormat,
            Location::Offset(64),
            format!(
                "signature of {} bytes at {:#x}, flag HAS_SIGNATURE is {flag}",
                header.signature_size, header.signature_offset
            ),
        ));
    }
    Ok(())
}

/// PackageHash: SHA-256 over the header with the hash zeroed, and the hashes of the manifest and
/// of the tree's top list.
fn check_hash(header: &Header, manifest: &[u8], top: &[u8]) -> Result<(), Reject> {
    let declared = Sha256(header.package_hash);
    let mut zeroed = *header;
    zeroed.package_hash = [0; 32];
    let mut hasher = Hasher::new();
    hasher.update(zeroed.as_bytes());
    hasher.update(Sha256::of(manifest).as_bytes());
    hasher.update(Sha256::of(top).as_bytes());
    let found = hasher.finish();
    if found == declared {
        return Ok(());
    }
    Err(Reject::new(
        RejectCode::HashMismatch,
        Location::Offset(PACKAGE_HASH_OFFSET as u64),
        format!("the package's root hash is {found}, its header says {declared}"),
    ))
}

fn check_superblock(
    superblock: &Superblock,
    sections: &Sections,
    size: u64,
) -> Result<Tables, Reject> {
    let bad = |detail: String| {
        Reject::new(RejectCode::MetadataLayout, Location::Offset(sections.metadata.start), detail)
    };
    let chunk_size = superblock.chunk_size.get();
    if !chunk_size.is_power_of_two()
        || !(limits::MIN_CHUNK_BYTES..=limits::MAX_CHUNK_BYTES).contains(&chunk_size)
        || superblock.reserved != 0
    {
        return Err(bad(format!(
            "chunk size {chunk_size}: a power of two from {} to {} is allowed",
            limits::MIN_CHUNK_BYTES,
            limits::MAX_CHUNK_BYTES
        )));
    }
    let data_end = sections.metadata.end.checked_add(superblock.data_size.get());
    if data_end != Some(size) {
        return Err(Reject::new(
            RejectCode::SectionGap,
            Location::Offset(sections.metadata.end),
            format!(
                "{} bytes of data from {:#x} on don't end with the file of {size} bytes",
                superblock.data_size, sections.metadata.end
            ),
        ));
    }
    let length = sections.plain_size;
    let tables = Tables::new(superblock, length)
        .ok_or_else(|| bad(format!("tables that don't fit the metadata of {length} bytes")))?;
    if tables.nodes == 0 {
        return Err(bad("no nodes, not even a root".into()));
    }
    Ok(tables)
}
