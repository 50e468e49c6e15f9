//! Whether the kernel runs packages as programs (binfmt_misc).

use std::fs;
use std::path::Path;

use super::{Finding, State};

const CHECK: &str = "binfmt";
const FOLDER: &str = "/proc/sys/fs/binfmt_misc";
/// How the kernel shows the magic of packages.
const MAGIC: &str = "magic 45504b31";

pub(super) fn examine() -> Finding {
    let remedy = "as root: `cp pkgtool/system/binfmt.d/epk.conf /etc/binfmt.d/ && systemctl restart \
                  systemd-binfmt`";
    let entries = fs::read_dir(FOLDER).into_iter().flatten().flatten();
    let texts = entries.filter_map(|entry| fs::read_to_string(entry.path()).ok());
    let Some(text) = texts.into_iter().find(|text| text.lines().any(|line| line == MAGIC)) else {
        let found = "the kernel doesn't run packages as programs (`./app.epk`)";
        return Finding::new(CHECK, State::Note, "absent", found).remedy(remedy);
    };
    let interpreter = text.lines().find_map(|line| line.strip_prefix("interpreter "));
    let interpreter = interpreter.unwrap_or_default();
    let broken = |why: &str| {
        let found = format!("packages run by `{interpreter}`, which {why}");
        Finding::new(CHECK, State::Note, "broken", found)
    };
    if !text.lines().any(|line| line == "enabled") {
        return broken("is switched off").remedy(format!("`echo 1 > {FOLDER}/epk` as root"));
    }
    if !Path::new(interpreter).exists() {
        return broken("is not there").remedy(format!("`ln -s pkgtool {interpreter}` as root"));
    }
    Finding::ok(CHECK, "fine", format!("packages run by `{interpreter}`"))
}
