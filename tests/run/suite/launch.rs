//! What is launched, with which arguments, and how it ends.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use epk_tests::app::{App, Stage};
use epk_tests::tool::Outcome;
use epk_tests::wait;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::output;

/// Says which script it is, and its arguments, each ended by a NUL byte.
const TELL: &str = r#"printf '%s\0' "${0##*/}" "$@""#;

fn teller() -> Stage {
    let app = App::script(TELL).with_script("bin/tool", TELL).with_script("bin/-x", TELL);
    Stage::new(&app.with_command("tool", "/bin/tool").with_command("t.2", "/bin/-x"))
}

#[track_caller]
fn told(stage: &Stage, words: &[&[u8]]) -> Vec<Vec<u8>> {
    let done = Outcome::of(&mut stage.run(words.iter().map(|w| OsStr::from_bytes(w)))).quietly();
    let mut told: Vec<Vec<u8>> = done.split(|&byte| byte == 0).map(<[u8]>::to_vec).collect();
    assert_eq!(told.pop().as_deref(), Some(&b""[..]), "what is after the last NUL");
    told
}

#[test]
fn the_first_word_may_name_a_command() {
    let stage = teller();
    type Words<'w> = &'w [&'w [u8]];
    let cases: &[(Words<'_>, Words<'_>)] = &[
        (&[], &[b"app"]),
        (&[b"x", b"y"], &[b"app", b"x", b"y"]),
        (&[b"tool"], &[b"tool"]),
        (&[b"tool", b"x", b"--", b"tool"], &[b"tool", b"x", b"--", b"tool"]),
        (&[b"t.2", b"x"], &[b"-x", b"x"]),
        (&[b"--", b"tool"], &[b"app", b"tool"]),
        (&[b"--", b"--", b"-"], &[b"app", b"--", b"-"]),
        (&[b"--"], &[b"app"]),
        (&[b"x", b"tool"], &[b"app", b"x", b"tool"]),
        (&[b"--help"], &[b"app", b"--help"]),
        (&[b"-V", b"--signature", b"no"], &[b"app", b"-V", b"--signature", b"no"]),
    ];
    for (words, expected) in cases {
        assert_eq!(told(&stage, words), *expected);
    }
    stage.is_left_clean();
}

#[test]
fn arguments_arrive_as_they_are() {
    let long = vec![b'l'; 100_000];
    let words: [&[u8]; 12] = [
        b"two words",
        b"",
        b" ",
        b"\xff\xfe not UTF-8 \x80",
        b"line\nfeed",
        b"*",
        b"$HOME `id` \"'\\",
        b"--",
        b"-",
        b"",
        "ü".as_bytes(),
        &long,
    ];
    let stage = teller();
    let mut expected: Vec<&[u8]> = words.to_vec();
    expected.insert(0, b"app");
    assert_eq!(told(&stage, &words), expected);
}

#[test]
fn every_exit_status_is_passed_on() {
    let stage = Stage::new(&App::script("exit $1"));
    for status in 0..=255 {
        let done = Outcome::of(&mut stage.run([status.to_string()])).exits(status);
        assert_eq!(done.stderr, "", "status {status}");
    }
    stage.is_left_clean();
}

#[test]
fn death_by_a_signal_is_seen_as_such() {
    let stage = Stage::new(&App::script("kill -$1 $$; read forever < /dev/full"));
    for signal in [Signal::SIGTERM, Signal::SIGKILL, Signal::SIGSEGV, Signal::SIGHUP] {
        let name = signal.as_str().trim_start_matches("SIG");
        let done = Outcome::of(&mut stage.run([name]));
        assert_eq!(done.status.signal(), Some(signal as i32), "{name}: {}", done.stderr);
    }
    stage.is_left_clean();
}

#[test]
fn writing_to_a_closed_pipe_kills_as_usual() {
    let stage = Stage::new(&App::script("while echo y; do :; done"));
    let mut child = stage
        .run([""; 0])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
    assert_eq!(line, "y\n");
    let status = wait::for_end(&mut child);
    assert_eq!(status.signal(), Some(Signal::SIGPIPE as i32), "{status}");
}

#[test]
fn signals_reach_the_application() {
    let script = "trap 'echo got TERM; exit 71' TERM; trap 'echo got INT; exit 72' INT\n\
        trap 'echo got USR1; exit 73' USR1; echo ready; while read line; do :; done";
    let stage = Stage::new(&App::script(script));
    let table = [(Signal::SIGTERM, 71), (Signal::SIGINT, 72), (Signal::SIGUSR1, 73)];
    for (signal, expected) in table {
        let mut child = stage
            .run([""; 0])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let mut next = || lines.next().expect("a line").expect("readable");
        assert_eq!(next(), "ready");
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("a process id"));
        kill(pid, signal).expect("it is there");
        assert_eq!(next(), format!("got {}", signal.as_str().trim_start_matches("SIG")));
        assert_eq!(wait::for_end(&mut child).code(), Some(expected));
    }
    stage.is_left_clean();
}

