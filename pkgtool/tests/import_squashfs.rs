//! `pkgtool import` of SquashFS images that the real mksquashfs made, and of AppImages with them.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use epk_format::{OpenOptions, Package};
use rustix::fs::{XattrFlags, setxattr};
use support::{Place, noise, tool};

/// `app/` with one of everything that an ordinary user can make.
fn everything() -> Place {
    let place = Place::app();
    place.link("app/usr", "../anywhere/else");
    fs::hard_link(place.path("app/lib/text"), place.path("app/bin/more")).expect("linked");
    fs::set_permissions(place.path("app/share"), fs::Permissions::from_mode(0o710)).expect("set");
    for name in ["app/lib/text", "app/lib"] {
        setxattr(place.path(name), "user.a", b"x\n\0", XattrFlags::empty()).expect("xattrs");
    }
    // The same long value twice is stored once, elsewhere.
    for name in ["app/lib/empty", "app/lib-a"] {
        setxattr(place.path(name), "user.long", &noise(3000), XattrFlags::empty()).expect("set");
    }
    place.file("app/large", &noise(700_001), 0o600);
    let sparse = fs::File::create(place.path("app/sparse")).expect("made");
    sparse.set_len(3_000_000).expect("set");
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"data", 1_500_000).expect("written");
    for number in 0..600 {
        place.file(&format!("app/many/file {number}"), format!("{number}").as_bytes(), 0o644);
    }
    // The format has whole seconds.
    tool(&place.path(""), "find", &["app", "-exec", "touch", "-h", "-d", "@1500000000", "{}", "+"]);
    place
}

fn squash(place: &Place, options: &[&str]) {
    let fixed = ["app", "app.sq", "-noappend", "-quiet", "-no-progress"];
    tool(&place.path(""), "mksquashfs", &[&fixed[..], options].concat());
}

#[test]
fn images_become_what_unsquashfs_unpacks() {
    if !support::has_mksquashfs() {
        return;
    }
    let place = everything();
    let table: [&[&str]; 8] = [
        &["-comp", "gzip"],
        &["-comp", "xz"],
        &["-comp", "xz", "-Xbcj", "x86", "-b", "1M"],
        &["-comp", "zstd", "-b", "4K"],
        &["-comp", "gzip", "-noI", "-noD", "-noF", "-noX"],
        &["-comp", "gzip", "-no-fragments"],
        &["-comp", "zstd", "-always-use-fragments"],
        &["-comp", "gzip", "-b", "1M", "-no-exports", "-no-tailends"],
    ];
    for options in table {
        squash(&place, options);
        let _ = fs::remove_dir_all(place.path("theirs"));
        tool(&place.path(""), "unsquashfs", &["-q", "-n", "-d", "theirs", "app.sq"]);
        place.run(&["import", "app.sq", "-o", "app.epk"]).ok();
        place.run(&["pack", "theirs", "-o", "theirs.epk", "--format", "2"]).ok();
        let differs = place.run(&["diff", "theirs.epk", "app.epk"]);
        assert_eq!((differs.code, differs.stdout.as_str()), (Some(0), ""), "{options:?}");
        place.run(&["verify", "--deep", "app.epk"]).ok();
    }
    let image = fs::read(place.path("app.sq")).expect("an image");
    let mut command = place.command();
    command.args(["import", "-", "-o", "piped.epk"]);
    command.stdin(fs::File::open(place.path("app.sq")).expect("an image"));
    assert!(command.output().expect("ran").status.success());
    assert!(fs::read(place.path("piped.epk")).expect("a package") == place.image());
    let mut command = place.command();
    command.args(["import", "-", "-o", "large.epk", "--max-size", "4K"]);
    command.stdin(fs::File::open(place.path("app.sq")).expect("an image"));
    let said = command.output().expect("ran");
    assert_eq!(said.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&said.stderr).contains("more than 4096 bytes"));
    fs::write(place.path("cut.sq"), &image[..image.len() / 2]).expect("written");
    place.run(&["import", "cut.sq", "-o", "cut.epk"]).fails(4, &["`cut.sq`: is cut off"]);
}

#[test]
fn what_cannot_be_read_or_held_is_refused_by_name() {
    if !support::has_mksquashfs() {
        return;
    }
    let place = Place::app();
    place.file("app/bin/su", b"", 0o4755);
    nix::unistd::mkfifo(&place.path("app/pipe"), nix::sys::stat::Mode::S_IRUSR).expect("made");
    squash(&place, &["-p", "dev c 444 54321 12 1 3"]);
    let said =
        ["these 3 things", "`bin/su`: permission", "`pipe`: pipe", "`dev`: character device"];
    let ran = place.run(&["import", "app.sq", "-o", "x.epk"]);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(ran.stderr.starts_with("note: owner 54321:12 is not kept: `dev`\n"), "{}", ran.stderr);
    for said in said {
        assert!(ran.stderr.contains(said), "{}", ran.stderr);
    }
    assert!(!place.path("x.epk").exists());
    for (comp, said) in [("lz4", "lz4"), ("lzo", "lzo")] {
        squash(&place, &["-comp", comp]);
        place.run(&["import", "app.sq", "-o", "x.epk"]).fails(1, &[said, "gzip, xz and zstd"]);
    }
}

