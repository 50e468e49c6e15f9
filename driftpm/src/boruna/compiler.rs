//! Running the platform's compiler, a program of its own, on a source file.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::bytecode;

/// The command that compiles a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiler {
    program: OsString,
    arguments: Vec<OsString>,
}

impl Compiler {
    /// Reads a command: the path of a program, or a program and arguments with blanks between
    /// them. A program given by a relative path is looked for from `directory`.
    #[must_use]
    pub fn new(command: &str, directory: &Path) -> Option<Self> {
        if command.trim().is_empty() {
            return None;
        }
        let whole = directory.join(command);
        if command.contains('/') && whole.is_file() {
            return Some(Self { program: whole.into(), arguments: Vec::new() });
        }
        let mut words = command.split_whitespace();
        let program = words.next()?;
        let program = if program.contains('/') {
            directory.join(program).into_os_string()
        } else {
            program.into()
        };
        Some(Self { program, arguments: words.map(OsString::from).collect() })
    }

    /// Compiles `source`, an absolute path, in the empty directory `work`, and gives the
    /// module in the form a registry keeps.
    ///
    /// The command is run as `CMD compile SOURCE -o work/<module>.axbc` with `work` as its
    /// current directory: the platform's compiler inlines imports from a `libs` directory
    /// found there.
    ///
    /// # Errors
    ///
    /// The compiler's message, or what is wrong with what it wrote.
    pub fn compile(&self, source: &Path, module: &str, work: &Path) -> Result<String, String> {
        let output_path: PathBuf = work.join(format!("{module}.axbc"));
        let output = Command::new(&self.program)
            .args(&self.arguments)
            .arg("compile")
            .arg(source)
            .arg("-o")
            .arg(&output_path)
            .current_dir(work)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("cannot run {}: {error}", self.program.display()))?;
        if !output.status.success() {
            return Err(message(&output.stderr, &output.status.to_string()));
        }
        let container = fs::read(&output_path)
            .map_err(|error| format!("the compiler succeeded but left no module: {error}"))?;
        bytecode::registry_form(&container)
            .map_err(|problem| format!("the compiler wrote no module: {problem}"))
    }
}

/// What a compiler that failed has to say.
fn message(stderr: &[u8], status: &str) -> String {
    let text = String::from_utf8_lossy(stderr);
    let text = text.trim_end();
    if text.is_empty() {
        return format!("the compiler failed without a message, {status}");
    }
    text.strip_prefix("error: ").unwrap_or(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(text: &str, directory: &Path) -> Option<(String, Vec<String>)> {
        let compiler = Compiler::new(text, directory)?;
        let text = |word: &OsString| word.to_string_lossy().into_owned();
        Some((text(&compiler.program), compiler.arguments.iter().map(text).collect()))
    }

    #[test]
    fn commands() -> std::io::Result<()> {
        let dir = tempfile::tempdir()?;
        let at = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
        fs::create_dir(dir.path().join("my tools"))?;
        fs::write(dir.path().join("my tools/boruna"), "")?;
        for (text, expected) in [
            ("", None),
            ("  ", None),
            ("boruna", Some(("boruna".to_string(), vec![]))),
            ("./my tools/boruna", Some((at("./my tools/boruna"), vec![]))),
            ("bin/x --fast -q", Some((at("bin/x"), vec!["--fast".to_string(), "-q".to_string()]))),
            ("python3 /x.py", Some(("python3".to_string(), vec!["/x.py".to_string()]))),
        ] {
            assert_eq!(command(text, dir.path()), expected, "{text}");
        }
        Ok(())
    }

    #[test]
    fn messages() {
        for (stderr, expected) in [
            ("error: parse error at line 1: x\n", "parse error at line 1: x"),
            ("error: type error: y\n  did you mean: 'x'?\n", "type error: y\n  did you mean: 'x'?"),
            ("killed\n", "killed"),
            ("\n", "the compiler failed without a message, exit status: 3"),
        ] {
            assert_eq!(message(stderr.as_bytes(), "exit status: 3"), expected);
        }
    }
}
