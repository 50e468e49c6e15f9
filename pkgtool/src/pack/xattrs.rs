//! Extended attributes that change what a file means.

use std::io;
use std::os::fd::AsFd;

use epk_format::write::{Format, Xattr};
use rustix::fs::{fgetxattr, flistxattr};
use rustix::io::Errno;

/// The attributes of an open file or folder that a package of this format will have, and the names
/// of those that it would lose. What users set (`user.*`) is kept from format 2.0 on; capabilities
/// and access lists are lost. Labels of security modules (`security.selinux` and the like) belong
/// to the machine, not to the file, and `trusted.*` to its administrator.
pub(super) fn read(file: impl AsFd, format: Format) -> io::Result<(Vec<Xattr>, Vec<String>)> {
    let list = match list(file.as_fd()) {
        Ok(list) => list,
        // The filesystem has none.
        Err(Errno::NOTSUP) => return Ok(Default::default()),
        Err(error) => return Err(error.into()),
    };
    let (mut kept, mut lost) = (Vec::new(), Vec::new());
    for name in list.split(|&byte| byte == 0).filter(|name| is_meaningful(name)) {
        if format == Format::V2 && name.starts_with(b"user.") {
            kept.push(Xattr { name: name.to_vec(), value: value(file.as_fd(), name)? });
        } else {
            lost.push(String::from_utf8_lossy(name).into_owned());
        }
    }
    Ok((kept, lost))
}

fn value(file: impl AsFd, name: &[u8]) -> Result<Vec<u8>, Errno> {
    // The kernel's limit.
    let mut buffer = vec![0; 64 << 10];
    let size = fgetxattr(file, name, buffer.as_mut_slice())?;
    buffer.truncate(size);
    Ok(buffer)
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

pub(crate) fn is_meaningful(name: &[u8]) -> bool {
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
