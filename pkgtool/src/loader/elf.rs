//! What an ELF file says about its loading, read as kernel and loader read it: program headers
//! and what they point to. Sections, which only linkers and debuggers need, are not looked at.

use std::fmt;

use object::elf::{self, FileHeader32, FileHeader64};
use object::read::elf::{Dyn as _, FileHeader, ProgramHeader as _};
use object::{Endianness, pod};

/// Most bytes of all program headers, as in Linux (`load_elf_phdrs`, fs/binfmt_elf.c).
const HEADERS: u64 = 65_536;
/// Most bytes of a loader's path, its NUL counted: Linux's `PATH_MAX`.
const INTERPRETER: u64 = 4096;
/// Most bytes of a dynamic section: room for 4,096 entries, a hundred times what programs have.
const DYNAMIC: u64 = 65_536;
/// Most bytes of a name or of a list of folders.
const TEXT: u64 = 65_536;

/// For which processor a file is: its class, the order of its bytes, and ELF's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Machine {
    wide: bool,
    big_endian: bool,
    number: u16,
}

impl Machine {
    /// `x86-64` of the manifest.
    pub(crate) const X86_64: Self = Self { wide: true, big_endian: false, number: 62 };
    /// `x86-32` of the manifest.
    pub(crate) const X86_32: Self = Self { wide: false, big_endian: false, number: 3 };

    /// Reads the first 20 bytes of a file; `None` if they aren't those of an ELF file.
    pub(crate) fn of(head: &[u8]) -> Option<Self> {
        if !head.starts_with(&elf::ELFMAG) {
            return None;
        }
        let wide = match head.get(4)? {
            1 => false,
            2 => true,
            _ => return None,
        };
        let number = head.get(18..20)?.first_chunk()?;
        let (big_endian, number) = match head.get(5)? {
            1 => (false, u16::from_le_bytes(*number)),
            2 => (true, u16::from_be_bytes(*number)),
            _ => return None,
        };
        Some(Self { wide, big_endian, number })
    }

    /// The machine of a manifest's `arch`.
    pub(crate) fn of_arch(arch: &str) -> Option<Self> {
        [Self::X86_32, Self::X86_64].into_iter().find(|machine| machine.arch() == arch)
    }

    /// The architecture in the manifest's words, of those that manifests name; `unknown` for
    /// the others.
    pub(crate) fn arch(self) -> &'static str {
        match (self.number, self.wide) {
            _ if self.big_endian && self.number != 183 => "unknown",
            (3, false) => "x86-32",
            (40, false) => "arm",
            (62, true) => "x86-64",
            (183, true) => "aarch64",
            (243, true) => "riscv64",
            _ => "unknown",
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.arch() {
            "unknown" => {
                let bits = if self.wide { 64 } else { 32 };
                write!(f, "machine {} with {bits} bits", self.number)
            }
            arch => f.write_str(arch),
        }
    }
}

/// What kernel and loader do with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A program with fixed addresses.
    Program,
    /// A library, or a program that can lie anywhere.
    Shared,
    /// An object file, a core or the like: never loaded.
    Other,
}

/// What a file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Elf {
    pub(crate) machine: Machine,
    pub(crate) kind: Kind,
    /// The loader that it names (`PT_INTERP`).
    pub(crate) interpreter: Option<Vec<u8>>,
    /// The libraries that it needs (`DT_NEEDED`), in their order.
    pub(crate) needed: Vec<Vec<u8>>,
    /// Its own name as a library (`DT_SONAME`).
    pub(crate) soname: Option<Vec<u8>>,
    /// Folders, with `:` between them, for it and what it loads (`DT_RPATH`).
    pub(crate) rpath: Option<Vec<u8>>,
    /// Folders, with `:` between them, for what it needs itself (`DT_RUNPATH`).
    pub(crate) runpath: Option<Vec<u8>>,
    /// Whether the loader's own folders are searched for it (no `DF_1_NODEFLIB`).
    pub(crate) default_folders: bool,
}

/// Why a file could not be read.
#[derive(Debug)]
pub(crate) enum Broken<E> {
    /// It is no good ELF file, as a phrase.
    Malformed(String),
    /// Its bytes can't be had.
    Read(E),
}

impl<E> From<String> for Broken<E> {
    fn from(text: String) -> Self {
        Self::Malformed(text)
    }
}

/// Reads a file of `size` bytes, of which `read` fills a buffer from an offset on. It is asked
/// only for what lies inside. `None` if it is no ELF file.
pub(crate) fn read<E>(
    size: u64,
    read: impl FnMut(u64, &mut [u8]) -> Result<(), E>,
) -> Result<Option<Elf>, Broken<E>> {
    let mut input = Input { size, read };
    let head = input.get("its head", 0, size.min(64))?;
    let Some(machine) = Machine::of(&head) else { return Ok(None) };
    let elf = if machine.wide {
        of_class::<FileHeader64<Endianness>, _, _>(&mut input, &head, machine)
    } else {
        of_class::<FileHeader32<Endianness>, _, _>(&mut input, &head, machine)
    };
    elf.map(Some)
}

