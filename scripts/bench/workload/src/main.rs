//! Reads a mounted tree in one of several ways, and prints what it did and how long it took as a
//! line of JSON: `{"count":…,"bytes":…,"nanoseconds":…}`.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

const USAGE: &str = "usage:
  workload walk DIR                     lstat everything below DIR
  workload tree DIR LIST READERS        read the files that LIST names, a path a line
  workload sequential FILE              read a file in steps of 1 MiB
  workload random FILE JOBS COUNT       pread 4 KiB at random places, COUNT by each job
  workload mapped FILE JOBS COUNT       touch 4 KiB at random places of a mapping";

/// What was done.
struct Done {
    count: u64,
    bytes: u64,
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (done, start) = match words[..] {
        ["walk", folder] => timed(|| walk(Path::new(folder))),
        ["tree", folder, list, readers] => {
            let list = fs::read(list).unwrap_or_else(|error| fail(&format!("{list}: {error}")));
            let paths: Vec<PathBuf> = list
                .split(|&byte| byte == b'\n')
                .filter(|path| !path.is_empty())
                .map(|path| Path::new(folder).join(OsStr::from_bytes(path)))
                .collect();
            timed(|| tree(&paths, number(readers)))
        }
        ["sequential", file] => timed(|| sequential(Path::new(file))),
        ["random", file, jobs, count] => {
            timed(|| random(Path::new(file), number(jobs), number(count)))
        }
        ["mapped", file, jobs, count] => {
            timed(|| mapped(Path::new(file), number(jobs), number(count)))
        }
        _ => fail(USAGE),
    };
    let Done { count, bytes } = done.unwrap_or_else(|error| fail(&error.to_string()));
    println!("{{\"count\":{count},\"bytes\":{bytes},\"nanoseconds\":{start}}}");
}

fn number<N: FromStr>(word: &str) -> N {
    word.parse().unwrap_or_else(|_| fail(USAGE))
}

fn fail(message: &str) -> ! {
    eprintln!("{message}");
    std::process::exit(2)
}

fn timed(work: impl FnOnce() -> io::Result<Done>) -> (io::Result<Done>, u128) {
    let start = Instant::now();
    let done = work();
    (done, start.elapsed().as_nanos())
}

fn walk(folder: &Path) -> io::Result<Done> {
    let mut done = Done { count: 0, bytes: 0 };
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let metadata = fs::symlink_metadata(&path)?;
            done.count += 1;
            if metadata.is_dir() {
                folders.push(path);
            }
        }
    }
    Ok(done)
}

fn tree(paths: &[PathBuf], readers: usize) -> io::Result<Done> {
    let (next, bytes) = (AtomicUsize::new(0), AtomicU64::new(0));
    let read = || -> io::Result<()> {
        let mut buffer = vec![0; 1 << 17];
        while let Some(path) = paths.get(next.fetch_add(1, Ordering::Relaxed)) {
            let mut file = File::open(path)?;
            loop {
                match file.read(&mut buffer)? {
                    0 => break,
                    length => bytes.fetch_add(length as u64, Ordering::Relaxed),
                };
            }
        }
        Ok(())
    };
    together(readers, |_| read())?;
    Ok(Done { count: paths.len() as u64, bytes: bytes.into_inner() })
}

fn sequential(file: &Path) -> io::Result<Done> {
    let mut file = File::open(file)?;
    let (mut buffer, mut bytes) = (vec![0; 1 << 20], 0);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(Done { count: 1, bytes }),
            length => bytes += length as u64,
        }
    }
}

fn random(path: &Path, jobs: usize, count: u64) -> io::Result<Done> {
    let file = File::open(path)?;
    let pages = file.metadata()?.len() / 4096;
    together(jobs, |job| {
        let (mut places, mut buffer) = (Random::new(job), [0; 4096]);
        for _ in 0..count {
            file.read_exact_at(&mut buffer, places.below(pages) * 4096)?;
        }
        Ok(())
    })?;
    Ok(Done { count: jobs as u64 * count, bytes: jobs as u64 * count * 4096 })
}

fn mapped(path: &Path, jobs: usize, count: u64) -> io::Result<Done> {
    let file = File::open(path)?;
    // SAFETY: the file lies in a read-only mount of this benchmark's own; nobody changes it.
    let map = unsafe { memmap2::Mmap::map(&file)? };
    let pages = map.len() as u64 / 4096;
    let sum = AtomicU64::new(0);
    together(jobs, |job| {
        let mut places = Random::new(job);
        for _ in 0..count {
            let at = usize::try_from(places.below(pages) * 4096).map_err(io::Error::other)?;
            sum.fetch_add(u64::from(map[at]), Ordering::Relaxed);
        }
        Ok(())
    })?;
    Ok(Done { count: jobs as u64 * count, bytes: sum.into_inner() })
}

/// Runs a job several times at once, each with its number.
fn together(jobs: usize, job: impl Fn(usize) -> io::Result<()> + Sync) -> io::Result<()> {
    let job = &job;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..jobs).map(|number| scope.spawn(move || job(number))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("no panic"))
    })
}

/// xorshift64: the same places in every run.
struct Random(u64);

impl Random {
    fn new(seed: usize) -> Self {
        Self(0x9e37_79b9_7f4a_7c15 ^ ((seed as u64 + 1) << 32))
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit.max(1)
    }
}
