//! How long it takes to open, search, read and write packages: `cargo bench -p epk-format`.
//!
//! Everything is in memory, and packages are made only when what they are for is measured.
//! `benches/instructions.rs` counts what some of this costs on any machine.

// Of criterion's macro.
#![allow(missing_docs)]

use std::cell::LazyCell;
use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use epk_format::Package;
use epk_format::package::Scratch;

mod samples;
use samples::{BLOCK, FORMATS};

/// Files of the packages that are opened and searched.
const SIZES: [usize; 3] = [100, 1_000, 10_000];

fn open(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("open");
    for (format, name) in FORMATS {
        for files in SIZES {
            let image = LazyCell::new(|| samples::pack(&samples::many(format, files)));
            group.throughput(Throughput::Elements(files as u64));
            group.bench_function(BenchmarkId::new(name, files), |bencher| {
                let image: &Vec<u8> = &image;
                bencher.iter(|| samples::open(black_box(image)));
            });
        }
    }
}

/// All that is looked up or listed has been before: pages of metadata are in memory, as far as
/// they are kept.
fn search(criterion: &mut Criterion) {
    for (format, name) in FORMATS {
        for files in SIZES {
            let image = LazyCell::new(|| samples::pack(&samples::many(format, files)));
            let package = LazyCell::new(|| samples::open(&image));
            for (what, search) in [
                ("lookup", samples::look_up as fn(&_, usize) -> u64),
                ("list", |package, _| samples::list(package)),
            ] {
                let mut group = criterion.benchmark_group(what);
                group.throughput(Throughput::Elements(files as u64));
                group.bench_function(BenchmarkId::new(name, files), |bencher| {
                    let package: &Package<&[u8]> = &package;
                    bencher.iter(|| search(black_box(package), files));
                });
            }
        }
    }
}

/// Inflates and verifies one block.
fn block(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("block");
    group.throughput(Throughput::Bytes(BLOCK as u64));
    for (format, name) in FORMATS {
        let image = samples::pack(&samples::big(format, BLOCK));
        let package = samples::open(&image);
        let (mut scratch, mut plain) = (Scratch::default(), vec![0; BLOCK]);
        group.bench_function(name, |bencher| {
            bencher.iter(|| samples::read_block(black_box(&package), &mut scratch, &mut plain));
        });
    }
}

fn write(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("write");
    group.sample_size(10);
    for (format, name) in FORMATS {
        for (what, sample) in
            [("many", samples::many(format, 1_000)), ("big", samples::big(format, 64 * BLOCK))]
        {
            group.throughput(Throughput::Bytes(sample.bytes as u64));
            group.bench_function(BenchmarkId::new(name, what), |bencher| {
                bencher.iter(|| samples::pack(black_box(&sample)));
            });
        }
    }
}

criterion_group!(benches, open, search, block, write);
criterion_main!(benches);
