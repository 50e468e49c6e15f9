//! Whose loader and libraries a program gets.

use std::fs;
use std::path::Path;

use epk_tests::app::{App, Stage};
use epk_tests::binaries::binary;
use epk_tests::native::{Compiler, libraries_of};
use epk_tests::tool::{self, Outcome};
use epk_tests::tree::Item;

use super::{in_changed_view, output};

/// Prints its arguments, and the files that it is made of.
const TELL: &str = r#"
#include <stdio.h>
#include <string.h>
#include <unistd.h>
int answer(void);
int main(int count, char **words) {
    char line[8192], last[8192] = "";
    printf("answer %d\n", answer());
    for (int n = 0; n < count; n++) printf("word %s\n", words[n]);
    FILE *maps = fopen("/proc/self/maps", "r");
    while (fgets(line, sizeof line, maps)) {
        char *path = strchr(line, '/');
        if (path && strcmp(path, last)) printf("file %s", strcpy(last, path));
    }
    if (count > 1 && !strcmp(words[1], "exec")) {
        fflush(stdout);
        execl("/bin/cat", "cat", "/proc/self/environ", "/proc/self/maps", (char *)0);
    }
    return 0;
}
"#;

fn mode(app: App, path: &str, bytes: Vec<u8>, mode: u32) -> App {
    App { tree: app.tree.with(path, Item::File { bytes, mode }), ..app }
}

/// An application that needs `libanswer.so`, which is in `/lib`, linked with more options.
fn teller(compiler: &Compiler, options: &[&str]) -> App {
    let library = compiler.library("libanswer.so", 42, &[]);
    let program = compiler.make("teller", TELL, &[&["libanswer.so"], options].concat());
    App::empty().with_program("bin/app", program).with_program("lib/libanswer.so", library)
}

/// Adds this machine's loader and C library to the package's `/lib`, and gives the loader's name.
fn with_runtime(app: App, compiler: &Compiler) -> (App, String) {
    let name = |path: &Path| path.file_name().expect("a file").to_str().expect("text").to_owned();
    let _program = compiler.make("plain", "int main(void) { return 0; }", &[]);
    let found = libraries_of(&compiler.path("plain"));
    let loader = found.iter().map(|path| name(path)).find(|name| name.starts_with("ld-"));
    let app = found.iter().fold(app, |app, path| {
        app.with_program(&format!("lib/{}", name(path)), fs::read(path).expect("readable"))
    });
    (app, loader.expect("a dynamically linked program"))
}

/// What the output says of words, and of files that are not the package's.
#[track_caller]
fn words_of(text: &str) -> (Vec<&str>, Vec<&str>) {
    assert!(text.starts_with("answer 42\n"), "{text}");
    let words = text.lines().filter_map(|line| line.strip_prefix("word ")).collect();
    let files = text.lines().filter_map(|line| line.strip_prefix("file "));
    (words, files.filter(|file| !file.starts_with("/package/")).collect())
}

#[track_caller]
fn verified(stage: &Stage) {
    let image = stage.image();
    let verdict = tool::run(["verify".as_ref(), "--loader".as_ref(), image.as_os_str()]).exits(0);
    assert!(verdict.text().contains(" need is there"), "{}", verdict.text());
}

#[test]
fn libraries_are_found_by_origin() {
    let compiler = Compiler::default();
    let stage = Stage::new(&teller(&compiler, &["-Wl,-rpath,$ORIGIN/../lib"]));
    let text = output(&mut stage.run(["x"]));
    let (words, outside) = words_of(&text);
    assert_eq!(words, ["/package/bin/app", "x"]);
    assert!(outside.iter().any(|file| file.contains("/libc.so")), "the C library is the host's");
    verified(&stage);
}

#[test]
fn no_variable_leads_into_the_package() {
    let compiler = Compiler::default();
    let stage = Stage::new(&teller(&compiler, &[]));
    let done = Outcome::of(&mut stage.run([""; 0])).exits(127);
    assert!(done.stderr.contains("libanswer.so: cannot open"), "{}", done.stderr);
}

#[test]
fn the_packages_own_loader_is_taken() {
    let compiler = Compiler::default();
    let (app, _) = with_runtime(teller(&compiler, &[]), &compiler);
    let stage = Stage::new(&app);
    let text = output(&mut stage.run(["x", "", "--library-path"]));
    let (words, outside) = words_of(&text);
    assert_eq!(words, ["/package/bin/app", "x", "", "--library-path"]);
    assert_eq!(outside, [""; 0], "libraries of the host");
    assert!(text.contains("file /package/lib/libc.so"), "{text}");
    verified(&stage);
    stage.is_left_clean();
}

#[test]
fn what_the_application_starts_gets_nothing_of_it() {
    let compiler = Compiler::default();
    let (app, _) = with_runtime(teller(&compiler, &[]), &compiler);
    let stage = Stage::new(&app);
    let text = output(&mut stage.run(["exec"]));
    let (_, after) = text.split_once("PATH=").expect("the environment of the host's program");
    assert!(after.contains("/libc.so"), "{after}");
    assert!(!after.contains("/package/lib"), "{after}");
    assert!(!text.contains("LD_"), "{text}");
}

