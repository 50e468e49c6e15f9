//! `pkgtool import` of tar archives, good and hostile ones.

mod support;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use epk_format::package::{Kind, NodeId};
use epk_format::{OpenOptions, Package};
use rustix::fs::{XattrFlags, setxattr};
use support::{Archive, Place, Ran, shown, tool};

/// A place with an archive in it, imported to `app.epk`.
fn import(archive: &[u8], more: &[&str]) -> (Place, Ran) {
    let place = Place::empty();
    fs::write(place.path("archive"), archive).expect("written");
    let ran = place.run(&[&["import", "archive", "-o", "app.epk"], more].concat());
    (place, ran)
}

/// The archive is refused, with this status and these words, and nothing is left.
#[track_caller]
fn refused(archive: &[u8], code: i32, said: &[&str]) {
    let (place, ran) = import(archive, &[]);
    ran.fails(code, said);
    assert_eq!(place.names(), ["app", "archive"]);
}

#[test]
fn archives_of_every_form_become_what_the_folder_becomes() {
    let place = Place::app();
    place.link("app/usr", "../anywhere/else");
    fs::hard_link(place.path("app/lib/text"), place.path("app/bin/more")).expect("linked");
    fs::set_permissions(place.path("app/share"), fs::Permissions::from_mode(0o710)).expect("set");
    place.file(&format!("app/{}f", "long-folder/".repeat(20)), b"deep", 0o644);
    let sparse = fs::File::create(place.path("app/sparse")).expect("made");
    sparse.set_len(3_000_000).expect("set");
    for at in [0, 1_000_000, 2_000_000, 2_999_000] {
        std::os::unix::fs::FileExt::write_all_at(&sparse, b"data", at).expect("written");
    }
    drop(sparse);
    let xattr = |value: &[u8]| {
        setxattr(place.path("app/lib/text"), "user.a", value, XattrFlags::empty()).expect("set");
    };
    // Whole seconds: not every form has fractions.
    tool(&place.path(""), "find", &["app", "-exec", "touch", "-h", "-d", "@1500000000", "{}", "+"]);
    place.pack(&["--format", "2"]).ok();
    let plain = place.image();
    xattr(b"two\nlines");
    place.pack(&["--format", "2"]).ok();
    let with_xattrs = place.image();
    xattr(b"");
    let table: [(&[&str], bool); 8] = [
        (&["--format=gnu"], false),
        (&["--format=gnu", "--sparse"], false),
        (&["--format=posix", "--xattrs"], true),
        (&["--format=posix", "--sparse", "--sparse-version=0.0"], false),
        (&["--format=posix", "--sparse", "--sparse-version=0.1"], false),
        (&["--format=posix", "--sparse", "--sparse-version=1.0", "--xattrs"], true),
        (&["--format=gnu", "--gzip"], false),
        (&["--format=gnu", "--sort=name"], false),
    ];
    xattr(b"two\nlines");
    for (options, xattrs) in table {
        let options = [options, &["-C", "app", "-cf", "app.tar", "."]].concat();
        tool(&place.path(""), "tar", &options);
        place.run(&["import", "app.tar", "-o", "app.epk"]).ok();
        fs::write(place.path("plain.epk"), if xattrs { &with_xattrs } else { &plain })
            .expect("written");
        let differs = place.run(&["diff", "plain.epk", "app.epk"]);
        assert_eq!((differs.code, differs.stdout.as_str()), (Some(0), ""), "{options:?}");
    }
}

#[test]
fn compression_is_found_by_content() {
    let archive = Archive::default().app().end();
    let (place, ran) = import(&archive, &[]);
    ran.ok();
    let expected = place.image();
    for program in ["gzip", "xz", "zstd"] {
        if std::process::Command::new(program).arg("--version").output().is_err() {
            eprintln!("skipped: there is no `{program}`");
            continue;
        }
        let packed = |bytes: &[u8]| {
            let mut child = std::process::Command::new(program)
                .arg("-c")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("it starts");
            child.stdin.take().expect("a pipe").write_all(bytes).expect("taken");
            child.wait_with_output().expect("ended").stdout
        };
        let (head, tail) = archive.split_at(700);
        for bytes in [packed(&archive), [packed(head), packed(tail)].concat()] {
            let (place, ran) = import(&bytes, &[]);
            ran.ok();
            assert!(place.image() == expected, "{program}");
        }
        let whole = packed(&archive);
        refused(&whole[..whole.len() - 3], 4, &["archive"]);
        let mut flipped = whole.clone();
        let last = flipped.len() - 6;
        flipped[last] ^= 1;
        refused(&flipped, 4, &["archive"]);
    }
}

