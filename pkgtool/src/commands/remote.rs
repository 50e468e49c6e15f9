//! The commands that talk to servers, which are done by `pkgtool-remote`.

use clap::Subcommand;

use super::fetch::{self, FetchArgs};
use super::push::{self, PushArgs};
use super::search::{self, SearchArgs};
use super::update::{self, OutdatedArgs, UpdateArgs};
use crate::exit::Failure;

#[derive(Debug, Subcommand)]
pub(crate) enum RemoteCommand {
    Fetch(FetchArgs),
    Search(SearchArgs),
    Outdated(OutdatedArgs),
    Update(UpdateArgs),
    Push(PushArgs),
}

impl RemoteCommand {
    /// Only for `pkgtool-remote`: whoever calls it links all network code.
    pub(crate) fn run(&self) -> Result<(), Failure> {
        match self {
            Self::Fetch(args) => fetch::fetch(args),
            Self::Search(args) => search::search(args),
            Self::Outdated(args) => update::outdated(args),
            Self::Update(args) => update::update(args),
            Self::Push(args) => push::push(args),
        }
    }
}
