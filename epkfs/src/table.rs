//! The kernel's table of mounts, `/proc/self/mountinfo` (proc_pid_mountinfo(5)), reduced to ours.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// The filesystem type that our mounts show.
pub const FILESYSTEM_TYPE: &str = "fuse.epkfs";

/// A mount, as the kernel's table has it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MountInfo {
    /// The mount's number, unique while it exists.
    pub id: u64,
    /// The number of the mount that it lies on.
    pub parent: u64,
    /// The filesystem's device number, `major:minor`.
    pub device: String,
    /// Where it is mounted.
    pub mountpoint: PathBuf,
    /// Its type.
    pub filesystem_type: String,
    /// What is mounted: of our mounts, the image's path.
    pub source: PathBuf,
    /// Options of the mount and of the filesystem, comma-separated.
    pub options: String,
}

impl MountInfo {
    /// Whether it is one of ours.
    #[must_use]
    pub fn is_epkfs(&self) -> bool {
        self.filesystem_type == FILESYSTEM_TYPE
    }
}

/// The mounts of epkfs that this process can see, in the order in which they were mounted.
///
/// # Errors
/// When the table can't be read.
pub fn list() -> io::Result<Vec<MountInfo>> {
    Ok(all()?.into_iter().filter(MountInfo::is_epkfs).collect())
}

/// Every mount that this process can see.
pub(crate) fn all() -> io::Result<Vec<MountInfo>> {
    Ok(parse(&fs::read("/proc/self/mountinfo")?))
}

/// The number of the mount that a descriptor leads into, as [`MountInfo::id`]. As long as it is open,
/// no other mount gets that number.
pub(crate) fn id_of(descriptor: &OwnedFd) -> io::Result<u64> {
    // What statx(2) tells since Linux 5.8 is told here since 3.15 (proc_pid_fdinfo(5)).
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{}", descriptor.as_raw_fd()))?;
    text.lines()
        .find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok())
        .ok_or_else(|| io::Error::other("the kernel does not tell the mount of a descriptor"))
}

/// The mount that is seen at a path: the last one that was mounted there.
pub(crate) fn at(mountpoint: &Path) -> io::Result<Option<MountInfo>> {
    Ok(all()?.into_iter().rfind(|mount| mount.mountpoint == mountpoint))
}

/// Lines that don't look as documented are left out.
fn parse(table: &[u8]) -> Vec<MountInfo> {
    table.split(|&byte| byte == b'\n').filter_map(parse_line).collect()
}

fn parse_line(line: &[u8]) -> Option<MountInfo> {
    let mut fields = line.split(|&byte| byte == b' ');
    let mut text = || fields.next().map(|field| String::from_utf8_lossy(field).into_owned());
    let (id, parent, device) = (text()?.parse().ok()?, text()?.parse().ok()?, text()?);
    let _root = text()?;
    let mountpoint = path(fields.next()?);
    let options = String::from_utf8_lossy(fields.next()?).into_owned();
    // Any number of optional fields, then a hyphen.
    fields.find(|field| field == b"-")?;
    let filesystem_type = String::from_utf8_lossy(fields.next()?).into_owned();
    let source = path(fields.next()?);
    let options = match fields.next() {
        Some(more) => format!("{options},{}", String::from_utf8_lossy(more)),
        None => options,
    };
    Some(MountInfo { id, parent, device, mountpoint, filesystem_type, source, options })
}

/// A path in which the kernel wrote some bytes as `\` and three octal digits.
fn path(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        let escaped = (first == b'\\')
            .then(|| tail.split_at_checked(3))
            .flatten()
            .and_then(|(digits, after)| Some((octal(digits)?, after)));
        match escaped {
            Some((byte, after)) => {
                bytes.push(byte);
                rest = after;
            }
            None => bytes.push(first),
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

fn octal(digits: &[u8]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernels_lines() {
        let table = b"22 1 0:20 / / rw,relatime shared:1 - ext4 /dev/vda rw\n\
            36 22 0:33 / /mnt/a\\040b\\134c\\012 ro,nosuid shared:2 master:3 - fuse.epkfs \
            /x/\\043\\011y.epk ro,user_id=0\n\
            nonsense\n\
            40 22 0:34 / /plain ro - tmpfs none\n";
        let mounts = parse(table);
        assert_eq!(mounts.len(), 3);
        let ours: Vec<_> = mounts.iter().filter(|mount| mount.is_epkfs()).collect();
        let [mount] = ours[..] else { panic!("{ours:?}") };
        assert_eq!((mount.id, mount.parent, &*mount.device), (36, 22, "0:33"));
        assert_eq!(mount.mountpoint, Path::new("/mnt/a b\\c\n"));
        assert_eq!(mount.source, Path::new("/x/#\ty.epk"));
        assert_eq!(mount.options, "ro,nosuid,ro,user_id=0");
        assert_eq!(mounts[2].options, "ro");
    }

    #[test]
    fn what_only_looks_escaped_stays() {
        assert_eq!(path(b"a\\9xyz\\04"), Path::new("a\\9xyz\\04"));
        assert_eq!(path(b"\\777"), Path::new("\\777"));
    }

    #[test]
    fn this_machines_table_can_be_read() {
        assert!(at(Path::new("/")).expect("a table").is_some());
    }
}
