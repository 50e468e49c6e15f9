//! Programs of both word sizes, all the way: packed, verified, mounted, run.

use std::fs;

use epk_tests::app::{App, Stage};
use epk_tests::native::Compiler;
use epk_tests::tool::{self, Outcome};

use super::output;

/// Prints the size of a pointer and its own word.
const SOURCE: &str = "#include <stdio.h>\n\
    int answer(void);\n\
    int main(int count, char **words) {\n\
    printf(\"%d bits, %d, %s\\n\", 8 * (int)sizeof words, answer(), words[count - 1]); }\n";

/// A folder with a program and a library of one word size, and its package.
fn packed(compiler: &Compiler, arch: &str, option: &str) -> Stage {
    let stage = Stage::new(&App::empty());
    let source = stage.folder().join("own-app");
    fs::create_dir_all(source.join("bin")).expect("a folder");
    fs::create_dir_all(source.join("lib")).expect("a folder");
    let _library = compiler.library("libanswer.so", 42, &[option]);
    let options = [option, "libanswer.so", "-Wl,-rpath,$ORIGIN/../lib"];
    let _program = compiler.make("program", SOURCE, &options);
    for (from, to) in [("program", "bin/program"), ("libanswer.so", "lib/libanswer.so")] {
        fs::copy(compiler.path(from), source.join(to)).expect("made");
    }
    let manifest = format!(
        "name = \"org.example.app\"\nversion = \"1\"\narch = \"{arch}\"\nkernel_api = \"1.0\"\n\
         entry = \"/bin/program\"\n"
    );
    fs::write(source.join("manifest.toml"), manifest).expect("written");
    let done = Outcome::of(
        tool::pkgtool()
            .args(["pack", "own-app", "-o", "app.epk", "--force"])
            .current_dir(stage.folder()),
    );
    let done = done.exits(0);
    assert!(!done.stderr.contains("warning"), "{}", done.stderr);
    let image = stage.image();
    let checks = ["verify", "--deep", "--compat", "--loader", image.to_str().expect("text")];
    let _verdict = tool::run(checks).quietly();
    stage
}

#[track_caller]
fn runs(stage: &Stage, expected: &str) {
    assert_eq!(output(&mut stage.run(["word"])), expected);
    stage.is_left_clean();
}

#[test]
fn a_program_of_this_machine() {
    let compiler = Compiler::default();
    runs(&packed(&compiler, "x86-64", "-m64"), "64 bits, 42, word\n");
}

#[test]
fn a_program_of_32_bits() {
    let compiler = Compiler::default();
    if compiler.has_narrow() {
        runs(&packed(&compiler, "x86-32", "-m32"), "32 bits, 42, word\n");
    }
}

#[test]
fn a_program_of_32_bits_with_its_own_runtime() {
    let compiler = Compiler::default();
    if !compiler.has_narrow() {
        return;
    }
    let library = compiler.library("libanswer.so", 42, &["-m32"]);
    let program = compiler.make("program", SOURCE, &["-m32", "libanswer.so"]);
    let mut app = App::empty().with_program("bin/app", program);
    app.arch = "x86-32".into();
    app = app.with_program("binary/libanswer.so", library);
    // The host's own: the program must not be told of the package's yet.
    let _plain = compiler.make("plain", "int main(void) { return 0; }\n", &["-m32"]);
    for path in epk_tests::native::libraries_of(&compiler.path("plain")) {
        let name = path.file_name().expect("a file").to_str().expect("text").to_owned();
        app = app.with_program(&format!("lib/{name}"), fs::read(path).expect("readable"));
    }
    let stage = Stage::new(&app);
    let image = stage.image();
    let _verdict = tool::run(["verify", "--loader", image.to_str().expect("text")]).quietly();
    runs(&stage, "32 bits, 42, word\n");
}
