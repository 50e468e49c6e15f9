//! What fuzz targets call of this crate. No other build has it.

use std::fs::File;
use std::path::Path;
use std::sync::LazyLock;

use epk_format::Package;

use crate::exit::Failure;
use crate::extract::{Staging, Writer};
use crate::select;
use crate::signals::Deferred;

/// Unpacks a package into a folder that is not there, as `pkgtool extract` does; says whether it
/// could.
pub fn extract(package: &Package<File>, target: &Path) -> bool {
    // Handlers stay for ever: one is enough.
    static SIGNALS: LazyLock<Deferred> = LazyLock::new(|| Deferred::new().expect("handlers"));
    let unpack = || -> Result<(), Failure> {
        let staging = Staging::new(target)?;
        let mut writer = Writer::new(package, target, staging.folder(), &SIGNALS)?;
        select::walk(package, target, &[], |visit| writer.write(&visit))?;
        writer.finish()?;
        staging.publish()
    };
    unpack().is_ok()
}
