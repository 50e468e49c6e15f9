//! How a target of the manifest is executed (`spec/runtime.md` §11): by the kernel, or through a
//! loader that the package carries and that the target doesn't name.

use std::fs::File;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use epk_format::package::{Kind, NodeId};
use epk_format::{Error, Package, path};

use super::boundary;
use super::elf::Broken;
use super::objects;
use super::view::{Seen, folder_of, follow, name_of, seen_as};
use crate::convert::contents::Files;
use crate::exit::{Exit, Failure};

/// Where a loader that the package carries is looked for, after the place that programs name;
/// and where loaders that are carried look first.
pub(crate) const FOLDERS: [&str; 2] = ["/package/binary", "/package/lib"];

/// Bytes of a script's first line that count, as in Linux (`BINPRM_BUF_SIZE`).
const FIRST_LINE: usize = 256;
/// Most interpreters of interpreters, as in Linux (`exec_binprm`, fs/exec.c).
const DEPTH: usize = 5;

/// How a target is executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Execution {
    /// The file for execve(2).
    pub(crate) file: Vec<u8>,
    /// Its arguments, up to the application's own.
    pub(crate) words: Vec<Vec<u8>>,
    /// The file of the package that becomes the process, and its path from the package's root;
    /// none if the host's does, or nothing that can.
    pub(super) becomes: Option<(NodeId, Vec<u8>)>,
    /// The loader, if the package's is given the program.
    pub(super) through: Option<Loader>,
    /// The first `#!` interpreter that the package should have and hasn't, and the script's path
    /// from the package's root.
    pub(super) missing: Option<(Vec<u8>, Vec<u8>)>,
}

impl Execution {
    /// The same for a package that is seen in another folder than `/package`.
    pub(crate) fn at(mut self, package: &Path) -> Self {
        let package = package.as_os_str().as_bytes();
        // Folders in a list have colons between them.
        let moved = |word: &[u8]| -> Vec<u8> {
            let parts =
                word.split(|&byte| byte == b':').map(|part| match part.strip_prefix(b"/package") {
                    Some(rest) if rest.is_empty() || rest.starts_with(b"/") => {
                        [package, rest].concat()
                    }
                    _ => part.to_vec(),
                });
            parts.collect::<Vec<_>>().join(&b':')
        };
        self.file = moved(&self.file);
        self.words = self.words.iter().map(|word| moved(word)).collect();
        self
    }
}

impl Execution {
    /// By the kernel alone.
    fn directly(file: Vec<u8>) -> Self {
        Self { words: vec![file.clone()], file, becomes: None, through: None, missing: None }
    }
}

/// A loader in the package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Loader {
    /// Its file, as the application sees it.
    pub(crate) file: Vec<u8>,
    /// Whether it may be executed.
    pub(crate) executable: bool,
    /// Where it looks first, for every library.
    pub(super) folders: Vec<Vec<u8>>,
}

/// How to execute a package's `target`, a path from its root beginning with `/`. What can't be
/// executed is left to the kernel, which says so.
pub(crate) fn to_execute(package: &Package<File>, target: &str) -> Result<Execution, Failure> {
    let found = if carries_loader(package).map_err(Failure::launch)? {
        of(package, target).map_err(Failure::launch)?
    } else {
        // Nothing that could be found in the target would change anything.
        Execution::directly(seen_as(target.as_bytes()))
    };
    match &found.through {
        Some(loader) if !loader.executable => {
            let file = path::display(&loader.file).into_owned();
            let message = format!("the package's loader `{file}` has no permission to execute");
            Err(Failure::new(Exit::NotExecutable, message))
        }
        _ => Ok(found),
    }
}

/// Finds out what a target becomes, and how.
pub(super) fn of(package: &Package<File>, target: &str) -> Result<Execution, Error> {
    let shown = seen_as(target.as_bytes());
    let directly =
        |becomes, missing| Execution { becomes, missing, ..Execution::directly(shown.clone()) };
    let reader = Files::new(package, Vec::new());
    // Of scripts, what comes behind their interpreter.
    let mut tail: Vec<Vec<u8>> = Vec::new();
    let mut at = shown.clone();
    for _ in 0..=DEPTH {
        let Seen::Inside(id, real) = follow(package, &at)? else {
            return Ok(directly(None, None));
        };
        let node = package.node(id)?;
        if node.kind != Kind::File {
            return Ok(directly(None, None));
        }
        let mut head = [0; FIRST_LINE];
        objects::fill(&reader, id, 0, &mut head)?;
        if let Some(script) = Script::read(&head) {
            if follow(package, script.interpreter)? == Seen::Missing {
                return Ok(directly(None, Some((script.interpreter.to_vec(), real))));
            }
            let words = script.argument.map(<[u8]>::to_vec).into_iter().chain([at]);
            tail.splice(0..0, words);
            at = script.interpreter.to_vec();
            continue;
        }
        let elf = match objects::read(&reader, id, node.size) {
            Ok(Some(elf)) => elf,
            Ok(None) | Err(Broken::Malformed(_)) => return Ok(directly(Some((id, real)), None)),
            Err(Broken::Read(error)) => return Err(error),
        };
        let loader = match &elf.interpreter {
            Some(named) => carried(package, named)?,
            None => None,
        };
        let Some(loader) = loader else { return Ok(directly(Some((id, real)), None)) };
        let words = loader.words(&at, &real).chain(tail).collect();
        let file = loader.file.clone();
        let becomes = Some((id, real));
        return Ok(Execution { file, words, becomes, through: Some(loader), missing: None });
    }
    Ok(directly(None, None))
}

