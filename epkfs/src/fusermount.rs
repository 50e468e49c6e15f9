//! fuse3's setuid helper, which mounts and unmounts for ordinary users (fusermount3(1)).

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::mount::{Attempt, MAX_READ, MountOptions};
use crate::sys;

/// The helper's name; older systems have it without the digit.
pub(crate) const NAME: &str = "fusermount3";
const NAMES: [&str; 2] = [NAME, "fusermount"];

/// Where it is when PATH doesn't say so: the last is NixOS's, whose programs in the store can't
/// be setuid.
const FOLDERS: [&str; 3] = ["/usr/bin", "/bin", "/run/wrappers/bin"];

/// The variable that tells the helper on which descriptor to send the device.
const SOCKET_VARIABLE: &str = "_FUSE_COMMFD";

/// The helper's path.
pub(crate) fn find(search_path: Option<&OsStr>) -> Option<PathBuf> {
    NAMES.iter().find_map(|name| {
        let given = search_path.into_iter().flat_map(std::env::split_paths);
        given
            // A relative entry would let the working folder decide what runs.
            .filter(|folder| folder.is_absolute())
            .chain(FOLDERS.iter().map(PathBuf::from))
            .map(|folder| folder.join(name))
            .find(|path| is_executable(path))
    })
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path)
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

fn not_found() -> Attempt {
    Attempt::new(NAME, format!("not found on PATH, nor in {}", FOLDERS.join(", ")))
}

/// Has the helper mount, and receives the device from it.
pub(crate) fn mount(target: &Path, options: &MountOptions) -> Result<OwnedFd, Attempt> {
    let helper = find(options.search_path.as_deref()).ok_or_else(not_found)?;
    let way = helper.display().to_string();
    let failed = |error: io::Error| Attempt::new(way.clone(), error.to_string());
    let (ours, theirs) = UnixStream::pair().map_err(failed)?;
    let child = Command::new(&helper)
        .arg("-o")
        .arg(option_list(options))
        .arg("--")
        .arg(target)
        // As standard input the socket is inherited without further ado.
        .env(SOCKET_VARIABLE, "0")
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    // The command, and our copy of the helper's end with it, is gone: its exit ends the wait.
    let device = sys::receive_descriptor(&ours);
    let output = child.wait_with_output().map_err(failed)?;
    match device {
        Ok(Some(device)) if output.status.success() => Ok(device),
        Err(errno) => Err(Attempt::system(way, errno)),
        Ok(_) => Err(Attempt::new(way, complaint(&helper, &output))),
    }
}

/// Has the helper unmount.
pub(crate) fn unmount(
    target: &Path,
    lazy: bool,
    search_path: Option<&OsStr>,
) -> Result<(), Attempt> {
    let helper = find(search_path).ok_or_else(not_found)?;
    let way = helper.display().to_string();
    let output = Command::new(&helper)
        .arg("-u")
        .args(lazy.then_some("-z"))
        .arg("--")
        .arg(target)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Attempt::new(way.clone(), error.to_string()))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(Attempt::new(way, complaint(&helper, &output)))
    }
}

/// What the helper said, without its own name before it.
fn complaint(helper: &Path, output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let names = [helper.as_os_str(), helper.file_name().unwrap_or_default()];
    let line = names
        .iter()
        .find_map(|name| line.strip_prefix(name.to_str()?)?.strip_prefix(": "))
        .unwrap_or(line);
    if line.is_empty() { output.status.to_string() } else { line.to_owned() }
}

fn option_list(options: &MountOptions) -> OsString {
    let fixed = "ro,nosuid,nodev,default_permissions,subtype=epkfs";
    let mut list = format!("{fixed},max_read={MAX_READ},").into_bytes();
    if !options.exec {
        list.extend_from_slice(b"noexec,");
    }
    if options.allow_other {
        list.extend_from_slice(b"allow_other,");
    }
    list.extend_from_slice(b"fsname=");
    for &byte in options.source.as_os_str().as_bytes() {
        if matches!(byte, b',' | b'\\') {
            list.push(b'\\');
        }
        list.push(byte);
    }
    OsString::from_vec(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_cannot_smuggle_options() {
        let mut options = MountOptions::new("/a,suid\\,b.epk");
        options.exec = false;
        assert_eq!(
            option_list(&options),
            "ro,nosuid,nodev,default_permissions,subtype=epkfs,max_read=65536,noexec,fsname=/a\\,suid\\\\\\,b.epk"
        );
    }

    #[test]
    fn complaints_lose_the_helpers_name() {
        let helper = Path::new("/usr/bin/fusermount3");
        for name in ["/usr/bin/fusermount3", "fusermount3"] {
            let output = Output {
                status: std::process::ExitStatus::default(),
                stdout: Vec::new(),
                stderr: format!("\n{name}: user has no write access\nmore\n").into(),
            };
            assert_eq!(complaint(helper, &output), "user has no write access");
        }
    }

    #[test]
    fn relative_folders_are_not_searched() {
        let found = find(Some(OsStr::new(".:bin::")));
        assert!(found.is_none_or(|path| path.is_absolute()));
    }
}
