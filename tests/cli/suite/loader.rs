//! `pkgtool verify --loader`: what programs and libraries of a package would not find.

use epk_tests::app::App;
use epk_tests::native::Compiler;
use serde_json::{Value, json};

use super::Desk;

/// A program that calls the library.
const CALL: &str = "int answer(void); int main(void) { return answer(); }\n";
/// A library that calls another one.
const PASS: &str = "int answer(void); int pass(void) { return answer(); }\n";

/// A program that needs `libanswer.so`, with more options; the library isn't in the package.
fn caller(compiler: &Compiler, options: &[&str]) -> App {
    let _library = compiler.library("libanswer.so", 42, &[]);
    let program = compiler.make("call", CALL, &[&["libanswer.so"], options].concat());
    App::empty().with_program("bin/app", program)
}

fn library(compiler: &Compiler) -> Vec<u8> {
    compiler.library("libanswer.so", 42, &[])
}

/// Says that it is for another machine.
fn for_another_machine(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes[18] = 183;
    bytes
}

/// The report, after the status that it stands for.
#[track_caller]
fn report(app: &App) -> Value {
    let desk = Desk::empty();
    desk.put("app.epk", &app.image());
    let done = desk.give(&["verify", "--loader", "--json", "app.epk"]);
    let verdict = done.json().remove(0);
    let report = verdict["loader"].clone();
    let bad = !report["problems"].as_array().expect("an array").is_empty();
    assert_eq!(verdict["valid"], json!(!bad));
    assert_eq!(done.status.code(), Some(if bad { 7 } else { 0 }), "{verdict}");
    report
}

/// The problems: file, kind, what is needed.
#[track_caller]
fn problems(app: &App) -> Vec<(String, String, String)> {
    let report = report(app);
    let problems = report["problems"].as_array().expect("an array");
    let text = |problem: &Value, key: &str| problem[key].as_str().unwrap_or("-").to_owned();
    let row = |problem| (text(problem, "file"), text(problem, "kind"), text(problem, "needed"));
    problems.iter().map(row).collect()
}

#[track_caller]
fn finds(app: &App, expected: &[(&str, &str, &str)]) {
    let found = problems(app);
    let found: Vec<_> =
        found.iter().map(|(file, kind, name)| (&**file, &**kind, &**name)).collect();
    assert_eq!(found, expected);
}

const MISSING: [(&str, &str, &str); 1] = [("/bin/app", "library-missing", "libanswer.so")];

#[test]
fn libraries_are_where_a_runpath_leads() {
    let compiler = Compiler::default();
    let app = caller(&compiler, &["-Wl,-rpath,/opt/none:$ORIGIN/../lib"]);
    finds(&app, &MISSING);
    finds(&app.clone().with_program("lib/libanswer.so", library(&compiler)), &[]);
    // A file need not be executable to be loaded.
    finds(&app.clone().with_file("lib/libanswer.so", library(&compiler)), &[]);
    finds(&app.clone().with_program("bin/libanswer.so", library(&compiler)), &MISSING);
    let other = for_another_machine(library(&compiler));
    let problem = ("/lib/libanswer.so", "wrong-machine", "-");
    finds(&app.with_program("lib/libanswer.so", other), &[MISSING[0], problem]);
}

#[test]
fn where_was_looked_is_told() {
    let compiler = Compiler::default();
    let app = caller(&compiler, &["-Wl,-rpath,/opt/none:$ORIGIN/../lib:relative"]);
    let app = app.with_program("elsewhere/libanswer.so", library(&compiler));
    let report = report(&app);
    assert_eq!((&report["programs"], &report["libraries"]), (&json!(1), &json!(1)));
    let detail = "needs `libanswer.so`, which is not in `/opt/none` (RUNPATH), \
        `/package/bin/../lib` (RUNPATH), the system runtime; no RUNPATH of it leads to the \
        package's `/elsewhere/libanswer.so`";
    let expected = json!([{
        "file": "/bin/app", "kind": "library-missing", "needed": "libanswer.so",
        "looked_in": ["/opt/none", "/package/bin/../lib"], "detail": detail,
    }]);
    assert_eq!(report["problems"], expected);
    let desk = Desk::empty();
    desk.put("app.epk", &app.image());
    let done = desk.give(&["verify", "--loader", "app.epk"]).exits(7);
    assert_eq!(done.text(), format!("app.epk: incomplete\n  `/bin/app` {detail}\n"));
    assert_eq!(done.stderr, "error: `app.epk`: incomplete\n");
}

