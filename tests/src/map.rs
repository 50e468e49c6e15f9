//! Reading a file through a mapping. All of the tests' unsafe code is here.
//!
//! A mapping's faults reach a filesystem by another way than read(2), and bring other sizes and
//! offsets: what is read through one must be compared too.
#![allow(unsafe_code)]

use std::fs::File;

use memmap2::{Advice, Mmap, MmapOptions};

/// Maps a stretch of a file that nobody writes, without reading further than what is touched.
///
/// Bytes that the filesystem can't deliver kill the process that touches them (SIGBUS).
#[must_use]
pub fn map(file: &File, offset: u64, length: usize) -> Mmap {
    // SAFETY: the bytes don't change as long as they are mapped: the file is one of a mount that
    // refuses every change, and of an image that no test changes meanwhile.
    let mapped = unsafe { MmapOptions::new().offset(offset).len(length).map(file) };
    let mapped = mapped.expect("it can be mapped");
    mapped.advise(Advice::Random).expect("advice is taken");
    mapped
}
