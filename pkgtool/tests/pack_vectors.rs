//! The folders that EXOS's own packer packed, packed by ours: the same entries and blocks. Needs
//! `EPK_VECTORS`, the folder of the shared vectors, and tar.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use epk_format::digest::Sha256;
use serde_json::{Value, json};
use support::Ran;

#[test]
fn exos_folders_make_exos_packages() {
    let Some(folder) = std::env::var_os("EPK_VECTORS").map(|root| PathBuf::from(root).join("epk"))
    else {
        eprintln!("skipped: EPK_VECTORS is not set");
        return;
    };
    let mut seen = 0;
    for file in fs::read_dir(folder.join("valid")).expect("EPK_VECTORS has epk/valid/") {
        let path = file.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "cmd") {
            repack(&path);
            seen += 1;
        }
    }
    assert!(seen > 10, "only {seen} packages");
}

fn repack(command: &Path) {
    let name = command.display().to_string();
    let valid = command.parent().expect("a folder");
    let place = tempfile::tempdir().expect("a folder");
    let mut source = command.with_extension("src");
    let tar = command.with_extension("tar");
    // Only an archive has the permissions of the day.
    let archived = tar.exists();
    if archived {
        let mut unpack = Command::new("tar");
        unpack.arg("xpf").arg(&tar).current_dir(place.path());
        assert!(unpack.status().expect("tar").success());
        source = place.path().join(source.file_name().expect("a name"));
    }
    let output = place.path().join("out.epk");
    let text = fs::read_to_string(command).expect("readable");
    let words = text.lines().find(|line| line.starts_with("epk-pack")).expect("a command");
    let option = |wanted: &str| {
        let mut words = words.split_whitespace().skip_while(|&word| word != wanted).skip(1);
        words.next()
    };
    let mut pack = Command::new(env!("CARGO_BIN_EXE_pkgtool"));
    pack.args(["pack", "--format", "1"]).arg(&source).arg("-o").arg(&output);
    pack.args(["--mtime", "zero", "--mode-bits", "drop"]);
    pack.args(["--compression", option("--compression").unwrap_or("zlib")]);
    pack.args(["--level", option("--compression-level").unwrap_or("9")]);
    pack.args(["--chunk-size", option("--chunk-size").unwrap_or("65536")]);
    if let Some(manifest) = option("--manifest") {
        pack.arg("--manifest").arg(valid.join(manifest));
    }
    Ran::new(&pack.output().expect("ran")).ok();

    let text = fs::read_to_string(command.with_extension("json")).expect("readable");
    let expected: Value = serde_json::from_str(&text).expect("JSON");
    let image = fs::read(&output).expect("a package");
    let (entries, blocks) = decode(&image);
    let theirs = expected["entries"].as_array().expect("a list");
    assert_eq!(entries.len(), theirs.len(), "{name}");
    for (ours, theirs) in entries.iter().zip(theirs) {
        for key in ["path", "type", "flags", "size", "block_start", "block_count", "sha256"] {
            assert_eq!(ours[key], theirs[key], "{name}: {key} of {}", theirs["path"]);
        }
        if archived || theirs["type"] == "folder" {
            let key = "permissions";
            assert_eq!(ours[key], theirs[key], "{name}: {key} of {}", theirs["path"]);
        }
    }
    let theirs = expected["blocks"].as_array().expect("a list");
    assert_eq!(blocks.len(), theirs.len(), "{name}");
    for (ours, theirs) in blocks.iter().zip(theirs) {
        assert_eq!((&ours[0], &ours[1]), (&theirs[2], &theirs[4]), "{name}");
    }
}

/// Entries and blocks by the contract's offsets, in the words of the vectors' JSON.
fn decode(image: &[u8]) -> (Vec<Value>, Vec<Value>) {
    let u32_at = |at: usize| u32::from_le_bytes(image[at..at + 4].try_into().expect("4 bytes"));
    let u64_at = |at: usize| u64::from_le_bytes(image[at..at + 8].try_into().expect("8 bytes"));
    let hex = |at: usize| -> String {
        image[at..at + 32].iter().map(|byte| format!("{byte:02x}")).collect()
    };
    let toc = u64_at(16) as usize;
    let mut at = toc + 8;
    let mut entries = Vec::new();
    for _ in 0..u32_at(toc) {
        let length = u32_at(at + 12) as usize;
        // The JSON has the hash of the content, where an empty file's entry has zeros.
        let hash = match (u64_at(at + 32), hex(at + 60)) {
            (0, zeros) => {
                assert_eq!(zeros, "0".repeat(64));
                Sha256::of(b"").to_hex()
            }
            (_, hash) => hash,
        };
        let kind = ["file", "folder", "alias"][u32_at(at + 4) as usize - 1];
        assert_eq!(u64_at(at + 24), 0, "no time");
        entries.push(json!({
            "path": std::str::from_utf8(&image[at + 96..at + 96 + length]).expect("text"),
            "type": kind,
            "flags": u32_at(at + 8),
            "permissions": format!("0o{:o}", u32_at(at + 20)),
            "size": u64_at(at + 32),
            "block_start": u32_at(at + 52),
            "block_count": u32_at(at + 56),
            "sha256": if kind == "file" { json!(hash) } else { Value::Null },
        }));
        at += u32_at(at) as usize;
    }
    let table = u64_at(32) as usize;
    let rows = (0..u64_at(40) as usize / 52).map(|row| table + row * 52);
    let blocks = rows.map(|row| json!([u32_at(row + 12), hex(row + 20)])).collect();
    (entries, blocks)
}
