//! An index of 100,000 packages with 1,000,000 versions: how long it takes to load it, to search
//! it, and to resolve a project of 200 packages. Takes minutes and three gigabytes:
//!
//!     cargo bench -p driftpm --bench large_index

use std::fmt::Write as _;
use std::fs;
use std::process::Command;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use driftpm::drift::repository::{Index, SignRequest, sign_index};
use driftpm::keys::PrivateKey;
use epk_format::digest::Sha256;

const PACKAGES: usize = 100_000;
const VERSIONS: usize = 10;
/// The packages that the project needs, each of which needs two further down.
const NEEDED: usize = 200;

/// The index in canonical JSON, as `drift index build` writes it.
fn index(kid: &str) -> String {
    let mut text = String::from("{\"base_url\":null,\"format\":\"drift-index\",\"packages\":{");
    for package in 0..PACKAGES {
        let separator = if package == 0 { "" } else { "," };
        let name = format!("org{:03}.package{package:06}", package / 500);
        write!(
            text,
            "{separator}\"{name}\":{{\"description\":\"Package number {package}, which does what \
             its name says\",\"tags\":[\"topic{}\",\"generated\"],\"versions\":[",
            package % 97
        )
        .unwrap();
        for version in 0..VERSIONS {
            let separator = if version == 0 { "" } else { "," };
            let mut needs = String::new();
            if package < NEEDED {
                for (place, step) in [1, 7].iter().enumerate() {
                    if let Some(other) = (package + step < NEEDED).then_some(package + step) {
                        let separator = if place == 0 { "" } else { "," };
                        write!(needs, "{separator}\"org000.package{other:06}\":\"^1\"").unwrap();
                    }
                }
            }
            let hash = Sha256::of(format!("{package} {version}").as_bytes());
            write!(
                text,
                "{separator}{{\"dependencies\":{{{needs}}},\"native\":false,\"packed_url\":null,\
                 \"platform_requirements\":{{}},\"published_at\":\"2026-11-20T13:00:00+00:00\",\
                 \"sha256\":\"sha256:{hash}\",\"sig_sha256\":\"sha256:{hash}\",\"signer_kids\":\
                 [\"{kid}\"],\"size\":{},\"target\":\"any\",\"url\":\"{name}-1.{version}.0-any.dmp\",\
                 \"version\":\"1.{version}.0\",\"yanked\":false}}",
                package + version
            )
            .unwrap();
        }
        text.push_str("]}");
    }
    text.push_str("},\"version\":1}");
    text
}

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let (repo, app) = (folder.path().join("repo"), folder.path().join("app"));
    fs::create_dir_all(&repo).unwrap();
    fs::create_dir_all(&app).unwrap();
    let key = PrivateKey::from_seed(&[1; 32]);
    let text = index(&key.public().id());
    println!("index: {} MB", text.len() / 1_000_000);
    let path = repo.join("drift-index.json");
    fs::write(&path, &text).unwrap();
    let begin = Instant::now();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let request = SignRequest {
        index: path.clone(),
        keys: vec![&key],
        number: None,
        now,
        valid_for: 86_400,
        pack: true,
    };
    let stated = sign_index(&request).unwrap();
    assert_eq!((stated.packages, stated.versions), (PACKAGES, PACKAGES * VERSIONS));
    let packed = fs::metadata(repo.join("drift-index.json.zst")).unwrap().len();
    println!(
        "sign, every entry checked, and pack: {:?}, {} MB packed",
        begin.elapsed(),
        packed / 1_000_000
    );

    let begin = Instant::now();
    let index = Index::parse(text.into_bytes()).unwrap();
    println!("load, in memory: {:?}", begin.elapsed());
    assert_eq!(index.packages().len(), PACKAGES);
    drop(index);

    let needs: Vec<String> =
        (0..NEEDED).map(|at| format!("\"org000.package{at:06}\":\"^1\"")).collect();
    let project = format!(
        "{{\"format\":1,\"name\":\"app\",\"repositories\":[{{\"name\":\"r\",\"type\":\"dir\",\
         \"url\":\"file://{}\"}}],\"deps\":{{{}}}}}",
        repo.display(),
        needs.join(",")
    );
    fs::write(app.join("drift-project.json"), project).unwrap();
    let drift = |what: &str, arguments: &[&str]| {
        let begin = Instant::now();
        let output = Command::new(env!("CARGO_BIN_EXE_drift"))
            .args(arguments)
            .current_dir(&app)
            .env("HOME", folder.path())
            .output()
            .unwrap();
        let took = begin.elapsed();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        println!("{what}: {took:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    drift("resolve, index fetched packed", &["resolve", "--trust-on-first-use"]);
    let lock = fs::read_to_string(app.join("drift-project.lock.json")).unwrap();
    assert_eq!(lock.matches("\"version\": \"1.9.0\"").count(), NEEDED);
    drift("update, index there", &["update"]);
    let found = drift("search, a word of one package", &["search", "package099999"]);
    assert!(found.starts_with("org199.package099999 1.9.0"), "{found}");
    let found = drift("search, a word of a thousand packages", &["search", "topic5", "generated"]);
    assert_eq!(found.lines().count(), 20);
}
