//! Programs and libraries of machine code: compiled for a test, or the machine's own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::files::temp_folder;

/// The variable that makes tests of 32-bit programs fail, instead of passing with a word, where
/// the C compiler makes none.
pub const NARROW_VARIABLE: &str = "EPK_TEST_M32";

/// A C compiler with a folder for what it makes.
#[derive(Debug)]
pub struct Compiler(TempDir);

impl Default for Compiler {
    fn default() -> Self {
        Self(temp_folder())
    }
}

impl Compiler {
    /// Where `name` lies when it is made.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Makes `name` of C source, and gives its bytes. Options may name what was made before by
    /// its name alone.
    #[track_caller]
    #[must_use]
    pub fn make(&self, name: &str, source: &str, options: &[&str]) -> Vec<u8> {
        assert!(self.succeeds(name, source, options), "`{name}` cannot be compiled");
        fs::read(self.path(name)).expect("it was made")
    }

    /// Makes a library that programs find as `name`, with a function `answer`.
    #[track_caller]
    #[must_use]
    pub fn library(&self, name: &str, answer: i32, options: &[&str]) -> Vec<u8> {
        let source = format!("int answer(void) {{ return {answer}; }}\n");
        let soname = format!("-Wl,-soname,{name}");
        let options = [&["-shared", "-fPIC", &soname], options].concat();
        self.make(name, &source, &options)
    }

    /// Whether programs of 32 bits can be made.
    #[must_use]
    pub fn has_narrow(&self) -> bool {
        let has = self.succeeds("narrow", "int main(void) { return 0; }\n", &["-m32"]);
        assert!(has || std::env::var_os(NARROW_VARIABLE).is_none(), "`cc -m32` makes nothing");
        if !has {
            eprintln!("skipped: `cc -m32` makes nothing");
        }
        has
    }

    fn succeeds(&self, name: &str, source: &str, options: &[&str]) -> bool {
        let file = self.path(&format!("{name}.c"));
        fs::write(&file, source).expect("writable");
        let mut command = Command::new("cc");
        // Behind the source, where libraries belong.
        command.args(["-o", name]).arg(&file).args(options).current_dir(self.0.path());
        command.status().expect("there is a C compiler").success()
    }
}

/// The loader and the libraries of this machine that a program would be run with.
#[must_use]
pub fn libraries_of(program: &Path) -> Vec<PathBuf> {
    let output = Command::new(program).env("LD_TRACE_LOADED_OBJECTS", "1").output();
    let text = String::from_utf8(output.expect("it starts").stdout).expect("text");
    let words = text.split_whitespace().filter(|word| word.starts_with('/'));
    words.map(PathBuf::from).collect()
}
