//! What an application is given of the host: the levels, as a table, and the plan of one launch,
//! as data. Nothing here acts: `namespace` and `launch` do what a plan says, `--dry-run` shows it.

mod level;
mod plan;
mod show;

pub(crate) use level::{Capabilities, Level, Namespace};
pub(crate) use plan::{Access, BINARY, Bind, Data, Facts, Mount, Options, Plan};
pub(crate) use show::{Program, json, lines};

/// Where the package is seen.
pub(crate) const PACKAGE: &str = "/package";
/// Where the application's own folder is seen.
pub(crate) const USER_DATA: &str = "/user-data";
