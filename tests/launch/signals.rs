//! What the launcher passes on, and what the first process of the namespace takes care of.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use epk_tests::app::Stage;
use epk_tests::places::{Place, places};
use epk_tests::processes::is_gone;
use epk_tests::wait;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::probe::probe;

/// A probe with which one can talk.
pub(crate) struct Talk {
    pub(crate) stage: Stage,
    pub(crate) child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Talk {
    pub(crate) fn start(place: &Place, options: &[&str], words: &[&str]) -> Self {
        let stage = place.stage(&probe());
        let mut command = place.run(&stage, options, words);
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut talk = Self { stage, input: child.stdin.take(), child, output };
        assert_eq!(talk.line(), "ready");
        talk
    }

    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("text");
        line.trim_end().to_owned()
    }

    pub(crate) fn ask(&mut self, what: &str) -> String {
        let input = self.input.as_mut().expect("not closed");
        writeln!(input, "{what}").expect("it reads");
        self.line()
    }

    fn count(&mut self, signal: Signal) -> u32 {
        let said = self.ask(&format!("count {}", signal as i32));
        said.trim_start_matches("counted ").parse().expect("a number")
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    fn finish(mut self) {
        drop(self.input.take());
        assert!(wait::for_end(&mut self.child).success());
        self.stage.is_left_clean();
    }
}

/// Once each, whether the launcher alone gets a signal or its whole process group, the application
/// included.
#[test]
fn every_signal_arrives_once() {
    for place in places() {
        let mut talk = Talk::start(&place, &[], &["count"]);
        for round in 1..=5 {
            kill(talk.pid(), Signal::SIGUSR1).expect("it is there");
            wait::until("the launcher's signal", || talk.count(Signal::SIGUSR1) >= 2 * round - 1);
            killpg(talk.pid(), Signal::SIGUSR1).expect("it is there");
            wait::until("the group's signal", || talk.count(Signal::SIGUSR1) >= 2 * round);
            // What comes later shows that no second one is under way.
            kill(talk.pid(), Signal::SIGUSR2).expect("it is there");
            wait::until("a later signal", || talk.count(Signal::SIGUSR2) >= round);
            assert_eq!(talk.count(Signal::SIGUSR1), 2 * round, "{}", place.name);
        }
        for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT] {
            kill(talk.pid(), signal).expect("it is there");
            wait::until("the signal", || talk.count(signal) == 1);
        }
        talk.finish();
    }
}

#[test]
fn what_loses_its_parent_is_waited_for_and_ends_with_the_application() {
    for place in places() {
        let mut talk = Talk::start(&place, &[], &["orphans"]);
        let others = || -> Vec<i32> {
            let all = talk.stage.processes();
            all.into_iter().filter(|&pid| is_zombie(pid)).collect()
        };
        wait::until("nobody waits to be waited for", || others().is_empty());
        assert!(talk.stage.processes().len() >= 10, "the orphans are gone, and nothing was shown");
        assert_eq!(talk.ask("exit 9"), "");
        assert_eq!(wait::for_end(&mut talk.child).code(), Some(9));
        talk.stage.is_left_clean();
    }
}

fn is_zombie(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z'))
}

/// Whoever is killed takes all others along, while the application would rather go on.
#[test]
fn each_process_takes_the_others_along() {
    for place in places() {
        let roles: [(&str, Find); 4] = [
            ("launcher", |talk| talk.child.id().cast_signed()),
            ("init", |talk| role(talk, |parent, me| parent == me)),
            ("application", |talk| {
                let init = role(talk, |parent, me| parent == me);
                role(talk, move |parent, _| parent == init)
            }),
            ("server", |talk| talk.stage.server(talk.child.id()).as_raw()),
        ];
        for (name, find) in roles {
            let mut talk = Talk::start(&place, &[], &["converse"]);
            let victim = find(&talk);
            kill(Pid::from_raw(victim), Signal::SIGKILL).expect("it is there");
            let status = wait::for_end(&mut talk.child);
            assert_eq!(status.signal(), Some(9), "{}: {name}: {status}", place.name);
            wait::until("the victim is gone", || is_gone(victim));
            talk.stage.is_left_clean();
        }
    }
}

/// Finds a process of a launch.
type Find = fn(&Talk) -> i32;

/// The process of a launch, in the launcher's session, whose parent is as wanted.
fn role(talk: &Talk, wanted: impl Fn(i32, i32) -> bool) -> i32 {
    let launcher = talk.child.id().cast_signed();
    let server = talk.stage.server(talk.child.id()).as_raw();
    let parent = |pid: i32| -> Option<i32> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
    };
    let found: Vec<i32> = talk
        .stage
        .processes()
        .into_iter()
        .filter(|&pid| pid != launcher && pid != server)
        .filter(|&pid| parent(pid).is_some_and(|parent| wanted(parent, launcher)))
        .collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found[0]
}

/// The launcher holds nothing open that the application lets go of.
#[test]
fn a_stream_that_the_application_closes_is_closed() {
    for place in places() {
        let stage = place.stage(&probe());
        let mut command = place.run(&stage, &[], &["detach"]);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
        let output = wait::read_to_end("its output", child.stdout.take().expect("a pipe"));
        assert_eq!(String::from_utf8_lossy(&output), "detached\n");
        assert!(child.try_wait().expect("a child").is_none(), "it has ended, nothing was shown");
        drop(child.stdin.take());
        assert!(wait::for_end(&mut child).success());
        stage.is_left_clean();
    }
}
