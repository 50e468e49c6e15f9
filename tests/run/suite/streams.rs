//! Standard streams and inherited descriptors.

use std::io::Write;
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio, id};

use epk_tests::app::{App, Stage};
use epk_tests::tool::Outcome;
use epk_tests::tree::Random;
use epk_tests::wait;

#[test]
fn streams_pass_through_unchanged() {
    let stage = Stage::new(&App::script("cat; echo to stderr >&2"));
    let bytes = Random::new(1).noise(3 << 20);
    let mut child = stage
        .run([""; 0])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    let sent = bytes.clone();
    let writer = std::thread::spawn(move || stdin.write_all(&sent));
    let out = wait::read_to_end("standard output", child.stdout.take().expect("a pipe"));
    let err = wait::read_to_end("standard error", child.stderr.take().expect("a pipe"));
    writer.join().expect("no panic").expect("all is read");
    assert!(out == bytes, "{} bytes of {}", out.len(), bytes.len());
    assert_eq!(err, b"to stderr\n");
    assert!(wait::for_end(&mut child).success());
}

#[test]
fn closed_streams_stay_closed() {
    let script = "for fd in 0 1 2; do test -e /proc/$$/fd/$fd && echo $fd >> /user-data/open\n\
        done; echo done > /user-data/done; exit 0";
    let stage = Stage::new(&App::script(script));
    // What `Command` can't do, the shell can.
    let mut command = through_a_shell(&stage.run([""; 0]), "exec \"$0\" \"$@\" <&- >&- 2>&-");
    assert!(command.status().expect("it starts").success());
    assert!(stage.user_data().join("done").exists());
    stage.is_left_clean();
}

/// A detached grandchild that lets go of everything, waits for `gate`, looks at the package, and
/// tells.
const DETACH: &str = "mkfifo /user-data/gate\n\
    ( exec 3>&- 0</dev/null 1>/dev/null 2>/dev/null\n\
      read line < /user-data/gate; cat /package/late > /user-data/seen\n\
    ) & echo started; exit 7";

#[test]
fn readers_see_the_end_with_the_main_process() {
    let stage = Stage::new(&App::script(DETACH).with_file("late", "still here"));
    let (third, third_end) = std::io::pipe().expect("a pipe");
    // Descriptor 3, as a shell's `3>` or make's job server would have it.
    let opened = format!("exec \"$0\" \"$@\" 3>/proc/{}/fd/{}", id(), third_end.as_raw_fd());
    let mut child = through_a_shell(&stage.run_with(&["--no-pid-namespace"]), &opened)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let out = wait::read_to_end("standard output", child.stdout.take().expect("a pipe"));
    assert_eq!(String::from_utf8_lossy(&out), "started\n");
    let err = wait::read_to_end("standard error", child.stderr.take().expect("a pipe"));
    assert_eq!(String::from_utf8_lossy(&err), "");
    drop(third_end);
    assert_eq!(wait::read_to_end("descriptor 3", third), b"");
    assert_eq!(wait::for_end(&mut child).code(), Some(7));

    // The grandchild is there, and so is its package.
    assert!(!stage.processes().is_empty(), "the grandchild is gone, and nothing was shown");
    std::fs::write(stage.user_data().join("gate"), "go\n").expect("the grandchild reads");
    stage.is_left_clean();
    let seen = std::fs::read_to_string(stage.user_data().join("seen")).expect("it was written");
    assert_eq!(seen, "still here");
}

/// A launch by a shell's command, which finds the words of the launch in `"$0" "$@"`.
fn through_a_shell(launch: &Command, script: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]).arg(launch.get_program()).args(launch.get_args()).env_clear();
    for (key, value) in launch.get_envs() {
        command.env(key, value.unwrap_or_default());
    }
    command
}

#[test]
fn nothing_is_open_that_was_not_passed_on() {
    // The test's own descriptors are passed on, as to any program.
    let ls = std::fs::read("/bin/ls").expect("a program");
    let stage = Stage::new(&App::empty().with_program("bin/app", ls));
    let open = |command: &mut Command| {
        Outcome::of(command.arg("/proc/self/fd").stdin(Stdio::null())).exits(0).text().to_owned()
    };
    assert_eq!(open(&mut stage.run([""; 0])), open(&mut Command::new("/bin/ls")));
}
