//! Copies the packages that the format's own seeds are: `seeds FOLDER`.

use std::path::Path;
use std::process::Command;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args_os().nth(1).ok_or("usage: seeds FOLDER")?;
    let target = Path::new(&folder).join("extract");
    std::fs::create_dir_all(&target)?;
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../epk-format/fuzz");
    let made = tempfile::tempdir()?;
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["run", "--quiet", "--bin", "seeds", "--"])
        .arg(made.path())
        .current_dir(seeds)
        .status()?;
    if !status.success() {
        return Err("the format's seeds could not be made".into());
    }
    for entry in std::fs::read_dir(made.path().join("open"))? {
        let entry = entry?;
        std::fs::copy(entry.path(), target.join(entry.file_name()))?;
    }
    Ok(())
}
