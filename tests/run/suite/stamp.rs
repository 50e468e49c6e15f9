//! A package of format 1.0 is hashed as a whole once. The image here has a byte after its last
//! section, which only PackageHash covers: when that byte is wrong, a refusal tells who hashed.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use epk_format::digest::Sha256;
use epk_format::package::Stamp;
use epk_format::signature::Policy;
use epk_format::write::Format;
use epk_format::{OpenOptions, Package, RejectCode};
use epk_tests::app::{App, Stage};
use epk_tests::tool::{Outcome, pkgtool};
use epk_tests::tree::Recipe;
use epk_tests::wait;
use epkfs::stamp;
use serde_json::{Value, json};

const HASHED: &str = "EPK_VALIDATION_HASH_MISMATCH (11)";

/// A good package with a byte after its last section, and a folder for stamps.
fn stage() -> (Stage, PathBuf) {
    let app = App::script("echo ran").with_file("data", "x".repeat(100_000));
    let recipe = Recipe { manifest: app.manifest(), format: Format::V1, ..Recipe::default() };
    let mut image = app.tree.image(&recipe);
    image.push(b'x');
    image[80..112].fill(0);
    let hash = Sha256::of(&image);
    image[80..112].copy_from_slice(&hash.0);
    let stage = Stage::of_image(&image);
    let cache = stage.folder().join("own-cache");
    fs::create_dir(&cache).expect("a folder");
    (stage, cache)
}

/// What the whole image vouches for.
fn vouched(image: &Path) -> Stamp {
    let package = Package::open(fs::read(image).expect("there"), &OpenOptions::default());
    package.expect("good").stamp().expect("it was hashed")
}

/// Makes the byte after the last section another one.
fn damage(image: &Path) {
    let file = File::options().write(true).open(image).expect("ours");
    let size = file.metadata().expect("there").size();
    file.write_all_at(b"y", size - 1).expect("writable");
}

fn stamp_of(image: &Path, cache: &Path) -> PathBuf {
    let found = fs::metadata(image).expect("there");
    cache.join(format!("epk/verified/{:x}-{:x}", found.dev(), found.ino()))
}

/// Says in `cache` that the image, as it is now, is what was vouched for.
fn forge(image: &Path, cache: &Path, stamp: &Stamp) -> Value {
    let found = fs::metadata(image).expect("there");
    let record = json!({
        "schema": "epk.verified/1",
        "device": found.dev(),
        "inode": found.ino(),
        "size": found.size(),
        "modified": [found.mtime(), found.mtime_nsec()],
        "changed": [found.ctime(), found.ctime_nsec()],
        "package_hash": stamp.package_hash.to_hex(),
        "held_hash": stamp.held_hash.to_hex(),
    });
    let path = stamp_of(image, cache);
    fs::create_dir_all(path.parent().expect("a folder")).expect("ours");
    fs::write(&path, record.to_string()).expect("ours");
    // Whatever the umask is.
    let modes = [(cache, 0o755), (&cache.join("epk"), 0o755), (&path, 0o644)];
    modes.iter().for_each(|(path, mode)| set_mode(path, *mode));
    set_mode(path.parent().expect("a folder"), 0o755);
    record
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("ours");
}

fn later() -> SystemTime {
    SystemTime::now() + Duration::from_secs(60)
}

/// Opens the image under this cache, `true` without hashing all of it.
fn opens(image: &Path, cache: &Path) -> bool {
    let file = File::open(image).expect("there");
    match stamp::open(file, &OpenOptions::default(), cache, SystemTime::UNIX_EPOCH) {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error.code(), Some(RejectCode::HashMismatch), "{error}");
            false
        }
    }
}

#[test]
fn a_stamp_is_left_and_used_as_long_as_the_image_stays() {
    let (stage, cache) = stage();
    let image = stage.image();
    let open =
        |now| stamp::open(File::open(&image).expect("there"), &OpenOptions::default(), &cache, now);
    let path = stamp_of(&image, &cache);
    // It has changed a moment ago, and might change again within it.
    let _ = open(SystemTime::now()).expect("good");
    assert!(!path.exists());
    let _ = open(later()).expect("good");
    let record: Value = serde_json::from_slice(&fs::read(&path).expect("left")).expect("JSON");
    assert_eq!(record["package_hash"], vouched(&image).package_hash.to_hex());
    let modes = [&cache.join("epk"), &cache.join("epk/verified"), &path]
        .map(|path| fs::metadata(path).expect("there").mode() & 0o777);
    assert_eq!(modes, [0o700, 0o700, 0o600]);
    assert_eq!(fs::read_dir(path.parent().expect("a folder")).expect("ours").count(), 1);
    // Used, so not written again.
    let inode = |path: &Path| fs::metadata(path).expect("there").ino();
    let before = inode(&path);
    let _ = open(later()).expect("good");
    assert_eq!(inode(&path), before);
    damage(&image);
    assert!(!opens(&image, &cache), "a changed image was not hashed");
}

