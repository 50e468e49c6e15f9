//! What a process behind [`epkfs::confine`]'s walls can still do, tried by processes that are: a
//! server whose decoder was taken over is such a one.
//!
//! Not of the usual harness, whose threads would keep this program from forking.

use std::collections::HashMap;
use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::FileExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use epkfs::confine::{self, Offered, offered};
use epkfs::process::{Fork, execute, exit, fork};
use memmap2::MmapMut;
use nix::errno::Errno;
use nix::mount::MntFlags;
use nix::sched::CloneFlags;
use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, getppid};

/// What a process says by its exit status: that it could, that it was refused, that it failed.
const DONE: i32 = 40;
const REFUSED: i32 = 41;
const FAILED: i32 = 42;

/// Things of this machine that somebody may want.
struct Prey {
    folder: tempfile::TempDir,
    file: File,
    tcp: TcpListener,
    _unix: UnixListener,
}

impl Prey {
    fn new() -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("secret");
        fs::write(&path, "secret")?;
        let _unix = UnixListener::bind(folder.path().join("socket"))?;
        Ok(Self { file: File::open(path)?, tcp: TcpListener::bind("127.0.0.1:0")?, _unix, folder })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

type Deed = fn(&Prey) -> io::Result<()>;

/// What nobody behind the walls can do. The second word says whether Landlock alone keeps from it.
const DEEDS: &[(&str, bool, Deed)] = &[
    ("open a file", true, |prey| File::open(prey.path("secret")).map(drop)),
    ("make a file", true, |prey| File::create(prey.path("new")).map(drop)),
    ("list a folder", true, |prey| fs::read_dir(prey.folder.path()).map(drop)),
    ("remove a file", true, |prey| fs::remove_file(prey.path("secret"))),
    ("open another queue", true, |_| {
        File::options().read(true).write(true).open("/dev/fuse").map(drop)
    }),
    ("look at a file", false, |prey| fs::metadata(prey.path("secret")).map(drop)),
    ("connect by TCP", true, |prey| TcpStream::connect(prey.tcp.local_addr()?).map(drop)),
    ("listen by TCP", true, |_| TcpListener::bind("127.0.0.1:0").map(drop)),
    ("send by UDP", false, |_| UdpSocket::bind("127.0.0.1:0").map(drop)),
    ("connect to a program", false, |prey| UnixStream::connect(prey.path("socket")).map(drop)),
    ("become another program", true, |_| {
        let program = CString::new("/bin/sh")?;
        let arguments = ["sh", "-c", &format!("exit {DONE}")].map(|word| CString::new(word).ok());
        let arguments: Vec<CString> = arguments.into_iter().flatten().collect();
        Err(execute(&program, &arguments, &[]).into())
    }),
    ("start a program", true, |_| Command::new("/bin/true").status().map(drop)),
    ("fork", false, |_| match fork()? {
        Fork::Parent(_) => Ok(()),
        Fork::Child => exit(0),
    }),
    ("trace a process", true, |_| Ok(ptrace::attach(getppid())?)),
    ("send a signal", true, |_| Ok(kill(getppid(), Signal::SIGCONT)?)),
    ("make a namespace", false, |_| Ok(nix::sched::unshare(CloneFlags::CLONE_NEWUSER)?)),
    ("execute memory", false, |_| MmapMut::map_anon(1 << 16)?.make_exec().map(drop)),
    ("change the folder", false, |prey| std::env::set_current_dir(prey.folder.path())),
    ("unmount", false, |_| Ok(nix::mount::umount2("/nonexistent", MntFlags::MNT_DETACH)?)),
];

/// Runs `life` in a process of its own, and gives how that ended.
fn apart(life: impl FnOnce() -> io::Result<i32>) -> WaitStatus {
    match fork().expect("one thread") {
        Fork::Child => {
            let lived = catch_unwind(AssertUnwindSafe(life));
            exit(lived.ok().and_then(Result::ok).unwrap_or(FAILED))
        }
        Fork::Parent(child) => waitpid(child, None).expect("a child"),
    }
}

fn did(deed: Deed, prey: &Prey) -> i32 {
    match deed(prey) {
        Ok(()) => DONE,
        Err(error) => match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EPERM | Errno::EACCES) => REFUSED,
            _ => FAILED,
        },
    }
}

fn exited(status: WaitStatus, code: i32) -> bool {
    matches!(status, WaitStatus::Exited(_, exit) if exit == code)
}

fn nothing_can_be_done_behind_all_walls(had: Offered) {
    assert!(had.filter, "this kernel can't filter system calls, which this test is about");
    for (name, _, deed) in DEEDS {
        let prey = Prey::new().expect("a folder and sockets");
        let status = apart(|| {
            confine::confine()?;
            Ok(did(*deed, &prey))
        });
        let killed = matches!(status, WaitStatus::Signaled(_, Signal::SIGSYS, _));
        assert!(killed || exited(status, REFUSED), "{name}: {status:?}");
        assert!(prey.path("secret").exists() && !prey.path("new").exists(), "{name}");
    }
}

