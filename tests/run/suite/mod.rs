//! What holds for every launch, whoever launches.

mod failures;
mod imported;
mod launch;
mod lifetime;
mod profile;
mod program;
mod stamp;
mod streams;
mod view;

use std::process::Command;

use epk_tests::app::Stage;
use epk_tests::tool::Outcome;

/// Runs to the end, demands success, and gives what the application printed.
#[track_caller]
fn output(command: &mut Command) -> String {
    let done = Outcome::of(command).exits(0);
    assert_eq!(done.stderr, "");
    done.text().to_owned()
}

/// The same without arguments.
#[track_caller]
fn run(stage: &Stage) -> String {
    output(&mut stage.run([""; 0]))
}
