//! Real mounts of real images.
//!
//! `suite` mounts as whoever runs it. `users` runs it again as an ordinary user, with fuse3's
//! helper and in a user namespace, and must itself be run by root, who can become others.
//! `vectors` mounts images that others made, and `stress` reads one in 64 threads. Nothing is skipped: a machine that can't mount fails.

mod stress;
mod suite;
mod users;
mod vectors;
