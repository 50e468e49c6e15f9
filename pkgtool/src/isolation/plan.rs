//! The plan of a launch: every mount, namespace, variable and rule, decided before anything is
//! done.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use super::level::{Capabilities, HostFiles, Inherit, Level, Namespace, RUNTIME};
use super::{PACKAGE, USER_DATA};

/// What the user asks for.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) level: Level,
    pub(crate) process_namespace: bool,
    pub(crate) private_tmp: bool,
    pub(crate) writable_package: bool,
    pub(crate) share_net: bool,
    pub(crate) binds: Vec<Bind>,
    /// Whether nothing is inherited, whatever the level says.
    pub(crate) clear_environment: bool,
    pub(crate) set: Vec<(OsString, OsString)>,
}

/// `--bind`: something of the host's that a sealed application sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bind {
    pub(crate) source: PathBuf,
    /// Absolute, without `.` and `..`.
    pub(crate) target: PathBuf,
    pub(crate) writable: bool,
}

/// What is known before the launch.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    /// The package's file.
    pub(crate) package: PathBuf,
    pub(crate) name: String,
    pub(crate) version: String,
    /// The command that was named, if one was.
    pub(crate) command: Option<String>,
    pub(crate) data: Data,
    /// Where homes lie: real paths of folders.
    pub(crate) homes: Vec<PathBuf>,
    /// The launching user's own home, if there is such a folder: a real path.
    pub(crate) home: Option<PathBuf>,
}

/// What is seen as `/user-data`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Data {
    /// A folder of the host.
    Folder(PathBuf),
    /// Memory, gone with the last process.
    Fresh,
}

/// A step of building the view, in the order of the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mount {
    /// Everything in the host's root that no other step places, with all that is mounted below.
    HostRoot,
    /// A part of the host under its own path, if it is there: links as links, all else read-only.
    Runtime {
        path: PathBuf,
    },
    /// A device of the host under its own path.
    Device {
        path: PathBuf,
    },
    /// Something of the host's.
    Host {
        source: PathBuf,
        target: PathBuf,
        writable: bool,
        optional: bool,
    },
    /// An empty folder in memory.
    Empty {
        target: PathBuf,
        mode: u32,
    },
    /// A folder in such a one.
    Folder {
        target: PathBuf,
        mode: u32,
    },
    Link {
        target: PathBuf,
        text: PathBuf,
    },
    /// `/proc` of the process namespace; where the kernel refuses one and that is allowed, the
    /// host's.
    Processes {
        or_hosts: bool,
    },
    /// `/dev/pts`, with no terminals but those that are opened in it.
    Terminals,
    /// The package, and over it perhaps a layer in memory that takes what is written.
    Package {
        writable: bool,
    },
}

/// What may be done below a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    List,
    Read,
    Execute,
    /// Reading, and writing to what is there.
    Use,
    All,
}

/// Which variables the application has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Environment {
    pub(crate) inherit: Inherit,
    pub(crate) set: Vec<(OsString, OsString)>,
}

#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) level: Level,
    pub(crate) namespaces: Vec<Namespace>,
    pub(crate) mounts: Vec<Mount>,
    pub(crate) environment: Environment,
    pub(crate) capabilities: Capabilities,
    /// Rules for Landlock: all else is refused. None: it isn't used.
    pub(crate) landlock: Vec<(PathBuf, Access)>,
}

/// Devices without which programs stumble, and with which they can do no harm.
const DEVICES: [&str; 6] =
    ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"];
const DEVICE_LINKS: [(&str, &str); 5] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/ptmx", "pts/ptmx"),
];
/// What programs that use the network look at.
const NETWORK_FILES: [&str; 8] = [
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/resolv.conf",
    "/etc/services",
    "/etc/ssl/certs",
    "/etc/pki/ca-trust",
    "/etc/pki/tls/certs",
    "/usr/share/ca-certificates",
];
/// Where the package's programs are looked for by their names.
pub(crate) const BINARY: &str = "/package/binary";
/// The rest of `PATH` when none is inherited.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