#[test]
fn folders_are_searched_in_their_order() {
    // Of three libraries of one name, that in `/binary` counts.
    let compiler = Compiler::default();
    let (app, loader) = with_runtime(teller(&compiler, &["-Wl,-rpath,$ORIGIN"]), &compiler);
    let app = app.with_program("binary/libanswer.so", compiler.library("libanswer.so", 42, &[]));
    let app = app.with_program("lib/libanswer.so", compiler.library("libanswer.so", 1, &[]));
    let app = app.with_program("bin/libanswer.so", compiler.library("libanswer.so", 2, &[]));
    let _words = words_of(&output(&mut Stage::new(&app).run([""; 0])));
    // And the loader in the place that programs name, with what lies beside it.
    let bytes = app.tree.bytes(&format!("lib/{loader}")).to_vec();
    let c_library = app.tree.bytes("lib/libc.so.6").to_vec();
    let mut app = app.with_program("lib64/libc.so.6", c_library);
    app.tree.items.remove("lib/libc.so.6");
    app.tree.items.remove(&format!("lib/{loader}"));
    let app = app.with_program(&format!("lib64/{loader}"), bytes);
    let stage = Stage::new(&app);
    let text = output(&mut stage.run([""; 0]));
    assert_eq!(words_of(&text).1, [""; 0]);
    assert!(text.contains("file /package/lib64/libc.so.6\n"), "{text}");
    verified(&stage);
}

#[test]
fn programs_may_name_their_loader_in_the_package() {
    let compiler = Compiler::default();
    let (_, loader) = with_runtime(App::empty(), &compiler);
    let named = format!("-Wl,--dynamic-linker=/package/lib/{loader}");
    let app = teller(&compiler, &[&named, "-Wl,-rpath,$ORIGIN/../lib"]);
    let (app, _) = with_runtime(app, &compiler);
    let stage = Stage::new(&app);
    let text = output(&mut stage.run(["x"]));
    let (words, outside) = words_of(&text);
    assert_eq!((words, outside), (vec!["/package/bin/app", "x"], vec![]));
    verified(&stage);
}

#[test]
fn scripts_of_packaged_interpreters_get_the_packages_loader() {
    let compiler = Compiler::default();
    let (app, _) = with_runtime(teller(&compiler, &[]), &compiler);
    let app = app.with_program("bin/script", "#! /package/bin/app  one two \nwhatever\n");
    let app = app.with_program("bin/outer", "#!/package/bin/script three\n");
    let stage = Stage::new(&app.with_command("s", "/bin/script").with_command("o", "/bin/outer"));
    let text = output(&mut stage.run(["s", "x"]));
    let expected = ["/package/bin/app", "one two", "/package/bin/script", "x"];
    assert_eq!(words_of(&text), (expected.to_vec(), vec![]));
    let text = output(&mut stage.run(["o"]));
    let expected =
        ["/package/bin/app", "one two", "/package/bin/script", "three", "/package/bin/outer"];
    assert_eq!(words_of(&text), (expected.to_vec(), vec![]));
    // The same words as without a loader of its own.
    let compiler = Compiler::default();
    let app = teller(&compiler, &["-Wl,-rpath,$ORIGIN/../lib"]);
    let app = app.with_program("bin/script", "#! /package/bin/app  one two \nwhatever\n");
    let app = app.with_program("bin/outer", "#!/package/bin/script three\n");
    let text = output(&mut Stage::new(&app.with_command("o", "/bin/outer")).run(["o"]));
    assert_eq!(words_of(&text).0, expected);
}

#[test]
fn a_target_behind_a_link_lies_where_it_really_is() {
    let compiler = Compiler::default();
    let (mut app, _) = with_runtime(teller(&compiler, &["-Wl,-rpath,$ORIGIN/beside"]), &compiler);
    // Not in the search order: only `$ORIGIN` leads there.
    let library = app.tree.items.remove("lib/libanswer.so").expect("it is there");
    app.tree = app.tree.with("bin/beside/libanswer.so", library);
    app.tree = app.tree.with("usr/bin", Item::Alias("bin".into()));
    app.entry = "/usr/bin/app".into();
    let stage = Stage::new(&app);
    let text = output(&mut stage.run(["x"]));
    assert_eq!(words_of(&text), (vec!["/package/usr/bin/app", "x"], vec![]));
    verified(&stage);
}

#[test]
fn a_loader_that_cannot_be_executed_is_named() {
    let compiler = Compiler::default();
    let (app, loader) = with_runtime(teller(&compiler, &[]), &compiler);
    let path = format!("lib/{loader}");
    let bytes = app.tree.bytes(&path).to_vec();
    let stage = Stage::new(&mode(app, &path, bytes, 0o644));
    let message = format!("the package's loader `/package/{path}` has no permission to execute");
    Outcome::of(&mut stage.run([""; 0])).fails(126, &message);
    stage.is_left_clean();
}

#[test]
fn a_package_with_its_own_runtime_needs_no_library_of_the_host() {
    let compiler = Compiler::default();
    let (app, _) = with_runtime(teller(&compiler, &[]), &compiler);
    let stage = Stage::new(&app);
    // What pkgtool itself is loaded with, out of the way of what is hidden.
    let own = stage.folder().join("own-runtime");
    fs::create_dir(&own).expect("a folder");
    let mut loader = None;
    for path in libraries_of(&binary("pkgtool")) {
        let copy = own.join(path.file_name().expect("a file"));
        fs::copy(&path, &copy).expect("readable");
        if copy.to_string_lossy().contains("/ld-") {
            loader = Some(copy);
        }
    }
    let inner = stage.run(["x"]);
    let mut words = vec![loader.expect("pkgtool is dynamically linked").into_os_string()];
    words.extend(["--library-path".into(), own.into_os_string()]);
    words.push(inner.get_program().to_owned());
    words.extend(inner.get_args().map(ToOwned::to_owned));
    let hide = "mount -t tmpfs none /usr; \
        for file in /lib/* /lib32/* /lib64/*; do [ ! -e \"$file\" ]; done";
    let text = output(&mut in_changed_view(&stage, hide, words));
    assert_eq!(words_of(&text), (vec!["/package/bin/app", "x"], vec![]));
    stage.is_left_clean();
}
