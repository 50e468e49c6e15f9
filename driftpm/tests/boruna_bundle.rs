//! `boruna-pkg bundle`: a closure as an image, and the image's tree as a registry.

mod boruna;

use std::fs;
use std::path::Path;

use boruna::Place;
use epk_format::package::{Kind, NodeId, Scratch};
use epk_format::{OpenOptions, Package};

/// Unpacks an image, verifying every byte.
fn unpack(image: &Path, to: &Path) {
    fn folder(package: &Package<Vec<u8>>, node: NodeId, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for (name, child, kind) in package.children(node).unwrap() {
            let path = to.join(String::from_utf8(name).unwrap());
            match kind {
                Kind::Folder => folder(package, child, &path),
                _ => fs::write(path, content(package, child)).unwrap(),
            }
        }
    }

    fn content(package: &Package<Vec<u8>>, node: NodeId) -> Vec<u8> {
        let mut bytes = Vec::new();
        let size = package.node(node).unwrap().size;
        let mut scratch = Scratch::default();
        package
            .read::<epk_format::Error>(node, 0..size, &mut scratch, |piece| {
                bytes.extend_from_slice(piece);
                Ok(())
            })
            .unwrap();
        bytes
    }

    let package = Package::open(fs::read(image).unwrap(), &OpenOptions::default()).unwrap();
    package.parse_manifest().unwrap();
    folder(&package, NodeId::ROOT, to);
}

/// A project above two of three published packages.
fn project() -> Place {
    let place = Place::with_two_packages();
    place.package("sources/other", "other@1.0.0", "", &[]);
    place.run(&["publish", "sources/other"]).succeeds();
    // Bytecode, an empty folder and a file that is no source travel too.
    place.script("compiler", r#"printf 'LLMB\001\000\002\000\000\000{}' > "$4""#);
    place.package("sources/top", "top@1.0.0", "mid.b@1.0.0", &[]);
    place.write("sources/top/src/data/.table", "\u{0}\u{1}");
    place.directory("sources/top/src/empty");
    place.run(&["publish", "sources/top", "--compiler", "./compiler"]).succeeds();
    place.project("app", "app@1.0.0", "top@1.0.0");
    place.run(&["resolve", "app"]).succeeds();
    place
}

#[test]
fn the_images_tree_is_a_registry() {
    let place = project();
    let output = place.run(&["bundle", "app", "-o", "app.epk"]).succeeds();
    assert!(output.starts_with("bundled 3 packages\n  package hash: sha256:"), "{output}");
    unpack(&place.path("app.epk"), &place.path("unpacked"));
    // The image's own manifest shows as a file; like the lockfile it is nobody's package.
    let names = ["ax.lock.json", "base.a", "manifest.toml", "mid.b", "top"];
    assert_eq!(place.listing("unpacked"), names);
    assert_eq!(place.read("unpacked/ax.lock.json"), place.read("app/ax.lock.json"));
    for path in ["HASH", "package.ax.json", "bytecode/core.axbc", "src/core.ax", "src/data/.table"]
    {
        let path = format!("top/1.0.0/{path}");
        let original = place.read(&format!("packages/registry/{path}"));
        assert_eq!(place.read(&format!("unpacked/{path}")), original, "{path}");
    }
    assert!(place.path("unpacked/top/1.0.0/src/empty").is_dir());
    assert_eq!(place.listing("unpacked/base.a/1.0.0/bytecode"), [""; 0]);

    fs::rename(place.path("packages"), place.path("away")).unwrap();
    let ids = "  base.a@1.0.0 OK\n  mid.b@1.0.0 OK\n  top@1.0.0 OK\n";
    place.ok(&["--registry", "unpacked", "verify"], &format!("verified 3 packages:\n{ids}"));
    place.ok(&["--registry", "unpacked", "install", "app", "--locked"], "installed 3 packages\n");
    place.ok(
        &["--registry", "unpacked", "verify", "--project", "app"],
        &format!("verified 3 packages:\n{ids}"),
    );
}

#[test]
fn the_same_closure_gives_the_same_bytes() {
    let (one, two) = (project(), project());
    for place in [&one, &two] {
        place.run(&["bundle", "app", "-o", "app.epk"]).succeeds();
    }
    assert_eq!(fs::read(one.path("app.epk")).unwrap(), fs::read(two.path("app.epk")).unwrap());
    // An image in the way is replaced, and from a bundle comes the same bundle.
    unpack(&one.path("app.epk"), &one.path("unpacked"));
    one.run(&["--registry", "unpacked", "bundle", "app", "-o", "app.epk"]).succeeds();
    assert_eq!(fs::read(one.path("app.epk")).unwrap(), fs::read(two.path("app.epk")).unwrap());
}

#[test]
fn what_is_not_bundled() {
    type Damage = fn(&Place);
    let cases: [(&str, Damage, &str); 6] = [
        (
            "no lockfile",
            |place| fs::remove_file(place.path("app/ax.lock.json")).unwrap(),
            "error: lockfile ax.lock.json not found",
        ),
        (
            "a stale lockfile",
            |place| place.project("app", "app@1.0.0", "mid.b@1.0.0"),
            "error: lockfile ax.lock.json does not match what the dependencies resolve to\n  \
             removed: top@1.0.0\n",
        ),
        (
            "a changed source",
            |place| place.write("packages/registry/base.a/1.0.0/src/core.ax", "x"),
            "error: lockfile ax.lock.json does not match",
        ),
        (
            "a missing HASH",
            |place| fs::remove_file(place.path("packages/registry/base.a/1.0.0/HASH")).unwrap(),
            "  FAIL: base.a@1.0.0: HASH file not found\n",
        ),
        (
            "a policy",
            |place| {
                place.write("app/policy.ax.json", r#"{"denied_capabilities":["net"]}"#);
                let manifest = place.read("app/package.ax.json");
                place.write(
                    "app/package.ax.json",
                    &manifest.replace(
                        "\"required_capabilities\":[]",
                        "\"required_capabilities\":[\"net\"]",
                    ),
                );
            },
            "error: capability policy violation",
        ),
        (
            "a file that is no image in the way",
            |place| place.write("app.epk", "my thesis"),
            "error: app.epk is there already and is no image; it is not replaced\n",
        ),
    ];
    for (name, damage, message) in cases {
        let place = project();
        damage(&place);
        let before = place.listing("");
        let stderr = place.run(&["bundle", "app", "-o", "app.epk"]).fails();
        assert!(stderr.starts_with(message), "{name}: {stderr}");
        assert_eq!(place.listing(""), before, "{name}: nothing is left behind");
    }
}
