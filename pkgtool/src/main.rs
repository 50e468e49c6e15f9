//! Pack, verify, mount and run applications shipped as one EPK file.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    pkgtool::main()
}
