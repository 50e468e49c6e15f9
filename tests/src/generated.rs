//! Trees of every kind of node that a package of format 2.0 holds, as `proptest` invents them,
//! on disk; and what is on disk, to be compared.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File, Permissions};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use proptest::prelude::*;
use rustix::fs::{XattrFlags, getxattr, listxattr, setxattr};
use rustix::io::Errno;

use crate::tree::Random;

/// How many trees a test makes: as many as `PROPTEST_CASES` says, few by default.
#[must_use]
pub fn config() -> ProptestConfig {
    let told = ProptestConfig::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { told.cases } else { 16 };
    // What was found lives on as a test of its own. A smaller tree is soon found or not at all.
    ProptestConfig { cases, failure_persistence: None, max_shrink_iters: 100, ..told }
}

/// A file's content: stretches of data and zeros.
#[derive(Debug, Clone)]
enum Part {
    Text(usize),
    /// Doesn't compress. The seeds are few: contents meet again.
    Noise(usize, u64),
    /// Written by nobody.
    Hole(usize),
    /// Written.
    Zeros(usize),
}

#[derive(Debug, Clone)]
enum Node {
    File(Vec<Part>),
    Folder,
    Symlink(Vec<u8>),
    /// A further name of the file of this rank.
    HardLink(usize),
}

/// What a file or folder has besides its content. Links have the time only.
#[derive(Debug, Clone)]
struct Traits {
    mode: u32,
    time: (i64, i64),
    attributes: BTreeMap<String, Vec<u8>>,
}

#[derive(Debug, Clone)]
struct Item {
    /// The rank of the folder that it lies in.
    parent: usize,
    name: String,
    node: Node,
    traits: Traits,
}

/// A tree that isn't there yet.
#[derive(Debug, Clone)]
pub struct Generated {
    root: Traits,
    items: Vec<Item>,
    /// The ranks of the folders that aliases at the root lead to.
    aliases: Vec<usize>,
}

fn size() -> impl Strategy<Value = usize> {
    let edges = vec![1usize, 100, 4095, 4096, 4097, 8192, 65_535, 65_536, 65_537];
    prop_oneof![3 => 1..3000usize, 2 => prop::sample::select(edges), 1 => 1..300_000usize]
}

fn part() -> impl Strategy<Value = Part> {
    prop_oneof![
        3 => size().prop_map(Part::Text),
        3 => (size(), 0..3u64).prop_map(|(size, seed)| Part::Noise(size, seed)),
        2 => size().prop_map(Part::Hole),
        1 => size().prop_map(Part::Zeros),
    ]
}

fn node() -> impl Strategy<Value = Node> {
    let absolute = prop::collection::vec(1..=255u8, 1..60)
        .prop_map(|target| [b"/".as_slice(), &target].concat());
    prop_oneof![
        8 => prop::collection::vec(part(), 0..4).prop_map(Node::File),
        3 => Just(Node::Folder),
        1 => "[a-z./]{1,40}".prop_map(|target| Node::Symlink(target.into())),
        1 => absolute.prop_map(Node::Symlink),
        // The longest that Linux makes.
        1 => (1000..=4095usize).prop_map(|length| Node::Symlink(vec![b'l'; length])),
        2 => any::<usize>().prop_map(Node::HardLink),
    ]
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[a-z]{1,8}",
        1 => "[ -.0-~]{1,20}",
        1 => "\\PC{1,20}",
        1 => prop::sample::select(vec!["\u{1f980}", "nai\u{308}f", "\n\t\u{7f}", "-", "..", "\\", "*?"])
            .prop_map(str::to_owned),
        1 => (200..250usize).prop_map(|length| "n".repeat(length)),
    ]
    .prop_map(|name| name.replace(['/', '\0'], "_"))
}

fn traits() -> impl Strategy<Value = Traits> {
    // What each filesystem of today keeps: 1906 to 2286.
    let seconds = prop_oneof![Just(0i64), -2_000_000_000..10_000_000_000i64];
    let nanoseconds = prop_oneof![
        2 => Just(0i64),
        1 => (0..1000i64).prop_map(|milliseconds| milliseconds * 1_000_000),
        1 => 0..1_000_000_000i64,
    ];
    let value = prop::collection::vec(any::<u8>(), 0..100);
    let attributes = prop_oneof![
        3 => Just(BTreeMap::new()),
        1 => prop::collection::btree_map("user\\.[a-c\u{e9}]{1,4}", value, 0..4),
    ];
    let mode = prop_oneof![1 => Just(0o755u32), 1 => 0..0o1000u32];
    (mode, (seconds, nanoseconds), attributes).prop_map(|(mode, time, attributes)| Traits {
        mode,
        time,
        attributes,
    })
}

/// Any tree, with any aliases.
pub fn trees() -> impl Strategy<Value = Generated> {
    let item = (any::<usize>(), name(), node(), traits());
    let item = item.prop_map(|(parent, name, node, traits)| Item { parent, name, node, traits });
    let items = prop::collection::vec(item, 0..30);
    let aliases = prop::collection::vec(any::<usize>(), 0..3);
    (traits(), items, aliases).prop_map(|(root, items, aliases)| Generated { root, items, aliases })
}

