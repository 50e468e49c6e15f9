//! Paths inside a package: bytes, components separated by `/`, relative to its root.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::error::RejectCode;
use crate::limits;

/// Checks a path against the rules of `spec/epk-1.0.md` §6 and gives its components.
///
/// # Errors
/// The rule that it breaks, and what was found.
pub fn components(path: &[u8]) -> Result<impl Iterator<Item = &[u8]>, (RejectCode, String)> {
    if path.len() > limits::PATH_BYTES {
        return Err((
            RejectCode::PathTooLong,
            format!("path of {} bytes, at most {} are allowed", path.len(), limits::PATH_BYTES),
        ));
    }
    if path.contains(&0) {
        return Err((RejectCode::PathHasNul, "path with a NUL byte".into()));
    }
    if std::str::from_utf8(path).is_err() {
        return Err((RejectCode::PathNotUtf8, "path that is not UTF-8".into()));
    }
    for component in split(path) {
        match component {
            b"" => {
                return Err((
                    RejectCode::PathEmptyComponent,
                    "path with an empty component: `/` may only stand between two names".into(),
                ));
            }
            b"." | b".." => {
                return Err((
                    RejectCode::PathDotComponent,
                    "path with the component `.` or `..`".into(),
                ));
            }
            name if name.len() > limits::COMPONENT_BYTES => {
                return Err((
                    RejectCode::PathTooLong,
                    format!(
                        "path component of {} bytes, at most {} are allowed",
                        name.len(),
                        limits::COMPONENT_BYTES
                    ),
                ));
            }
            _ => {}
        }
    }
    Ok(split(path))
}

/// The components of a path as they stand, empty ones included.
pub fn split(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/')
}

/// Text for people: UTF-8 as it is, control characters and stray bytes as `\xNN`, a backslash
/// doubled, so that a terminal is never driven by a package.
#[must_use]
pub fn display(path: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(path)
        && !text.chars().any(|c| c.is_control() || c == '\\')
    {
        return Cow::Borrowed(text);
    }
    let mut out = String::new();
    for chunk in path.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c == '\\' {
                out.push_str("\\\\");
            } else if c.is_control() {
                let mut utf8 = [0; 4];
                for byte in c.encode_utf8(&mut utf8).bytes() {
                    let _ = write!(out, "\\x{byte:02x}");
                }
            } else {
                out.push(c);
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    Cow::Owned(out)
}

/// The text of a symbolic link at `from` (a folder's path) that leads to `to`, both relative
/// to the root and normalised.
#[must_use]
pub fn relative(from: &[&[u8]], to: &[&[u8]]) -> Vec<u8> {
    let common = from.iter().zip(to).take_while(|(a, b)| a == b).count();
    let up = from.iter().skip(common).map(|_| b"..".as_slice());
    let down = to.iter().skip(common).copied();
    let parts: Vec<&[u8]> = up.chain(down).collect();
    if parts.is_empty() { b".".to_vec() } else { parts.join(&b'/') }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn judges_paths() {
        let long = [b'a'; 256];
        let cases: &[(&[u8], Option<RejectCode>)] = &[
            (b"a", None),
            (b"a/b\\c:\n/.hidden/...", None),
            ("a/ü".as_bytes(), None),
            (b"/a", Some(RejectCode::PathEmptyComponent)),
            (b"a/", Some(RejectCode::PathEmptyComponent)),
            (b"a//b", Some(RejectCode::PathEmptyComponent)),
            (b"", Some(RejectCode::PathEmptyComponent)),
            (b"./a", Some(RejectCode::PathDotComponent)),
            (b"a/..", Some(RejectCode::PathDotComponent)),
            (b"a\0", Some(RejectCode::PathHasNul)),
            (b"a\xff", Some(RejectCode::PathNotUtf8)),
            (&long, Some(RejectCode::PathTooLong)),
        ];
        for (path, expected) in cases {
            let found = components(path).err().map(|(code, _)| code);
            assert_eq!(found, *expected, "{}", display(path));
        }
        let longest = [b'a'; 3].repeat(341);
        assert_eq!(longest.len(), 1023);
        let nested: Vec<u8> = b"abc/".iter().copied().cycle().take(1023).collect();
        assert!(components(&nested).is_ok());
        let too_long: Vec<u8> = b"abc/".iter().copied().cycle().take(1025).collect();
        assert_eq!(components(&too_long).err().map(|e| e.0), Some(RejectCode::PathTooLong));
    }

    #[test]
    fn escapes_what_could_drive_a_terminal() {
        assert_eq!(display(b"plain"), "plain");
        assert_eq!(display(b"a\x1b[31m\xffb\\"), "a\\x1b[31m\\xffb\\\\");
    }

    #[test]
    fn relates_paths() {
        type Names = &'static [&'static [u8]];
        let cases: [(Names, Names, &[u8]); 5] = [
            (&[], &[], b"."),
            (&[], &[b"a", b"b"], b"a/b"),
            (&[b"a", b"b"], &[], b"../.."),
            (&[b"a", b"b"], &[b"a", b"c"], b"../c"),
            (&[b"a"], &[b"a"], b"."),
        ];
        for (from, to, expected) in cases {
            assert_eq!(relative(from, to), expected);
        }
    }
}
