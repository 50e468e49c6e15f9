//! `epk-manual SHARE`: writes the man pages and shell completions of `pkgtool`, `epkfs`, `drift`
//! and `boruna-pkg` to where systems keep them below a folder like `/usr/share`.
//!
//! A program of its own, so that the tools don't carry what writes these.
#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs, io};

use clap_complete::Shell;

/// Where each shell looks for completions, below SHARE.
const COMPLETIONS: [(Shell, &str); 3] = [
    (Shell::Bash, "bash-completion/completions"),
    (Shell::Zsh, "zsh/site-functions"),
    (Shell::Fish, "fish/vendor_completions.d"),
];

fn main() -> ExitCode {
    let mut arguments = env::args_os().skip(1);
    let share = match (arguments.next(), arguments.next()) {
        (Some(share), None) if !share.as_encoded_bytes().starts_with(b"-") => PathBuf::from(share),
        _ => {
            eprintln!("error: expected one argument, a folder like `/usr/share`");
            return ExitCode::from(2);
        }
    };
    match write(&share) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: cannot write below `{}`: {error}", share.display());
            ExitCode::from(3)
        }
    }
}

fn write(share: &Path) -> io::Result<()> {
    let pages = share.join("man/man1");
    fs::create_dir_all(&pages)?;
    for command in epk_manual::commands() {
        let name = command.get_name().to_owned();
        clap_mangen::generate_to(command.clone(), &pages)?;
        for (shell, folder) in COMPLETIONS {
            let folder = share.join(folder);
            fs::create_dir_all(&folder)?;
            let file = clap_complete::generate_to(shell, &mut command.clone(), &name, &folder)?;
            // bash-completion finds a file by the command's own name.
            if file.extension() == Some(OsStr::new("bash")) {
                fs::rename(&file, file.with_extension(""))?;
            }
        }
    }
    Ok(())
}