#[test]
fn no_signal_is_blocked_and_those_ignored_stay_so() {
    let stage = Stage::new(&App::script("exec grep -E '^Sig(Blk|Ign)' /proc/self/status"));
    let launch = stage.run([""; 0]);
    let mut command = Command::new("/usr/bin/env");
    command.args(["--block-signal=USR1", "--ignore-signal=INT", "--ignore-signal=PIPE"]);
    // With which the kernel keeps no status of children. The shell undoes it.
    command.arg("--ignore-signal=CHLD");
    command.arg(launch.get_program()).args(launch.get_args()).env_clear();
    for (key, value) in launch.get_envs() {
        command.env(key, value.unwrap_or_default());
    }
    let text = output(&mut command);
    let mask = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("a mask");
        u64::from_str_radix(line.trim(), 16).expect("a mask")
    };
    assert_eq!(mask("SigBlk:"), 0, "{text}");
    let bit = |signal: Signal| 1_u64 << (signal as i32 - 1);
    assert_ne!(mask("SigIgn:") & bit(Signal::SIGINT), 0, "{text}");
    assert_eq!(mask("SigIgn:") & bit(Signal::SIGPIPE), 0, "{text}");
}

#[test]
fn the_interpreter_may_come_from_the_package() {
    let shell = std::fs::read("/bin/sh").expect("a shell");
    let app = App::empty().with_program("bin/own-sh", shell);
    let app = app.with_program("bin/app", "#!/package/bin/own-sh\necho from $0");
    let stage = Stage::new(&app);
    assert_eq!(super::run(&stage), "from /package/bin/app\n");
}

#[test]
fn the_environment_is_passed_on_and_little_added() {
    let stage = Stage::new(&App::script("exec /usr/bin/env -0"));
    let mut command = stage.run([""; 0]);
    command.env("EMPTY", "").env("ODD", OsStr::from_bytes(b"\xff a\nb"));
    let done = Outcome::of(&mut command).quietly();
    let mut found: Vec<Vec<u8>> = done.split(|&b| b == 0).map(<[u8]>::to_vec).collect();
    let mut expected: Vec<Vec<u8>> = command
        .get_envs()
        .map(|(key, value)| {
            let value = value.unwrap_or_default();
            let first: &[u8] = if key == "PATH" { b"/package/binary:" } else { b"" };
            [key.as_bytes(), b"=", first, value.as_bytes()].concat()
        })
        .collect();
    let image = stage.image().canonicalize().expect("it is there");
    expected.push([b"EPK_PACKAGE=", image.as_os_str().as_bytes()].concat());
    let fixed = ["EPK_NAME=org.example.app", "EPK_VERSION=1.2.3", "PWD=/user-data", ""];
    expected.extend(fixed.map(|text| text.as_bytes().to_vec()));
    // What the shell adds of its own.
    found.retain(|pair| !pair.starts_with(b"_=") && !pair.starts_with(b"OLDPWD="));
    found.sort();
    expected.sort();
    let show = |pairs: &[Vec<u8>]| -> Vec<String> {
        pairs.iter().map(|pair| pair.escape_ascii().to_string()).collect()
    };
    assert_eq!(show(&found), show(&expected));
}

#[test]
fn many_run_at_once() {
    let stage = Stage::new(&App::script("read go; cat /package/bin/app | wc -c"));
    let mut children: Vec<_> = (0..8)
        .map(|_| {
            let mut command = stage.run([""; 0]);
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts")
        })
        .collect();
    for child in &mut children {
        child.stdin.take().expect("a pipe").write_all(b"go\n").expect("it reads");
    }
    for mut child in children {
        let out = wait::read_to_end("its output", child.stdout.take().expect("a pipe"));
        assert_eq!(String::from_utf8_lossy(&out).trim(), "48");
        assert!(wait::for_end(&mut child).success());
    }
    stage.is_left_clean();
}

#[test]
fn a_hundred_runs_leave_nothing() {
    let stage = Stage::new(&App::script("echo $1 > /user-data/last; cat /package/bin/app | wc -c"));
    let before = epk_tests::processes::mounts_about("/package");
    for run in 0..100 {
        assert_eq!(output(&mut stage.run([run.to_string()])).trim(), "66");
    }
    stage.is_left_clean();
    assert_eq!(epk_tests::processes::mounts_about("/package"), before);
    let last = std::fs::read_to_string(stage.user_data().join("last")).expect("it was written");
    assert_eq!(last, "99\n");
}
