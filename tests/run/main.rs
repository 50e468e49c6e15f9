//! `pkgtool run` for real.
//!
//! `suite` runs as whoever runs the tests. `users` runs it again as an ordinary user who has no
//! setuid helper, and as root of a user namespace, and holds what only an ordinary user meets.
//! Nothing is skipped: a machine where nothing can be launched fails.

mod suite;
mod users;