/// A tree on disk.
#[derive(Debug)]
pub struct Built {
    /// Its root.
    pub root: PathBuf,
    /// Aliases at the root: their names, and the paths of their folders below the root.
    pub aliases: Vec<(String, PathBuf)>,
}

impl Built {
    /// The options of `pkgtool pack` that make the aliases.
    #[must_use]
    pub fn alias_options(&self) -> Vec<String> {
        let option = |(name, folder): &(String, PathBuf)| {
            let folder = folder.to_str().expect("names are text");
            ["--alias".to_owned(), format!("{name}=/{folder}")]
        };
        self.aliases.iter().flat_map(option).collect()
    }

    /// What a package of it shows.
    #[must_use]
    pub fn expected(&self) -> Shown {
        let mut shown = shown(&self.root);
        for (name, folder) in &self.aliases {
            let target = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            let what = What {
                mode: 0o120_777,
                // An alias has none.
                time: (0, 0),
                bytes: target.as_os_str().as_bytes().to_vec(),
                attributes: Vec::new(),
                same_as: name.clone().into_bytes(),
            };
            shown.insert(name.clone().into_bytes(), what);
        }
        shown
    }
}

impl Generated {
    /// Makes the tree in `root`, a new folder. `otherwise`, inodes get other numbers and folders
    /// other orders, as far as the filesystem lets itself be told.
    #[must_use]
    pub fn build(&self, root: &Path, otherwise: bool) -> Built {
        fs::create_dir(root).expect("a folder can be made");
        assert!(takes_attributes(root), "`{}` lies where no attributes are", root.display());
        let mut folders = vec![PathBuf::new()];
        let mut others = Vec::new();
        // Each item lies in one of the folders before it.
        for (number, item) in self.items.iter().enumerate() {
            let parent = &folders[item.parent % folders.len()];
            let path = parent.join(format!("{}.{number}", item.name));
            if root.as_os_str().len() + path.as_os_str().len() > 3000 {
                continue;
            }
            match item.node {
                Node::Folder => {
                    fs::create_dir(root.join(&path)).expect("a folder can be made");
                    folders.push(path);
                }
                _ => others.push((path, item)),
            }
        }
        let files: Vec<&(PathBuf, &Item)> =
            others.iter().filter(|(_, item)| matches!(item.node, Node::File(_))).collect();
        let mut order: Vec<&(PathBuf, &Item)> = others.iter().collect();
        if otherwise {
            order.reverse();
        }
        let (links, first): (Vec<_>, Vec<_>) =
            order.into_iter().partition(|(_, item)| matches!(item.node, Node::HardLink(_)));
        let decoy = root.join("decoy");
        for (path, item) in first {
            if otherwise {
                fs::write(&decoy, "").expect("writable");
            }
            let at = root.join(path);
            match &item.node {
                Node::File(parts) => {
                    write(&at, parts);
                    finish(&at, &item.traits, 0o400);
                }
                Node::Symlink(target) => {
                    symlink(OsStr::from_bytes(target), &at).expect("a link can be made");
                    set_time(&at, item.traits.time);
                }
                Node::Folder | Node::HardLink(_) => {}
            }
            if otherwise {
                fs::remove_file(&decoy).expect("ours");
            }
        }
        for (path, item) in links {
            if let (Node::HardLink(rank), false) = (&item.node, files.is_empty()) {
                let (file, _) = files[rank % files.len()];
                fs::hard_link(root.join(file), root.join(path)).expect("a link can be made");
            }
        }
        // The deepest first: whoever makes something in a folder changes its time.
        let of = |path: &Path| {
            let number = path.extension().and_then(|text| text.to_str()?.parse::<usize>().ok());
            number.map_or(&self.root, |number| &self.items[number].traits)
        };
        for path in folders.iter().rev() {
            finish(&root.join(path), of(path), 0o700);
        }
        let aliases = self.aliases.iter().enumerate().map(|(number, rank)| {
            (format!("alias {number}"), folders[rank % folders.len()].clone())
        });
        Built { root: root.to_owned(), aliases: aliases.collect() }
    }
}

/// Whether the filesystem has attributes: tmpfs does since Linux 6.6.
#[must_use]
pub fn takes_attributes(folder: &Path) -> bool {
    match listxattr(folder, &mut [0u8; 0][..]).and_then(|_| {
        setxattr(folder, "user.probe", b"", XattrFlags::empty())?;
        rustix::fs::removexattr(folder, "user.probe")
    }) {
        Ok(()) => true,
        Err(Errno::NOTSUP) => false,
        Err(error) => panic!("{}: {error}", folder.display()),
    }
}

