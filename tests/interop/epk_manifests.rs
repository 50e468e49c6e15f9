//! Manifest texts with the status that EXOS gives them.

use epk_format::manifest::{ApiVersion, Host, Manifest, ManifestStatus};

/// Texts that a TOML parser reads differently than EXOS's line reader, with the status here:
/// `spec/manifest.md` §5 tells each.
const DIFFERENT: &[(&str, &str)] = &[
    ("duplicate-key-first-wins", "invalid_toml -"),
    ("unquoted", "invalid_toml -"),
    ("single-quoted-entry", "ok ok"),
    ("unterminated-quote", "invalid_toml -"),
    ("text-after-quote", "invalid_toml -"),
    ("equals-missing", "invalid_toml -"),
    ("line-over-255", "invalid_toml -"),
    ("array-of-tables", "invalid_command_map -"),
    ("bad-section", "invalid_toml -"),
    ("requires-table", "forbidden_dependency_graph -"),
    ("cmd-dot-name", "invalid_command_map -"),
    ("api-0.4294967296", "ok incompatible_kernel_api"),
    ("api-0.4294967369", "ok incompatible_kernel_api"),
];

/// Texts of the same status in which a value reads differently: escapes are TOML's, and long
/// values aren't cut.
const OTHER_VALUE: &[(&str, &str)] = &[
    ("escaped-quote", "name"),
    ("long-kernel-api", "kernel_api"),
    ("arch-15", "arch"),
    ("entry-backslash", "entry"),
];

#[test]
fn every_manifest_gets_its_status() {
    let Some(folder) = crate::epk_vectors() else { return };
    let folder = folder.join("manifests");
    let host = Host { arches: &["x86-64"], kernel_api: ApiVersion { major: 0, minor: 73 } };
    let mut wrong = Vec::new();
    let rows = crate::table(&folder.join("EXPECTED.tsv"));
    for row in &rows {
        let name = &row["name"];
        let text = std::fs::read(folder.join(format!("{name}.toml"))).expect("a text");
        let parsed = Manifest::parse(&text);
        let status = parsed.as_ref().err().map_or(ManifestStatus::Ok, |error| error.status);
        let compatible = parsed.as_ref().ok().map(|manifest| {
            manifest.check_compatibility(&host).err().map_or(ManifestStatus::Ok, |e| e.status)
        });
        let found = format!("{} {}", status.name(), compatible.map_or("-", ManifestStatus::name));
        let mut expected = format!("{} {}", row["status_name"], row["compat_name"]);
        if let Some((_, ours)) = DIFFERENT.iter().find(|(different, _)| different == name) {
            assert_ne!(*ours, expected, "{name} is no different");
            expected = (*ours).to_owned();
        } else if let Ok(manifest) = &parsed {
            let fields: std::collections::BTreeMap<String, serde_json::Value> =
                serde_json::from_str(&row["fields_json"]).expect("JSON");
            for (key, ours) in [
                ("name", &manifest.name),
                ("version", &manifest.version),
                ("arch", &manifest.arch),
                ("kernel_api", &manifest.kernel_api),
                ("entry", &manifest.entry),
            ] {
                let differs = OTHER_VALUE.contains(&(name.as_str(), key));
                if !differs && fields.get(key).and_then(|value| value.as_str()) != Some(ours) {
                    wrong
                        .push(format!("{name}: {key} is {ours:?}, expected {:?}", fields.get(key)));
                }
            }
        }
        if found != expected {
            let error = parsed.err().map(|error| error.to_string());
            wrong.push(format!("{name}: {found}, expected {expected} {error:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}