impl Plan {
    /// Decides what a launch does, or says why it can't be done.
    pub(crate) fn new(options: &Options, facts: &Facts) -> Result<Self, String> {
        let row = options.level.row();
        let level = options.level.name();
        if row.own_processes && !options.process_namespace {
            return Err(format!(
                "`{level}` needs a process namespace: through the files of other processes leads a way around it"
            ));
        }
        if row.host_files != HostFiles::Runtime {
            let refused = if options.share_net { "--share-net" } else { "--bind" };
            if options.share_net || !options.binds.is_empty() {
                return Err(format!("`{refused}` is for `sealed`, and the level is `{level}`"));
            }
        }
        let namespaces: Vec<Namespace> = row
            .namespaces
            .iter()
            .copied()
            .filter(|&one| one != Namespace::Process || options.process_namespace)
            .filter(|&one| one != Namespace::Network || !options.share_net)
            .collect();
        let mounts = mounts(options, facts)?;
        Ok(Self {
            level: row.level,
            landlock: if row.landlock { rules(&mounts) } else { Vec::new() },
            namespaces,
            mounts,
            environment: environment(options, facts),
            capabilities: row.capabilities,
        })
    }

    /// The host's folder of the application's data, if the plan keeps nothing from the application
    /// that it would see without a view, but for the processes.
    pub(crate) fn user_data_among_the_hosts_files(&self) -> Option<&Path> {
        let mut user_data = None;
        for mount in &self.mounts {
            match mount {
                Mount::HostRoot
                | Mount::Package { writable: false }
                | Mount::Processes { or_hosts: true } => {}
                Mount::Host { source, target, .. } if target == Path::new(USER_DATA) => {
                    user_data = Some(source.as_path());
                }
                _ => return None,
            }
        }
        user_data.filter(|_| self.level == Level::Host)
    }
}

fn mounts(options: &Options, facts: &Facts) -> Result<Vec<Mount>, String> {
    let row = options.level.row();
    let mut mounts = Vec::new();
    match row.host_files {
        HostFiles::All => mounts.push(Mount::HostRoot),
        HostFiles::AllButHomes => {
            mounts.push(Mount::HostRoot);
            hide_homes(facts, &mut mounts)?;
        }
        HostFiles::Runtime => {
            mounts.extend(RUNTIME.map(|path| Mount::Runtime { path: path.into() }));
            mounts.extend(DEVICES.map(|path| Mount::Device { path: path.into() }));
            let link = |(target, text): (&str, &str)| Mount::Link {
                target: target.into(),
                text: text.into(),
            };
            mounts.extend(DEVICE_LINKS.map(link));
            mounts.push(Mount::Empty { target: "/dev/shm".into(), mode: 0o1777 });
            mounts.push(Mount::Terminals);
        }
    }
    if options.process_namespace {
        mounts.push(Mount::Processes { or_hosts: !row.own_processes });
    }
    if row.private_tmp || options.private_tmp {
        mounts.push(Mount::Empty { target: "/tmp".into(), mode: 0o1777 });
    }
    if options.share_net {
        mounts.extend(NETWORK_FILES.map(|path| Mount::Host {
            source: path.into(),
            target: path.into(),
            writable: false,
            optional: true,
        }));
    }
    mounts.push(match &facts.data {
        Data::Folder(folder) => Mount::Host {
            source: folder.clone(),
            target: USER_DATA.into(),
            writable: true,
            optional: false,
        },
        Data::Fresh => Mount::Empty { target: USER_DATA.into(), mode: 0o700 },
    });
    mounts.push(Mount::Package { writable: options.writable_package });
    for bind in &options.binds {
        check_target(&bind.target, &mounts)?;
        let Bind { source, target, writable } = bind.clone();
        mounts.push(Mount::Host { source, target, writable, optional: false });
    }
    Ok(mounts)
}

