//! Native parts, as a library: what goes into a compiler, what is kept, what is refused. The walls
//! are those of a test here; the real ones stand in `tests/`.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use driftpm::drift::native::{Installed, Job, Ran, Sandbox, Workshop, install};
use driftpm::drift::platform::Platform;
use driftpm::problem::Problem;
use serde_json::{Value, json};

use super::repository::rich_package;

/// Runs compilers as they are, and writes down what it ran.
#[derive(Default)]
struct NoWalls(RefCell<Vec<String>>);

impl Sandbox for NoWalls {
    fn run(&self, job: &Job<'_>) -> Result<Ran, Problem> {
        let outputs = job.outputs.to_string_lossy().into_owned();
        self.0.borrow_mut().push(job.arguments.join(" ").replace(&outputs, "OUT"));
        let output = Command::new(job.program)
            .args(job.arguments)
            .current_dir(job.inputs)
            .output()
            .map_err(|error| Problem::new("SANDBOX_UNAVAILABLE", error.to_string()))?;
        Ok(Ran {
            ok: output.status.success(),
            status: output.status.to_string(),
            stdout: output.stdout,
            stderr: output.stderr,
        })
    }
}

fn platform() -> Platform {
    Platform {
        os: "linux".into(),
        arch: "x86_64".into(),
        abi: "gnu".into(),
        libc: None,
        capabilities: std::collections::BTreeSet::new(),
    }
}

const SUM_C: &str = "#include \"sum.h\"\nint tiny_sum(int a, int b) { return a + b + EXTRA; }\n";
const SUM_H: &str = "int tiny_sum(int a, int b);\n";

fn shim() -> Value {
    json!({"name": "sum", "tool": "gcc", "sources": ["n/sum.c"], "headers": ["n/sum.h"],
           "defines": {"EXTRA": "0"}, "link": ["m"]})
}

fn with(shim: &Value, files: &[(&str, &str)]) -> Vec<u8> {
    rich_package("acme.sum", "1.0.0", json!({"native": [shim]}), files)
}

struct Shop {
    folder: tempfile::TempDir,
    walls: NoWalls,
    search_path: Vec<PathBuf>,
}

impl Shop {
    fn new() -> Self {
        let search_path = std::env::split_paths(&std::env::var_os("PATH").unwrap()).collect();
        Self { folder: tempfile::tempdir().unwrap(), walls: NoWalls::default(), search_path }
    }

    fn install(&self, package: &[u8]) -> Result<Installed, Problem> {
        self.install_for(package, &platform())
    }

    fn install_for(&self, package: &[u8], platform: &Platform) -> Result<Installed, Problem> {
        let machine = self::platform();
        let shop = Workshop {
            cache_dir: self.folder.path().join("cache"),
            platform,
            machine: &machine,
            search_path: self.search_path.clone(),
            sandbox: &self.walls,
        };
        install(&[package.to_vec()], &shop).map(|mut list| list.remove(0))
    }

    fn runs(&self) -> usize {
        self.walls.0.borrow().len()
    }
}

fn sum() -> Vec<u8> {
    with(&shim(), &[("n/sum.c", SUM_C), ("n/sum.h", SUM_H)])
}

#[test]
fn an_object_is_made_once_and_is_the_same_everywhere() {
    let shop = Shop::new();
    let made = shop.install(&sum()).unwrap();
    assert!(!made.present);
    assert_eq!(made.link, ["m"]);
    let expected = shop
        .folder
        .path()
        .join("cache/native/acme.sum/1.0.0/linux-x86_64-gnu")
        .join(made.recipe.to_string())
        .join("sum.o");
    assert_eq!(made.object, expected);
    let bytes = fs::read(&made.object).unwrap();
    assert_eq!(&bytes[..4], b"\x7fELF");
    let runs = shop.walls.0.borrow().clone();
    let seed = made.recipe.to_string();
    assert_eq!(
        runs,
        [
            "--version".to_owned(),
            format!(
                "-std=c11 -O2 -g0 -fPIC -fno-ident -fstack-protector-strong -Wdate-time \
                 -Werror=date-time -Werror=implicit-function-declaration -frandom-seed={seed} -I. \
                 -DEXTRA=0 -c -o OUT/0.part.o n/sum.c"
            ),
            "-r -nostdlib -Wl,--build-id=none -o OUT/sum.o OUT/0.part.o".to_owned(),
        ]
    );
    // Asked again only for the version: another compiler would make something else.
    assert!(shop.install(&sum()).unwrap().present);
    assert_eq!(shop.runs(), 4);
    let elsewhere = Shop::new().install(&sum()).map(|made| (made.recipe, made.present)).unwrap();
    assert_eq!(elsewhere, (made.recipe, false));
    let other = Shop::new();
    let again = other.install(&sum()).unwrap();
    assert_eq!(fs::read(again.object).unwrap(), bytes, "the same bytes in another folder");
}

