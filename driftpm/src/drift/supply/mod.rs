//! The packages of a project's lock on their way to a compiler: out of repositories into the
//! cache, from there into the vendor directory or an image, and found again where they are used.

mod check;
mod fetch;
mod roots;
mod vendor;

pub use check::{check_locked, check_platform};
pub use fetch::{Fetched, fetch_locked};
pub use roots::{Root, Roots, Where, local_packages};
pub use vendor::{Vendored, vendor_image, vendor_locked};
