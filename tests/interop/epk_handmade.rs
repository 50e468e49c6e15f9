//! Packages that EXOS's parser accepts although they are unusual.

use std::ops::ControlFlow;

use epk_format::digest::Sha256;
use epk_format::package::{Kind, NodeId, Scratch};
use epk_format::resolve::Resolved;
use epk_format::{Error, OpenOptions, Package, RejectCode};

/// Packages that we refuse, with our code: `spec/epk-1.0.md` §8 tells each.
const STRICTER: &[(&str, u16)] = &[
    ("inline-size-below-filesize", 107),
    ("inline-size-above-filesize", 107),
    ("blocks-filesize-zero", 107),
    ("block-none-size-mismatch", 106),
    ("flag-encrypted", 100),
    ("sig-small-order-key", 121),
    ("sig-noncanonical-key", 121),
    ("path-dot-components", 113),
    ("path-nul", 111),
    ("path-nul-first", 111),
    ("path-component-256-nested", 114),
    ("path-1024", 114),
    ("path-invalid-utf8", 110),
    ("path-duplicate", 115),
    ("path-duplicate-normalised", 112),
    ("path-file-as-parent", 116),
    ("alias-dangling", 117),
    ("alias-to-file", 117),
    ("alias-self", 117),
    ("alias-cycle", 117),
    ("alias-through-alias-target", 117),
    ("alias-with-child", 116),
    ("alias-implicit-then-alias", 116),
    ("alias-target-1024", 117),
    ("alias-target-nul", 117),
    ("alias-target-nul-first", 117),
    ("alias-target-long-component", 117),
];