#[test]
fn whatever_goes_in_makes_another_recipe() {
    let shop = Shop::new();
    let first = shop.install(&sum()).unwrap().recipe;
    let mut defined = shim();
    defined["defines"]["EXTRA"] = json!("1");
    let mut newer = shim();
    newer["standard"] = json!("c99");
    let files: &[(&str, &str)] = &[("n/sum.c", SUM_C), ("n/sum.h", SUM_H)];
    let comment = format!("{SUM_H}// more\n");
    for package in [
        with(&defined, files),
        with(&newer, files),
        with(&shim(), &[("n/sum.c", SUM_C), ("n/sum.h", &comment)]),
    ] {
        let made = shop.install(&package).unwrap();
        assert!(!made.present);
        assert_ne!(made.recipe, first);
    }
    let elsewhere = platform().with(&["libc=glibc:2.36".to_owned()]).unwrap();
    assert_ne!(shop.install_for(&sum(), &elsewhere).unwrap().recipe, first);
}

#[test]
fn what_is_kept_is_taken_only_if_it_is_right() {
    let shop = Shop::new();
    let made = shop.install(&sum()).unwrap();
    let good = fs::read(&made.object).unwrap();
    let spoilt: [&dyn Fn(&Path); 4] = [
        &|object| fs::write(object, "other bytes").unwrap(),
        &|object| fs::remove_file(object).unwrap(),
        &|object| fs::remove_file(object.with_file_name("recipe.json")).unwrap(),
        &|object| fs::write(object.with_file_name("recipe.json"), "{}").unwrap(),
    ];
    for spoil in spoilt {
        spoil(&made.object);
        assert!(!shop.install(&sum()).unwrap().present);
        assert_eq!(fs::read(&made.object).unwrap(), good);
        assert!(shop.install(&sum()).unwrap().present);
    }
}

#[test]
fn what_does_not_compile_or_fit_leaves_nothing() {
    let files = |source: &'static str| vec![("n/sum.c", source), ("n/sum.h", SUM_H)];
    for (source, code, part) in [
        ("int broken(", "NATIVE_FAILED", "n/sum.c:1"),
        ("#include \"missing.h\"\n", "NATIVE_FAILED", "missing.h"),
        ("const char *when = __DATE__;\n", "NATIVE_FAILED", "reproducible"),
        ("int f(void) { return undeclared_function(); }\n", "NATIVE_FAILED", "undeclared_function"),
    ] {
        let shop = Shop::new();
        let problem = shop.install(&with(&shim(), &files(source))).unwrap_err();
        assert_eq!(problem.code, code);
        assert!(problem.message.contains(part), "{part}: {}", problem.message);
        assert!(!shop.folder.path().join("cache").exists());
    }
    // Names that a compiler would take for something else.
    for name in ["-fplugin=x.c", "@options.c", "n/-x.c"] {
        let mut odd = shim();
        odd["sources"] = json!([name]);
        let package = with(&odd, &[(name, SUM_C), ("n/sum.h", SUM_H)]);
        let shop = Shop::new();
        assert_eq!(shop.install(&package).unwrap_err().code, "NATIVE_REFUSED", "{name}");
        assert_eq!(shop.runs(), 1, "nothing but --version is run");
    }
    // For another kind of machine nothing is compiled here.
    let arm = platform().with(&["arch=aarch64".to_owned()]).unwrap();
    let shop = Shop::new();
    assert_eq!(shop.install_for(&sum(), &arm).unwrap_err().code, "NATIVE_REFUSED");
    let mut elsewhere = Shop::new();
    elsewhere.search_path = vec!["/nonexistent".into()];
    assert_eq!(elsewhere.install(&sum()).unwrap_err().code, "NATIVE_TOOL_MISSING");
    assert_eq!(shop.runs() + elsewhere.runs(), 0);
}
