//! `pkgtool stats`

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use serde_json::{Value, json};

use epk_tests::processes::kill_server_and_keeper;
use epk_tests::wait;

use super::mounts::{Mounting, gone};

impl Mounting {
    #[track_caller]
    fn stats(&self, options: &[&str]) -> Value {
        let words: Vec<&str> =
            ["stats", "--json", "mnt"].into_iter().chain(options.iter().copied()).collect();
        let lines = self.desk.give(&words).exits(0).json();
        lines.into_iter().next().expect("an object")
    }

    /// Reads a file whose pages the kernel has forgotten.
    fn read(&self, name: &str) {
        let file = File::open(self.desk.path(&format!("mnt/{name}"))).expect("readable");
        posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).expect("advice");
        let _bytes = std::io::read_to_string(file).expect("readable");
    }
}

/// How often something happened, after a look at its histogram.
#[track_caller]
fn count(histogram: &Value) -> u64 {
    let buckets = histogram["buckets"].as_array().expect("an array");
    let counts: Vec<u64> =
        buckets.iter().map(|bucket| bucket["count"].as_u64().expect("a number")).collect();
    assert!(counts.is_sorted(), "not cumulative: {histogram}");
    let bounds: Vec<Option<u64>> = buckets.iter().map(|bucket| bucket["le_ns"].as_u64()).collect();
    let (last, bounded) = bounds.split_last().expect("buckets");
    assert!(last.is_none() && bounded.iter().all(Option::is_some) && bounded.is_sorted());
    assert_eq!(histogram["count"], json!(counts.last()), "{histogram}");
    histogram["count"].as_u64().expect("a number")
}

#[test]
fn blocks_are_timed_and_hot_files_named() {
    let here = Mounting::new();
    here.mount(&["-o", "threads=2"]);
    let before = here.stats(&[]);
    assert_eq!((&before["schema"], &before["hot_files"]), (&json!("epk.stats/1"), &json!([])));
    assert_eq!(count(&before["blocks"]["load"]), 0);
    here.read("bin/app");
    for _ in 0..3 {
        here.read("big");
    }
    let stats = here.stats(&[]);
    assert_eq!(stats["mountpoint"], *here.mountpoint().to_string_lossy());
    assert!(stats["image"].as_str().expect("text").ends_with("/app.epk"), "{stats}");
    let blocks = &stats["blocks"];
    assert_eq!(count(&blocks["load"]), stats["counters"]["blocks_loaded"].as_u64().expect("one"));
    let time = |key: &str| blocks[key].as_u64().expect("a number");
    assert!(time("hash_ns") > 0 && time("inflate_ns") > 0, "{blocks}");
    let parts = time("fetch_ns") + time("hash_ns") + time("inflate_ns");
    assert!(parts <= blocks["load"]["sum_ns"].as_u64().expect("a number"), "{blocks}");
    let hot = stats["hot_files"].as_array().expect("an array");
    let names: BTreeMap<&str, u64> = hot
        .iter()
        .map(|file| (file["path"].as_str().expect("text"), file["reads"].as_u64().expect("one")))
        .collect();
    assert_eq!(names.keys().collect::<Vec<_>>(), [&"/big", &"/bin/app"]);
    assert_eq!(hot[0]["path"], "/big");
    let inode = std::os::unix::fs::MetadataExt::ino(
        &fs::metadata(here.desk.path("mnt/big")).expect("there"),
    );
    assert_eq!(hot[0]["inode"], inode);
    let reads = stats["counters"]["read"].as_u64().expect("a number");
    assert_eq!(names.values().sum::<u64>(), reads, "{stats}");

    let text = here.desk.give(&["stats", "mnt"]).quietly();
    let text = String::from_utf8(text).expect("text");
    for said in ["/big\n", "/bin/app", "loads  ", "\nreads      not timed", "<= "] {
        assert!(text.contains(said), "no `{said}` in:\n{text}");
    }
    assert!(text.lines().all(|line| line == line.trim_end()), "{text:?}");
}

#[test]
fn requests_are_timed_on_demand() {
    let here = Mounting::new();
    here.mount(&[]);
    here.read("big");
    let stats = here.stats(&["--timing", "on"]);
    assert_eq!(stats["requests"]["timed"], true);
    assert_eq!(count(&stats["requests"]["read"]), 0);
    here.read("big");
    let stats = here.stats(&["--timing", "off"]);
    let timed = count(&stats["requests"]["read"]);
    assert!(timed > 0, "{stats}");
    assert!(stats["requests"]["read"]["sum_ns"].as_u64().is_some_and(|time| time > 0), "{stats}");
    here.read("big");
    let stats = here.stats(&[]);
    assert_eq!(
        (&stats["requests"]["timed"], count(&stats["requests"]["read"])),
        (&json!(false), timed)
    );
    let text = String::from_utf8(here.desk.give(&["stats", "mnt"]).quietly()).expect("text");
    assert!(text.contains(&format!("\nreads      {timed}, ")), "{text}");
}

/// A sample of the text format: its name, its labels, its value.
fn sample(line: &str) -> (&str, Vec<(String, String)>, f64) {
    let (name, rest) = line.split_once('{').expect("labels");
    let mut labels = Vec::new();
    let mut rest = rest;
    loop {
        let (label, quoted) = rest.split_once("=\"").expect("a label");
        let mut value = String::new();
        let mut characters = quoted.char_indices();
        let end = loop {
            match characters.next().expect("a quote at the end") {
                (at, '"') => break at,
                (_, '\\') => match characters.next().expect("an escape").1 {
                    'n' => value.push('\n'),
                    other @ ('\\' | '"') => value.push(other),
                    other => panic!("`\\{other}` in {line}"),
                },
                (_, character) => value.push(character),
            }
        };
        labels.push((label.to_owned(), value));
        rest = &quoted[end + 1..];
        match rest.split_at(1) {
            (",", more) => rest = more,
            ("}", more) => {
                let value = more.strip_prefix(' ').expect("a blank").parse().expect("a number");
                return (name, labels, value);
            }
            (other, _) => panic!("`{other}` in {line}"),
        }
    }
}

