//! `pkgtool report`

use serde_json::{Value, json};

use super::{Desk, damaged, signed};

fn report(desk: &Desk, words: &[&str], status: i32) -> (Value, String) {
    let words: Vec<&str> = ["report"].into_iter().chain(words.iter().copied()).collect();
    let json: Vec<&str> = words.iter().copied().chain(["--json"]).collect();
    let mut objects = desk.give(&json).exits(status).json();
    assert_eq!(objects.len(), 1);
    let text = desk.give(&words).exits(status).text().to_owned();
    (objects.remove(0), text)
}

#[test]
fn a_good_package() {
    let desk = Desk::new();
    let (object, text) = report(&desk, &["app.epk"], 0);
    assert_eq!(object["schema"], "epk.report/1");
    assert_eq!(
        (&object["verdict"]["schema"], &object["verdict"]["valid"]),
        (&json!("epk.verify/1"), &json!(true))
    );
    assert_eq!(object["verdict"]["compatibility"]["status"], 0);
    assert_eq!(object["verdict"]["deep"]["files"], 7);
    assert!(object["verdict"]["loader"]["problems"].as_array().is_some_and(Vec::is_empty));
    assert_eq!(object["machine"]["schema"], "epk.doctor/1");
    let size = std::fs::metadata(desk.path("app.epk")).expect("there").len();
    assert_eq!(object["size"], size);
    assert!(object["host"]["system"].as_str().is_some_and(|text| text.starts_with("Linux ")));
    assert!(object["host"]["arches"].as_array().is_some_and(|arches| !arches.is_empty()));
    for line in [
        "package       app.epk: valid, org.example.app 1.2.3 for x86-64",
        "wrong         nothing",
        "signature     unsigned",
        "manifest      org.example.app 1.2.3 for x86-64, kernel API 1.0, entry /bin/app",
        "commands      tool is /bin/app",
        "content       7 files and 9 blocks were read",
        "compatible    yes",
        "host          Linux ",
        "pkgtool       0.",
    ] {
        assert!(text.lines().any(|found| found.starts_with(line)), "no `{line}` in:\n{text}");
    }
}

#[test]
fn a_package_that_is_not_good() {
    let desk = Desk::new();
    desk.put("damaged.epk", &damaged());
    desk.put("bad.epk", b"bad\x1b[31m");
    desk.put("signed.epk", &signed(3));
    desk.put("trusted", b"");
    for (words, status, reason) in [
        (&["damaged.epk"][..], 4, "block 4: "),
        (&["bad.epk"], 4, "EPK_VALIDATION_INVALID_HEADER_SIZE (5)"),
        (&["nothing.epk"], 3, "No such file"),
        (&["app.epk", "--kernel-api", "0.9"], 6, "kernel_api"),
        (&["signed.epk", "--signature", "required", "--trust", "trusted"], 5, "trust"),
    ] {
        let (object, text) = report(&desk, words, status);
        assert_eq!(object["verdict"]["valid"], false, "{words:?}");
        let wrong = text.lines().find(|line| line.starts_with("wrong "));
        assert!(wrong.is_some_and(|line| line.contains(reason)), "{words:?}: {text}");
        assert!(!text.contains('\x1b'), "{text:?}");
    }
    let (_, text) = report(&desk, &["app.epk", "--kernel-api", "0.9"], 6);
    assert!(text.contains("\ncompatible    no: "), "{text}");
    assert!(text.contains("kernel API 0.9\n"), "{text}");
    let done = desk.give(&["report", "bad.epk"]).exits(4);
    assert_eq!(done.stderr, "error: `bad.epk`: invalid\n");
}
