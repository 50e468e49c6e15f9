//! Packages that EXOS's packer made: each opens, and holds what the packer was given.

use epk_format::digest::{Hasher, Sha256};
use epk_format::manifest::Manifest;
use epk_format::package::{Kind, Scratch};
use epk_format::resolve::Resolved;
use epk_format::time::{PackedTime, Timestamp};
use epk_format::{Error, OpenOptions, Package};
use serde_json::Value;

#[test]
fn every_package_opens_and_has_the_described_content() {
    let Some(folder) = crate::epk_vectors() else { return };
    let folder = folder.join("valid");
    let mut count = 0;
    for file in std::fs::read_dir(&folder).expect("a folder") {
        let path = file.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "json") {
            count += 1;
            let name = path.display().to_string();
            let json: Value =
                serde_json::from_slice(&std::fs::read(&path).expect("a file")).expect("JSON");
            let image = std::fs::read(path.with_extension("epk")).expect("an image");
            let package = Package::open(image, &OpenOptions::default());
            compare(&name, &package.unwrap_or_else(|error| panic!("{name}: {error}")), &json);
        }
    }
    assert!(count >= 19, "only {count} packages");
}

fn compare(name: &str, package: &Package<Vec<u8>>, json: &Value) {
    assert_eq!(package.package_hash().to_hex(), json["package_hash"], "{name}");
    let manifest = Manifest::parse(package.manifest());
    let status = json["kernel_manifest"]["status"].as_str().expect("a status");
    let expected = status.split('\t').nth(1).expect("a name");
    let found = manifest.as_ref().err().map_or("ok", |error| error.status.name());
    assert_eq!(found, expected, "{name}");

    let mut scratch = Scratch::default();
    for entry in json["entries"].as_array().expect("entries") {
        let path = entry["path"].as_str().expect("a path");
        let at = format!("{name}: {path}");
        let Ok(Resolved::Found(id)) = package.resolve(path.as_bytes(), false) else {
            panic!("{at} is missing");
        };
        let node = package.node(id).expect("a node");
        match entry["type"].as_str() {
            Some("file") => {
                let mode = entry["permissions"].as_str().expect("text");
                let mode = u32::from_str_radix(mode.trim_start_matches("0o"), 8);
                assert_eq!((node.kind, Ok(node.mode)), (Kind::File, mode), "{at}");
                assert_eq!(Some(node.size), entry["size"].as_u64(), "{at}");
                assert_eq!(node.modified, expected_time(entry), "{at}");
                let mut hasher = Hasher::new();
                let read: Result<(), Error> =
                    package.read(id, 0..node.size, &mut scratch, |bytes| {
                        hasher.update(bytes);
                        Ok(())
                    });
                read.unwrap_or_else(|error| panic!("{at}: {error}"));
                let content = hasher.finish();
                if node.size > 0 {
                    assert_eq!(content.to_hex(), entry["sha256"], "{at}");
                    assert_eq!(package.file_hash(id).expect("a node"), Some(content), "{at}");
                } else {
                    assert_eq!(content, Sha256::of(b""), "{at}");
                }
            }
            Some("folder") => assert_eq!(node.kind, Kind::Folder, "{at}"),
            other => panic!("{at}: type {other:?}"),
        }
    }
}

fn expected_time(entry: &Value) -> Timestamp {
    let fields: Vec<u64> = entry["modified"]
        .as_array()
        .expect("fields")
        .iter()
        .map(|field| field.as_u64().expect("a number"))
        .collect();
    let shifts = [0, 26, 30, 36, 42, 48, 54];
    let packed = fields.iter().zip(shifts).map(|(field, shift)| field << shift).sum();
    PackedTime(packed).to_timestamp().unwrap_or_default()
}