/// Whether a package carries any loader that programs could be given to.
fn carries_loader(package: &Package<File>) -> Result<bool, Error> {
    for named in boundary::CARRIED {
        if carried(package, named.as_bytes())?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The package's own loader for programs that name `named`, if it carries one. A path that
/// leads into the package is none: the kernel finds that itself.
fn carried(package: &Package<File>, named: &[u8]) -> Result<Option<Loader>, Error> {
    let name = name_of(named);
    let known = boundary::CARRIED.iter().find(|path| name_of(path.as_bytes()) == name);
    let Some(known) = known.filter(|_| !matches!(follow(package, named), Ok(Seen::Inside(..))))
    else {
        return Ok(None);
    };
    let own = seen_as(known.as_bytes());
    let others = FOLDERS.iter().map(|folder| [folder.as_bytes(), b"/", name].concat());
    for file in std::iter::once(own).chain(others) {
        let Seen::Inside(id, real) = follow(package, &file)? else { continue };
        let node = package.node(id)?;
        if node.kind != Kind::File {
            continue;
        }
        let mut folders: Vec<Vec<u8>> = FOLDERS.iter().map(|f| f.as_bytes().to_vec()).collect();
        let beside = seen_as(folder_of(&real));
        if !folders.contains(&beside) {
            folders.push(beside);
        }
        return Ok(Some(Loader { file, executable: node.mode & 0o111 != 0, folders }));
    }
    Ok(None)
}

impl Loader {
    /// The arguments with which it executes the program at `path`, whose real path inside is
    /// `real`.
    fn words(&self, path: &[u8], real: &[u8]) -> impl Iterator<Item = Vec<u8>> {
        let mut words = vec![self.file.clone()];
        if name_of(&self.file).starts_with(b"ld-linux") {
            // What the host's loader noted about the host's libraries. musl's has no such notes.
            words.push(b"--inhibit-cache".to_vec());
        }
        words.extend([b"--library-path".to_vec(), self.folders.join(&b':')]);
        let program = seen_as(real);
        if program != path {
            // `$ORIGIN` is where the program really lies, as when the kernel executes it; its
            // name for itself stays. Loaders know the option since glibc 2.33 and musl 1.2.
            words.extend([b"--argv0".to_vec(), path.to_vec()]);
        }
        words.push(program);
        words.into_iter()
    }
}

/// The first line of a script, as the kernel reads it (`load_script`, fs/binfmt_script.c).
struct Script<'h> {
    interpreter: &'h [u8],
    argument: Option<&'h [u8]>,
}

impl<'h> Script<'h> {
    fn read(head: &'h [u8]) -> Option<Self> {
        let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
        let line = head.strip_prefix(b"#!")?;
        let end = line.iter().position(|byte| matches!(byte, b'\n' | 0));
        let line = trim(line.get(..end.unwrap_or(line.len()))?, blank);
        let (interpreter, argument) = match line.iter().position(blank) {
            Some(at) => line.split_at_checked(at)?,
            // Cut within the interpreter's path: the kernel refuses that.
            None if end.is_none() => return None,
            None => (line, &[][..]),
        };
        let argument = Some(trim(argument, blank)).filter(|argument| !argument.is_empty());
        interpreter.starts_with(b"/").then_some(Self { interpreter, argument })
    }
}

fn trim(text: &[u8], blank: impl Fn(&u8) -> bool) -> &[u8] {
    let start = text.iter().position(|byte| !blank(byte)).unwrap_or(text.len());
    let end = text.iter().rposition(|byte| !blank(byte)).map_or(start, |last| last + 1);
    text.get(start..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_lines_of_scripts() {
        type Parts<'a> = Option<(&'a str, Option<&'a str>)>;
        let long = format!("#!/{}", "x".repeat(300));
        let long_argument = format!("#!/bin/x {}", "y".repeat(300));
        let kept = "y".repeat(FIRST_LINE - 9);
        let cases: [(&str, Parts<'_>); 12] = [
            ("#!/bin/sh\necho", Some(("/bin/sh", None))),
            ("#! /bin/sh -e -x \necho", Some(("/bin/sh", Some("-e -x")))),
            ("#!\t/bin/sh\t-e\n", Some(("/bin/sh", Some("-e")))),
            ("#!/bin/sh \n", Some(("/bin/sh", None))),
            ("#!/bin/sh\0 x\n", Some(("/bin/sh", None))),
            ("#!bin/sh\n", None),
            ("#!\n/bin/sh\n", None),
            ("#!", None),
            ("echo", None),
            ("", None),
            (&long, None),
            (&long_argument, Some(("/bin/x", Some(&kept)))),
        ];
        for (text, expected) in cases {
            let mut head = [0; FIRST_LINE];
            let length = text.len().min(FIRST_LINE);
            head[..length].copy_from_slice(&text.as_bytes()[..length]);
            let found = Script::read(&head).map(|script| {
                let text = |bytes| std::str::from_utf8(bytes).expect("text");
                (text(script.interpreter), script.argument.map(text))
            });
            assert_eq!(found, expected, "{text:?}");
        }
    }
}