fn hide_homes(facts: &Facts, mounts: &mut Vec<Mount>) -> Result<(), String> {
    let homes: Vec<&PathBuf> = facts.homes.iter().chain(&facts.home).collect();
    let mut hidden: Vec<&PathBuf> = Vec::new();
    for &home in &homes {
        if home == Path::new("/") {
            return Err("the home is `/`, which cannot be hidden".to_owned());
        }
        let above = homes.iter().any(|other| home.starts_with(other) && *other != home);
        if !above && !hidden.contains(&home) {
            hidden.push(home);
        }
    }
    mounts.extend(hidden.iter().map(|&home| Mount::Empty { target: home.clone(), mode: 0o755 }));
    if let Some(home) = facts.home.as_ref().filter(|home| !hidden.contains(home)) {
        mounts.push(Mount::Folder { target: home.clone(), mode: 0o700 });
    }
    Ok(())
}

/// Refuses what would be made inside of something that isn't the view's own.
fn check_target(target: &Path, mounts: &[Mount]) -> Result<(), String> {
    let shown = target.display();
    let plain = |part: Component<'_>| matches!(part, Component::RootDir | Component::Normal(_));
    if !target.is_absolute() || !target.components().all(plain) {
        return Err(format!("`--bind` to `{shown}`: an absolute path without `..` is allowed"));
    }
    if target.components().count() < 2 {
        return Err("`--bind` to `/`: the root is the view's own".to_owned());
    }
    let places = mounts.iter().filter_map(Mount::target).chain([Path::new("/dev")]);
    for place in places {
        let scratch = place == Path::new("/tmp");
        if target.starts_with(place) && (!scratch || target == place) || place.starts_with(target) {
            let place = place.display();
            return Err(format!("`--bind` to `{shown}`: `{place}` is there already"));
        }
    }
    Ok(())
}

impl Mount {
    /// Where something appears.
    pub(crate) fn target(&self) -> Option<&Path> {
        Some(match self {
            Self::HostRoot => return None,
            Self::Runtime { path } | Self::Device { path } => path,
            Self::Host { target, .. }
            | Self::Empty { target, .. }
            | Self::Folder { target, .. }
            | Self::Link { target, .. } => target,
            Self::Processes { .. } => Path::new("/proc"),
            Self::Terminals => Path::new("/dev/pts"),
            Self::Package { .. } => Path::new(PACKAGE),
        })
    }
}

/// What the mounts allow, said once more.
fn rules(mounts: &[Mount]) -> Vec<(PathBuf, Access)> {
    let of = |mount: &Mount| match mount {
        Mount::HostRoot | Mount::Link { .. } | Mount::Folder { .. } => None,
        Mount::Runtime { .. } => Some(Access::Execute),
        Mount::Device { .. } | Mount::Terminals => Some(Access::Use),
        Mount::Host { writable: true, .. } | Mount::Empty { .. } => Some(Access::All),
        Mount::Host { optional: true, .. } => Some(Access::Read),
        Mount::Host { .. } => Some(Access::Execute),
        Mount::Processes { .. } => Some(Access::Use),
        Mount::Package { writable: true } => Some(Access::All),
        Mount::Package { writable: false } => Some(Access::Execute),
    };
    let rule = |mount: &Mount| Some((mount.target()?.to_owned(), of(mount)?));
    [("/".into(), Access::List)].into_iter().chain(mounts.iter().filter_map(rule)).collect()
}

fn environment(options: &Options, facts: &Facts) -> Environment {
    let row = options.level.row();
    let text = |key: &str, value: &OsStr| (key.into(), value.to_owned());
    let mut set: Vec<(OsString, OsString)> =
        row.set.iter().map(|(key, value)| text(key, value.as_ref())).collect();
    set.push(text("EPK_PACKAGE", facts.package.as_os_str()));
    set.push(text("EPK_NAME", facts.name.as_ref()));
    set.push(text("EPK_VERSION", facts.version.as_ref()));
    set.extend(facts.command.iter().map(|command| text("EPK_COMMAND", command.as_ref())));
    set.push(text("PWD", USER_DATA.as_ref()));
    for (key, value) in &options.set {
        set.retain(|(other, _)| other != key);
        set.push((key.clone(), value.clone()));
    }
    let inherit = if options.clear_environment { Inherit::Nothing } else { row.inherit };
    Environment { inherit, set }
}

