//! `drift mount`

use std::path::PathBuf;

use super::super::image::Image;
use super::super::vendor::DEFAULT_DIR;
use super::report::{Report, finish, one};
use super::{Failure, Host};
use crate::files;
use crate::json::Value;
use crate::problem::Problem;
use crate::relpath::shown;

/// Mount an image of packages where vendored packages lie, read-only.
///
/// The work is done by `pkgtool mount`, which must be beside this program or on the search path.
/// `pkgtool umount DIR` ends it.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The image
    #[arg(value_name = "IMAGE")]
    image: PathBuf,
    /// The folder on which it is mounted; it is made if it is not there
    #[arg(value_name = "DIR", default_value = DEFAULT_DIR)]
    folder: PathBuf,
    /// Print a JSON report and nothing else
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, host: &mut Host<'_>) -> Result<u8, Failure> {
    let result = mount(args, host).map_err(one);
    finish(host, args.json, result)
}

fn mount(args: &Args, host: &Host<'_>) -> Result<Report, Problem> {
    // A package file that is no image of packages is refused before anything is mounted.
    let packages = Image::open(&args.image)?.packages()?;
    files::create_dirs(&args.folder)?;
    let mut entries = std::fs::read_dir(&args.folder).map_err(|error| {
        let message = format!("cannot read `{}`: {error}", shown(&args.folder));
        Problem::new("FILE_ERROR", message)
    })?;
    if entries.next().is_some() {
        let message = "the folder is not empty: what is in it could not be seen any more";
        return Err(Problem::new("MOUNT_FAILED", message).in_file(shown(&args.folder)));
    }
    host.world.mount(&args.image, &args.folder)?;
    let packages: Vec<Value> =
        packages.iter().map(|path| shown(&path.below(&args.folder)).into()).collect();
    Ok(Report::default()
        .field("image", shown(&args.image))
        .field("folder", shown(&args.folder))
        .field("packages", Value::Array(packages)))
}
