//! Native parts of Drift packages behind the real walls: `drift build` with `pkgtool confine`.
//! The stand-in compiler of `examples/drift` is Python; where there is none, the tests say so and
//! pass, unless `EPK_TEST_USER` is set, which it is in the gate.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use epk_tests::binaries::binary;
use epk_tests::files::{copy_program, temp_folder};
use epk_tests::tool::Outcome;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A project with the package `shim`, of one C file, and the program `app`, which needs it.
struct Project {
    folder: TempDir,
    binaries: PathBuf,
}

impl Project {
    /// `None` without Python.
    fn new(tools: &[&str]) -> Option<Self> {
        let python = Command::new("python3").arg("--version").output();
        if python.is_err() && std::env::var_os("EPK_TEST_USER").is_none() {
            eprintln!("skipped: there is no python3");
            return None;
        }
        let folder = temp_folder();
        let binaries = folder.path().join("binaries");
        fs::create_dir(&binaries).expect("ours");
        for tool in tools {
            copy_program(&binary(tool), &binaries.join(tool));
        }
        let project = Self { folder, binaries };
        project.write("drift-project.json", &json!({"format": 1, "name": "demo"}));
        let target = |name: &str, kind: &str, module: &str| {
            json!({"format": 1, "name": name, "kind": kind, "version": "1.0.0",
                   "modules": {module: "main.drift"}})
        };
        let mut shim = target("shim", "package", "shim");
        shim["native"] = json!([{"name": "part", "tool": "gcc", "sources": ["part.c"]}]);
        project.write("shim/drift-target.json", &shim);
        let mut app = target("app", "exec", "app.main");
        app["entry"] = json!("app.main");
        app["depends_on"] = json!(["shim"]);
        project.write("app/drift-target.json", &app);
        project.text("shim/main.drift", "// nothing\n");
        let program = "int part(void);\nint main(void) { return part(); }\n";
        project.text("app/main.drift", program);
        Some(project)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("below")).expect("ours");
        fs::write(path, text).expect("ours");
    }

    fn write(&self, name: &str, document: &Value) {
        self.text(name, &document.to_string());
    }

    /// Builds `app` out of a part with this source.
    fn build(&self, source: &str) -> Value {
        self.text("shim/part.c", source);
        let compiler = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/drift/compiler");
        let output = Outcome::of(
            Command::new(self.binaries.join("drift"))
                .args(["build", "--target", "app", "--json", "--compiler"])
                .arg(compiler)
                .current_dir(self.folder.path())
                .env("HOME", self.path("home")),
        );
        assert_eq!(output.stderr, "");
        output.json().remove(0)
    }

    fn refusal(&self, source: &str) -> (String, String) {
        let report = self.build(source);
        assert_eq!(report["ok"], false, "{source}: {report}");
        let error = &report["errors"][0];
        let text = |key: &str| error[key].as_str().unwrap_or_default().to_owned();
        (text("code"), text("message"))
    }
}

#[test]
fn parts_are_compiled_linked_and_run() {
    let Some(project) = Project::new(&["drift", "pkgtool"]) else { return };
    let report = project.build("int part(void) { return 42; }\n");
    assert_eq!(report["ok"], true, "{report}");
    let program = project.path("build/drift/targets/app/artifact/app");
    let status = Command::new(&program).status().expect("a program");
    assert_eq!(status.code(), Some(42));
    assert_eq!(report["built"][1]["native"][0]["present"], false);
    let again = project.build("int part(void) { return 42; }\n");
    assert_eq!(again["built"][1]["native"][0]["present"], true);
    assert_eq!(again["built"][1]["sha256"], report["built"][1]["sha256"]);
}

#[test]
fn parts_see_nothing_of_the_host() {
    let Some(project) = Project::new(&["drift", "pkgtool"]) else { return };
    project.text("secret", "the secret of the host\n");
    let secret = project.path("secret");
    let secret = secret.display();
    for source in [
        format!("#include \"{secret}\"\n"),
        format!("__asm__(\".incbin \\\"{secret}\\\"\");\nint part(void) {{ return 0; }}\n"),
        "#include \"/proc/self/environ\"\n".to_owned(),
        "__asm__(\".incbin \\\"/etc/passwd\\\"\");\nint part(void) { return 0; }\n".to_owned(),
        "#include \"../../../secret\"\n".to_owned(),
    ] {
        let (code, message) = project.refusal(&source);
        assert_eq!(code, "NATIVE_FAILED", "{source}: {message}");
        assert!(!message.contains("the secret of the host"), "{message}");
        assert!(!message.contains("root:"), "{message}");
    }
    assert!(!project.path("cache").exists(), "nothing is kept of what failed");
}

#[test]
fn nothing_is_compiled_without_walls() {
    let Some(project) = Project::new(&["drift"]) else { return };
    // Neither beside `drift` nor on the search path.
    let (code, message) = project.refusal("int part(void) { return 0; }\n");
    assert_eq!(code, "SANDBOX_UNAVAILABLE", "{message}");
    assert!(!project.path("cache").exists());
}
