//! `pkgtool keygen`

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use epk_format::signature::SigningKey;

use super::Desk;

#[test]
fn a_key_for_its_owner_alone() {
    let desk = Desk::empty();
    let printed = String::from_utf8(desk.give(&["keygen", "key"]).quietly()).expect("text");
    let text = fs::read_to_string(desk.path("key")).expect("the key");
    let key = SigningKey::from_base64(&text).expect("a key");
    assert_eq!(text.len(), 45, "base64 of 32 bytes and a line feed");
    assert_eq!(printed, format!("{} {}\n", key.public().to_base64(), key.public().id()));
    let mode = fs::metadata(desk.path("key")).expect("a file").permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    let done = desk.give(&["keygen", "--json", "other"]).exits(0);
    let object = &done.json()[0];
    assert_eq!((&object["schema"], &object["path"]), (&"epk.keygen/1".into(), &"other".into()));
    assert_ne!(
        fs::read_to_string(desk.path("other")).expect("the key"),
        text,
        "the same key twice"
    );
    assert!(!done.text().contains(text.trim()), "the private key was printed");
}

#[test]
fn nothing_is_overwritten_or_followed() {
    let desk = Desk::empty();
    desk.put("file", b"precious");
    symlink("elsewhere", desk.path("link")).expect("a link");
    for target in ["file", "link"] {
        desk.give(&["keygen", target]).fails(3, "File exists");
    }
    assert_eq!(fs::read(desk.path("file")).expect("there"), b"precious");
    assert_eq!(desk.names(), ["file", "link"]);
    desk.give(&["keygen", "no/folder"]).fails(3, "No such file");
    let _done = desk.give(&["keygen"]).exits(2);
}
