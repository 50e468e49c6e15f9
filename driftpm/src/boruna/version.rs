//! Exact versions, `MAJOR.MINOR.PATCH`. Versions are only ever compared as text.

/// Whether `text` is three decimal numbers of at most 32 bits, joined by dots.
///
/// Leading zeros are allowed, and `1.0.0` and `01.0.0` are two versions: published packages
/// use such texts. The original's number parser also takes a `+` before a number; nobody
/// means that, and it is refused here.
#[must_use]
pub fn is_version(text: &str) -> bool {
    let mut parts = 0;
    for part in text.split('.') {
        parts += 1;
        let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if parts > 3 || !digits || part.parse::<u32>().is_err() {
            return false;
        }
    }
    parts == 3
}

#[cfg(test)]
mod tests {
    use super::is_version;

    #[test]
    fn accepts_three_numbers_of_32_bits() {
        for text in ["0.0.0", "1.2.3", "01.2.3", "00000000001.0.0", "4294967295.0.0", "10.20.30"] {
            assert!(is_version(text), "{text}");
        }
    }

    #[test]
    fn refuses_everything_else() {
        for text in [
            "",
            "1",
            "1.2",
            "1.2.3.4",
            "a.b.c",
            "1..0",
            "v1.0.0",
            "1.2.3-alpha",
            "1.2.3+build",
            "-1.0.0",
            " 1.2.3",
            "1.2.3 ",
            "4294967296.0.0",
            "１.0.0",
            "+1.2.3",
            "1.+2.3",
            "^1.0.0",
            "1.x.0",
            "*",
            "../..",
            "1.0.0/",
            "..",
        ] {
            assert!(!is_version(text), "{text}");
        }
    }
}
