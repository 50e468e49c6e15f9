//! `boruna-pkg` from outside: what each command prints, writes and refuses.

mod boruna;

use std::fs;

use boruna::{Place, lines};

#[test]
fn from_nothing_to_a_verified_install() {
    let place = Place::new();
    place.directory("lib-one");
    place.ok(&["init", "lib-one"], "initialized package: lib.one\n");
    assert_eq!(
        place.read("lib-one/package.ax.json"),
        "{\n  \"name\": \"lib.one\",\n  \"version\": \"0.1.0\",\n  \"description\": \"A new \
         package\",\n  \"dependencies\": {},\n  \"required_capabilities\": [],\n  \
         \"exposed_modules\": [\n    \"core\"\n  ]\n}"
    );
    place.write("lib-one/src/core.ax", "fn one() -> Int { 1 }\n");
    place.run(&["publish", "lib-one"]).succeeds();
    place.project("app", "app@1.0.0", "");
    place.ok(&["add", "lib.one", "0.1.0", "--dir", "app"], "added dependency: lib.one@0.1.0\n");
    place.ok(&["resolve", "app"], "resolved 1 packages:\n  lib.one@0.1.0\n");
    place.ok(&["install", "app"], "installed 1 packages\n");
    place.ok(&["install", "app", "--locked"], "installed 1 packages\n");
    place.ok(&["verify"], "verified 1 packages:\n  lib.one@0.1.0 OK\n");
    place.ok(&["verify", "--project", "app"], "verified 1 packages:\n  lib.one@0.1.0 OK\n");
    place.ok(&["tree", "app"], "app@1.0.0\n└── lib.one@0.1.0\n");
    place.ok(&["why", "lib.one", "--dir", "app"], "app@1.0.0 -> lib.one@0.1.0\n");
    place.ok(&["remove", "lib.one", "--dir", "app"], "removed dependency: lib.one\n");
    place.ok(&["resolve", "app"], "resolved 0 packages:\n");
    assert_eq!(
        place.read("app/ax.lock.json"),
        "{\n  \"lockfile_version\": 1,\n  \"resolved\": {}\n}"
    );
}

#[test]
fn install_refuses_what_was_not_published_and_writes_nothing() {
    for (damage, expected) in [
        ("source", "  FAIL: base.a@1.0.0: hash mismatch: HASH says "),
        ("missing", "  FAIL: base.a@1.0.0: HASH file not found\n"),
        ("integrity", "  FAIL: base.a@1.0.0: integrity mismatch: the manifest says sha256:00"),
    ] {
        let place = Place::with_two_packages();
        place.project("app", "app@1.0.0", "mid.b@1.0.0");
        let base = "packages/registry/base.a/1.0.0";
        match damage {
            "source" => place.write(&format!("{base}/src/core.ax"), "fn evil() -> Int { 1 }\n"),
            "missing" => fs::remove_file(place.path(&format!("{base}/HASH"))).unwrap(),
            _ => {
                let path = format!("{base}/package.ax.json");
                let text = place.read(&path);
                let hash = place.read(&format!("{base}/HASH"));
                place.write(&path, &text.replace(&hash, &format!("sha256:{}", "0".repeat(64))));
            }
        }
        let stderr = place.run(&["install", "app"]).fails();
        assert!(stderr.starts_with(expected), "{damage}: {stderr}");
        assert!(stderr.contains("packages failed the hash check\n"), "{stderr}");
        assert!(!place.exists("app/ax.lock.json"), "{damage}");
        // `resolve` promises less: it locks what is there.
        if damage != "integrity" {
            place.run(&["resolve", "app"]).succeeds();
            place.run(&["install", "app", "--locked"]).fails();
        }
    }
}