#[test]
fn prometheus_can_read_it() {
    let here = Mounting::new();
    // What a mount is called must not break out of its quotes.
    let odd = here.desk.path("a \"b\\\nc");
    fs::create_dir(&odd).expect("a folder");
    let name = odd.file_name().expect("a name").to_str().expect("UTF-8").to_owned();
    let _nothing = here.desk.give(&["mount", "app.epk", &name]).quietly();
    let _bytes = fs::read(odd.join("big")).expect("readable");
    let text = here.desk.give(&["stats", "--prometheus", &name]).quietly();
    let object = here.desk.give(&["stats", "--json", &name]).exits(0).json().remove(0);
    let _nothing = here.desk.give(&["umount", "--lazy", &name]).quietly();
    let text = String::from_utf8(text).expect("UTF-8");
    let is_name = |text: &str| {
        text.starts_with("epk_")
            && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    };
    let (mut families, mut family) = (BTreeSet::new(), None);
    let mut values: BTreeMap<(String, Vec<(String, String)>), f64> = BTreeMap::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("help");
            assert!(is_name(name) && !help.contains('\\'), "{line}");
            let kind = lines.next().and_then(|line| line.strip_prefix("# TYPE "));
            let (same, kind) = kind.and_then(|kind| kind.split_once(' ')).expect("a type");
            assert_eq!(same, name);
            assert!(["gauge", "counter", "histogram"].contains(&kind), "{kind}");
            // Units and endings as its conventions have them.
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
            assert!(!name.contains("_ms") && !name.contains("_ns"), "{name}");
            assert!(families.insert(name.to_owned()), "`{name}` comes twice");
            family = Some((name.to_owned(), kind.to_owned()));
            continue;
        }
        let (name, mut labels, value) = sample(line);
        let (family, kind) = family.as_ref().expect("a family");
        let ending = name.strip_prefix(family.as_str()).expect("of its family");
        let endings: &[&str] =
            if kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
        assert!(endings.contains(&ending), "{line}");
        assert!(value.is_finite() && value >= 0.0, "{line}");
        let place = labels.remove(0);
        assert_eq!((place.0.as_str(), place.1.ends_with("/a \"b\\\nc")), ("mountpoint", true));
        assert!(values.insert((name.to_owned(), labels), value).is_none(), "{line}");
    }
    let value = |name: &str, labels: &[(&str, &str)]| {
        let labels: Vec<_> =
            labels.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect();
        values.get(&(name.to_owned(), labels)).copied().unwrap_or_else(|| panic!("{name}: {text}"))
    };
    let told = |key: &str| object["counters"][key].as_u64().expect("a number") as f64;
    assert_eq!(value("epk_requests_total", &[("request", "read")]), told("read"));
    assert_eq!(value("epk_delivered_bytes_total", &[]), told("bytes_read"));
    assert_eq!(value("epk_blocks_loaded_total", &[]), told("blocks_loaded"));
    assert_eq!(value("epk_block_load_seconds_count", &[]), told("blocks_loaded"));
    assert_eq!(
        value("epk_block_load_seconds_bucket", &[("le", "+Inf")]),
        value("epk_block_load_seconds_count", &[])
    );
    let sum = object["blocks"]["load"]["sum_ns"].as_u64().expect("a number") as f64 / 1e9;
    assert!((value("epk_block_load_seconds_sum", &[]) - sum).abs() < 1e-9);
    assert_eq!(value("epk_block_load_seconds_bucket", &[("le", "0.000001")]), 0.0);
    assert!(value("epk_block_step_seconds_total", &[("step", "hash")]) > 0.0);
    assert!(text.contains("package_hash=\"sha256:"), "{text}");
}

#[test]
fn an_image_that_was_replaced_names_no_files() {
    let here = Mounting::new();
    here.mount(&[]);
    here.read("big");
    here.desk.put("other.epk", &super::signed(1));
    fs::rename(here.desk.path("other.epk"), here.desk.path("app.epk")).expect("renamed");
    let stats = here.stats(&[]);
    assert_eq!(stats["hot_files"][0]["path"], Value::Null, "{stats}");
    let text = String::from_utf8(here.desk.give(&["stats", "mnt"]).quietly()).expect("text");
    let inode = stats["hot_files"][0]["inode"].as_u64().expect("a number");
    assert!(
        text.contains(&format!(" inode {inode}\n")) || text.ends_with(&format!("inode {inode}\n"))
    );
}

#[test]
fn what_is_no_mount_has_no_stats() {
    let here = Mounting::new();
    let fails = |folder: &str, code, message: &str| {
        here.desk.give(&["stats", folder]).fails(code, message);
        here.desk.give(&["stats", folder, "--timing", "on"]).fails(code, message);
    };
    fails("mnt", 1, "is not the root folder of an epkfs mount\nhint: `pkgtool mounts`");
    fails("app.epk", 1, "is not the root folder of an epkfs mount");
    fails("nothing", 3, "No such file");
    here.mount(&[]);
    fails("mnt/bin", 1, "is not the root folder of an epkfs mount");
    let _done = here.desk.give(&["stats", "mnt", "--json", "--prometheus"]).exits(2);
    let pid = here.pid();
    kill_server_and_keeper(pid);
    wait::until("the server is gone", || gone(pid));
    fails("mnt", 3, "is gone\nhint: `pkgtool umount`");
}
