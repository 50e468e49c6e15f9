//! One piece of work some times over, for `scripts/instructions` to count what it costs.
//!
//! `instructions` alone prints the names; `instructions NAME TIMES` does it. What it takes to get
//! ready is the same for any number of times, 0 included, so two runs tell what one time costs.

use std::hint::black_box;
use std::process::ExitCode;

use epk_format::package::Scratch;
use epk_format::write::Format;

mod samples;
use samples::{BLOCK, FORMATS};

/// Files of the packages that are opened and searched.
const FILES: usize = 1_000;

/// The pieces of work, and how often each is done in each format: for a hundred million
/// instructions or more, beside which the chance in hash tables and threads of what gets ready, a
/// million, is small.
const WORK: [(&str, [usize; 2]); 5] = [
    ("open", [4, 100]),
    ("lookup", [50, 20]),
    ("list", [5_000, 100]),
    ("block", [50, 100]),
    ("write", [1, 1]),
];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    match words.as_slice() {
        [] => {
            for (at, (_, format)) in FORMATS.iter().enumerate() {
                for (name, times) in WORK {
                    println!("{name}-{format} {}", times[at]);
                }
            }
            ExitCode::SUCCESS
        }
        [name, times] => {
            let format = FORMATS.iter().find_map(|(format, suffix)| {
                Some((*format, name.strip_suffix(suffix)?.strip_suffix('-')?))
            });
            match (format, times.parse()) {
                (Some((format, work)), Ok(times)) if perform(work, format, times) => {
                    ExitCode::SUCCESS
                }
                _ => complain(),
            }
        }
        _ => complain(),
    }
}

fn complain() -> ExitCode {
    eprintln!("usage: instructions [NAME TIMES]");
    ExitCode::from(2)
}

/// `false` when there is no such work.
fn perform(work: &str, format: Format, times: usize) -> bool {
    let many = || samples::many(format, FILES);
    match work {
        "open" => {
            let image = samples::pack(&many());
            for _ in 0..times {
                let _opened = black_box(samples::open(black_box(&image)));
            }
        }
        "lookup" | "list" => {
            let image = samples::pack(&many());
            let package = samples::open(&image);
            // What is searched was searched before.
            black_box((samples::look_up(&package, FILES), samples::list(&package)));
            for _ in 0..times {
                black_box(match work {
                    "lookup" => samples::look_up(black_box(&package), FILES),
                    _ => samples::list(black_box(&package)),
                });
            }
        }
        "block" => {
            let image = samples::pack(&samples::big(format, BLOCK));
            let package = samples::open(&image);
            let (mut scratch, mut plain) = (Scratch::default(), vec![0; BLOCK]);
            for _ in 0..times {
                samples::read_block(black_box(&package), &mut scratch, &mut plain);
            }
        }
        "write" => {
            let sample = many();
            for _ in 0..times {
                black_box(samples::pack(black_box(&sample)));
            }
        }
        _ => return false,
    }
    true
}