impl Environment {
    /// The variables, out of those of this process.
    pub(crate) fn of(
        &self,
        outside: impl Iterator<Item = (OsString, OsString)>,
    ) -> Vec<(OsString, OsString)> {
        let mut path = None;
        let mut variables = Vec::new();
        for (key, value) in outside {
            // Another launch's words, or another folder's.
            let ours = key.as_bytes().starts_with(b"EPK_") || key == "OLDPWD";
            let replaced = self.set.iter().any(|(name, _)| *name == key);
            if !self.inherits(&key) || ours || replaced {
                continue;
            }
            if key == "PATH" {
                path = Some(value);
            } else {
                variables.push((key, value));
            }
        }
        if !self.set.iter().any(|(key, _)| key == "PATH") {
            variables.push(("PATH".into(), with_binary(path.as_deref())));
        }
        variables.extend(self.set.iter().cloned());
        variables
    }

    fn inherits(&self, key: &OsStr) -> bool {
        match self.inherit {
            Inherit::All => true,
            Inherit::Nothing => false,
            Inherit::Only(names) => names.iter().any(|name| {
                key == *name || name.ends_with('_') && key.as_bytes().starts_with(name.as_bytes())
            }),
        }
    }
}

/// A `PATH` with the package's folder first, and once.
fn with_binary(path: Option<&OsStr>) -> OsString {
    let rest = path.filter(|path| !path.is_empty()).unwrap_or(DEFAULT_PATH.as_ref());
    let parts = rest.as_bytes().split(|&byte| byte == b':');
    let mut whole = OsString::from(BINARY);
    for part in parts.filter(|part| *part != BINARY.as_bytes()) {
        whole.push(":");
        whole.push(OsStr::from_bytes(part));
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(level: Level) -> Options {
        Options {
            level,
            process_namespace: true,
            private_tmp: false,
            writable_package: false,
            share_net: false,
            binds: Vec::new(),
            clear_environment: false,
            set: Vec::new(),
        }
    }

    fn facts() -> Facts {
        Facts {
            package: "/x/app.epk".into(),
            name: "app".into(),
            version: "1".into(),
            command: None,
            data: Data::Folder("/home/u/.local/share/epk/data/app".into()),
            homes: vec!["/home".into(), "/root".into()],
            home: Some("/home/u".into()),
        }
    }

    fn places(plan: &Plan) -> Vec<String> {
        let targets = plan.mounts.iter().map(|mount| mount.target().unwrap_or(Path::new("/")));
        targets.map(|path| path.display().to_string()).collect()
    }

    #[test]
    fn levels_place_what_they_promise() {
        let plan = |level| Plan::new(&options(level), &facts()).expect("possible");
        assert_eq!(places(&plan(Level::Host)), ["/", "/proc", "/user-data", "/package"]);
        let hidden = ["/", "/home", "/root", "/home/u", "/proc", "/user-data", "/package"];
        assert_eq!(places(&plan(Level::HomeHidden)), hidden);
        let sealed = plan(Level::Sealed);
        assert!(!sealed.mounts.contains(&Mount::HostRoot));
        for mount in &sealed.mounts {
            if let Mount::Host { target, .. } = mount {
                assert_eq!(target, Path::new(USER_DATA), "nothing else of the host");
            }
        }
        assert!(sealed.mounts.contains(&Mount::Empty { target: "/tmp".into(), mode: 0o1777 }));
        assert!(sealed.namespaces.contains(&Namespace::Network));
        // Whatever is mounted has its rule.
        for place in places(&sealed).iter().filter(|place| !place.starts_with("/dev/")) {
            assert!(sealed.landlock.iter().any(|(path, _)| path == Path::new(place)), "{place}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let refused = |change: &dyn Fn(&mut Options, &mut Facts)| {
            let (mut options, mut facts) = (options(Level::Sealed), facts());
            change(&mut options, &mut facts);
            Plan::new(&options, &facts).map(drop).expect_err("refused")
        };
        let bind = |target: &str| {
            refused(&|options: &mut Options, _| {
                let bind = |target: &str| Bind {
                    source: "/s".into(),
                    target: target.into(),
                    writable: true,
                };
                options.binds = vec![bind("/mnt/first"), bind(target)];
            })
        };
        for target in ["/", "x", "/a/../b", "/package/x", "/usr", "/usr/lib/x", "/dev/x", "/tmp"] {
            assert!(bind(target).contains("`--bind` to `"), "{target}");
        }
        for target in ["/mnt", "/mnt/first", "/mnt/first/x"] {
            assert!(bind(target).contains("`/mnt/first` is there already"), "{target}");
        }
        for level in [Level::HomeHidden, Level::Sealed] {
            let text = refused(&|options: &mut Options, _| {
                (options.level, options.process_namespace) = (level, false);
            });
            assert!(text.contains("needs a process namespace"), "{text}");
        }
        for level in [Level::Host, Level::HomeHidden] {
            let text = refused(&|options: &mut Options, _| {
                (options.level, options.share_net) = (level, true);
            });
            assert!(text.contains("`--share-net` is for `sealed`"), "{text}");
        }
        let text = refused(&|options: &mut Options, facts: &mut Facts| {
            (options.level, facts.home) = (Level::HomeHidden, Some("/".into()));
        });
        assert!(text.contains("cannot be hidden"), "{text}");
    }

    #[test]
    fn binds_may_lie_beside_and_in_scratch() {
        let mut options = options(Level::Sealed);
        for target in ["/mnt/a", "/mnt/b", "/tmp/x", "/usr/share/x"] {
            let (source, target) = ("/s".into(), target.into());
            options.binds.push(Bind { source, target, writable: false });
        }
        let plan = Plan::new(&options, &facts()).expect("possible");
        assert!(plan.landlock.contains(&("/mnt/a".into(), Access::Execute)));
    }

    fn variables(options: &Options, outside: &[(&str, &str)]) -> Vec<String> {
        let plan = Plan::new(options, &facts()).expect("possible");
        let outside = outside.iter().map(|(key, value)| (key.into(), value.into()));
        let found = plan.environment.of(outside).into_iter();
        let mut lines: Vec<String> =
            found.map(|(key, value)| format!("{}={}", key.display(), value.display())).collect();
        lines.sort();
        lines
    }

    #[test]
    fn variables_are_those_documented() {
        let ours = ["EPK_NAME=app", "EPK_PACKAGE=/x/app.epk", "EPK_VERSION=1"];
        let outside = [
            ("PATH", "/package/binary:/bin"),
            ("PWD", "/somewhere"),
            ("OLDPWD", "/elsewhere"),
            ("EPK_COMMAND", "another's"),
            ("LC_TIME", "C"),
            ("SSH_AUTH_SOCK", "/x"),
        ];
        let with = |more: &[&str]| {
            let mut all: Vec<String> = ours.iter().chain(more).map(ToString::to_string).collect();
            all.sort();
            all
        };
        let path = "PATH=/package/binary:/bin";
        let usual = format!("PATH=/package/binary:{DEFAULT_PATH}");
        let inherited = ["PWD=/user-data", "LC_TIME=C", "SSH_AUTH_SOCK=/x", path];
        assert_eq!(variables(&options(Level::Host), &outside), with(&inherited));
        let sealed = ["PWD=/user-data", "LC_TIME=C", "HOME=/user-data", "TMPDIR=/tmp", &usual];
        assert_eq!(variables(&options(Level::Sealed), &outside), with(&sealed));
        let mut cleared = options(Level::Host);
        cleared.clear_environment = true;
        cleared.set = vec![("PATH".into(), "/p".into()), ("X".into(), "=".into())];
        let expected = with(&["PWD=/user-data", "PATH=/p", "X=="]);
        assert_eq!(variables(&cleared, &outside), expected);
    }
}
