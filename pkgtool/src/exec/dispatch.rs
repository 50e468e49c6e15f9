//! What this program does under another name: the command of that name, or, as the kernel's
//! interpreter of packages, the package that was executed.

use std::ffi::OsString;
use std::path::Path;

/// What a name that begins so stands for: this program as it is.
const OWN: &[u8] = b"pkgtool";
/// The interpreter that `binfmt.d` names.
const INTERPRETER: &[u8] = b"pkgtool-binfmt";

/// The command line that the given one, the program's name first, stands for.
pub(crate) fn rewrite(arguments: Vec<OsString>) -> Vec<OsString> {
    let program = arguments.first().map(Path::new);
    let name = program.and_then(Path::file_name).unwrap_or_default().to_owned();
    let bytes = name.as_encoded_bytes();
    let words = |verb: &str, more: &[OsString], rest: &[OsString]| {
        let start = [OsString::from("pkgtool"), verb.into()];
        start.into_iter().chain(more.iter().cloned()).chain(rest.iter().cloned()).collect()
    };
    match arguments.get(1..).and_then(<[_]>::split_first) {
        Some((file, rest)) if bytes == INTERPRETER => {
            let file = Path::new(file);
            // A name that could be taken for an option.
            let file = if file.is_absolute() { file.into() } else { Path::new(".").join(file) };
            words("run", &[file.into(), "--".into()], rest)
        }
        _ if bytes.starts_with(OWN) || bytes.is_empty() => arguments,
        // `--` because a command's name might look like an option.
        _ => words("exec", &["--".into(), name], arguments.get(1..).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_decide() {
        let cases: [(&[&str], &[&str]); 7] = [
            (&["pkgtool", "ls", "x"], &["pkgtool", "ls", "x"]),
            (&["/usr/bin/pkgtool-1.0", "ls"], &["/usr/bin/pkgtool-1.0", "ls"]),
            (&["/bin/tool", "-x", "y"], &["pkgtool", "exec", "--", "tool", "-x", "y"]),
            (&["tool"], &["pkgtool", "exec", "--", "tool"]),
            (
                &["/usr/bin/pkgtool-binfmt", "/a.epk", "-x"],
                &["pkgtool", "run", "/a.epk", "--", "-x"],
            ),
            (&["pkgtool-binfmt", "-a.epk"], &["pkgtool", "run", "./-a.epk", "--"]),
            (&["pkgtool-binfmt"], &["pkgtool-binfmt"]),
        ];
        for (given, expected) in cases {
            let given = given.iter().map(OsString::from).collect();
            assert_eq!(rewrite(given), *expected);
        }
    }
}
