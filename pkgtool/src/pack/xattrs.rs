//! Extended attributes that change what a file means.

use std::io;
use std::os::fd::AsFd;

use rustix::fs::flistxattr;
use rustix::io::Errno;

/// The attributes of an open file or folder that a package would lose: what users set
/// (`user.*`), capabilities, and access lists. Labels of security modules (`security.selinux` and
/// the like) belong to the machine, not to the file, and `trusted.*` to its administrator.
pub(super) fn meaningful(file: impl AsFd) -> io::Result<Vec<String>> {
    let list = match list(file.as_fd()) {
        Ok(list) => list,
        // The filesystem has none.
        Err(Errno::NOTSUP) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let names = list.split(|&byte| byte == 0).filter(|name| is_meaningful(name));
    Ok(names.map(|name| String::from_utf8_lossy(name).into_owned()).collect())
}

fn list(file: impl AsFd) -> Result<Vec<u8>, Errno> {
    let mut buffer = vec![0; 256];
    loop {
        match flistxattr(file.as_fd(), buffer.as_mut_slice()) {
            Ok(size) => {
                buffer.truncate(size);
                return Ok(buffer);
            }
            // The kernel's own limit is 64 KiB, more is E2BIG.
            Err(Errno::RANGE) => buffer.resize(buffer.len() * 4, 0),
            Err(error) => return Err(error),
        }
    }
}

fn is_meaningful(name: &[u8]) -> bool {
    name.starts_with(b"user.")
        || name.starts_with(b"system.posix_acl_")
        || name == b"security.capability"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_the_files_from_the_machines() {
        for name in ["user.comment", "security.capability", "system.posix_acl_access"] {
            assert!(is_meaningful(name.as_bytes()), "{name}");
        }
        for name in ["", "security.selinux", "trusted.overlay.opaque", "users"] {
            assert!(!is_meaningful(name.as_bytes()), "{name}");
        }
    }
}