#[test]
fn every_accepted_package_opens_or_is_refused_for_a_stated_reason() {
    let Some(folder) = crate::epk_vectors() else { return };
    let folder = folder.join("handmade");
    let mut wrong = Vec::new();
    let rows = crate::table(&folder.join("EXPECTED.tsv"));
    for row in &rows {
        let name = &row["name"];
        let bytes = std::fs::read(folder.join(format!("{name}.epk"))).expect("an image");
        let result = Package::open(bytes, &OpenOptions::default());
        let found = result.as_ref().err().and_then(Error::code).map_or(0, RejectCode::number);
        let expected = STRICTER.iter().find(|(n, _)| n == name).map_or(0, |(_, code)| *code);
        if found != expected {
            wrong.push(format!("(\"{name}\", {found}), // {:?}", result.err()));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}

/// Probes that Linux answers differently, `spec/epk-1.0.md` §8: a file may not be walked
/// through (`f/.`), names above 255 bytes lead nowhere, and zlib windows above 32 KiB
/// (RFC 1950 forbids them) don't inflate.
const OTHER_ANSWER: &[(&str, &str)] = &[
    ("lookup", "/data/f/"),
    ("lookup", "/data/f/."),
    ("lookup", "/data/f/../f"),
    ("zlib-window-64k-header", "/f"),
];

#[test]
fn every_probe_of_an_opened_package_gets_exos_answer() {
    let Some(folder) = crate::epk_vectors() else { return };
    let folder = folder.join("handmade");
    let mut wrong = Vec::new();
    let mut probes = 0;
    for row in crate::table(&folder.join("EXPECTED.tsv")) {
        let name = &row["name"];
        let Ok(text) = std::fs::read_to_string(folder.join(format!("{name}.probes.tsv"))) else {
            continue;
        };
        let bytes = std::fs::read(folder.join(format!("{name}.epk"))).expect("an image");
        let Ok(package) = Package::open(bytes, &OpenOptions::default()) else { continue };
        let lines: Vec<&str> = text.lines().collect();
        for (at, line) in lines.iter().enumerate().filter(|(_, line)| line.starts_with("--")) {
            let words: Vec<&str> = line.split('\t').collect();
            let block: Vec<Vec<&str>> = lines[at + 1..]
                .iter()
                .take_while(|line| line.starts_with("    "))
                .map(|line| line.trim_start().split('\t').collect())
                .collect();
            let (found, expected) = match words[0] {
                "--cat" => (cat(&package, words[1]), words[3..].join(" ")),
                "--stat" => (stat(&package, words[1]), expected_nodes(&block)),
                "--ls" => (list(&package, words[1]), expected_nodes(&block)),
                // Driver calls of EXOS's kernel; the mount tests cover what Linux has of them.
                _ => continue,
            };
            probes += 1;
            let long = words[1].split('/').any(|component| component.len() > 255);
            let other = OTHER_ANSWER.contains(&(name.as_str(), words[1])) || long;
            if (found != expected) != other {
                wrong
                    .push(format!("{name} {}: {found}, expected {expected}", words[..2].join(" ")));
            }
        }
    }
    assert!(probes > 40, "only {probes} probes");
    assert!(wrong.is_empty(), "{} of {probes}:\n{}", wrong.len(), wrong.join("\n"));
}

fn find(package: &Package<Vec<u8>>, path: &str, follow: bool) -> Option<NodeId> {
    match package.resolve(path.as_bytes(), follow).expect("in memory") {
        Resolved::Found(id) => Some(id),
        _ => None,
    }
}

/// As the probe program prints a whole read.
fn cat(package: &Package<Vec<u8>>, path: &str) -> String {
    let Some(id) = find(package, path, true) else { return "open NULL bytes=0 ".into() };
    let node = package.node(id).expect("a node");
    let mut content = Vec::new();
    let result: Result<(), Error> =
        package.read(id, 0..u64::MAX, &mut Scratch::default(), |bytes| {
            content.extend_from_slice(bytes);
            Ok(())
        });
    let size = node.size;
    if result.is_err() || node.kind != Kind::File {
        return format!("status=4294967295 got={} size={size} bytes=0 ", content.len());
    }
    let shown = if content.len() <= 32 {
        content.iter().map(|byte| format!("{byte:02x}")).collect()
    } else {
        format!("sha256={}", Sha256::of(&content))
    };
    format!("status=0 got={0} size={size} bytes={0} {shown}", content.len())
}

/// Name, kind, whether executable, size. Aliases look like folders to EXOS; an alias opened by
/// itself has no attributes worth comparing.
fn node(package: &Package<Vec<u8>>, name: &str, id: NodeId) -> String {
    let node = package.node(id).expect("a node");
    match node.kind {
        Kind::File => {
            format!("{name} file x={} size={}", u8::from(node.mode & 0o111 != 0), node.size)
        }
        Kind::Folder | Kind::Link => format!("{name} dir"),
    }
}

fn stat(package: &Package<Vec<u8>>, path: &str) -> String {
    let Some(id) = find(package, path, false) else { return "open NULL".into() };
    let full = package.path(id).expect("a node");
    let last = full.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    let name = if id == NodeId::ROOT { "/".into() } else { epk_format::path::display(last) };
    node(package, &name, id)
}

/// The children of a folder whose names match the last component. The manifest, which only we
/// show at the root, is left out.
fn list(package: &Package<Vec<u8>>, path: &str) -> String {
    let (folder, pattern) = path.rsplit_once('/').unwrap_or(("", path));
    let literal = !folder.contains(['*', '?']);
    let Some(folder) = find(package, folder, true).filter(|_| literal) else {
        return "open NULL".into();
    };
    let mut lines = Vec::new();
    package
        .read_folder(folder, 0, |child| {
            let name = epk_format::path::display(child.name);
            let hidden = folder == NodeId::ROOT && name == "manifest.toml";
            if !hidden && matches(pattern.as_bytes(), child.name) {
                lines.push(node(package, &name, child.id));
            }
            ControlFlow::Continue(())
        })
        .expect("in memory");
    if lines.is_empty() { "open NULL".into() } else { lines.join("; ") }
}

fn matches(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => {
            matches(rest, name) || name.split_first().is_some_and(|(_, n)| matches(pattern, n))
        }
        (Some((b'?', rest)), Some((_, name))) => matches(rest, name),
        (Some((a, rest)), Some((b, name))) => a == b && matches(rest, name),
        _ => false,
    }
}

fn expected_nodes(block: &[Vec<&str>]) -> String {
    let mut lines: Vec<String> = block
        .iter()
        .filter(|words| words[0] != "end")
        .map(|words| match words[1] {
            "file" => {
                let attributes = u32::from_str_radix(words[2].trim_start_matches("attr=0x"), 16);
                let executable = attributes.expect("a number") & 0x10 != 0;
                format!("{} file x={} {}", words[0], u8::from(executable), words[3])
            }
            _ => words[..2].join(" "),
        })
        .collect();
    // EXOS lists in the order of the table of contents, Linux promises none.
    lines.sort();
    lines.join("; ")
}
