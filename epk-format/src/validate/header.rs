//! Rules 2 to 14: the header and the order of the sections.

use std::ops::Range;

use zerocopy::{FromZeros as _, IntoBytes as _};

use super::range_in_file;
use crate::error::{Error, Location, Reject, RejectCode};
use crate::layout::header::{Flags, Header, MAGIC, SIZE, VERSION_1_0, VERSION_2_0};
use crate::source::Source;
use crate::write::Format;

/// Where the sections lie. Each range is known to lie in the file.
#[derive(Debug)]
pub(crate) struct Ranges {
    pub(crate) toc: Range<u64>,
    pub(crate) block_table: Range<u64>,
    pub(crate) manifest: Range<u64>,
    pub(crate) signature: Range<u64>,
}

/// Rule 2: a file holds at least a header.
pub(crate) fn read(source: &impl Source, size: u64) -> Result<Header, Error> {
    if size < SIZE as u64 {
        return Err(Reject::new(
            RejectCode::InvalidHeaderSize,
            Location::Image,
            format!("{size} bytes, the header alone has {SIZE}"),
        )
        .into());
    }
    let mut header = Header::new_zeroed();
    source.read_exact_at(header.as_mut_bytes(), 0).map_err(|source| Error::Io {
        offset: 0,
        length: SIZE,
        source,
    })?;
    Ok(header)
}

pub(crate) fn check(header: &Header, size: u64) -> Result<Ranges, Reject> {
    identity(header)?;
    let ranges = sections(header, size)?;
    order(header, &ranges)?;
    signature_flag(header)?;
    Ok(ranges)
}

fn reject(code: RejectCode, offset: usize, detail: String) -> Reject {
    Reject::new(code, Location::Offset(offset as u64), detail)
}

/// Rules 3 and 4: the version, by which the rest is read.
pub(crate) fn version(header: &Header) -> Result<Format, Reject> {
    if header.magic != MAGIC {
        let found = crate::path::display(header.magic.as_bytes()).into_owned();
        return Err(reject(RejectCode::InvalidMagic, 0, format!("magic `{found}`, not `EPK1`")));
    }
    match header.version.get() {
        VERSION_1_0 => Ok(Format::V1),
        // What only calls itself so is as unknown as any other version, to EXOS as well.
        VERSION_2_0 if header.block_table_offset == SIZE as u64 => Ok(Format::V2),
        version => Err(reject(
            RejectCode::UnsupportedVersion,
            4,
            format!(
                "format version {}.{}, this reader knows 1.0 and 2.0",
                version >> 16,
                version & 0xFFFF
            ),
        )),
    }
}

/// Rules 5 to 7.
fn identity(header: &Header) -> Result<(), Reject> {
    if Flags::from_bits(header.flags.get()).is_none() {
        let unknown = header.flags.get() & !Flags::all().bits();
        return Err(reject(
            RejectCode::UnsupportedFlags,
            8,
            format!("unknown flags {unknown:#x}, known are {:#x}", Flags::all()),
        ));
    }
    if header.header_size != SIZE as u32 {
        return Err(reject(
            RejectCode::InvalidHeaderSize,
            12,
            format!("header size {}, not {SIZE}", header.header_size),
        ));
    }
    if let Some(index) = header.reserved.as_bytes().iter().position(|&byte| byte != 0) {
        return Err(reject(
            RejectCode::InvalidEntryFormat,
            112 + index,
            "reserved byte of the header is not 0".into(),
        ));
    }
    Ok(())
}

/// Rule 8: each section lies in the file, the signature even when there is none.
fn sections(header: &Header, size: u64) -> Result<Ranges, Reject> {
    let section = |what: &str, field: usize, offset: u64, length: u64| {
        range_in_file(offset, length, size).ok_or_else(|| {
            reject(
                RejectCode::InvalidBounds,
                field,
                format!("{what} of {length} bytes at {offset:#x} leaves the file of {size} bytes"),
            )
        })
    };
    Ok(Ranges {
        toc: section("table of contents", 16, header.toc_offset.get(), header.toc_size.get())?,
        block_table: section(
            "block table",
            32,
            header.block_table_offset.get(),
            header.block_table_size.get(),
        )?,
        manifest: section(
            "manifest",
            48,
            header.manifest_offset.get(),
            header.manifest_size.get(),
        )?,
        signature: section(
            "signature",
            64,
            header.signature_offset.get(),
            header.signature_size.get(),
        )?,
    })
}

/// Rules 9 to 12.
fn order(header: &Header, ranges: &Ranges) -> Result<(), Reject> {
    let after = |what: &str, field: usize, start: u64, before: &str, end: u64| {
        if start >= end {
            return Ok(());
        }
        Err(reject(
            RejectCode::InvalidSectionOrder,
            field,
            format!("{what} begins at {start:#x}, before the end of the {before} at {end:#x}"),
        ))
    };
    after("table of contents", 16, ranges.toc.start, "header", SIZE as u64)?;
    after("block table", 32, ranges.block_table.start, "table of contents", ranges.toc.end)?;
    after("manifest", 48, ranges.manifest.start, "block table", ranges.block_table.end)?;
    if header.signature_size != 0 {
        after("signature", 64, ranges.signature.start, "manifest", ranges.manifest.end)?;
    }
    Ok(())
}

/// Rules 13 and 14.
fn signature_flag(header: &Header) -> Result<(), Reject> {
    let flag = header.flags.get() & Flags::HAS_SIGNATURE.bits() != 0;
    let present = header.signature_size != 0;
    if flag == present {
        return Ok(());
    }
    let detail = if flag {
        "flag HAS_SIGNATURE is set, but the signature has no bytes".to_owned()
    } else {
        format!("signature of {} bytes without the flag HAS_SIGNATURE", header.signature_size)
    };
    Err(reject(RejectCode::InvalidEntryFormat, 72, detail))
}
