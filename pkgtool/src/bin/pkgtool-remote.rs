//! The part of `pkgtool` that talks to servers. `pkgtool` executes it, people needn't.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    pkgtool::remote_main()
}
