//! AppImages of type 2: an ELF program with a SquashFS image behind it.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use super::problem::Problem;
use super::squashfs;
use crate::loader::elf::Machine;

/// Sections that lie in memory only.
const NO_BITS: u32 = 8;
/// What stands in the ELF identification of an AppImage, from byte 8 on, before its type.
const MARK: &[u8] = b"AI";

/// What the head of an ELF program says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Elf {
    wide: bool,
    machine: Machine,
    segments: Table,
    sections: Table,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Table {
    offset: u64,
    size: u16,
    count: u16,
}

/// Whether these are the first bytes of an ELF program.
pub(crate) fn is_elf(first: &[u8]) -> bool {
    first.starts_with(b"\x7fELF")
}

/// The type of an AppImage with these first bytes.
pub(crate) fn type_of(first: &[u8]) -> Option<u8> {
    let mark = first.get(8..11).filter(|_| is_elf(first))?;
    mark.strip_prefix(MARK)?.first().copied()
}

impl Elf {
    /// Reads the head of a program in a little-endian form.
    pub(crate) fn read(head: &[u8]) -> Option<Self> {
        let number = |at: usize, size: usize| {
            let field = head.get(at..at + size)?.iter().rev();
            Some(field.fold(0_u64, |sum, &byte| sum << 8 | u64::from(byte)))
        };
        let short = |at: usize| u16::try_from(number(at, 2)?).ok();
        let machine = Machine::of(head)?;
        if head.get(5) != Some(&1) {
            return None;
        }
        let wide = match head.get(4)? {
            1 => false,
            2 => true,
            _ => return None,
        };
        let (tables, width, sizes) = if wide { (0x20, 8, 0x36) } else { (0x1c, 4, 0x2a) };
        let table = |number_at: usize, size_at: usize| {
            Some(Table {
                offset: number(number_at, width)?,
                size: short(size_at)?,
                count: short(size_at + 2)?,
            })
        };
        Some(Self {
            wide,
            machine,
            segments: table(tables, sizes)?,
            sections: table(tables + width, sizes + 4)?,
        })
    }

    /// Where the program ends in its file: the end of its tables and of all that they describe.
    fn end(&self, file: &File) -> Result<u64, Problem> {
        let mut end = 0;
        // Places of offset, size, and of the kind of a section.
        let (segment, section) =
            if self.wide { ((8, 0x20), (0x18, 0x20)) } else { ((4, 0x10), (0x10, 0x14)) };
        for (table, (offset_at, size_at), is_section) in
            [(self.segments, segment, false), (self.sections, section, true)]
        {
            let size = u64::from(table.size);
            for number in 0..u64::from(table.count) {
                let at = number.checked_mul(size).and_then(|at| table.offset.checked_add(at));
                let at = at.ok_or_else(|| bad("a table beyond the end"))?;
                let mut row = [0; 0x40];
                let length = row.len().min(usize::from(table.size));
                file.read_exact_at(&mut row[..length], at).map_err(Problem::read)?;
                end = end.max(at.saturating_add(size));
                let field = |at: usize, size: usize| {
                    let field = row.get(at..at + size).unwrap_or_default().iter().rev();
                    field.fold(0_u64, |sum, &byte| sum << 8 | u64::from(byte))
                };
                let width = if self.wide { 8 } else { 4 };
                if !(is_section && field(4, 4) == u64::from(NO_BITS)) {
                    let part = field(offset_at, width).checked_add(field(size_at, width));
                    end = end.max(part.ok_or_else(|| bad("a part beyond the end"))?);
                }
            }
        }
        Ok(end)
    }
}

fn bad(what: &str) -> Problem {
    Problem::Damaged(format!("is a damaged AppImage: its program has {what}"))
}

/// Where the SquashFS image of an AppImage begins, and for which architecture it is.
pub(crate) fn payload(file: &File) -> Result<(u64, &'static str), Problem> {
    let mut head = [0; 0x40];
    file.read_exact_at(&mut head, 0).map_err(Problem::read)?;
    let elf = Elf::read(&head).ok_or_else(|| bad("no head that can be read"))?;
    let end = elf.end(file)?;
    let mut magic = [0; 4];
    match file.read_exact_at(&mut magic, end) {
        Ok(()) if magic == *squashfs::MAGIC => Ok((end, elf.machine.arch())),
        Ok(()) if magic.starts_with(b"DWAR") => {
            let message = format!("has a DwarFS image at byte {end}; SquashFS can be read");
            Err(Problem::Refused(message))
        }
        Ok(()) => Err(Problem::Damaged(format!("has no SquashFS image at byte {end}"))),
        Err(_) => Err(Problem::Damaged(format!("is cut off: its program ends at byte {end}"))),
    }
}
