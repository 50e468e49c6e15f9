//! Writes the corpus that fuzzing starts from: `seeds FOLDER`, one folder in it for each target.

use std::fs;
use std::path::Path;

use driftpm::drift::container_write::{Module, Package, write_package};
use driftpm::drift::identity::Identity;
use driftpm::drift::sidecar::Draft;
use driftpm::json::Value;
use driftpm::keys::PrivateKey;
use driftpm::trust::TrustFile;
use epk_format::digest::Sha256;

fn main() -> std::io::Result<()> {
    let folder = std::env::args().nth(1).unwrap_or_else(|| "corpus".to_owned());
    let key = PrivateKey::from_seed(&[1; 32]);
    let package = write_package(&Package {
        identity: Identity {
            package_id: "acme.http".into(),
            version: "1.4.0".into(),
            target: "any".into(),
        },
        build_epoch: None,
        modules: vec![Module {
            id: "acme.http".into(),
            exports: Value::Null,
            interface: b"{}".to_vec(),
            payload: b"{\"a\":1}".to_vec(),
        }],
    })
    .map_err(std::io::Error::other)?;
    let mut sidecar = Draft::new(&Sha256::of(&package));
    sidecar.sign(&key, &package, true);
    let mut trust = TrustFile::empty();
    trust.add_key("acme.*", &key.public().to_base64(), None).map_err(std::io::Error::other)?;
    trust.revoke("k", "2026-11-20T13:00:00+00:00", None);
    let index = br#"{"format":"drift-index","version":0,"packages":{"p":{"package_version":"1",
        "target":"any","sha256":"sha256:00","filename":"p.dmp","signers":["k"],"unsigned":false}}}"#;
    let sources = br#"{"format":"drift-sources","version":0,"sources":[{"kind":"dir","id":"main",
        "priority":1,"path":"repo"}]}"#;
    let lock =
        br#"{"format":"drift-lock","version":0,"packages":{"p":{"version":"1","target":"any",
        "observed_identity":{"package_id":"p","version":"1","target":"any"},"path":"p.dmp",
        "pkg_sha256":"sha256:00","sig_sha256":null,"sig_kids":["k"],"modules":["p"],
        "source_id":"main","x":{}}},"x":{"a":1.5}}"#;
    let project =
        br#"{"format":1,"name":"demo","repositories":[{"name":"main","type":"dir","url":"repo"}],
        "deps":{"http":{"package":"acme.http","constraint":"^1","repository":"main"}}}"#;
    let built = br#"{"format":1,"name":"app","kind":"package","version":"1.0.0","modules":
        {"a":"a.drift"},"platform":{"os":["linux"],"libc":{"name":"glibc","min_version":"2.3"}},
        "native":[{"name":"z","tool":"gcc","sources":["z.c"],"defines":{"A":"1"}}]}"#;
    let project_lock =
        br#"{"lock_format":1,"lock_rev":1,"generated_at":"now","project":"demo","order":"newest",
        "platform":{"os":"linux","arch":"x86_64","abi":"gnu"},"requests":{},"packages":{"p":
        {"version":"1.0.0","target":"any","repository":"main","path":"p.dmp","sha256":
        "sha256:0000000000000000000000000000000000000000000000000000000000000000"}}}"#;
    let epk_index = br#"{"format":"epk-index","packages":{"n":{"1":{"arch":"x86-64","commands":[
        "tool"],"file":"packages/n@1.epk","format":"2.0","head_size":4096,"kernel_api":"1.0","key_ids":[],
        "package_hash":"0000000000000000000000000000000000000000000000000000000000000000","published":1,
        "sha256":"0000000000000000000000000000000000000000000000000000000000000000","size":9}}},
        "title":"t","version":1}"#;
    let manifest = br#"{"name":"lib.a","version":"1.0.0","description":"d","dependencies":{"lib.b":
        "1.0.0"},"required_capabilities":["net.fetch"],"exposed_modules":["core"],"policy":{"denied":
        ["random"]}}"#;
    let patches = br#"{"version":1,"metadata":{"id":"i","author":"a"},"patches":[{"file":
        "package.ax.json","hunks":[{"start_line":1,"old_text":"a","new_text":"b"}]}]}"#;
    let lockfile = br#"{"lockfile_version":1,"resolved":{"lib.b@1.0.0":{"integrity":"sha256:00",
        "dependencies":{}}}}"#;
    for (target, name, bytes) in [
        ("epk_index", "index", epk_index.as_slice()),
        ("boruna_manifest", "manifest", manifest),
        ("boruna_manifest", "policy", br#"{"allowed_capabilities":["net.fetch"]}"#),
        ("boruna_manifest", "patches", patches),
        ("boruna_lockfile", "lockfile", lockfile),
        ("drift_container", "package", &package),
        ("drift_sidecar", "sidecar", &sidecar.to_bytes()),
        ("drift_trust", "trust", &trust.to_bytes()),
        ("drift_index", "index", index),
        ("drift_index", "sources", sources),
        ("drift_lock", "lock", lock),
        ("drift_lock", "project", project),
        ("drift_lock", "target", built),
        ("drift_lock", "project-lock", project_lock),
        ("drift_sidecar", "key", key.to_file_text().as_bytes()),
    ] {
        let folder = Path::new(&folder).join(target);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(name), bytes)?;
    }
    Ok(())
}
