//! Whoever tries to change something is told that the filesystem is read-only.

use std::fmt::Debug;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use epk_format::write::Compression;
use epk_tests::daemon::Place;
use epk_tests::tree::{Item, Tree};
use nix::errno::Errno;
use nix::sys::stat::Mode;
use nix::unistd::{AccessFlags, access, getgid, getuid, mkfifo, truncate};

#[test]
fn every_change_is_refused() {
    let place = Place::default();
    let tree = Tree::default()
        .with("folder", Item::Folder)
        .with("link", Item::Alias("folder".into()))
        .file("file", "content");
    tree.pack(&place.image(), 65_536, Compression::Zlib);
    let daemon = place.mount(&[]);
    let root = place.mountpoint();
    let at = |name: &str| root.join(name);
    let (file, folder, new) = (at("file"), at("folder"), at("new"));

    let open = |write: bool, create: bool, truncate: bool, path: &Path| {
        let mut options = File::options();
        options.read(true).write(write).create(create).truncate(truncate).open(path)
    };
    refused("open to write", open(true, false, false, &file));
    refused("open to truncate", open(true, false, true, &file));
    refused("open to append", File::options().append(true).open(&file));
    refused("create", open(true, true, false, &new));
    refused("mkdir", fs::create_dir(&new));
    refused("mkfifo", mkfifo(&new, Mode::S_IRWXU));
    refused("symlink", symlink("target", &new));
    refused("link", fs::hard_link(&file, &new));
    refused("unlink", fs::remove_file(&file));
    refused("unlink a link", fs::remove_file(at("link")));
    refused("rmdir", fs::remove_dir(&folder));
    refused("rename", fs::rename(&file, &new));
    refused("rename over", fs::rename(&file, at("manifest.toml")));
    refused("chmod", fs::set_permissions(&file, Permissions::from_mode(0o600)));
    let owner = (Some(getuid().as_raw()), Some(getgid().as_raw()));
    refused("chown", std::os::unix::fs::chown(&file, owner.0, owner.1));
    refused("truncate", truncate(&file, 1));
    refused("access", access(&file, AccessFlags::W_OK));
    let opened = File::open(&file).expect("it opens");
    refused("utimes", opened.set_modified(SystemTime::UNIX_EPOCH));
    refused("fchmod", opened.set_permissions(Permissions::from_mode(0o600)));

    let output = Command::new("python3")
        .args(["-c", "import os, sys; os.setxattr(sys.argv[1], 'user.x', b'y')"])
        .arg(&file)
        .output();
    if let Ok(output) = output {
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(text.contains("Read-only file system"), "setxattr: {text}");
    }
    assert_eq!(fs::read(&file).expect("readable"), b"content");
    assert_eq!(daemon.counters().write, 0, "the kernel refuses before it asks");
}

fn refused<T: Debug, E: Into<io::Error>>(what: &str, result: Result<T, E>) {
    let error: io::Error = match result {
        Ok(value) => panic!("{what}: {value:?}"),
        Err(error) => error.into(),
    };
    assert_eq!(error.raw_os_error(), Some(Errno::EROFS as i32), "{what}: {error}");
}