fn landlock_keeps_from_much_of_it_alone(had: Offered) {
    // Before the sixth version signals aren't refused.
    if had.landlock.is_none_or(|version| version < 6) {
        return println!("this kernel has an old Landlock, or none: {had:?}");
    }
    for (name, alone, deed) in DEEDS.iter().filter(|(_, alone, _)| *alone) {
        let prey = Prey::new().expect("a folder and sockets");
        let status = apart(|| {
            confine::prepare(false)?.0.close()?;
            Ok(did(*deed, &prey))
        });
        assert!(exited(status, REFUSED), "{name}, {alone}: {status:?}");
    }
}

/// Without this, the others would prove nothing.
fn all_of_it_can_be_done_without_walls(_: Offered) {
    // What an ordinary user can't do, what fails for its senseless arguments, and what would stop
    // this process.
    let others = ["unmount", "make a namespace", "open another queue", "trace a process"];
    for (name, _, deed) in DEEDS.iter().filter(|(name, ..)| !others.contains(name)) {
        let prey = Prey::new().expect("a folder and sockets");
        let status = apart(|| Ok(did(*deed, &prey)));
        assert!(exited(status, DONE), "{name}: {status:?}");
    }
}

fn a_server_can_do_what_it_needs(_: Offered) {
    let prey = Prey::new().expect("a folder and sockets");
    let parent = Pid::this();
    let status = apart(|| {
        let (walls, gate) = confine::prepare(true)?;
        walls.close()?;
        // Until the gate is closed.
        let device = File::options().read(true).write(true).open("/dev/fuse")?;
        gate.close()?;
        gate.close()?;
        assert!(File::options().read(true).write(true).open("/dev/fuse").is_err());
        let threads: Vec<_> = (0..4)
            .map(|number| {
                let file = prey.file.try_clone().expect("a descriptor");
                std::thread::Builder::new().name(format!("loop-{number}")).spawn(move || {
                    let mut bytes = [0; 6];
                    file.read_exact_at(&mut bytes, 0).expect("it is open");
                    let table: HashMap<usize, Vec<u8>> =
                        (0..64).map(|size| (size, vec![1; size << 14])).collect();
                    (bytes, table.values().map(Vec::len).sum::<usize>())
                })
            })
            .collect::<io::Result<_>>()?;
        for thread in threads {
            assert_eq!(thread.join().expect("no panic"), (*b"secret", (63 * 64 / 2) << 14));
        }
        let caught = catch_unwind(|| panic!("told on standard error"));
        assert!(caught.is_err());
        drop(device);
        assert_eq!(kill(parent, None), Err(Errno::EPERM));
        kill(Pid::this(), None)?;
        Ok(DONE)
    });
    assert!(exited(status, DONE), "{status:?}");
}

fn the_gate_is_closed_for_all_threads(had: Offered) {
    assert!(had.filter);
    let status = apart(|| {
        let (walls, gate) = confine::prepare(false)?;
        walls.close()?;
        std::thread::scope(|scope| scope.spawn(|| gate.close()).join().expect("no panic"))?;
        // Of the filter. Landlock's would be EACCES.
        let opened = File::open(Path::new("/dev/null"));
        let refused = opened.is_err_and(|error| error.raw_os_error() == Some(Errno::EPERM as i32));
        Ok(if refused { REFUSED } else { DONE })
    });
    assert!(exited(status, REFUSED), "{status:?}");
}

fn main() -> ExitCode {
    type Test = fn(Offered);
    let tests: [(&str, Test); 5] = [
        ("all_of_it_can_be_done_without_walls", all_of_it_can_be_done_without_walls),
        ("nothing_can_be_done_behind_all_walls", nothing_can_be_done_behind_all_walls),
        ("landlock_keeps_from_much_of_it_alone", landlock_keeps_from_much_of_it_alone),
        ("a_server_can_do_what_it_needs", a_server_can_do_what_it_needs),
        ("the_gate_is_closed_for_all_threads", the_gate_is_closed_for_all_threads),
    ];
    let had = offered();
    let mut failed = 0;
    println!("\nrunning {} tests", tests.len());
    for (name, test) in tests {
        let passed = catch_unwind(AssertUnwindSafe(|| test(had))).is_ok();
        failed += usize::from(!passed);
        println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
    }
    let (word, passed) = (if failed == 0 { "ok" } else { "FAILED" }, tests.len() - failed);
    println!("\ntest result: {word}. {passed} passed; {failed} failed\n");
    ExitCode::from(u8::from(failed > 0))
}
