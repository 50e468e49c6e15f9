//! The string area: names, link targets and attributes, equal ones once.

use std::collections::HashMap;
use std::io::{self, Write};

use super::super::super::error::{Limit, WriteError};
use super::super::{length, limit};

/// The highest place of a string plus one: places have 32 bits.
const MAX_SIZE: u64 = 1 << 32;

/// Strings in the order in which they were first met.
#[derive(Default)]
pub(super) struct Strings<'a> {
    places: HashMap<&'a [u8], u32>,
    order: Vec<&'a [u8]>,
    size: u64,
}

impl<'a> Strings<'a> {
    /// The place of a string in the area.
    pub(super) fn place(&mut self, string: &'a [u8]) -> Result<u32, WriteError> {
        if string.is_empty() {
            return Ok(0);
        }
        if let Some(&place) = self.places.get(string) {
            return Ok(place);
        }
        let end = self.size.saturating_add(length(string.len()));
        limit(Limit::Strings, end, MAX_SIZE)?;
        let place = u32::try_from(self.size).unwrap_or(u32::MAX);
        self.places.insert(string, place);
        self.order.push(string);
        self.size = end;
        Ok(place)
    }

    /// The place of a string that has one; 0 for the empty string, which needs none.
    pub(super) fn find(&self, string: &[u8]) -> u32 {
        self.places.get(string).copied().unwrap_or(0)
    }

    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        self.order.iter().try_for_each(|string| out.write_all(string))
    }
}
