//! `pkgtool exec`

use std::ffi::OsString;
use std::path::Path;

use clap::builder::PossibleValue;
use clap::{Args, ValueEnum as _};
use serde_json::json;

use super::run::{self, RunArgs};
use crate::events;
use crate::exec::{Candidate, Places};
use crate::exit::{Failure, print_line};
use crate::input::{TrustArgs, cache_home, config_home};
use crate::launch::ladder::Via;
use crate::store::{Owner, Store};

/// Run a command, whichever package has it
///
/// COMMAND is a package's path if it has a `/`; else it is looked for, in this order, among the
/// aliases in $XDG_CONFIG_HOME/epk/commands, those in /etc/epk/commands, and the commands of
/// installed packages. The first place that has it decides. Linked under a command's name
/// (`pkgtool link`), pkgtool runs that command.
///
/// Exits as `pkgtool run` does; with 1 when several packages have the command, 127 when none has.
#[derive(Debug, Args)]
pub(crate) struct ExecArgs {
    /// Only print what COMMAND means, a candidate a line
    #[arg(long)]
    list: bool,

    /// Print candidates as JSON: with `--list`, or when there is not exactly one
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    trust: TrustArgs,

    /// How the package is made visible to the application, as for `run`
    #[arg(long, value_name = "WAY", value_enum, default_value_t, env = "EPK_RUN_VIA")]
    via: Via,

    /// The command, and arguments
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_names = ["COMMAND", "ARGS"]
    )]
    words: Vec<OsString>,
}

/// Where commands are looked for.
pub(crate) fn places() -> Places {
    // Without a home there is the system's store all the same.
    let stores = [Owner::User, Owner::System].into_iter().filter_map(|owner| Store::of(owner).ok());
    Places::new(config_home().as_deref(), cache_home(), stores.collect())
}

pub(crate) fn exec(args: &ExecArgs) -> Result<(), Failure> {
    let (word, arguments) = args.words.split_first().ok_or_else(|| Failure::usage("no command"))?;
    if word.as_encoded_bytes().starts_with(b"-") {
        let word = word.display();
        return Err(Failure::usage(format!("unknown option `{word}`")).hint(format!(
            "a command of that name comes after `--`, a package's path is `./{word}`"
        )));
    }
    let places = places();
    let not_launched = |failure: &Failure| {
        if !args.list {
            events::not_launched(Path::new(word), failure);
        }
    };
    let candidates = places.candidates(word).inspect_err(not_launched)?;
    if args.json && (args.list || candidates.len() != 1) {
        print_line(json!({
            "schema": "epk.exec/1",
            "word": word.to_string_lossy(),
            "candidates": candidates.iter().map(Candidate::to_json).collect::<Vec<_>>(),
        }))?;
    } else if args.list {
        candidates.iter().try_for_each(|candidate| print_line(candidate.line()))?;
    }
    let found = places.only(&candidates, word).inspect_err(not_launched)?;
    if args.list {
        return Ok(());
    }
    let options = args.trust.words().into_iter().chain([via(args.via)]);
    let words = found.words().into_iter().chain(arguments.iter().cloned());
    run::run(&RunArgs::of(options.chain(words))?)
}

fn via(via: Via) -> OsString {
    let value = via.to_possible_value();
    format!("--via={}", value.as_ref().map_or("auto", PossibleValue::get_name)).into()
}
