//! Mount and server live as long as the application's last process, and no longer.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Stdio};

use epk_tests::app::{App, Stage};
use epk_tests::processes::{is_confined, is_gone};
use epk_tests::wait;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Starts an application that says `ready`.
fn start(stage: &Stage, options: &[&str]) -> (Child, impl Iterator<Item = String> + use<>) {
    let mut command = stage.run_with(options);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut lines = lines.map(|line| line.expect("text"));
    assert_eq!(lines.next().as_deref(), Some("ready"));
    (child, lines)
}

/// In the process namespace of the host, where the application is the process that was started.
const OPEN: &[&str] = &["--no-pid-namespace"];

#[test]
fn one_server_serves_and_ends_with_the_application() {
    let stage = Stage::new(&App::script("echo ready; read line"));
    for (options, processes) in [(OPEN, 2), (&[], 4)] {
        let (mut child, _lines) = start(&stage, options);
        let server = stage.server(child.id());
        // The application and its server; a launcher and an init besides.
        assert_eq!(stage.processes().len(), processes, "{options:?}");
        is_confined(server);
        drop(child.stdin.take());
        wait::for_end(&mut child);
        wait::until("the server ends", || is_gone(server.as_raw()));
        stage.is_left_clean();
    }
}

#[test]
fn what_runs_on_in_the_background_ends_with_the_application() {
    let script = "( read line < /dev/full ) & sleep 1000 & echo ready; read line; exit 3";
    let stage = Stage::new(&App::script(script));
    let (mut child, _lines) = start(&stage, &[]);
    assert!(stage.processes().len() >= 5, "nothing runs in the background");
    drop(child.stdin.take());
    assert_eq!(wait::for_end(&mut child).code(), Some(3));
    stage.is_left_clean();
}

#[test]
fn what_runs_on_in_the_background_keeps_the_package() {
    let script = "mkfifo gate\n\
        ( sh -c 'read line < gate; cat /package/late > seen; sh /package/bin/more' ) \
        </dev/null >/dev/null 2>&1 &\necho ready; read line; exit 3";
    let stage = Stage::new(
        &App::script(script).with_file("late", "late").with_script("bin/more", "echo more >> seen"),
    );
    let (mut child, _lines) = start(&stage, OPEN);
    let server = stage.server(child.id());
    drop(child.stdin.take());
    assert_eq!(wait::for_end(&mut child).code(), Some(3));
    kill(server, None).expect("the server serves on");
    fs::write(stage.user_data().join("gate"), "go\n").expect("the grandchild reads");
    stage.is_left_clean();
    let seen = fs::read_to_string(stage.user_data().join("seen")).expect("it was written");
    assert_eq!(seen, "latemore\n");
}

#[test]
fn a_killed_application_takes_all_with_it() {
    let stage = Stage::new(&App::script("echo ready; read line"));
    for options in [OPEN, &[]] {
        let (mut child, _lines) = start(&stage, options);
        child.kill().expect("it is there");
        wait::for_end(&mut child);
        stage.is_left_clean();
    }
}

#[test]
fn a_killed_server_is_an_error_for_the_application_and_leaves_nothing() {
    let script = "echo ready; read line; cat /package/file; ls /package/folder; echo status $?";
    let stage = Stage::new(&App::script(script).with_file("file", "x").with_file("folder/f", "y"));
    let mut command = stage.run_with(OPEN);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut lines = lines.map(|line| line.expect("text"));
    assert_eq!(lines.next().as_deref(), Some("ready"));
    let server = stage.server(child.id());
    kill(server, Signal::SIGKILL).expect("it is there");
    wait::until("the server is gone", || is_gone(server.as_raw()));
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(b"go\n").expect("the application lives");
    assert_eq!(lines.next().as_deref(), Some("status 2"));
    let errors = wait::read_to_end("its errors", child.stderr.take().expect("a pipe"));
    let errors = String::from_utf8_lossy(&errors);
    assert_eq!(errors.matches("Transport endpoint is not connected").count(), 2, "{errors}");
    assert!(wait::for_end(&mut child).success());
    stage.is_left_clean();
}

#[test]
fn signals_to_the_group_do_not_end_the_server() {
    // Ctrl-C reaches every process of the terminal's foreground group.
    let script = "trap 'cat /package/late; exit 5' INT; echo ready; while read line; do :; done";
    let stage = Stage::new(&App::script(script).with_file("late", "served on\n"));
    let mut command = stage.run([""; 0]);
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut lines = lines.map(|line| line.expect("text"));
    assert_eq!(lines.next().as_deref(), Some("ready"));
    let group = Pid::from_raw(-i32::try_from(child.id()).expect("a process id"));
    kill(group, Signal::SIGINT).expect("it is there");
    assert_eq!(lines.next().as_deref(), Some("served on"));
    assert_eq!(wait::for_end(&mut child).code(), Some(5));
    stage.is_left_clean();
}

#[test]
fn a_package_file_removed_or_replaced_meanwhile_does_no_harm() {
    let stage =
        Stage::new(&App::script("echo ready; read line; cat /package/f").with_file("f", "ok\n"));
    for replace in [false, true] {
        let image = fs::read(stage.image()).expect("readable");
        let (mut child, mut lines) = start(&stage, &[]);
        fs::remove_file(stage.image()).expect("it is there");
        if replace {
            fs::write(stage.image(), "something else").expect("writable");
        }
        drop(child.stdin.take());
        assert_eq!(lines.next().as_deref(), Some("ok"));
        assert!(wait::for_end(&mut child).success());
        fs::write(stage.image(), image).expect("writable");
    }
    stage.is_left_clean();
}
