//! `pkgtool inspect --html`

use std::fs;

use epk_tests::tree::Random;

use super::Desk;
use crate::browser;

/// A name that would be more than a name, were it not escaped.
const HOSTILE: &str = "<img src=x onerror=document.title='mine'>\"&'\u{202e}";

const MANIFEST: &str = "name = \"<b>x\"\nversion = \"1\"\narch = \"x86-64\"\nkernel_api = \"1.0\"\n\
                        entry = \"/bin/app\"\n";

/// A desk with a package in which files share what they have, `app.epk`.
fn desk() -> Desk {
    let desk = Desk::empty();
    let put = |name: &str, bytes: &[u8]| {
        let path = desk.path("app").join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, bytes).expect("written");
    };
    let noise = Random::new(7).noise(100_000);
    put("manifest.toml", MANIFEST.as_bytes());
    put("bin/app", b"#!/bin/sh\n");
    put("data/one", &noise);
    put("data/another", &noise);
    put("data/text", &b"0123456789abcdef".repeat(20_000));
    put("data/empty", b"");
    put(&format!("{HOSTILE}/{HOSTILE}"), &Random::new(8).noise(50_000));
    for number in 0..3000 {
        put(&format!("many/{number}"), format!("{number}").as_bytes());
    }
    fs::hard_link(desk.path("app/data/text"), desk.path("app/data/too")).expect("linked");
    let _done = desk.give(&["pack", "app", "-o", "app.epk"]).exits(0);
    desk
}

fn page(desk: &Desk, words: &[&str]) -> String {
    let words: Vec<&str> =
        ["inspect", "--html", "app.epk"].into_iter().chain(words.iter().copied()).collect();
    String::from_utf8(desk.give(&words).quietly()).expect("UTF-8")
}

/// The rows of a table of the page.
fn rows<'p>(page: &'p str, id: &str) -> Vec<&'p str> {
    let (_, table) = page.split_once(&format!("<table id=\"{id}\">")).expect("a table");
    let (table, _) = table.split_once("</tbody>").expect("an end");
    table.split("<tr>").skip(2).collect()
}

#[test]
fn the_page_shows_sizes_sharing_and_the_start() {
    let desk = desk();
    let plain = page(&desk, &[]);
    assert!(!plain.contains("What a start reads"), "{plain}");
    desk.put("profile", b"bin/app\n/data/text\nnothing\ndata/too\n");
    let page = page(&desk, &["--profile", "profile"]);
    // Each file is drawn or one of the rest, and compressed ones look so.
    let map = page.split_once("<svg id=\"map\"").expect("a map").1;
    let map = map.split_once("</svg>").expect("an end").0;
    let tile = |title: &str| {
        let tile = map.split("<g>").find(|tile| tile.contains(&format!("<title>{title}\n")));
        tile.unwrap_or_else(|| panic!("no `{title}` in {map}"))
    };
    assert!(tile("/data/text").contains("class=\"p0 t\""), "{map}");
    assert!(tile("/data/text").contains("\n2 names\nread at start: number 2"), "{map}");
    // Noise of which a little can be saved.
    assert!(tile("/data/one").contains("class=\"p9 s\""), "{map}");
    assert!(tile("/data/another").contains("97.66 KiB shared"), "{map}");
    assert!(tile("/data").contains("class=\"d\""), "{map}");
    assert!(map.contains(" smaller: "), "{map}");
    assert!(map.matches("<rect").count() < 100, "small files are not drawn each");
    let shared = rows(&page, "shared");
    assert_eq!(shared.len(), 1);
    for text in [">97.66 KiB<", ">2<", "<bdi>/data/one</bdi>", "<bdi>/data/another</bdi>"] {
        assert!(shared[0].contains(text), "no `{text}` in {}", shared[0]);
    }
    let start = rows(&page, "start-list");
    assert_eq!(start.len(), 2);
    assert!(start[0].contains("/bin/app") && start[1].contains("/data/text"), "{start:?}");
    assert!(page.contains(">2 files, "), "{page}");
    assert!(page.contains("; 2 lines of the profile name no"), "{page}");
    assert!(rows(&page, "largest")[0].contains("/data/text"));
    assert_eq!(page, self::page(&desk, &["--profile", "profile"]), "not the same page again");
}

#[test]
fn a_browser_shows_it_and_runs_nothing() {
    let desk = desk();
    let name = format!("{HOSTILE}.epk");
    fs::rename(desk.path("app.epk"), desk.path(&name)).expect("renamed");
    let text = desk.give(&["inspect", "--html", &name]).quietly();
    let text = String::from_utf8(text).expect("UTF-8");
    for foreign in ["<img", "<script", "<b>", "<link", "@import", "url(", "http:", "https:"] {
        assert!(!text.contains(foreign), "{foreign}");
    }
    assert!(text.contains("content=\"default-src 'none'; style-src 'sha256-"), "{text}");
    desk.put("page.html", text.as_bytes());
    let Some(shown) = browser::document(&desk.path("page.html"), "") else { return };
    // The title of the document is its own, and no element came out of a name.
    assert!(shown.contains("<title>&lt;img src=x"), "{shown}");
    for element in ["<img", "<script", "<b>"] {
        assert!(!shown.contains(element), "{element}: {shown}");
    }
    for element in ["<rect", "<title>", "<svg", "<tr>"] {
        assert_eq!(shown.matches(element).count(), text.matches(element).count(), "{element}");
    }
}

#[test]
fn what_cannot_be_drawn() {
    let desk = Desk::new();
    desk.put("bad.epk", b"bad");
    desk.give(&["inspect", "--html", "bad.epk"]).fails(4, "EPK_VALIDATION_INVALID_HEADER_SIZE (5)");
    desk.give(&["inspect", "--html", "app.epk", "--profile", "nothing"]).fails(3, "`nothing`");
    let _usage = desk.give(&["inspect", "--html", "--json", "app.epk"]).exits(2);
    let _usage = desk.give(&["inspect", "--profile", "app.epk", "app.epk"]).exits(2);
    // Format 1.0, and a package with nothing in it.
    let text = String::from_utf8(desk.give(&["inspect", "--html", "app.epk"]).quietly());
    assert!(text.expect("UTF-8").contains("<title>/big\n"));
    desk.put("empty.epk", &epk_tests::app::App::empty().image());
    let _page = desk.give(&["inspect", "--html", "empty.epk"]).quietly();
}
