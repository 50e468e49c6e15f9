//! What holds for every launch, whoever launches.

mod arch;
mod failures;
mod imported;
mod launch;
mod lifetime;
mod loader;
mod log;
mod profile;
mod program;
mod stamp;
mod streams;
mod view;

use std::ffi::OsString;
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

/// A command, with the environment of a launch, in a mount namespace of its own where `before`
/// was done.
fn in_changed_view(
    stage: &Stage,
    before: &str,
    words: impl IntoIterator<Item = OsString>,
) -> Command {
    let mut command = Command::new("/usr/bin/unshare");
    if !epk_tests::users::is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(["--mount", "--", "/bin/sh", "-ec"]);
    command.arg(format!("{before}\nexec \"$0\" \"$@\"")).args(words).env_clear();
    for (key, value) in stage.run([""; 0]).get_envs() {
        command.env(key, value.unwrap_or_default());
    }
    command
}