fn write(path: &Path, parts: &[Part]) {
    let file = File::create_new(path).expect("a new file");
    let mut at = 0;
    for part in parts {
        let bytes = match *part {
            Part::Text(size) => Random::new(9).text(size),
            Part::Noise(size, seed) => Random::new(seed).noise(size),
            Part::Zeros(size) => vec![0; size],
            Part::Hole(size) => {
                at += size as u64;
                continue;
            }
        };
        file.write_all_at(&bytes, at).expect("writable");
        at += bytes.len() as u64;
    }
    file.set_len(at).expect("writable");
}

/// Sets what isn't content; `least` are the permissions that tests need.
fn finish(path: &Path, traits: &Traits, least: u32) {
    for (name, value) in &traits.attributes {
        setxattr(path, name.as_str(), value, XattrFlags::empty()).expect("attributes can be set");
    }
    fs::set_permissions(path, Permissions::from_mode(traits.mode | least)).expect("ours");
    set_time(path, traits.time);
}

fn set_time(path: &Path, (seconds, nanoseconds): (i64, i64)) {
    let time = TimeSpec::new(seconds, nanoseconds);
    utimensat(AT_FDCWD, path, &time, &time, UtimensatFlags::NoFollowSymlink).expect("ours");
}

/// What is at a path: all that a package of format 2.0 keeps.
#[derive(Clone, PartialEq, Eq)]
pub struct What {
    /// Kind and permissions, as in stat(2).
    pub mode: u32,
    /// Time of the last change, seconds and nanoseconds.
    pub time: (i64, i64),
    /// Content, or the target of a link.
    pub bytes: Vec<u8>,
    /// Names, with `user.`, and values, sorted.
    pub attributes: Vec<(Vec<u8>, Vec<u8>)>,
    /// The first path of the same file.
    pub same_as: Vec<u8>,
}

impl fmt::Debug for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mode, time, bytes, attributes, same_as } = self;
        let same_as = String::from_utf8_lossy(same_as);
        write!(f, "{mode:o} of {time:?}, {} bytes, {attributes:?}, `{same_as}`", bytes.len())
    }
}

/// By path below the root, which is the empty one.
pub type Shown = BTreeMap<Vec<u8>, What>;

/// All that is in a folder, itself included.
#[must_use]
pub fn shown(root: &Path) -> Shown {
    let mut found = Shown::new();
    let mut rest = vec![root.to_owned()];
    let mut inodes = BTreeMap::new();
    while let Some(path) = rest.pop() {
        let metadata = fs::symlink_metadata(&path).expect("it is there");
        let mut bytes = Vec::new();
        if metadata.is_dir() {
            let entries = fs::read_dir(&path).expect("a folder");
            rest.extend(entries.map(|entry| entry.expect("an entry").path()));
        } else if metadata.is_symlink() {
            bytes = fs::read_link(&path).expect("a link").as_os_str().as_bytes().to_vec();
        } else {
            bytes = fs::read(&path).expect("readable");
            assert_eq!(bytes.len() as u64, metadata.size(), "{}", path.display());
        }
        let attributes = if metadata.is_symlink() { Vec::new() } else { attributes(&path) };
        let name = path.strip_prefix(root).expect("below it").as_os_str().as_bytes().to_vec();
        let first: &mut Vec<u8> = inodes.entry(metadata.ino()).or_insert_with(|| name.clone());
        // Folder by folder.
        if name.split(|&byte| byte == b'/').lt(first.split(|&byte| byte == b'/')) {
            first.clone_from(&name);
        }
        let time = (metadata.mtime(), metadata.mtime_nsec());
        let same_as = metadata.ino().to_le_bytes().to_vec();
        found.insert(name, What { mode: metadata.mode(), time, bytes, attributes, same_as });
    }
    for what in found.values_mut() {
        let inode = what.same_as.as_slice().try_into().map(u64::from_le_bytes).expect("8 bytes");
        what.same_as.clone_from(&inodes[&inode]);
    }
    found
}

fn attributes(path: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut names = vec![0; 64 << 10];
    let length = match listxattr(path, names.as_mut_slice()) {
        Ok(length) => length,
        Err(Errno::NOTSUP) => 0,
        Err(error) => panic!("{}: {error}", path.display()),
    };
    let names = names[..length].split(|&byte| byte == 0);
    let mut all: Vec<_> = names
        .filter(|name| name.starts_with(b"user."))
        .map(|name| {
            let mut value = vec![0; 64 << 10];
            let length = getxattr(path, name, value.as_mut_slice()).expect("readable");
            value.truncate(length);
            (name.to_vec(), value)
        })
        .collect();
    all.sort();
    all
}

/// The first differences between two trees, by path; none when they are equal.
#[must_use]
pub fn differences(left: &Shown, right: &Shown) -> Vec<String> {
    let paths: std::collections::BTreeSet<_> = left.keys().chain(right.keys()).collect();
    let differ = paths.into_iter().filter(|path| left.get(*path) != right.get(*path));
    let shown = differ.map(|path| {
        let (left, right) = (left.get(path), right.get(path));
        format!("`{}`: {left:?} and {right:?}", String::from_utf8_lossy(path))
    });
    shown.take(5).collect()
}