#[test]
fn standard_input_is_an_archive() {
    let archive = Archive::default().app().end();
    let (place, ran) = import(&archive, &[]);
    ran.ok();
    let mut command = place.command();
    command.args(["import", "-", "--output", "piped.epk"]).stdin(Stdio::piped());
    let mut child = command.stderr(Stdio::null()).spawn().expect("it starts");
    child.stdin.take().expect("a pipe").write_all(&archive).expect("taken");
    assert!(child.wait().expect("ended").success());
    assert!(fs::read(place.path("piped.epk")).expect("a package") == place.image());
}

#[test]
fn the_last_entry_of_a_path_counts() {
    let archive = Archive::default()
        .app()
        .file("f", b"first")
        .link(b'1', "g", "./f")
        .file("./f", b"second")
        .file("h", b"file")
        .link(b'2', "h", "f")
        .link(b'1', "link-to-link", "h")
        // What is not there in the end need not be packed.
        .raw((b'3', "n", ""), b"", |_| {})
        .file("n", b"no device")
        .link(b'2', "d", "f")
        .folder("d/")
        .file("d/x", b"x")
        .raw((b'5', "d", ""), b"", |header| header.set_mode(0o700))
        .end();
    let (place, ran) = import(&archive, &[]);
    ran.ok();
    let shown = shown(&place.image());
    assert_eq!((&*shown["f"].bytes, &*shown["g"].bytes), (&b"second"[..], &b"first"[..]));
    assert_eq!((shown["h"].kind, shown["link-to-link"].kind), (Kind::Link, Kind::Link));
    assert_eq!((shown["d"].mode, &*shown["d/x"].bytes), (0o700, &b"x"[..]));
    assert_eq!(&*shown["n"].bytes, b"no device");

    // What is still there by another name must.
    let archive = Archive::default()
        .app()
        .raw((b'0', "su", ""), b"", |header| header.set_mode(0o4755))
        .link(b'1', "other", "su")
        .file("su", b"")
        .end();
    refused(&archive, 1, &["cannot hold this:\n  `other`: permission bits 4000"]);
}

#[test]
fn what_headers_say_in_every_way_is_heeded() {
    let long = "long/".repeat(50) + "name";
    let number = |header: &mut tar::Header| {
        // -2 in base 256.
        header.as_old_mut().mtime = [0xff; 12];
        header.as_old_mut().mtime[11] = 0xfe;
    };
    let archive = Archive::default()
        .app()
        .raw((b'g', "global", ""), b"24 SCHILY.xattr.user.g=\n", |_| {})
        .raw((b'L', "././@LongLink", ""), format!("{long}\0").as_bytes(), |_| {})
        .file("short", b"1")
        .raw((b'K', "././@LongLink", ""), format!("{long}\0").as_bytes(), |_| {})
        .link(b'2', "link", "short")
        .pax(&[
            ("path", b"from-pax"),
            ("mtime", b"-1.25"),
            ("uid", b"0"),
            ("SCHILY.xattr.user.a", b"\n\0"),
            ("SCHILY.xattr.security.selinux", b"label"),
            ("LIBARCHIVE.creationtime", b"5"),
        ])
        .file("not-this", b"2")
        .raw((b'0', "old", ""), b"3", number)
        .raw((0, "old-folder/", ""), b"", |header| header.set_mode(0o750))
        .end();
    let (place, ran) = import(&archive, &[]);
    ran.ok();
    let image = place.image();
    let package = Package::open(image, &OpenOptions::default()).expect("a package");
    let find = |path: &str| {
        path.split('/').fold(NodeId::ROOT, |folder, name| {
            package.lookup(folder, name.as_bytes()).expect("read").expect(path)
        })
    };
    let node = |path: &str| package.node(find(path)).expect("a node");
    assert_eq!(node(&long).size, 1);
    assert_eq!(package.link_target(find("link")).expect("a link"), long.as_bytes());
    let pax = node("from-pax");
    assert_eq!((pax.modified.seconds, pax.modified.nanoseconds), (-2, 750_000_000));
    let mut xattrs = package.xattrs(pax.id).expect("attributes");
    xattrs.sort();
    assert_eq!(xattrs[0], (b"user.a".to_vec(), b"\n\0".to_vec()));
    assert_eq!(xattrs.len(), 2, "{xattrs:?}");
    assert_eq!((node("old").modified.seconds, node("old-folder").kind), (-2, Kind::Folder));
}

