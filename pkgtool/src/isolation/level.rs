//! The levels: a row of [`TABLE`] says all that one does (`spec/runtime.md` §13).

use clap::ValueEnum;
use epk_format::manifest::Isolation;

/// How much of the host an application is kept from, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Level {
    /// The host's files as they are
    Host,
    /// The same, but for the homes, which are empty
    HomeHidden,
    /// Nothing of the host but libraries and a few devices
    Sealed,
}

/// Which of the host's files are seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HostFiles {
    All,
    AllButHomes,
    Runtime,
}

/// A namespace of the application's own. The mount namespace always is; the user namespace where
/// mounting needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Namespace {
    Process,
    Network,
    Ipc,
    HostName,
    ControlGroup,
}

/// Which variables an application inherits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Inherit {
    All,
    /// Those of these names, and those that begin with one that ends in `_`.
    Only(&'static [&'static str]),
    Nothing,
}

/// What becomes of privileges that the launching user has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Capabilities {
    Kept,
    Dropped,
}

/// All that a level means.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) level: Level,
    pub(crate) host_files: HostFiles,
    pub(crate) namespaces: &'static [Namespace],
    /// Whether the process namespace and a `/proc` that shows nothing else are demanded: through
    /// the `/proc` of other processes of the user leads a way around the view.
    pub(crate) own_processes: bool,
    pub(crate) private_tmp: bool,
    pub(crate) inherit: Inherit,
    /// Variables that are set beside those of every level.
    pub(crate) set: &'static [(&'static str, &'static str)],
    pub(crate) capabilities: Capabilities,
    /// Whether Landlock, where the kernel has it, says the same once more.
    pub(crate) landlock: bool,
}

/// What of the host's is the runtime that packages may rely on: the loader, and where it looks
/// for libraries. Read-only; what a host lacks is not there.
pub(crate) const RUNTIME: [&str; 10] = [
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/libx32",
    "/etc/alternatives",
    "/etc/ld.so.cache",
];

/// Language, terminal and time zone: nothing that names a file, a socket or a secret.
const HARMLESS: &[&str] = &["COLORTERM", "LANG", "LANGUAGE", "LC_", "NO_COLOR", "TERM", "TZ"];

pub(crate) const TABLE: [Row; 3] = [
    Row {
        level: Level::Host,
        host_files: HostFiles::All,
        namespaces: &[Namespace::Process],
        own_processes: false,
        private_tmp: false,
        inherit: Inherit::All,
        set: &[],
        capabilities: Capabilities::Kept,
        landlock: false,
    },
    Row {
        level: Level::HomeHidden,
        host_files: HostFiles::AllButHomes,
        namespaces: &[Namespace::Process],
        own_processes: true,
        private_tmp: false,
        inherit: Inherit::All,
        set: &[],
        capabilities: Capabilities::Dropped,
        landlock: false,
    },
    Row {
        level: Level::Sealed,
        host_files: HostFiles::Runtime,
        namespaces: &[
            Namespace::Process,
            Namespace::Network,
            Namespace::Ipc,
            Namespace::HostName,
            Namespace::ControlGroup,
        ],
        own_processes: true,
        private_tmp: true,
        inherit: Inherit::Only(HARMLESS),
        set: &[("HOME", super::USER_DATA), ("TMPDIR", "/tmp")],
        capabilities: Capabilities::Dropped,
        landlock: true,
    },
];

impl Level {
    pub(crate) fn row(self) -> &'static Row {
        let [host, home_hidden, sealed] = &TABLE;
        match self {
            Self::Host => host,
            Self::HomeHidden => home_hidden,
            Self::Sealed => sealed,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        Isolation::from(self).name()
    }

    /// The level of a launch: the stricter of what the package and the user ask for, unless the
    /// user says that theirs counts in any case.
    pub(crate) fn choose(package: Option<Self>, user: Option<Self>, allow_weaker: bool) -> Self {
        match (package, user) {
            (_, Some(user)) if allow_weaker => user,
            (package, user) => package.max(user).unwrap_or(Self::Host),
        }
    }
}

impl From<Level> for Isolation {
    fn from(level: Level) -> Self {
        match level {
            Level::Host => Self::Host,
            Level::HomeHidden => Self::HomeHidden,
            Level::Sealed => Self::Sealed,
        }
    }
}

impl From<Isolation> for Level {
    fn from(level: Isolation) -> Self {
        match level {
            Isolation::Host => Self::Host,
            Isolation::HomeHidden => Self::HomeHidden,
            Isolation::Sealed => Self::Sealed,
        }
    }
}

impl Namespace {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Network => "network",
            Self::Ipc => "ipc",
            Self::HostName => "host-name",
            Self::ControlGroup => "control-group",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_has_its_row() {
        for (level, row) in Level::value_variants().iter().zip(&TABLE) {
            assert_eq!((row.level, level.row().level), (*level, *level));
            let value = level.to_possible_value().expect("none is hidden");
            assert_eq!(value.get_name(), level.name());
        }
        assert_eq!(Level::value_variants().len(), TABLE.len());
    }

    /// A stricter level gives nothing that a weaker one takes away.
    #[test]
    fn levels_only_become_stricter() {
        for pair in TABLE.windows(2) {
            let [weaker, stricter] = pair else { unreachable!("two") };
            assert!(weaker.level < stricter.level);
            assert!(weaker.namespaces.iter().all(|one| stricter.namespaces.contains(one)));
            assert!(weaker.own_processes <= stricter.own_processes);
            assert!(weaker.private_tmp <= stricter.private_tmp);
            assert!(weaker.landlock <= stricter.landlock);
            let drops = |row: &Row| row.capabilities == Capabilities::Dropped;
            assert!(drops(weaker) <= drops(stricter));
            assert!(weaker.inherit == Inherit::All || stricter.inherit != Inherit::All);
        }
    }

    #[test]
    fn the_users_word_counts_towards_stricter() {
        use Level::{HomeHidden, Host, Sealed};
        for (package, user, allow_weaker, level) in [
            (None, None, false, Host),
            (None, Some(Sealed), false, Sealed),
            (Some(HomeHidden), None, false, HomeHidden),
            (Some(HomeHidden), Some(Sealed), false, Sealed),
            (Some(HomeHidden), Some(Host), false, HomeHidden),
            (Some(HomeHidden), Some(Host), true, Host),
            (Some(Host), Some(Sealed), true, Sealed),
            (Some(Sealed), None, true, Sealed),
        ] {
            assert_eq!(Level::choose(package, user, allow_weaker), level, "{package:?} {user:?}");
        }
    }
}
