//! What holds for every mount, whoever mounts and however.

mod attributes;
mod background;
mod cache;
mod concurrency;
mod damage;
mod holes;
mod lifecycle;
mod log;
mod refusals;
mod view;
mod writes;

use std::fs::File;

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

/// Makes the kernel forget a file's pages and read no further than it is asked.
fn random_access(file: &File) {
    for advice in [PosixFadviseAdvice::POSIX_FADV_DONTNEED, PosixFadviseAdvice::POSIX_FADV_RANDOM] {
        posix_fadvise(file, 0, 0, advice).expect("advice is taken");
    }
}