#[test]
fn hostile_paths_and_links_are_refused() {
    let table: [(Archive, &[&str]); 12] = [
        (Archive::default().file("../x", b""), &["`../x`", "`..`"]),
        (Archive::default().file("a/../../x", b""), &["`..`"]),
        (Archive::default().file("/etc/passwd", b""), &["`/etc/passwd`", "begins at the root"]),
        (
            Archive::default().link(b'2', "l", "/tmp").file("l/x", b""),
            &["`l/x` lies below `l`, which is a symbolic link"],
        ),
        (
            Archive::default().file("f", b"").file("f/x", b""),
            &["`f/x` lies below `f`, which is a file"],
        ),
        (Archive::default().link(b'1', "h", "none"), &["`h`", "`none`", "not in the archive"]),
        (Archive::default().link(b'1', "h", "../x"), &["`h`", "`../x`", "`..`"]),
        (Archive::default().link(b'1', "h", "/etc/shadow"), &["`h`", "begins at the root"]),
        (Archive::default().folder("d").link(b'1', "h", "d"), &["`h`", "is a folder"]),
        (
            Archive::default().file("d/x", b"").file("d", b""),
            &["`d` is a folder with entries, and then something else"],
        ),
        (Archive::default().link(b'2', ".", "x"), &["a root that is not a folder"]),
        (Archive::default().raw((b'V', "label", ""), b"", |_| {}), &["unknown type `V`"]),
    ];
    for (archive, said) in table {
        refused(&Archive(archive.0).app().end(), 1, said);
    }
}

#[test]
fn damage_is_found_wherever_it_is() {
    let archive = Archive::default()
        .app()
        .pax(&[("mtime", b"1.5")])
        .file("f", &support::noise(3000))
        .link(b'2', "l", "f")
        .end();
    // The last block of zeros adds nothing.
    for length in (0..=archive.len() - 1024).step_by(97).chain([archive.len() - 1024]) {
        let (place, ran) = import(&archive[..length], &[]);
        let code = if length < 512 && length > 0 { 1 } else { 4 };
        ran.fails(code, &["`archive`"]);
        assert_eq!(place.names(), ["app", "archive"], "{length}");
    }
    for (name, change) in [
        ("header", 512 * 2 + 10),
        ("checksum", 512 * 2 + 150),
        ("after the end", archive.len() - 1),
    ] {
        let mut archive = archive.clone();
        archive[change] ^= 0x55;
        let (_, ran) = import(&archive, &[]);
        ran.fails(4, &["`archive`"]);
        assert!(!name.is_empty());
    }
    let bad = |records: &[(&str, &[u8])]| Archive::default().pax(records).file("f", b"x");
    for archive in [
        bad(&[("size", b"x")]),
        bad(&[("size", b"99999999999999999999")]),
        bad(&[("size", b"18446744073709551615")]),
        bad(&[("mtime", b"soon")]),
        bad(&[("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0")]),
        bad(&[("GNU.sparse.size", b"5"), ("GNU.sparse.map", b"0,1,3")]),
        bad(&[("GNU.sparse.size", b"5"), ("GNU.sparse.map", b"4,9")]),
        Archive::default().raw((b'x', "pax", ""), b"99 a=b\n", |_| {}).file("f", b""),
        Archive::default().pax(&[("path", b"x")]),
        Archive::default().raw((b'S', "sparse", ""), b"", |header| {
            header.as_gnu_mut().expect("gnu").set_real_size(5);
            header.as_gnu_mut().expect("gnu").sparse[0].set_offset(4);
            header.as_gnu_mut().expect("gnu").sparse[0].set_length(9);
        }),
    ] {
        refused(&Archive(archive.0).end(), 4, &["`archive`"]);
    }
}

