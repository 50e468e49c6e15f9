//! Pack, verify, mount and run applications shipped as one EPK file.
fn main() {}
