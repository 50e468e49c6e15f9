//! `pkgtool ls`

use serde_json::json;

use super::Desk;

const ALL: &str = "/big\n/bin\n/bin/app\n/doc\n/manifest.toml\n/od\\x0ad\\x1b[31m name\n/share\n\
/share/doc\n/share/doc/a.txt\n/share/doc/b.txt\n/share/empty\n/share/secret\n";

#[test]
fn paths_a_line() {
    let desk = Desk::new();
    let out = desk.give(&["ls", "app.epk"]).quietly();
    let text = String::from_utf8(out).expect("text");
    let usual = |line: &&str| !line.starts_with("/od");
    let found: Vec<&str> = text.lines().filter(usual).collect();
    assert_eq!(found, ALL.lines().filter(usual).collect::<Vec<_>>());
    assert_eq!(text.lines().count(), ALL.lines().count(), "{text}");
    assert!(!text.contains('\u{1b}'), "what drives terminals is escaped");
}

#[test]
fn patterns_match_within_names() {
    let desk = Desk::new();
    let cases: &[(&[&str], &str)] = &[
        (&["share/doc/*.txt"], "/share/doc/a.txt\n/share/doc/b.txt\n"),
        (&["/share/doc/?.txt"], "/share/doc/a.txt\n/share/doc/b.txt\n"),
        (&["share/d*"], "/share/doc\n/share/doc/a.txt\n/share/doc/b.txt\n"),
        (&["*/doc/a*"], "/share/doc/a.txt\n"),
        (&["bin", "big"], "/big\n/bin\n/bin/app\n"),
        (&["bin/"], "/bin\n/bin/app\n"),
        (&["doc"], "/doc\n"),
        (&["./share/./empty"], "/share/empty\n"),
    ];
    for (patterns, expected) in cases {
        let words: Vec<&str> =
            ["ls", "app.epk"].into_iter().chain(patterns.iter().copied()).collect();
        let out = desk.give(&words).quietly();
        assert_eq!(String::from_utf8_lossy(&out), *expected, "{patterns:?}");
    }
}

#[test]
fn a_pattern_without_a_match_is_a_finding() {
    let desk = Desk::new();
    for pattern in ["nothing", "share/*.txt", "bin/app/x", "*/*/*/*"] {
        let done = desk.give(&["ls", "app.epk", pattern]).exits(1);
        assert!(done.stderr.starts_with("error: `app.epk`: nothing at `/"), "{}", done.stderr);
    }
}

#[test]
fn long_lines_say_more() {
    let desk = Desk::new();
    let out = desk.give(&["ls", "-l", "app.epk", "share", "doc", "bin/app"]).quietly();
    let expected = "-rwxr-xr-x          21 -                /bin/app\n\
        lrwxrwxrwx           9 -                /doc -> share/doc\n\
        drwxr-xr-x           0 -                /share\n\
        drwxr-xr-x           0 -                /share/doc\n\
        -rw-r--r--           7 2023-11-14 22:13 /share/doc/a.txt\n\
        -rw-r--r--          24 -                /share/doc/b.txt\n\
        drwxr-xr-x           0 -                /share/empty\n\
        -r--------           0 -                /share/secret\n";
    assert_eq!(String::from_utf8_lossy(&out), expected);
}

#[test]
fn programs_read_names_back() {
    let desk = Desk::new();
    let odd = "od\nd\u{1b}[31m name";
    let odd_path = format!("/{odd}");
    let out = desk.give(&["ls", "-0", "app.epk"]).quietly();
    let names: Vec<&[u8]> = out.split(|&byte| byte == 0).collect();
    assert_eq!(names.last(), Some(&&b""[..]), "each path is ended by NUL");
    assert_eq!(names.len(), 13);
    assert!(names.contains(&odd_path.as_bytes()), "{}", String::from_utf8_lossy(&out));
    let lines = desk.give(&["ls", "--json", "app.epk"]).exits(0).json();
    assert_eq!(lines.len(), 12);
    assert!(lines.iter().any(|line| line["path"] == odd_path), "{lines:?}");
    let find = |path: &str| lines.iter().find(|line| line["path"] == path).expect("listed");
    assert_eq!(
        *find("/share/doc/a.txt"),
        json!({"schema": "epk.ls/1", "path": "/share/doc/a.txt", "type": "file", "mode": "0644",
            "size": 7, "mtime": 1_700_000_000})
    );
    assert_eq!(
        *find("/doc"),
        json!({"schema": "epk.ls/1", "path": "/doc", "type": "link", "mode": "0777", "size": 9,
            "mtime": 0, "target": "share/doc"})
    );
    assert_eq!(find("/share")["type"], "folder");
}

#[test]
fn formats_exclude_each_other() {
    let desk = Desk::new();
    for words in [["-0", "-l"], ["-0", "--json"]] {
        let _done = desk.give(&["ls", words[0], words[1], "app.epk"]).exits(2);
    }
}

#[test]
fn packages_that_are_none() {
    let desk = Desk::empty();
    desk.put("x.epk", &[0; 200]);
    desk.give(&["ls", "x.epk"]).fails(4, "`x.epk`: ");
    desk.give(&["ls", "none.epk"]).fails(3, "`none.epk`: No such file");
}