#[test]
fn locked_demands_a_sound_and_current_lockfile() {
    let place = Place::with_two_packages();
    place.project("app", "app@1.0.0", "mid.b@1.0.0");
    let missing = "error: lockfile ax.lock.json not found: run `boruna-pkg resolve` to write it\n";
    place.refused(&["install", "app", "--locked"], missing);
    place.refused(&["verify", "--project", "app"], missing);
    assert!(!place.exists("app/ax.lock.json"));

    place.run(&["resolve", "app"]).succeeds();
    let good = place.read("app/ax.lock.json");
    // Layout is not content.
    place.write("app/ax.lock.json", &format!("{}\n", good.replace("\n    ", " ")));
    place.ok(&["install", "app", "--locked"], "installed 2 packages\n");

    let stale = "error: lockfile ax.lock.json does not match what the dependencies resolve to\n";
    place.project("app", "app@1.0.0", "base.a@1.0.0");
    for command in [&["install", "app", "--locked"][..], &["verify", "--project", "app"][..]] {
        place.refused(command, &format!("{stale}  removed: mid.b@1.0.0\n"));
    }
    place.project("app", "app@1.0.0", "mid.b@1.0.0");
    let hash = place.read("packages/registry/base.a/1.0.0/HASH");
    let other = format!("sha256:{}", "1".repeat(64));
    place.write("app/ax.lock.json", &good.replace(&hash, &other));
    place.refused(&["install", "app", "--locked"], &format!("{stale}  changed: base.a@1.0.0\n"));
    for (text, message) in [
        ("{", "error: parse lockfile: EOF while parsing an object at line 1 column 1\n"),
        (
            &*good.replace("version\": 1", "version\": 7"),
            "error: unsupported lockfile version: 7\n",
        ),
    ] {
        place.write("app/ax.lock.json", text);
        place.refused(&["install", "app", "--locked"], message);
        place.refused(&["verify", "--project", "app"], message);
        assert_eq!(place.read("app/ax.lock.json"), text);
    }
}

#[test]
fn the_originals_lockfile_is_read_and_written_on_request() {
    let place = Place::with_two_packages();
    place.project("app", "app@1.0.0", "mid.b@1.0.0");
    place.run(&["--lockfile-name", "llm.lock.json", "resolve", "app"]).succeeds();
    assert!(!place.exists("app/ax.lock.json"));
    place.ok(&["install", "app", "--locked"], "installed 2 packages\n");
    place.ok(
        &["verify", "--project", "app"],
        "verified 2 packages:\n  base.a@1.0.0 OK\n  mid.b@1.0.0 OK\n",
    );
    place.run(&["resolve", "app"]).succeeds();
    assert_eq!(place.read("app/ax.lock.json"), place.read("app/llm.lock.json"));
    let stderr = place.run(&["resolve", "app", "--lockfile-name", "../x"]).fails();
    assert!(stderr.starts_with("error: invalid lockfile name '../x'"), "{stderr}");
    assert!(!place.exists("x"));
}