fn of_class<H, E, R>(input: &mut Input<R>, head: &[u8], machine: Machine) -> Result<Elf, Broken<E>>
where
    H: FileHeader<Endian = Endianness>,
    R: FnMut(u64, &mut [u8]) -> Result<(), E>,
{
    let cut = |()| "it ends within its head".to_owned();
    let (header, _) = pod::from_bytes::<H>(head).map_err(cut)?;
    let endian = if machine.big_endian { Endianness::Big } else { Endianness::Little };
    let kind = match header.e_type(endian) {
        elf::ET_EXEC => Kind::Program,
        elf::ET_DYN => Kind::Shared,
        _ => Kind::Other,
    };
    let mut found = Elf {
        machine,
        kind,
        interpreter: None,
        needed: Vec::new(),
        soname: None,
        rpath: None,
        runpath: None,
        default_folders: true,
    };
    if kind == Kind::Other {
        return Ok(found);
    }
    let width = size_of::<H::ProgramHeader>();
    if usize::from(header.e_phentsize(endian)) != width {
        let size = header.e_phentsize(endian);
        return Err(format!("program headers of {size} bytes each, not {width}").into());
    }
    let count = header.e_phnum(endian);
    let bytes = u64::from(count) * u64::from(header.e_phentsize(endian));
    if count == 0 || bytes > HEADERS {
        return Err(format!("{count} program headers, not 1 to {HEADERS} bytes of them").into());
    }
    let table = input.get("its program headers", header.e_phoff(endian).into(), bytes)?;
    let bad = |()| "its program headers can't be read".to_owned();
    let headers = pod::slice_from_all_bytes::<H::ProgramHeader>(&table).map_err(bad)?;

    // Addresses in memory, which dynamic sections have, as places in the file.
    let place = |address: u64, length: u64| {
        let parts = headers.iter().filter(|header| header.p_type(endian) == elf::PT_LOAD);
        parts.into_iter().find_map(|part| {
            let (offset, size) = part.file_range(endian);
            let skipped = address.checked_sub(part.p_vaddr(endian).into())?;
            (skipped.checked_add(length)? <= size).then_some(offset.checked_add(skipped)?)
        })
    };
    let of_type = |wanted| headers.iter().find(|header| header.p_type(endian) == wanted);
    if let Some(header) = of_type(elf::PT_INTERP) {
        let (offset, size) = header.file_range(endian);
        if !(2..=INTERPRETER).contains(&size) {
            return Err(format!("a loader's path of {size} bytes, not 2 to {INTERPRETER}").into());
        }
        let text = input.get("its loader's path", offset, size)?;
        let end = text.iter().position(|&byte| byte == 0);
        let end = end.ok_or_else(|| "its loader's path does not end".to_owned())?;
        found.interpreter = Some(text.get(..end).unwrap_or_default().to_vec());
    }
    let Some(header) = of_type(elf::PT_DYNAMIC) else { return Ok(found) };
    let size = header.p_filesz(endian).into();
    if size > DYNAMIC {
        return Err(format!("a dynamic section of {size} bytes, above {DYNAMIC}").into());
    }
    let offset = place(header.p_vaddr(endian).into(), size)
        .ok_or_else(|| "its dynamic section is in no part that is loaded".to_owned())?;
    let table = input.get("its dynamic section", offset, size)?;
    let bad = |()| "its dynamic section can't be read".to_owned();
    let entries = pod::slice_from_all_bytes::<H::Dyn>(&table).map_err(bad)?;
    let entries = entries.iter().map(|entry| (entry.tag(endian), entry.val(endian)));
    let entries: Vec<_> = entries.take_while(|(tag, _)| *tag != elf::DT_NULL).collect();
    let value = |wanted| {
        // The last one counts, as in glibc.
        entries.iter().rev().find(|(tag, _)| *tag == wanted).map(|&(_, value)| value)
    };
    let texts = (value(elf::DT_STRTAB), value(elf::DT_STRSZ).unwrap_or(0));
    let mut text = |at: u64| -> Result<Vec<u8>, Broken<E>> {
        let room = texts.1.saturating_sub(at);
        let start = texts.0.and_then(|start| start.checked_add(at));
        let offset = start.and_then(|start| place(start, room)).filter(|_| room > 0);
        let offset = offset.ok_or_else(|| format!("no text at byte {at} of its names"))?;
        input.text(offset, room)
    };
    for &(tag, value) in &entries {
        if tag == elf::DT_NEEDED {
            found.needed.push(text(value)?);
        }
    }
    found.soname = value(elf::DT_SONAME).map(&mut text).transpose()?;
    found.rpath = value(elf::DT_RPATH).map(&mut text).transpose()?;
    found.runpath = value(elf::DT_RUNPATH).map(&mut text).transpose()?;
    let flags = value(elf::DT_FLAGS_1).unwrap_or(0);
    found.default_folders = flags & NODEFLIB == 0;
    Ok(found)
}