#[test]
fn only_a_place_that_nobody_else_can_write_is_trusted() {
    let (stage, cache) = stage();
    let image = stage.image();
    let good = vouched(&image);
    damage(&image);
    assert!(!opens(&image, &cache));
    let record = forge(&image, &cache, &good);
    assert!(opens(&image, &cache), "the stamp is not used");
    let path = stamp_of(&image, &cache);
    let verified = path.parent().expect("a folder");
    let epk = verified.parent().expect("a folder");
    for writable in [cache.as_path(), epk, verified, &path] {
        let mode = fs::metadata(writable).expect("there").mode();
        for bit in [0o020, 0o002] {
            set_mode(writable, mode | bit);
            assert!(!opens(&image, &cache), "{} of mode {bit:o}", writable.display());
        }
        set_mode(writable, mode);
        // The same place by a link.
        let moved = stage.folder().join("own-moved");
        fs::rename(writable, &moved).expect("ours");
        symlink(&moved, writable).expect("ours");
        assert!(!opens(&image, &cache), "{} by a link", writable.display());
        fs::remove_file(writable).expect("ours");
        fs::rename(&moved, writable).expect("ours");
        assert!(opens(&image, &cache));
    }
    // Each thing that it says must be so.
    for (key, value) in record.as_object().expect("an object") {
        let mut wrong = record.clone();
        wrong[key] = match value {
            Value::Number(number) => json!(number.as_u64().expect("a number") + 1),
            Value::Array(parts) => json!([parts[0], parts[1].as_i64().expect("a number") + 1]),
            _ => json!("0".repeat(64)),
        };
        fs::write(&path, wrong.to_string()).expect("ours");
        assert!(!opens(&image, &cache), "wrong {key}");
    }
    fs::write(&path, &record.to_string()[..200]).expect("ours");
    assert!(!opens(&image, &cache), "half a stamp");
}

#[test]
fn what_is_held_in_memory_is_vouched_for_all_the_same() {
    let (stage, cache) = stage();
    let image = stage.image();
    let good = vouched(&image);
    let bytes = fs::read(&image).expect("there");
    let toc = u64::from_le_bytes(bytes[0x10..0x18].try_into().expect("8 bytes"));
    let manifest = u64::from_le_bytes(bytes[0x30..0x38].try_into().expect("8 bytes"));
    // A folder's permissions in the first entry, which nothing else looks at, and a letter.
    for at in [toc + 8 + 0x15, manifest + 8] {
        fs::write(&image, &bytes).expect("ours");
        let file = File::options().write(true).open(&image).expect("ours");
        let byte = bytes[usize::try_from(at).expect("in memory")] ^ 1;
        file.write_all_at(&[byte], at).expect("ours");
        forge(&image, &cache, &good);
        assert!(!opens(&image, &cache), "byte {at}");
    }
}

#[test]
fn a_policy_of_signatures_applies_all_the_same() {
    let (stage, cache) = stage();
    let image = stage.image();
    forge(&image, &cache, &vouched(&image));
    let options = OpenOptions { signature: Policy::Required, ..OpenOptions::default() };
    let refused = stamp::open(File::open(&image).expect("there"), &options, &cache, later());
    let code = refused.expect_err("unsigned").code();
    assert_eq!(code, Some(RejectCode::SignatureFailed));
}

#[test]
fn commands_use_it_unless_told_otherwise() {
    let (stage, cache) = stage();
    let image = stage.image();
    let good = vouched(&image);
    damage(&image);
    forge(&image, &cache, &good);
    let file = image.to_str().expect("text");
    let command = |words: &[&str]| -> Command {
        let mut command = pkgtool();
        command.args(words).current_dir(stage.folder());
        command.env("XDG_DATA_HOME", stage.data_home()).env("XDG_CACHE_HOME", &cache);
        command
    };
    let ran = Outcome::of(&mut command(&["run", file])).exits(0);
    assert_eq!(ran.text(), "ran\n");
    let _names = Outcome::of(&mut command(&["ls", file])).exits(0);
    Outcome::of(&mut command(&["run", "--verify", "full", file])).fails(125, HASHED);
    let verdict = Outcome::of(&mut command(&["verify", file])).exits(4);
    assert!(verdict.text().contains(HASHED), "{}", verdict.text());
    Outcome::of(&mut command(&["mount", "--verify=full", file, "data"])).fails(4, HASHED);
    Outcome::of(&mut command(&["mount", "-o", "verify=full", file, "data"])).fails(4, HASHED);
    // The cache of `HOME`, too; without either there is none.
    let mut by_home = command(&["run", file]);
    by_home.env_remove("XDG_CACHE_HOME").env("HOME", stage.folder());
    Outcome::of(&mut by_home).fails(125, HASHED);
    fs::rename(&cache, stage.folder().join(".cache")).expect("ours");
    assert_eq!(Outcome::of(&mut by_home).exits(0).text(), "ran\n");
    fs::rename(stage.folder().join(".cache"), &cache).expect("ours");
    Outcome::of(by_home.env_remove("HOME")).fails(125, HASHED);
    stage.is_left_clean();
}

#[test]
fn run_leaves_a_stamp() {
    let (stage, cache) = stage();
    let image = stage.image();
    let changed = fs::metadata(&image).expect("there").ctime();
    wait::until("the image is a few seconds old", || {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
        now.as_secs().cast_signed() > changed + 2
    });
    let mut command = stage.run([""; 0]);
    assert_eq!(super::output(command.env("XDG_CACHE_HOME", &cache)), "ran\n");
    assert!(stamp_of(&image, &cache).exists());
    stage.is_left_clean();
}