/// Whatever is wrong with an archive: an error or a package, never a panic, and nothing by halves.
#[test]
fn changed_archives_do_no_harm() {
    let archive = Archive::default()
        .app()
        .pax(&[("mtime", b"1.5"), ("SCHILY.xattr.user.a", b"x")])
        .file("f", b"text")
        .link(b'1', "h", "f")
        .pax(&[
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.realsize", b"700"),
            ("GNU.sparse.name", b"s"),
        ])
        .file("GNUSparseFile.0/s", &[&b"1\n600\n2\n"[..], &[0; 504], b"ab"].concat())
        .end();
    let (place, ran) = import(&archive, &[]);
    ran.ok();
    assert_eq!(shown(&place.image())["s"].bytes.len(), 700);
    for at in (0..archive.len() - 1024).step_by(11) {
        let mut changed = archive.clone();
        changed[at] ^= [0x01, 0x40, 0xff][at % 7 % 3];
        // Else nothing but the checksum is judged.
        let block = at / 512 * 512;
        if at % 2 == 0 && &archive[block + 257..block + 262] == b"ustar" {
            let mut header = tar::Header::new_old();
            header.as_mut_bytes().copy_from_slice(&changed[block..block + 512]);
            header.set_cksum();
            changed[block..block + 512].copy_from_slice(header.as_bytes());
        }
        let (place, ran) = import(&changed, &["--max-size", "1M"]);
        assert!(matches!(ran.code, Some(0 | 1 | 4)), "{at}: {:?} {}", ran.code, ran.stderr);
        assert!(!ran.stderr.contains("panicked"), "{at}: {}", ran.stderr);
        assert_eq!(ran.code == Some(0), place.path("app.epk").exists(), "{at}");
    }
}

#[test]
fn bombs_do_not_go_off() {
    let huge = (1_u64 << 45).to_string();
    let holes = [("GNU.sparse.size", huge.as_bytes()), ("GNU.sparse.map", b"0,1")];
    let archive = Archive::default().app().pax(&holes).file("f", b"x").end();
    refused(&archive, 1, &["more than 68719476736 bytes of content", "--max-size"]);
    let archive = Archive::default().app().file("f", &[0; 5000]).end();
    let (_, ran) = import(&archive, &["--max-size", "4K"]);
    ran.fails(1, &["more than 4096 bytes of content"]);
    let (_, ran) = import(&archive, &["--max-size", "8K"]);
    ran.ok();
    let header = |header: &mut tar::Header| header.set_size(1 << 40);
    let archive = Archive::default().raw((b'x', "pax", ""), b"", header).end();
    refused(&archive, 1, &["extended header of 1099511627776 bytes"]);
}

#[test]
fn what_packages_cannot_hold_is_refused_by_name() {
    let mode = |bits: u32| move |header: &mut tar::Header| header.set_mode(bits);
    let archive = Archive::default()
        .app()
        .raw((b'3', "dev/null", ""), b"", |_| {})
        .raw((b'6', "dev/pipe", ""), b"", |_| {})
        .raw((b'0', "bin/su", ""), b"", mode(0o4755))
        .pax(&[("SCHILY.xattr.security.capability", b"x"), ("SCHILY.acl.access", b"y")])
        .file("bin/ping", b"")
        .raw((b'0', "not-utf8-\u{e9}", ""), b"", |header| header.as_old_mut().name[9] = 0xff)
        .end();
    let said = [
        "format 2.0 cannot hold these 5 things",
        "`dev/null`: character device",
        "`dev/pipe`: pipe",
        "`bin/su`: permission bits 4000 (set-user-id)",
        "`bin/ping`: extended attributes security.capability, system.posix_acl_access",
        "`--special skip`",
        "`--mode-bits drop`",
        "`--xattrs drop`",
        "`--names skip`",
    ];
    refused(&archive, 1, &said);
    let allowed = ["--special", "skip", "--mode-bits", "drop", "--xattrs", "drop"];
    let (place, ran) = import(&archive, &[&allowed[..], &["--names", "skip"]].concat());
    let ran = ran.ok();
    for said in ["note: dropped: `dev/null`: character device", "`bin/su`", "`bin/ping`"] {
        assert!(ran.stderr.contains(said), "{}", ran.stderr);
    }
    assert_eq!(support::paths(&place.image()), ["bin", "bin/app", "bin/ping", "bin/su"]);
}