#[test]
fn policy_violations_name_packages_and_leave_no_lockfile() {
    let place = Place::new();
    place.package("web", "lib.web@1.0.0", "", &["net"]);
    place.run(&["publish", "web"]).succeeds();
    place.project("app", "app@1.0.0", "lib.web@1.0.0");
    place.write("app/policy.ax.json", r#"{"denied_capabilities":["net.fetch"]}"#);
    let message = "error: capability policy violation: dependencies require forbidden \
                   capabilities: net.fetch\n";
    let detail =
        "  lib.web@1.0.0 requires net.fetch (written 'net'), forbidden by policy.ax.json\n";
    place.refused(&["install", "app"], &format!("{message}{detail}"));
    assert!(!place.exists("app/ax.lock.json"));
    place.refused(&["install", "app", "--compat"], message);
    assert!(place.exists("app/llm.lock.json"), "as the original");
}

#[test]
fn a_policy_in_the_manifest_survives_add_and_remove() {
    let place = Place::with_two_packages();
    place.project("app", "app@1.0.0", "");
    let text = place.read("app/package.ax.json");
    let policy = r#""policy": {"allowed_capabilities": []}, "name""#;
    place.write("app/package.ax.json", &text.replacen("\"name\"", policy, 1));
    place.run(&["add", "mid.b", "1.0.0", "--dir", "app"]).succeeds();
    place.run(&["add", "base.a", "1.0.0", "--dir", "app"]).succeeds();
    place.run(&["remove", "base.a", "--dir", "app"]).succeeds();
    let text = place.read("app/package.ax.json");
    assert!(text.contains("\"policy\": {\n    \"allowed_capabilities\": []\n  }"), "{text}");
    place.run(&["install", "app"]).succeeds();
}

#[test]
fn publishing_is_all_or_nothing() {
    let place = Place::new();
    place.package("good", "lib.good@1.0.0", "", &[]);
    place.package("lonely", "lib.lonely@1.0.0", "gone@1.0.0", &[]);
    place.package("selfish", "lib.self@1.0.0", "lib.self@1.0.0", &[]);
    place.package("sourceless", "lib.less@1.0.0", "", &[]);
    fs::remove_file(place.path("sourceless/src/core.ax")).unwrap();
    place.package("binary", "lib.bin@1.0.0", "", &[]);
    fs::write(place.path("binary/src/core.ax"), b"\xff").unwrap();
    for (package, message) in [
        (
            "lonely",
            "error: dependency gone@1.0.0 is not published: package gone@1.0.0 not found in registry\n",
        ),
        ("selfish", "error: package lib.self@1.0.0 depends on itself\n"),
        ("sourceless", "error: source file not found: src/core.ax\n"),
        ("binary", "error: read source core.ax: stream did not contain valid UTF-8\n"),
    ] {
        place.refused(&["publish", package], message);
        assert_eq!(place.listing("packages/registry"), [""; 0], "{package}");
    }
    for module in ["../../../../y", "a/b", "", ".x", "a\\\\b", "a\\u0000"] {
        place.package("odd", "lib.odd@1.0.0", "", &[]);
        let text = place.read("odd/package.ax.json").replace("\"core\"", &format!("\"{module}\""));
        place.write("odd/package.ax.json", &text);
        let stderr = place.run(&["publish", "odd"]).fails();
        assert!(stderr.starts_with("error: invalid module name "), "{module}: {stderr}");
        assert_eq!(place.listing("packages/registry"), [""; 0], "{module}");
    }
    place.run(&["publish", "good"]).succeeds();
    assert_eq!(place.listing("packages/registry"), ["lib.good"]);
    assert_eq!(
        place.listing("packages/registry/lib.good/1.0.0"),
        ["HASH", "bytecode", "package.ax.json", "src"]
    );
    place.refused(
        &["publish", "good"],
        "error: package lib.good@1.0.0 already exists in registry\n",
    );
}

#[test]
fn publishing_with_a_compiler() {
    let place = Place::new();
    place.package("one", "lib.one@1.0.0", "", &[]);
    let plain = Place::new();
    plain.package("one", "lib.one@1.0.0", "", &[]);

    place.script("fails", "echo 'error: parse error at line 1: no' >&2; exit 1");
    place.script("silent", "exit 3");
    place.script("lazy", "exit 0");
    place.script("garbage", "echo nonsense > \"$4\"");
    place.script("bad-size", r#"printf 'LLMB\001\000\011\000\000\000{}' > "$4""#);
    for (compiler, message) in [
        ("./fails", "error: compile core: parse error at line 1: no\n"),
        (
            "./silent",
            "error: compile core: the compiler failed without a message, exit status: 3\n",
        ),
        (
            "./lazy",
            "error: compile core: the compiler succeeded but left no module: No such file or directory (os error 2)\n",
        ),
        (
            "./garbage",
            "error: compile core: the compiler wrote no module: 9 bytes are too few for a module\n",
        ),
        (
            "./bad-size",
            "error: compile core: the compiler wrote no module: payload of 2 bytes, header says 9\n",
        ),
    ] {
        place.refused(&["publish", "one", "--compiler", compiler], message);
        assert_eq!(place.listing("packages/registry"), [""; 0], "{compiler}");
    }
    let stderr = place.run(&["publish", "one", "--compiler", "./absent"]).fails();
    assert!(stderr.starts_with("error: compile core: cannot run "), "{stderr}");

    // Run away from the project: a `libs` directory there must not be inlined.
    place.directory("libs");
    place.script(
        "works",
        r#"test "$1" = compile && test "$3" = -o && ! test -e libs && test -f "$2" &&
           printf 'LLMB\001\000\016\000\000\000{"z":[],"a":1}' > "$4""#,
    );
    let output = place.run(&["publish", "one", "--compiler", "./works"]);
    assert_eq!(output.stderr, "");
    let module = place.read("packages/registry/lib.one/1.0.0/bytecode/core.axbc");
    assert_eq!(module, "{\n  \"z\": [],\n  \"a\": 1\n}");

    let without = plain.run(&["publish", "one"]);
    assert_eq!(
        without.stderr,
        "note: no compiler (--compiler or BORUNA_COMPILER): sources only, no bytecode\n"
    );
    assert_eq!(without.stdout, output.stdout, "bytecode is not hashed");
    assert_eq!(plain.listing("packages/registry/lib.one/1.0.0/bytecode"), [""; 0]);
}

#[test]
fn verify_sees_what_hashes_alone_do_not() {
    type Damage = fn(&Place);
    let cases: [(&str, Damage, &str); 6] = [
        (
            "manifest gone",
            |place| {
                fs::remove_file(place.path("packages/registry/base.a/1.0.0/package.ax.json"))
                    .unwrap();
            },
            "  FAIL: base.a@1.0.0: package base.a@1.0.0 not found in registry\n  FAIL: mid.b@1.0.0: \
             dependency base.a@1.0.0 not found in registry\nerror: 2 packages failed verification\n",
        ),
        (
            "package gone",
            |place| fs::remove_dir_all(place.path("packages/registry/base.a")).unwrap(),
            "  FAIL: mid.b@1.0.0: hash mismatch\nerror: 1 packages failed verification\n",
        ),
        (
            "source changed: the package alone is blamed",
            |place| place.write("packages/registry/base.a/1.0.0/src/core.ax", "x"),
            "  FAIL: base.a@1.0.0: hash mismatch\nerror: 1 packages failed verification\n",
        ),
        (
            "copied under another version",
            |place| {
                place.copy("packages/registry/base.a/1.0.0", "packages/registry/base.a/2.0.0");
            },
            "  FAIL: base.a@2.0.0: invalid package base.a@2.0.0: the manifest in base.a/2.0.0 is for \
             base.a@1.0.0\nerror: 1 packages failed verification\n",
        ),
        (
            "misplaced",
            |place| place.copy("packages/registry/base.a", "packages/registry/ns/inner"),
            "  FAIL: ns.inner@1.0.0: package ns.inner@1.0.0 not found in registry\nerror: 1 packages \
             failed verification\n",
        ),
        (
            "a version directory with nothing in it",
            |place| place.directory("packages/registry/base.a/9.9.9"),
            "  FAIL: base.a@9.9.9: package base.a@9.9.9 not found in registry\nerror: 1 packages \
             failed verification\n",
        ),
    ];
    for (name, damage, expected) in cases {
        let place = Place::with_two_packages();
        damage(&place);
        let output = place.run(&["verify"]);
        assert_eq!((output.stdout.as_str(), output.status), ("", 1), "{name}");
        assert_eq!(output.stderr, expected, "{name}");
    }
}

#[test]
fn foreign_things_in_a_registry_are_nobodys_package() {
    let place = Place::with_two_packages();
    place.write("packages/registry/README.md", "hello");
    place.write("packages/registry/base.a/notes.txt", "hello");
    place.write("packages/registry/.git/objects/ab/x", "hello");
    place.write("packages/registry/.old.1-0.tmp/package/package.ax.json", "half");
    place.write("packages/registry/docs/src/index.html", "hello");
    place.ok(&["verify"], "verified 2 packages:\n  base.a@1.0.0 OK\n  mid.b@1.0.0 OK\n");
}

#[test]
fn cycles_are_shown_and_end() {
    let place = Place::new();
    for (label, dependency) in [("x@1.0.0", "y@1.0.0"), ("y@1.0.0", "x@1.0.0")] {
        let (name, version) = label.split_once('@').unwrap();
        place.package(&format!("packages/registry/{name}/{version}"), label, dependency, &[]);
    }
    place.project("app", "app@1.0.0", "x@1.0.0");
    let message = "error: circular dependency detected\n";
    let path = "  x@1.0.0 -> y@1.0.0 -> x@1.0.0\n";
    place.refused(&["resolve", "app"], &format!("{message}{path}"));
    place.refused(&["--compat", "resolve", "app"], message);
    place.ok(
        &["tree", "app"],
        "app@1.0.0\n└── x@1.0.0\n    └── y@1.0.0\n        └── x@1.0.0 (cycle)\n",
    );
    place.ok(&["why", "y", "--dir", "app"], "app@1.0.0 -> x@1.0.0 -> y@1.0.0\n");
    place.refused(
        &["why", "none", "--dir", "app"],
        "error: app@1.0.0 does not bring in a package named 'none'\n",
    );
}

#[test]
fn names_never_leave_the_registry() {
    let place = Place::new();
    place.package("outside/1.0.0", "outside@1.0.0", "deep@1.0.0", &[]);
    place.project("app", "app@1.0.0", "../../outside@1.0.0");
    place.ok(&["tree", "app"], "app@1.0.0\n└── ../../outside@1.0.0\n");
    place.refused(&["resolve", "app"], "error: invalid dependency name '../../outside'\n");
    place.refused(
        &["add", "../x", "1.0.0", "--dir", "app"],
        "error: invalid dependency name '../x'\n",
    );
    place.refused(
        &["add", "app", "1.0.0", "--dir", "app"],
        "error: package app@1.0.0 cannot depend on itself\n",
    );
    place.directory("9Lives");
    place.refused(
        &["init", "9Lives"],
        "error: invalid package name '9lives': must be dotted lowercase identifiers\n",
    );
    assert_eq!(place.listing("9Lives"), [""; 0]);
    place.ok(&["init", "9Lives", "--name", "nine"], "initialized package: nine\n");
}

#[test]
fn json_on_every_command() {
    let place = Place::with_two_packages();
    place.directory("new");
    place.project("app", "app@1.0.0", "mid.b@1.0.0");
    place.package("lone", "lone@1.0.0", "", &[]);
    for (arguments, key, value) in [
        (&["init", "new"][..], "/name", "\"new\""),
        (&["add", "base.a", "1.0.0", "--dir", "new"], "/version", "\"1.0.0\""),
        (&["remove", "base.a", "--dir", "new"], "/name", "\"base.a\""),
        (&["resolve", "app"], "/packages/1/id", "\"mid.b@1.0.0\""),
        (&["install", "app"], "/packages/0/id", "\"base.a@1.0.0\""),
        (&["publish", "lone"], "/compiled", "[]"),
        (&["verify"], "/packages/0", "\"base.a@1.0.0\""),
        (&["tree", "app"], "/packages/mid.b@1.0.0/0", "\"base.a@1.0.0\""),
        (&["why", "base.a", "--dir", "app"], "/paths/0/2", "\"base.a@1.0.0\""),
    ] {
        for flags in [[&["--json"][..], arguments], [arguments, &["--json"]]] {
            // The second time some of them can only be refused, in JSON.
            let output = place.run(&flags.concat());
            let json: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
            assert_eq!(json["command"], arguments[0]);
            assert_eq!(json["ok"], output.status == 0, "{arguments:?}");
            if output.status == 0 {
                assert_eq!(json.pointer(key).map(ToString::to_string).as_deref(), Some(value));
                assert_eq!(output.stderr, "");
            } else {
                assert!(json["error"]["message"].is_string(), "{arguments:?}");
            }
        }
    }
    place.project("app", "app@1.0.0", "gone@1.0.0");
    let output = place.run(&["resolve", "app", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(json["error"]["kind"], "load");
    assert_eq!(json["error"]["package"]["id"], "gone@1.0.0");
    assert!(output.stderr.starts_with("error: failed to load gone@1.0.0"));
}

#[test]
fn usage() {
    let place = Place::new();
    for (arguments, status) in
        [(&[][..], 2), (&["--help"], 0), (&["bogus"], 2), (&["resolve", "--registry", "r"], 2)]
    {
        assert_eq!(place.run(arguments).status, status, "{arguments:?}");
    }
    let help = place.run(&["--help"]).stdout;
    let commands: Vec<_> = lines(&help)
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .filter(|word| *word != "help")
        .collect();
    let specification = include_str!("../../spec/boruna.md");
    for command in &commands {
        assert!(specification.contains(&format!("| `{command} ")), "{command} is not specified");
    }
    assert!(commands.len() >= 10, "{commands:?}");
}