/// `DF_1_NODEFLIB`.
const NODEFLIB: u64 = 0x800;

/// A file that is read in parts.
struct Input<R> {
    size: u64,
    read: R,
}

impl<E, R: FnMut(u64, &mut [u8]) -> Result<(), E>> Input<R> {
    /// Bytes that must be there. Whoever asks has bounded `length`.
    fn get(&mut self, what: &str, offset: u64, length: u64) -> Result<Vec<u8>, Broken<E>> {
        let end = offset.checked_add(length).filter(|&end| end <= self.size);
        let length = end.and_then(|_| usize::try_from(length).ok()).ok_or_else(|| {
            format!("{length} bytes for {what} at byte {offset}, beyond its end at {}", self.size)
        })?;
        let mut bytes = vec![0; length];
        (self.read)(offset, &mut bytes).map_err(Broken::Read)?;
        Ok(bytes)
    }

    /// A text up to its NUL byte, which comes within `room` bytes.
    fn text(&mut self, offset: u64, room: u64) -> Result<Vec<u8>, Broken<E>> {
        for step in [256, TEXT] {
            let mut bytes = self.get("a name", offset, room.min(step))?;
            if let Some(end) = bytes.iter().position(|&byte| byte == 0) {
                bytes.truncate(end);
                return Ok(bytes);
            }
        }
        Err(format!("a name at byte {offset} that does not end").into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file in memory, which must not be asked for more than it has, or too much at once.
    fn read_bytes(bytes: &[u8]) -> Result<Option<Elf>, Broken<()>> {
        let size = u64::try_from(bytes.len()).expect("small");
        read(size, |offset, buffer| {
            assert!(buffer.len() <= 65_536, "{} bytes at once", buffer.len());
            let start = usize::try_from(offset).expect("inside");
            buffer.copy_from_slice(&bytes[start..start + buffer.len()]);
            Ok(())
        })
    }

    /// This program, up to the end of what is read of it.
    fn own() -> Vec<u8> {
        let mut bytes = std::fs::read(std::env::current_exe().expect("a path")).expect("readable");
        let elf = read_bytes(&bytes).expect("a program").expect("ELF");
        let interpreter = elf.interpreter.expect("dynamically linked");
        assert!(interpreter.starts_with(b"/") && !interpreter.contains(&0));
        assert!(elf.needed.iter().any(|name| name.starts_with(b"libc.so")), "{:?}", elf.needed);
        assert_eq!((elf.kind, elf.soname), (Kind::Shared, None));
        // Without the tail, which is only symbols, the cases below are quick.
        let half = bytes.len() / 2;
        if read_bytes(&bytes[..half]).is_ok() {
            bytes.truncate(half);
        }
        bytes
    }

    #[test]
    fn no_byte_of_a_head_makes_it_fall() {
        let mut bytes = own();
        let mut malformed = 0;
        // The head and the program headers, with values that are wrong in many ways.
        for at in 4..64 + 56 * 13 {
            let before = bytes[at];
            for value in [0, 1, 0x7f, 0x80, 0xff, before ^ 0x10] {
                bytes[at] = value;
                malformed += usize::from(matches!(read_bytes(&bytes), Err(Broken::Malformed(_))));
            }
            bytes[at] = before;
        }
        assert!(malformed > 100, "only {malformed} were noticed");
    }

    #[test]
    fn no_length_of_a_file_makes_it_fall() {
        let bytes = own();
        for length in (0..2000).chain((2000..bytes.len()).step_by(9973)) {
            match read_bytes(&bytes[..length]) {
                Ok(None) => assert!(length < 20, "{length}"),
                Ok(Some(_)) => assert!(length > 1000, "{length}"),
                Err(_) => assert!(length >= 20, "{length}"),
            }
        }
    }

    #[test]
    fn machines() {
        let head = |class: u8, order: u8, machine: [u8; 2]| {
            let ident = [0x7f, b'E', b'L', b'F', class, order, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0];
            [&ident[..], &machine].concat()
        };
        let cases = [
            (head(2, 1, [62, 0]), Some("x86-64")),
            (head(1, 1, [3, 0]), Some("x86-32")),
            (head(1, 1, [62, 0]), Some("machine 62 with 32 bits")),
            (head(2, 2, [0, 183]), Some("aarch64")),
            (head(3, 1, [62, 0]), None),
            (head(2, 0, [62, 0]), None),
            (head(2, 1, [62, 0])[..19].to_vec(), None),
            (b"#!/bin/sh, and so on".to_vec(), None),
        ];
        for (head, name) in cases {
            let found = Machine::of(&head).map(|machine| machine.to_string());
            assert_eq!(found.as_deref(), name, "{head:?}");
        }
        // The order of bytes counts, too.
        assert_ne!(Machine::of(&head(2, 2, [0, 62])), Some(Machine::X86_64));
    }
}