#[test]
fn only_the_c_library_may_be_the_hosts() {
    let compiler = Compiler::default();
    let program = compiler.make("plain", "int main(void) { return 0; }\n", &["-lm", "-lgcc_s"]);
    finds(&App::empty().with_program("bin/app", program), &[]);
    let options = ["-Wl,--no-as-needed", "-lstdc++"];
    let program = compiler.make("more", "int main(void) { return 0; }\n", &options);
    let expected = [("/bin/app", "library-missing", "libstdc++.so.6")];
    finds(&App::empty().with_program("bin/app", program), &expected);
}

#[test]
fn an_old_rpath_is_for_what_is_loaded_too() {
    // The program needs a library, which needs another one beside it, and says nothing of where.
    let compiler = Compiler::default();
    let answer = library(&compiler);
    let options = ["-shared", "-fPIC", "-Wl,-soname,libpass.so", "libanswer.so"];
    let pass = compiler.make("libpass.so", PASS, &options);
    let source = "int pass(void); int main(void) { return pass(); }\n";
    let link = |tags: &str| {
        let path = "-Wl,-rpath,$ORIGIN/../lib";
        let options = ["libpass.so", path, tags, "-Wl,--allow-shlib-undefined"];
        App::empty()
            .with_program("bin/app", compiler.make("link", source, &options))
            .with_program("lib/libpass.so", pass.clone())
            .with_program("lib/libanswer.so", answer.clone())
    };
    finds(&link("-Wl,--disable-new-dtags"), &[]);
    let expected = [("/lib/libpass.so", "library-missing", "libanswer.so")];
    finds(&link("-Wl,--enable-new-dtags"), &expected);
}

#[test]
fn what_is_loaded_already_is_not_looked_for() {
    // The library needs what the program has loaded before, from where it could not.
    let compiler = Compiler::default();
    let answer = library(&compiler);
    let options = ["-shared", "-fPIC", "-Wl,-soname,libpass.so", "libanswer.so"];
    let pass = compiler.make("libpass.so", PASS, &options);
    let source = "int pass(void), answer(void); int main(void) { return pass() + answer(); }\n";
    let path = "-Wl,-rpath,$ORIGIN/../lib";
    let program = compiler.make("both", source, &["libanswer.so", "libpass.so", path]);
    let app = App::empty()
        .with_program("bin/app", program)
        .with_program("lib/libpass.so", pass.clone())
        .with_program("lib/libanswer.so", answer.clone());
    finds(&app, &[]);
    // The same for what a program opens while it runs: nobody needs this one.
    let app = caller(&compiler, &[path])
        .with_program("lib/libanswer.so", answer)
        .with_program("plugins/libpass.so", pass);
    finds(&app, &[]);
    let mut alone = app;
    alone.tree.items.remove("bin/app");
    let alone = alone.with_script("bin/app", "exit");
    finds(&alone, &[("/plugins/libpass.so", "library-missing", "libanswer.so")]);
}

