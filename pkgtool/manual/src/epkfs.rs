//! `epkfs` reads its arguments as mount(8) and FUSE's tools write them, without clap. So what is
//! said of it here is written by hand; `tests/manual.rs` holds it together with `epkfs --help`.

use clap::{Arg, ArgAction, Command, ValueHint};

/// What may stand after `-o`.
const MOUNT_OPTIONS: [&str; 13] = [
    "allow_other",
    "noexec",
    "uid=",
    "gid=",
    "cache=",
    "threads=",
    "signature=disabled",
    "signature=optional",
    "signature=required",
    "verify=once",
    "verify=full",
    "trust=",
    "log=",
];

pub(crate) fn command() -> Command {
    let flag = |id: &'static str| Arg::new(id).action(ArgAction::SetTrue);
    let ignored = "Accepted for mount(8), without effect";
    Command::new("epkfs")
        .about("Mount an EPK package, read-only")
        .long_about(
            "Mounts an EPK package, read-only; every block is verified before a byte of it is \
             delivered. Linked as /sbin/mount.fuse.epkfs it serves `mount -t fuse.epkfs` and \
             /etc/fstab; mount.fuse3 finds it on PATH.",
        )
        .version(env!("CARGO_PKG_VERSION"))
        .arg(
            Arg::new("image")
                .value_name("IMAGE")
                .required(true)
                .value_hint(ValueHint::FilePath)
                .help("The package"),
        )
        .arg(
            Arg::new("mountpoint")
                .value_name("MOUNTPOINT")
                .required(true)
                .value_hint(ValueHint::DirPath)
                .help("The folder on which it is mounted"),
        )
        .arg(
            Arg::new("options")
                .short('o')
                .value_name("OPTIONS")
                .action(ArgAction::Append)
                .value_delimiter(',')
                .help(format!(
                    "Mount options, comma-separated: {}; those for mount(8) and systemd are accepted",
                    MOUNT_OPTIONS.join(", ")
                )),
        )
        .arg(flag("foreground").short('f').help(
            "Stay in the foreground; without it, return when the mount answers",
        ))
        .arg(
            Arg::new("ready-fd")
                .long("ready-fd")
                .value_name("N")
                .help("Write one line of JSON to descriptor N when the mount answers, or never will"),
        )
        .arg(flag("s").short('s').help(ignored))
        .arg(flag("n").short('n').help(ignored))
        .arg(flag("v").short('v').help(ignored))
        .after_help(
            "Exit status: 0 mounted (with -f: and unmounted again), 2 usage, 3 environment, \
             4 invalid package, 5 signature.",
        )
}
