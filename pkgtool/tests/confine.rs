//! `pkgtool confine`: what a program behind the walls can see and do. As root and as an ordinary
//! user, if the environment names one.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

struct Folders(tempfile::TempDir);

impl Folders {
    fn new() -> Self {
        let folders = Self(tempfile::tempdir().expect("a folder"));
        for name in ["in", "out", "secret"] {
            fs::create_dir(folders.0.path().join(name)).expect("made");
        }
        fs::write(folders.0.path().join("in/text"), "seen\n").expect("written");
        fs::write(folders.0.path().join("secret/text"), "unseen\n").expect("written");
        for path in [folders.0.path().to_owned(), folders.0.path().join("out")] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o777)).expect("open to all");
        }
        folders
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn confine(&self, user: Option<&str>, words: &[&str]) -> Output {
        let mut command = match user {
            None => Command::new(env!("CARGO_BIN_EXE_pkgtool")),
            Some(user) => {
                // What the user executes must be where the user can go.
                let copy = self.path().join("pkgtool");
                // Not by this process, see execve(2), ETXTBSY: other threads start programs.
                let original = env!("CARGO_BIN_EXE_pkgtool");
                let copied = Command::new("cp").arg(original).arg(&copy).status();
                assert!(copied.expect("`cp` starts").success());
                let mut command = Command::new("setpriv");
                command.args(["--reuid", user, "--regid", user, "--clear-groups", "--"]).arg(copy);
                command
            }
        };
        command
            .args(["confine", "--read", "in", "--write", "out", "--"])
            .args(words)
            .current_dir(self.path())
            .env("SECRET", "unseen")
            .output()
            .expect("started")
    }

    fn shell(&self, user: Option<&str>, script: &str) -> (Option<i32>, String) {
        let output = self.confine(user, &["/bin/sh", "-c", script]);
        let text =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        (output.status.code(), text.into_owned())
    }
}

/// Root, or whoever runs the tests, and the ordinary user, if there is one.
fn users() -> Vec<Option<String>> {
    let user = std::env::var("EPK_TEST_USER").ok().filter(|user| !user.is_empty());
    [None].into_iter().chain(user.map(Some)).collect()
}

#[test]
fn sees_the_system_and_the_folders_named_and_nothing_else() {
    for user in users() {
        let (user, folders) = (user.as_deref(), Folders::new());
        let (status, text) = folders.shell(user, "pwd; cat text; ls /; ls /etc /dev");
        assert_eq!(status, Some(0), "{text}");
        let inside = folders.path().canonicalize().expect("there").join("in");
        assert!(text.starts_with(&format!("{}\nseen\n", inside.display())), "{text}");
        for hidden in
            ["home", "root", "proc", "sys", "run", "var", "passwd", "shadow", "fuse", "sda"]
        {
            assert!(!text.lines().any(|line| line == hidden), "{hidden}: {text}");
        }
        for script in [
            format!("cat {}/secret/text", folders.path().display()),
            "cat /etc/passwd".to_owned(),
            "cat /proc/1/environ".to_owned(),
            "echo x > text".to_owned(),
            "echo x > /usr/new".to_owned(),
            "echo x > /new".to_owned(),
            "test -n \"$SECRET\"".to_owned(),
            "kill -9 2".to_owned(),
            "mount -t tmpfs none /tmp".to_owned(),
            "mount -o remount,rw /usr".to_owned(),
            "chroot / true".to_owned(),
        ] {
            let (status, text) = folders.shell(user, &script);
            assert_ne!(status, Some(0), "{user:?} {script}: {text}");
            assert!(!text.contains("unseen"), "{user:?} {script}: {text}");
        }
        let out = folders.path().join("out");
        let script =
            format!("echo made > {}/file && echo x > /tmp/scratch > ../new", out.display());
        assert_eq!(folders.shell(user, &script), (Some(0), String::new()));
        assert_eq!(fs::read_to_string(out.join("file")).expect("made"), "made\n");
        assert!(!Path::new("/tmp/scratch").exists(), "a /tmp of its own");
        assert!(!folders.path().join("new").exists(), "the folders above are made up");
    }
}

#[test]
fn there_is_no_network() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
    let port = listener.local_addr().expect("known").port();
    let connect = format!(
        "import socket,sys\ntry:\n socket.create_connection(('127.0.0.1',{port}),5)\nexcept OSError:\n sys.exit(7)\n"
    );
    for user in users() {
        let output = Folders::new().confine(user.as_deref(), &["/usr/bin/python3", "-c", &connect]);
        // Without python there is nothing to try with.
        if output.status.code() != Some(127) {
            let text = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(7), "{text}");
        }
    }
}

#[test]
fn ends_as_the_program_does() {
    let folders = Folders::new();
    assert_eq!(folders.shell(None, "exit 3").0, Some(3));
    assert_eq!(folders.shell(None, "kill -TERM $$; true").0, Some(0), "an init ignores signals");
    for (words, status) in [(&["/nonexistent"][..], 127), (&["true"], 2), (&["/usr"], 126)] {
        assert_eq!(folders.confine(None, words).status.code(), Some(status), "{words:?}");
    }
    let missing = Command::new(env!("CARGO_BIN_EXE_pkgtool"))
        .args(["confine", "--read", "/nonexistent", "--", "/bin/true"])
        .output()
        .expect("started");
    assert_eq!(missing.status.code(), Some(125));
    // A compiler that forks leaves nobody behind: with the first process all others end.
    let (status, _) = folders.shell(None, "sleep 1000 & exit 0");
    assert_eq!(status, Some(0));
}

#[test]
fn limits_hold() {
    let folders = Folders::new();
    let script = "ulimit -t; ulimit -c; ulimit -f";
    let (status, text) = folders.shell(None, script);
    assert_eq!(status, Some(0));
    let limits: Vec<&str> = text.lines().collect();
    assert_eq!(limits[..2], ["600", "0"], "{text}");
}
