//! The machine on which `drift` runs.

use std::fs;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use driftpm::drift::commands::World;
use driftpm::drift::native::{Job, Ran, Sandbox};
use driftpm::drift::platform::{Platform, detect};
use driftpm::problem::Problem;
use driftpm::transport::Settings;

/// The folders in which C libraries lie.
const LIBRARIES: [&str; 5] =
    ["/lib64", "/lib", "/usr/lib64", "/lib/x86_64-linux-gnu", "/lib/aarch64-linux-gnu"];
/// What glibc says of itself, before its version.
const GLIBC_SAYS: &[u8] = b"GNU C Library ";
const GLIBC_VERSION: &[u8] = b"release version ";
/// What says so: the C library is a few MiB.
const MAX_LIBC: u64 = 1 << 26;

/// This machine.
pub(crate) struct Machine {
    search_path: Vec<PathBuf>,
    walls: Walls,
}

impl Machine {
    pub(crate) fn new() -> Self {
        let search_path: Vec<PathBuf> = std::env::var_os("PATH")
            .map(|path| std::env::split_paths(&path).filter(|path| path.is_absolute()).collect())
            .unwrap_or_default();
        let pkgtool = pkgtool(&search_path);
        Self { search_path, walls: Walls { pkgtool } }
    }
}

/// `pkgtool`, beside this program or on the search path.
fn pkgtool(search_path: &[PathBuf]) -> Option<PathBuf> {
    let beside = std::env::current_exe().ok();
    let beside = beside.as_deref().and_then(Path::parent).map(Path::to_owned);
    let folders = beside.iter().chain(search_path);
    folders.map(|folder| folder.join("pkgtool")).find(|path| path.is_file())
}

const NO_PKGTOOL: &str = "`pkgtool` is neither beside this program nor on the search path";

impl World for Machine {
    fn platform(&self) -> Platform {
        let loaders: Vec<String> = LIBRARIES
            .iter()
            .filter_map(|folder| fs::read_dir(folder).ok())
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| name.starts_with("ld-"))
            .collect();
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
        detect(os, arch, &cpuinfo, &loaders, glibc_version().as_deref())
    }

    fn search_path(&self) -> Vec<PathBuf> {
        self.search_path.clone()
    }

    fn sandbox(&self) -> &dyn Sandbox {
        &self.walls
    }

    fn mount(&self, image: &Path, folder: &Path) -> Result<(), Problem> {
        let failed = |message: String| Problem::new("MOUNT_FAILED", message);
        let pkgtool = self.walls.pkgtool.as_ref().ok_or_else(|| failed(NO_PKGTOOL.to_owned()))?;
        let output = Command::new(pkgtool)
            .arg("mount")
            .arg(image)
            .arg(folder)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| failed(format!("cannot run `{}`: {error}", pkgtool.display())))?;
        if output.status.success() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&output.stderr);
        Err(failed(format!("`pkgtool mount`: {}: {}", output.status, text.trim_end())))
    }

    fn network(&self) -> Settings {
        let user_agent = concat!("drift/", env!("CARGO_PKG_VERSION")).to_owned();
        Settings { user_agent, ..Settings::of_variables(&variable) }
    }

    fn state_dir(&self) -> Option<PathBuf> {
        user_folder("XDG_STATE_HOME", ".local/state")
    }

    fn cache_dir(&self) -> Option<PathBuf> {
        user_folder("XDG_CACHE_HOME", ".cache")
    }

    fn asker(&self) -> Option<fn(&str) -> bool> {
        (io::stdin().is_terminal() && io::stderr().is_terminal()).then_some(ask)
    }
}

/// A variable of the environment that is set to something.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A folder by the XDG base directory specification, which wants relative paths to be ignored.
fn user_folder(name: &str, below_home: &str) -> Option<PathBuf> {
    let named = std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    named.or_else(|| Some(home()?.join(below_home)))
}

fn ask(question: &str) -> bool {
    // Whoever cannot be asked has not said yes.
    if write!(io::stderr(), "{question} [y/N] ").is_err() {
        return false;
    }
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).is_ok_and(|_| matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// The version of the C library, read out of its own bytes: it tells it to whoever executes it,
/// but nothing is executed to know a version.
fn glibc_version() -> Option<String> {
    let folders = LIBRARIES.iter().chain(&["/usr/lib"]);
    let library =
        folders.map(|folder| Path::new(folder).join("libc.so.6")).find(|p| p.is_file())?;
    if fs::metadata(&library).ok()?.len() > MAX_LIBC {
        return None;
    }
    let bytes = fs::read(library).ok()?;
    let at = find(&bytes, GLIBC_SAYS)?;
    let line = bytes.get(at..at.saturating_add(200).min(bytes.len()))?;
    let at = find(line, GLIBC_VERSION)?.checked_add(GLIBC_VERSION.len())?;
    let version: String = line
        .get(at..)?
        .iter()
        .map(|byte| char::from(*byte))
        .take_while(|c| c.is_ascii_digit() || *c == '.')
        .collect();
    Some(version.trim_end_matches('.').to_owned())
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// `pkgtool confine` around every compiler.
struct Walls {
    pkgtool: Option<PathBuf>,
}

impl Sandbox for Walls {
    fn run(&self, job: &Job<'_>) -> Result<Ran, Problem> {
        let missing = |message: String| Problem::new("SANDBOX_UNAVAILABLE", message);
        let pkgtool = self.pkgtool.as_ref().ok_or_else(|| missing(NO_PKGTOOL.to_owned()))?;
        let output = Command::new(pkgtool)
            .arg("confine")
            .arg("--read")
            .arg(job.inputs)
            .arg("--write")
            .arg(job.outputs)
            .arg("--")
            .arg(job.program)
            .args(job.arguments)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| missing(format!("cannot run `{}`: {error}", pkgtool.display())))?;
        // What `confine` itself says has a status of its own, and never means the compiler.
        if output.status.code() == Some(CONFINE_FAILED) {
            let text = String::from_utf8_lossy(&output.stderr);
            return Err(missing(format!("`pkgtool confine`: {}", text.trim_end())));
        }
        Ok(Ran {
            ok: output.status.success(),
            status: output.status.to_string(),
            stdout: output.stdout,
            stderr: output.stderr,
        })
    }
}

/// The exit status of `pkgtool confine` when it could not confine.
const CONFINE_FAILED: i32 = 125;
