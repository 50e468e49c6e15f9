//! Interactive programs on a terminal: stopping, continuing, interrupting, and whose the terminal
//! is afterwards.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use epk_tests::app::{App, Stage};
use epk_tests::places::{Place, places};
use epk_tests::wait;
use nix::pty::openpty;

use crate::probe::probe;

/// Starts a shell that asks for commands, as people do.
const SHELL: &str = "PS1='next? ' exec /bin/bash --norc --noprofile -i";

/// What that shell says when it reads. While it takes the terminal back from a program, whichever,
/// what is typed may be lost.
const PROMPT: &str = "next? ";

/// A terminal that a test types on.
struct Terminal {
    keyboard: File,
    screen: Arc<Mutex<String>>,
    child: Child,
}

impl Terminal {
    /// Starts bash with a script in a session that has the terminal; a launch is `"$@"`.
    fn start(script: &str, launch: &Command) -> Self {
        let pair = openpty(None, None).expect("a terminal");
        let mut command = Command::new("/usr/bin/setsid");
        command.args(["--ctty", "/bin/bash", "--norc", "--noprofile", "-c", script, "bash"]);
        command.arg(launch.get_program()).args(launch.get_args());
        command.current_dir(launch.get_current_dir().expect("a folder")).env_clear();
        for (key, value) in launch.get_envs() {
            command.env(key, value.unwrap_or_default());
        }
        let slave = File::from(pair.slave);
        command.stdin(Stdio::from(slave.try_clone().expect("a descriptor")));
        command.stdout(Stdio::from(slave.try_clone().expect("a descriptor")));
        command.stderr(Stdio::from(slave));
        let child = command.spawn().expect("it starts");
        drop(command);
        let keyboard = File::from(pair.master);
        let mut master = keyboard.try_clone().expect("a descriptor");
        let screen = Arc::new(Mutex::new(String::new()));
        let shown = Arc::clone(&screen);
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            // An error when the last one who has the terminal is gone.
            while let Ok(count @ 1..) = master.read(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
                shown.lock().expect("no panic").push_str(&text);
            }
        });
        Self { keyboard, screen, child }
    }

    fn type_in(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("a terminal");
    }

    fn shown(&self) -> String {
        self.screen.lock().expect("no panic").clone()
    }

    #[track_caller]
    fn shows(&self, text: &str) {
        self.shows_in_turn(&[text]);
    }

    /// Waits until the shell asks for a command after it has shown `text`.
    #[track_caller]
    fn asks_after(&self, text: &str) {
        self.shows_in_turn(&[text, PROMPT]);
    }

    #[track_caller]
    fn shows_in_turn(&self, texts: &[&str]) {
        let deadline = std::time::Instant::now() + wait::PATIENCE;
        loop {
            let shown = self.shown();
            let rest =
                texts.iter().try_fold(&shown[..], |rest, text| Some(rest.split_once(text)?.1));
            if rest.is_some() {
                return;
            }
            assert!(std::time::Instant::now() < deadline, "no {texts:?} in: {shown}");
            wait::a_while(std::time::Duration::from_millis(3));
        }
    }

    fn finish(mut self, stage: &Stage) {
        assert!(wait::for_end(&mut self.child).success());
        stage.is_left_clean();
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _killed = self.child.kill();
        let _status = self.child.wait();
    }
}

const CTRL_C: &str = "\x03";
const CTRL_Z: &str = "\x1a";

fn launch(place: &Place, app: &App, options: &[&str], words: &[&str]) -> (Stage, Command) {
    let stage = place.stage(app);
    let launch = place.run(&stage, options, words);
    (stage, launch)
}

#[test]
fn a_program_is_stopped_continued_and_interrupted() {
    let script = format!("{SHELL} -s -- \"$@\"");
    for place in places() {
        for options in [&[][..], &["--isolation", "sealed"], &["--no-pid-namespace"]] {
            let (stage, launch) = launch(&place, &probe(), options, &["converse"]);
            let mut terminal = Terminal::start(&script, &launch);
            terminal.asks_after("");
            terminal.type_in("\"$@\"\n");
            terminal.shows("ready");
            terminal.type_in("one\n");
            terminal.shows("got one");
            terminal.type_in(CTRL_Z);
            terminal.asks_after("Stopped");
            terminal.type_in("echo left $?\n");
            // As a shell says SIGTSTP.
            terminal.asks_after("left 148");
            terminal.type_in("fg\n");
            terminal.shows("fg\r\n\"$@\"");
            terminal.type_in("two\n");
            terminal.shows("got two");
            terminal.type_in(CTRL_C);
            terminal.asks_after("^C");
            terminal.type_in("echo ended $?\n");
            terminal.asks_after("ended 130");
            terminal.type_in("exit 0\n");
            terminal.finish(&stage);
        }
    }
}

#[test]
fn a_shell_inside_has_job_control_and_gives_the_terminal_back() {
    let app = App::script(SHELL);
    let script = "\"$@\"; echo \"left $?\"; read line; echo \"mine $line\"";
    for place in places() {
        let (stage, launch) = launch(&place, &app, &[], &[]);
        let mut terminal = Terminal::start(script, &launch);
        terminal.asks_after("");
        terminal.type_in("echo in$((1+1))side\n");
        terminal.asks_after("in2side");
        terminal.type_in("sh -c 'echo r$((1+1))n; exec cat'\n");
        terminal.shows("r2n");
        terminal.type_in("echoed\n");
        terminal.shows("echoed\r\nechoed");
        terminal.type_in(CTRL_Z);
        terminal.asks_after("Stopped");
        terminal.type_in("disown %1; exit 5\n");
        terminal.shows("left 5");
        terminal.type_in("back\n");
        terminal.shows("mine back");
        let shown = terminal.shown();
        assert!(!shown.contains("no job control"), "{shown}");
        terminal.finish(&stage);
    }
}

/// On the terminal itself, where it would otherwise work.
#[test]
fn nothing_is_typed_for_others() {
    let script = "\"$@\"; read -t 0 && echo typed || echo \"nothing there\"";
    for place in places() {
        for options in [&[][..], &["--no-pid-namespace"]] {
            let (stage, launch) = launch(&place, &probe(), options, &["type"]);
            let terminal = Terminal::start(script, &launch);
            terminal.shows("high TIOCSTI: EPERM");
            terminal.shows("nothing there");
            let shown = terminal.shown();
            assert!(shown.contains("TIOCSTI: EPERM\r\nTIOCLINUX: EPERM"), "{shown}");
            terminal.finish(&stage);
        }
    }
}
