//! Records of extended headers (POSIX.1-2024, pax): `length key=value`, a line each. Values may have
//! any bytes, line ends included, so records are cut by their lengths.

use std::collections::BTreeMap;

use epk_format::path::display;
use epk_format::time::Timestamp;
use epk_format::write::Xattr;

use super::problem::Problem;

/// How attributes are named.
pub(crate) const XATTR: &[u8] = b"SCHILY.xattr.";
/// How GNU tar and star name access lists.
const ACL: &[u8] = b"SCHILY.acl.";

/// What extended headers say.
#[derive(Debug, Clone, Default)]
pub(crate) struct Records {
    values: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Offsets and lengths of the oldest form of sparse files, whose keys repeat.
    pub(crate) sparse: Vec<u64>,
}

impl Records {
    /// Reads a header over what earlier ones have said.
    pub(crate) fn read(&mut self, mut text: &[u8]) -> Result<(), Problem> {
        let damaged = || Problem::Damaged("has a malformed extended header".into());
        while !text.is_empty() {
            // Padding that some writers count.
            if text.iter().all(|&byte| byte == 0) {
                break;
            }
            let space = text.iter().position(|&byte| byte == b' ').ok_or_else(damaged)?;
            let length = number(&text[..space]).and_then(|length| usize::try_from(length).ok());
            let record = length.and_then(|length| text.get(space + 1..length));
            let record = record.and_then(|record| record.strip_suffix(b"\n"));
            let record = record.ok_or_else(damaged)?;
            let equals = record.iter().position(|&byte| byte == b'=').ok_or_else(damaged)?;
            self.set(&record[..equals], &record[equals + 1..])?;
            text = &text[space + 1 + record.len() + 1..];
        }
        Ok(())
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), Problem> {
        if matches!(key, b"GNU.sparse.offset" | b"GNU.sparse.numbytes") {
            self.sparse.push(number(value).ok_or_else(|| bad(key, value))?);
        } else if value.is_empty() && !key.starts_with(XATTR) {
            // As if no header had said it.
            self.values.remove(key);
        } else {
            self.values.insert(key.to_vec(), value.to_vec());
        }
        Ok(())
    }

    pub(crate) fn get(&self, key: &str) -> Option<&[u8]> {
        self.values.get(key.as_bytes()).map(Vec::as_slice)
    }

    /// A number without sign.
    pub(crate) fn number(&self, key: &str) -> Result<Option<u64>, Problem> {
        self.get(key)
            .map(|value| number(value).ok_or_else(|| bad(key.as_bytes(), value)))
            .transpose()
    }

    /// A time: seconds, with a sign and a fraction if need be.
    pub(crate) fn time(&self, key: &str) -> Result<Option<Timestamp>, Problem> {
        self.get(key).map(|value| time(value).ok_or_else(|| bad(key.as_bytes(), value))).transpose()
    }

    /// Extended attributes, and access lists by the names of the attributes that hold them.
    pub(crate) fn xattrs(&self) -> Vec<Xattr> {
        let named = self.values.iter().filter_map(|(key, value)| {
            let name = match (key.strip_prefix(XATTR), key.strip_prefix(ACL)) {
                (Some(name), _) => name.to_vec(),
                (_, Some(which)) => [b"system.posix_acl_", which].concat(),
                (None, None) => return None,
            };
            Some(Xattr { name, value: value.clone() })
        });
        named.collect()
    }
}

fn bad(key: &[u8], value: &[u8]) -> Problem {
    Problem::Damaged(format!("has an extended header `{}={}`", display(key), display(value)))
}

/// Decimal digits and nothing else.
pub(crate) fn number(text: &[u8]) -> Option<u64> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    digits.then(|| std::str::from_utf8(text).ok()?.parse().ok()).flatten()
}

fn time(text: &[u8]) -> Option<Timestamp> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(text) => (true, text),
        None => (false, text),
    };
    let (whole, fraction) = match text.iter().position(|&byte| byte == b'.') {
        Some(point) => (&text[..point], &text[point + 1..]),
        None => (text, &b""[..]),
    };
    let seconds = i64::try_from(number(whole)?).ok()?;
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    // Nine digits; what is finer is cut.
    let digits = (0..9).map(|at| fraction.get(at).map_or(0, |digit| u32::from(digit - b'0')));
    let nanoseconds = digits.fold(0, |sum, digit| sum * 10 + digit);
    Some(match (negative, nanoseconds) {
        (false, _) => Timestamp { seconds, nanoseconds },
        (true, 0) => Timestamp { seconds: -seconds, nanoseconds },
        // Fractions count forward.
        (true, _) => Timestamp { seconds: -seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_records_of_any_bytes() {
        let mut records = Records::default();
        let text = b"12 path=a b\n27 SCHILY.xattr.user.x=\n\n=\n14 size=12345\n";
        records.read(text).expect("good");
        assert_eq!(records.get("path"), Some(&b"a b"[..]));
        assert_eq!(records.number("size").expect("a number"), Some(12345));
        let xattrs = records.xattrs();
        assert_eq!((&xattrs[0].name[..], &xattrs[0].value[..]), (&b"user.x"[..], &b"\n\n="[..]));
        records.read(b"8 path=\n").expect("good");
        assert_eq!(records.get("path"), None);
        for bad in ["x", "5 a=b\n", "7 a=b\n", "5 ab\n", "0 a=b\n", " a=b\n", "-6 a=b\n"] {
            assert!(Records::default().read(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn reads_times() {
        let table: [(&str, Option<(i64, u32)>); 10] = [
            ("0", Some((0, 0))),
            ("12.5", Some((12, 500_000_000))),
            ("12.0000000019", Some((12, 1))),
            ("-4.5", Some((-5, 500_000_000))),
            ("-4", Some((-4, 0))),
            ("5.", Some((5, 0))),
            ("", None),
            (".5", None),
            ("1e3", None),
            ("99999999999999999999", None),
        ];
        for (text, expected) in table {
            let found = time(text.as_bytes()).map(|time| (time.seconds, time.nanoseconds));
            assert_eq!(found, expected, "{text}");
        }
    }
}
