//! What lseek(2) finds in mounted files.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;

use epk_format::write::{Compression, Format};
use epk_tests::daemon::Place;
use epk_tests::tree::{Random, Tree, format};
use nix::errno::Errno;
use nix::unistd::{Whence, lseek};

const CHUNK: usize = 4096;

/// Chunks of data where `map` has an `x`, and of zeros elsewhere; then `tail` bytes more.
fn sparse(map: &str, tail: &[u8]) -> Vec<u8> {
    let mut random = Random::new(7);
    let mut chunk = |letter| if letter == b'x' { random.noise(CHUNK) } else { vec![0; CHUNK] };
    let mut bytes: Vec<u8> = map.bytes().flat_map(&mut chunk).collect();
    bytes.extend(tail);
    bytes
}

/// What lseek(2) has to say of a file of these bytes, stored in chunks.
fn expected(bytes: &[u8], at: usize, hole: bool) -> Option<usize> {
    if at >= bytes.len() {
        return None;
    }
    let is_hole = |at: &usize| {
        let start = at / CHUNK * CHUNK;
        format() == Format::V2
            && bytes[start..bytes.len().min(start + CHUNK)].iter().all(|&byte| byte == 0)
    };
    let found = (at..bytes.len()).find(|at| is_hole(at) == hole);
    found.or_else(|| hole.then_some(bytes.len()))
}

#[test]
fn holes_are_where_nothing_is_stored() {
    let files = [
        ("holes", sparse("..x..xx.", b"")),
        ("ends in data", sparse("x.", b"tail")),
        ("ends in a hole", sparse("x", &[0; 100])),
        ("all data", sparse("xxx", b"")),
        ("nothing else", sparse("...", &[0; 5])),
        ("small", b"zeros within \0\0\0\0 data".to_vec()),
        ("empty", Vec::new()),
    ];
    let mut tree = Tree::default();
    for (name, bytes) in &files {
        tree = tree.file(name, bytes.clone());
    }
    let place = Place::default();
    tree.pack(&place.image(), CHUNK as u32, Compression::Auto);
    let daemon = place.mount(&[]);
    assert_eq!(daemon.counters().lseek, 0);
    for (name, bytes) in &files {
        let file = File::open(place.mountpoint().join(name)).expect("mounted");
        let edges = (0..=bytes.len()).step_by(CHUNK).flat_map(|at| [at, at + 1, at + CHUNK - 1]);
        for at in edges.chain([bytes.len()]) {
            for (whence, hole) in [(Whence::SeekData, false), (Whence::SeekHole, true)] {
                let found = lseek(&file, i64::try_from(at).expect("small"), whence);
                let expected = expected(bytes, at, hole);
                let expected = expected.map(|at| i64::try_from(at).expect("small"));
                assert_eq!(found, expected.ok_or(Errno::ENXIO), "`{name}` from {at}, {whence:?}");
            }
        }
        assert_eq!(lseek(&file, -1, Whence::SeekData), Err(Errno::ENXIO));
    }
    let asked = daemon.counters().lseek;
    // In format 1.0 the kernel asks once and is told not to.
    assert!(if format() == Format::V2 { asked > 50 } else { asked == 1 }, "{asked}");
    // Nobody else is asked: neither reading nor seeking as everybody does.
    let mut file = File::open(place.mountpoint().join("holes")).expect("mounted");
    file.seek(SeekFrom::End(-10)).expect("seekable");
    let mut end = Vec::new();
    file.read_to_end(&mut end).expect("readable");
    assert_eq!(end, [0; 10]);
    file.read_exact_at(&mut end, 5).expect("readable");
    assert_eq!(daemon.counters().lseek, asked);
}
