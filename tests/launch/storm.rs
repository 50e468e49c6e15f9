//! Many launches: one after another, at once, and killed at any moment. Nothing may be left.
//!
//! `EPK_TEST_LAUNCHES` says how many come one after another, 1000 unless it is set.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use epk_tests::places::places;
use epk_tests::processes::{is_gone, mounts_about};
use epk_tests::tool::Outcome;
use epk_tests::tree::Random;
use epk_tests::wait;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::probe::probe;

fn launches() -> u32 {
    match std::env::var("EPK_TEST_LAUNCHES") {
        Ok(text) => text.parse().expect("EPK_TEST_LAUNCHES is a number"),
        Err(_) => 1000,
    }
}

/// What all launches leave unchanged: this process's mounts, and how many processes wait for it.
fn table() -> (Vec<String>, usize) {
    let all = std::fs::read_to_string("/proc/self/mountinfo").expect("/proc is mounted");
    (mounts_about("/package"), all.lines().count())
}

#[test]
fn a_thousand_in_a_row() {
    let places = places();
    let stages: Vec<_> = places.iter().map(|place| place.stage(&probe())).collect();
    let before = table();
    let start = Instant::now();
    let launches = launches();
    for (number, (place, stage)) in (0..launches).zip(places.iter().zip(&stages).cycle()) {
        let status = (number % 256).to_string();
        let done = Outcome::of(&mut place.run(stage, &[], &["exit", &status]));
        let _done = done.exits((number % 256).cast_signed());
    }
    println!("{launches} launches in {:?}", start.elapsed());
    stages.iter().for_each(|stage| stage.is_left_clean());
    assert_eq!(table(), before);
}

#[test]
fn fifty_at_once() {
    let places = places();
    let stages: Vec<_> = places.iter().map(|place| place.stage(&probe())).collect();
    let before = table();
    let mut children: Vec<_> = (0..50)
        .zip(places.iter().zip(&stages).cycle())
        .map(|(_, (place, stage))| {
            let mut command = place.run(stage, &[], &["converse"]);
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts")
        })
        .collect();
    let mut outputs: Vec<_> = children
        .iter_mut()
        .map(|child| BufReader::new(child.stdout.take().expect("a pipe")).lines())
        .collect();
    // All are there before the first one ends.
    for output in &mut outputs {
        assert_eq!(output.next().expect("a line").expect("text"), "ready");
    }
    for (number, child) in children.iter_mut().enumerate() {
        let mut input = child.stdin.take().expect("a pipe");
        writeln!(input, "exit {number}").expect("it reads");
        assert_eq!(wait::for_end(child).code(), i32::try_from(number).ok());
    }
    stages.iter().for_each(|stage| stage.is_left_clean());
    assert_eq!(table(), before);
}

/// Whichever process it hits, and at whichever moment: the rest ends by itself. Only the one that
/// forks the server off may be missed, once it has.
#[test]
fn a_hundred_killed_at_any_time() {
    let places = places();
    let before = table();
    let mut random = Random::new(5);
    let (mut launchers, mut others, mut missed) = (0, 0, 0);
    for (number, place) in (0..100).zip(places.iter().cycle()) {
        let stage = place.stage(&probe());
        let options: &[&str] =
            if number % 5 == 0 { &["--isolation", "sealed"] } else { &["--fresh"] };
        let mut command = place.run(&stage, options, &["converse"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("it starts");
        let launcher = child.id().cast_signed();
        // The application waits for its input as long as this is there.
        let input = child.stdin.take();
        wait::a_while(Duration::from_micros(random.below(60_000)));
        let processes = stage.processes();
        let at = usize::try_from(random.below(processes.len().max(1) as u64)).expect("small");
        let victim = processes.get(at).copied().unwrap_or(launcher);
        let _killed = kill(Pid::from_raw(victim), Signal::SIGKILL);
        wait::until("the victim is gone", || is_gone(victim));
        let ready = says_ready(child.stdout.take().expect("a pipe"));
        let mut end = None;
        wait::until("the others end, or all are there", || {
            end = child.try_wait().expect("a child");
            // Launcher, init, application, server.
            end.is_some() || ready.load(Ordering::Relaxed) && stage.processes().len() >= 4
        });
        drop(input);
        match end {
            Some(status) => {
                assert!(!status.success(), "{number}, {}: {status}", place.name);
                *(if victim == launcher { &mut launchers } else { &mut others }) += 1;
            }
            None => {
                assert!(wait::for_end(&mut child).success(), "{number}, {}", place.name);
                missed += 1;
            }
        }
        stage.is_left_clean();
    }
    println!("killed: {launchers} launchers, {others} others; {missed} missed");
    assert!(launchers > 0 && others > 0 && missed < 50);
    assert_eq!(table(), before);
}

/// Whether the application has begun.
fn says_ready(output: impl Read + Send + 'static) -> Arc<AtomicBool> {
    let ready = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&ready);
    thread::spawn(move || {
        let line = BufReader::new(output).lines().next();
        seen.store(line.is_some_and(|line| line.is_ok_and(|l| l == "ready")), Ordering::Relaxed);
    });
    ready
}