#[test]
fn loaders_that_are_missing() {
    let compiler = Compiler::default();
    let plain = |loader: &str| {
        let option = format!("-Wl,--dynamic-linker={loader}");
        let program = compiler.make("plain", "int main(void) { return 0; }\n", &[&option]);
        App::empty().with_program("bin/app", program)
    };
    for loader in ["/lib/ld-none.so.1", "/lib/ld-musl-x86_64.so.1"] {
        finds(&plain(loader), &[("/bin/app", "interpreter-missing", loader)]);
    }
    // Who names a loader in the package gets nothing of the host.
    let c_library = ("/bin/app", "library-missing", "libc.so.6");
    let (loader, kind) = ("/package/lib/ld.so", "interpreter-missing");
    finds(&plain(loader), &[("/bin/app", kind, loader), c_library]);
    let app = plain(loader).with_file("lib/ld.so", "no program");
    finds(&app, &[("/bin/app", "interpreter-not-executable", loader), c_library]);
    let app = App::empty().with_program("bin/app", "#!/package/bin/none\n");
    finds(&app, &[("/bin/app", "interpreter-missing", "/package/bin/none")]);
    // The host's is not the package's affair.
    finds(&App::script("exit"), &[]);
}

#[test]
fn a_c_library_without_its_loader() {
    let compiler = Compiler::default();
    let app = caller(&compiler, &["-Wl,-rpath,$ORIGIN/../lib"]);
    let app = app.with_program("lib/libanswer.so", library(&compiler));
    let app = app.with_program("lib/libc.so.6", compiler.library("libc.so.6", 0, &["-nostdlib"]));
    finds(&app, &[("/bin/app", "mixed-runtime", "libc.so.6")]);
}

#[test]
fn the_loader_of_musl_is_its_c_library() {
    let compiler = Compiler::default();
    let _library = compiler.library("libc.so", 0, &["-nostdlib"]);
    let named = "-Wl,--dynamic-linker=/lib/ld-musl-x86_64.so.1";
    let options = ["-nostdlib", "-Wl,-e,main", "./libc.so", named];
    let app = App::empty().with_program("bin/app", compiler.make("call", CALL, &options));
    let loader = compiler.library("ld", 0, &["-nostdlib"]);
    finds(&app.clone().with_program("binary/ld-musl-x86_64.so.1", loader.clone()), &[]);
    let expected = [("/bin/app", "interpreter-not-executable", "/package/lib/ld-musl-x86_64.so.1")];
    finds(&app.with_file("lib/ld-musl-x86_64.so.1", loader), &expected);
}

#[test]
fn files_for_other_machines() {
    let compiler = Compiler::default();
    let program = compiler.make("plain", "int main(void) { return 0; }\n", &[]);
    let mut app = App::empty().with_program("bin/app", program.clone());
    finds(&app, &[]);
    let other = for_another_machine(program);
    finds(&app.clone().with_file("share/other", other), &[("/share/other", "wrong-machine", "-")]);
    app.arch = "x86-32".into();
    finds(&app, &[("/bin/app", "wrong-machine", "-")]);
    // Object files are no programs.
    let object = compiler.make("part.o", "int part;\n", &["-c"]);
    finds(&App::script("exit").with_file("part.o", for_another_machine(object)), &[]);
}

#[test]
fn damaged_elf_files_are_named() {
    let compiler = Compiler::default();
    let program = compiler.make("plain", "int main(void) { return 0; }\n", &[]);
    let app = App::script("exit");
    for length in [20, 63, 64, 200] {
        let app = app.clone().with_file("cut", &program[..length]);
        finds(&app, &[("/cut", "malformed", "-")]);
    }
    finds(&app.with_file("short", &program[..19]), &[]);
}

#[test]
fn nothing_is_asked_of_a_package_that_is_refused() {
    let desk = Desk::empty();
    desk.put("bad.epk", b"no package");
    let done = desk.give(&["verify", "--loader", "--json", "bad.epk"]).exits(4);
    assert_eq!(done.json()[0].get("loader"), None);
    let mut app = App::script("exit");
    app.name = String::new();
    desk.put("app.epk", &app.image());
    let done = desk.give(&["verify", "--loader", "--json", "app.epk"]).exits(4);
    assert_eq!(done.json()[0].get("loader"), None);
}
