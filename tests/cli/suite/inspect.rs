//! `pkgtool inspect`

use serde_json::json;

use super::{Desk, usual};

#[test]
fn fields_as_json() {
    let desk = Desk::new();
    let done = desk.give(&["inspect", "--json", "app.epk"]).exits(0);
    let object = &done.json()[0];
    assert_eq!((&object["schema"], &object["path"]), (&json!("epk.inspect/1"), &json!("app.epk")));
    let text = object["image"].to_string();
    for word in ["bin/app", "share/doc/b.txt", "org.example.app"] {
        assert!(text.contains(word), "no `{word}` in {text}");
    }
}

#[test]
fn a_hexdump_shows_every_section() {
    let desk = Desk::new();
    let text = String::from_utf8(desk.give(&["inspect", "app.epk"]).quietly()).expect("text");
    assert!(text.contains("45 50 4b 31"), "the magic's bytes: {text}");
    for word in ["bin/app", "share/doc", "name = "] {
        assert!(text.contains(word), "no `{word}` in:\n{text}");
    }
    assert!(!text.bytes().any(|byte| byte.is_ascii_control() && byte != b'\n'), "control bytes");
}

#[test]
fn broken_images_are_shown_as_far_as_they_reach() {
    let desk = Desk::empty();
    let image = usual().image();
    // Every length of the head and the tables, then some.
    for length in (0..1200).chain([image.len() - 1]) {
        desk.put("x.epk", &image[..length]);
        if length % 50 == 0 || length < 20 {
            let _shown = desk.give(&["inspect", "x.epk"]).quietly();
            let done = desk.give(&["inspect", "--json", "x.epk"]).exits(0);
            assert!(done.json()[0]["image"].is_object(), "{length} bytes");
        }
    }
    let mut wild = image.clone();
    wild[16..80].fill(0xff);
    desk.put("x.epk", &wild);
    let _shown = desk.give(&["inspect", "x.epk"]).quietly();
    desk.put("x.epk", &[0xff; 4096]);
    let _shown = desk.give(&["inspect", "--json", "x.epk"]).quietly();
    desk.give(&["inspect", "none.epk"]).fails(3, "`none.epk`: No such file");
}