/// Whatever is wrong with an image: an error or a package, never a panic, and nothing by halves.
#[test]
fn changed_images_do_no_harm() {
    if !support::has_mksquashfs() {
        return;
    }
    let place = Place::empty();
    place.file("app/bin/app", b"#!/bin/sh\n", 0o755);
    place.file("app/lib/text", &b"text\n".repeat(3000), 0o644);
    place.link("app/link", "lib");
    setxattr(place.path("app/lib"), "user.a", b"x", XattrFlags::empty()).expect("xattrs");
    for options in [&["-noI", "-noD", "-noF", "-noX", "-b", "4K"][..], &["-comp", "gzip"]] {
        squash(&place, options);
        let image = fs::read(place.path("app.sq")).expect("an image");
        let used = u64::from_le_bytes(image[40..48].try_into().expect("eight"));
        let used = usize::try_from(used).expect("small");
        // Tables lie at the end, after the text.
        let tables = used.saturating_sub(600)..used;
        for at in (0..96).chain(tables.step_by(3)) {
            let mut changed = image.clone();
            changed[at] ^= [0x01, 0x80, 0xff][at % 3];
            fs::write(place.path("changed.sq"), &changed).expect("written");
            let ran = place.run(&["import", "changed.sq", "-o", "x.epk", "--max-size", "1M"]);
            assert!(matches!(ran.code, Some(0 | 1 | 4)), "{at}: {:?} {}", ran.code, ran.stderr);
            assert!(!ran.stderr.contains("panicked"), "{at}: {}", ran.stderr);
            assert_eq!(ran.code == Some(0), place.path("x.epk").exists(), "{at}");
            let _ = fs::remove_file(place.path("x.epk"));
        }
    }
}

/// An ELF program of 64 bits with a segment and a section, of which the last ends the file.
fn runtime(app_image: u8) -> Vec<u8> {
    let mut elf = vec![0; 64];
    elf[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    elf[8..11].copy_from_slice(&[b'A', b'I', app_image]);
    let mut put = |at: usize, bytes: &[u8]| elf[at..at + bytes.len()].copy_from_slice(bytes);
    put(0x10, &2_u16.to_le_bytes());
    put(0x12, &62_u16.to_le_bytes());
    put(0x20, &64_u64.to_le_bytes());
    put(0x28, &200_u64.to_le_bytes());
    put(0x36, &56_u16.to_le_bytes());
    put(0x38, &1_u16.to_le_bytes());
    put(0x3a, &64_u16.to_le_bytes());
    put(0x3c, &2_u16.to_le_bytes());
    elf.resize(200 + 2 * 64, 0);
    let mut put = |at: usize, value: u64| elf[at..at + 8].copy_from_slice(&value.to_le_bytes());
    // A segment of the first 120 bytes, a section of 80 behind the tables, and one in memory only.
    put(64 + 0x20, 120);
    put(200 + 0x18, 328);
    put(200 + 0x20, 80);
    put(264 + 0x18, 328);
    put(264 + 0x20, 1 << 40);
    elf[264 + 4] = 8;
    elf.resize(328 + 80, b'r');
    elf
}

#[test]
fn an_app_image_describes_itself() {
    if !support::has_mksquashfs() {
        return;
    }
    let place = Place::app();
    fs::remove_file(place.path("app/manifest.toml")).expect("removed");
    place.file("app/usr/bin/Viewer", b"#!/bin/sh\necho viewer \"$@\"\n", 0o755);
    let desktop = b"[Desktop Entry]\nName=The Viewer\nExec=Viewer %F\nIcon=viewer\n\
        X-AppImage-Version=2.5-1\n";
    place.file("app/usr/share/applications/org.example.Viewer.desktop", desktop, 0o644);
    place.file("app/viewer.png", b"png", 0o644);
    place.link(
        "app/org.example.Viewer.desktop",
        "usr/share/applications/org.example.Viewer.desktop",
    );
    place.link("app/AppRun", "usr/bin/Viewer");
    place.link("app/.DirIcon", "viewer.png");
    squash(&place, &[]);
    let payload = fs::read(place.path("app.sq")).expect("an image");
    fs::write(place.path("Any.name"), [runtime(2), payload.clone()].concat()).expect("written");
    let ran = place.run(&["import", "Any.name", "-o", "app.epk"]).ok();
    assert!(!ran.stderr.contains("warning"), "{}", ran.stderr);
    let package = Package::open(place.image(), &OpenOptions::default()).expect("a package");
    let expected = "name = \"org.example.Viewer\"\nversion = \"2.5-1\"\narch = \"x86-64\"\n\
        kernel_api = \"1.0\"\nentry = \"/AppRun\"\n\n[commands]\nViewer = \"/AppRun\"\n\n\
        [desktop]\nfile = \"/org.example.Viewer.desktop\"\nicon = \"/viewer.png\"\n";
    assert_eq!(String::from_utf8_lossy(package.manifest()), expected);
    let options = ["--name", "x", "--package-version", "3", "--arch", "x86-32"];
    place.run(&[&["import", "Any.name", "-o", "app.epk"], &options[..]].concat()).ok();
    let package = Package::open(place.image(), &OpenOptions::default()).expect("a package");
    let manifest = package.parse_manifest().expect("a manifest");
    assert_eq!((&*manifest.name, &*manifest.version, &*manifest.arch), ("x", "3", "x86-32"));

    let head = runtime(2);
    for (bytes, code, said) in [
        ([&head[..], b"DWARFS"].concat(), 1, "DwarFS"),
        ([&head[..], b"hello"].concat(), 4, "no SquashFS image at byte 408"),
        (head[..300].to_vec(), 4, "ends in the middle"),
        (head.clone(), 4, "is cut off"),
        ([runtime(2), payload[..payload.len() / 2].to_vec()].concat(), 4, "is cut off"),
    ] {
        fs::write(place.path("bad"), bytes).expect("written");
        place.run(&["import", "bad", "-o", "bad.epk"]).fails(code, &[said]);
        assert!(!place.path("bad.epk").exists());
    }
}