#[test]
fn owners_are_named() {
    let owner = |header: &mut tar::Header| {
        header.set_uid(54321);
        header.set_gid(12);
    };
    let mut archive = Archive::default().app();
    for number in 0..5 {
        archive = archive.raw((b'0', &format!("f{number}"), ""), b"", owner);
    }
    let (_, ran) = import(&archive.end(), &[]);
    let said = "note: owner 54321:12 is not kept: `f0`, `f1`, `f2` and 2 more\n";
    let ran = ran.ok();
    assert!(ran.stderr.contains(said), "{}", ran.stderr);
}

#[test]
fn the_manifest_comes_from_the_archive_a_file_or_options() {
    let bare = Archive::default().folder("app").file("app/run", b"#!/bin/sh\n").end();
    let (place, ran) = import(&bare, &[]);
    ran.fails(1, &["nothing says the name", "--name"]);
    let told = ["--name", "x \"y\"", "--package-version", "1.10", "--entry", "/app/run"];
    for missing in [0, 2, 4] {
        let less: Vec<_> = [&told[..missing], &told[missing + 2..]].concat();
        let (_, ran) = import(&bare, &less);
        ran.fails(1, &[told[missing]]);
    }
    let (described, ran) = import(&bare, &told);
    ran.ok();
    let package = Package::open(described.image(), &OpenOptions::default()).expect("a package");
    let manifest = package.parse_manifest().expect("a manifest");
    assert_eq!((&*manifest.name, &*manifest.version), ("x \"y\"", "1.10"));
    assert_eq!((&*manifest.kernel_api, &*manifest.entry), ("1.0", "/app/run"));
    import(&bare, &["--entry", "run", "--name", "x", "--package-version", "1"]).1.fails(4, &[]);

    fs::write(place.path("m.toml"), support::MANIFEST).expect("written");
    place.run(&["import", "archive", "-o", "app.epk", "--manifest", "m.toml"]).ok();
    let said = place.run(&["import", "archive", "-o", "x", "--manifest", "m.toml", "--name", "x"]);
    said.fails(2, &["--name"]);

    let own = Archive::default().app().end();
    import(&own, &["--name", "x"]).1.fails(2, &["`--name`", "manifest.toml"]);
    let broken = Archive::default().file("manifest.toml", b"name = 1").end();
    refused(&broken, 4, &["manifest.toml"]);
    let (place, ran) = import(&Archive::default().folder("in").app().end(), &["--path", "bin"]);
    ran.fails(1, &["nothing says the name"]);
    let told = ["--name", "x", "--package-version", "1", "--entry", "/app", "--path", "/bin/"];
    let part = place.run(&[&["import", "archive", "-o", "part.epk"], &told[..]].concat());
    part.ok();
    let image = fs::read(place.path("part.epk")).expect("a package");
    assert_eq!(support::paths(&image), ["app"]);
    for (path, said) in [("none", "nothing at `none`"), ("bin/app", "not a folder"), ("..", "`..`")]
    {
        import(&own, &["--path", path]).1.fails(1, &[said]);
    }
}

#[test]
fn others_are_called_by_their_names() {
    for (bytes, said) in [
        (&b"PK\x03\x04zip"[..], "zip"),
        (b"BZh91AY&SY", "bzip2"),
        (b"EPK1 something", "is a package already"),
        (b"hello", "no tar archive"),
        (b"\x7fELF\x02\x01\x01\0\0\0\0", "is a program"),
        (b"\x7fELF\x02\x01\x01\0AI\x01", "type 1"),
    ] {
        refused(bytes, 1, &[said]);
    }
    refused(b"", 4, &["is empty"]);
    refused(&[0; 1024], 1, &["nothing says the name"]);
}
