//! A publisher with a repository, and somebody who fetches from it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{MANIFEST, Place, Ran, noise};

/// `pkgtool` as somebody whose folders lie below `home`.
pub fn command(place: &Place, home: &str, arguments: &[&str]) -> Command {
    let mut command = place.command();
    command.args(arguments);
    for (variable, folder) in [
        ("XDG_DATA_HOME", "data"),
        ("XDG_CACHE_HOME", "cache"),
        ("XDG_CONFIG_HOME", "config"),
        ("XDG_STATE_HOME", "state"),
        ("DOCKER_CONFIG", "docker"),
    ] {
        command.env(variable, place.path(home).join(folder));
    }
    for variable in ["http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env_remove(variable);
    }
    command.env_remove("XDG_RUNTIME_DIR");
    command
}

pub fn pkgtool(place: &Place, arguments: &[&str]) -> Ran {
    Ran::new(&command(place, "home", arguments).output().expect("ran"))
}

/// Packs a version whose library is `library`, as `VERSION.epk`.
pub fn pack(place: &Place, version: &str, library: &[u8]) -> String {
    let manifest = MANIFEST.replace("1.2.3", version);
    let manifest = format!("{manifest}description = \"An <b>example</b>\"\n");
    place.file("app/manifest.toml", manifest.as_bytes(), 0o644);
    place.file("app/lib/large", library, 0o644);
    let file = format!("{version}.epk");
    place.run(&["pack", "app", "-o", &file]).ok();
    file
}

/// A key, a repository `repo` with version 1, and the key's id.
pub fn published() -> (Place, String) {
    let place = Place::app();
    let key = place.run(&["keygen", "--json", "repo.key"]).ok().json();
    pkgtool(&place, &["repo", "init", "repo", "--title", "Things"]).ok();
    let file = pack(&place, "1", &noise(300_000));
    pkgtool(&place, &["repo", "add", "repo", &file, "--sign", "repo.key"]).ok();
    (place, key["key_id"].as_str().expect("text").to_owned())
}

pub fn add_source(place: &Place, url: &str, key: &str) {
    pkgtool(place, &["source", "add", "things", url, "--key", key]).ok();
}

pub fn installed(place: &Place, version: &str) -> PathBuf {
    place.path(&format!("home/data/epk/packages/org.example.app@{version}.epk"))
}

pub fn same(left: &Path, right: &Path) -> bool {
    fs::read(left).expect("there") == fs::read(right).expect("there")
}

pub fn forget(place: &Place) {
    fs::remove_dir_all(place.path("home")).expect("removed");
}
