//! From a command's name to what runs: aliases of the user, aliases of the system, commands of
//! installed packages. The first of these places that has something decides; several candidates
//! in one place are refused, never guessed about.

pub(crate) mod alias;
pub(crate) mod dispatch;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::{Value, json};

use crate::exit::{Exit, Failure};
use crate::store::{Installed, Owner, Store, commands, meant};

/// Aliases of all users.
const SYSTEM_ALIASES: &str = "/etc/epk/commands";

/// Something that may run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) place: Place,
    /// The package.
    pub(crate) file: PathBuf,
    /// The command of its manifest; without one its entry.
    pub(crate) command: Option<String>,
    /// Name and version of an installed package.
    package: Option<(String, String)>,
}

/// Where something was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// At the path that was given.
    Path,
    /// In an alias.
    Alias(Owner),
    /// Among the commands of installed packages.
    Installed(Owner),
}

impl Candidate {
    fn installed(package: &Installed, command: Option<&str>) -> Self {
        Self {
            place: Place::Installed(package.owner),
            file: package.path.clone(),
            command: command.map(str::to_owned),
            package: Some((package.identity.name.clone(), package.identity.version.clone())),
        }
    }

    /// The words after `pkgtool run` that run it, before the arguments.
    pub(crate) fn words(&self) -> [OsString; 2] {
        // `--` keeps the first argument from being a command.
        let command = self.command.as_deref().unwrap_or("--");
        [self.file.clone().into(), command.into()]
    }

    /// For people.
    pub(crate) fn line(&self) -> String {
        let place = match self.place {
            Place::Path => "path".to_owned(),
            Place::Alias(scope) => format!("{} alias", scope.word()),
            Place::Installed(scope) => format!("{} package", scope.word()),
        };
        let what = match &self.package {
            Some((name, version)) => format!(" {} {}", shown(name), shown(version)),
            None => String::new(),
        };
        format!("{place}{what} `{}`", self.file.display())
    }

    /// For programs.
    pub(crate) fn to_json(&self) -> Value {
        let (place, scope) = match self.place {
            Place::Path => ("path", None),
            Place::Alias(scope) => ("alias", Some(scope.word())),
            Place::Installed(scope) => ("installed", Some(scope.word())),
        };
        let (name, version) = self.package.clone().unzip();
        json!({
            "place": place,
            "scope": scope,
            "file": self.file.to_string_lossy(),
            "command": self.command,
            "name": name,
            "version": version,
        })
    }
}

fn shown(text: &str) -> String {
    epk_format::path::display(text.as_bytes()).to_string()
}

/// Where to look.
#[derive(Debug)]
pub(crate) struct Places {
    /// Folders of aliases, in their order.
    aliases: Vec<(Owner, PathBuf)>,
    stores: Vec<Store>,
    /// The user's cache.
    cache: Option<PathBuf>,
}

impl Places {
    /// Those of the user whose folders for settings and caches are given, and the system's.
    pub(crate) fn new(
        config_home: Option<&Path>,
        cache: Option<PathBuf>,
        stores: Vec<Store>,
    ) -> Self {
        let user = config_home.map(|home| (Owner::User, home.join("epk").join("commands")));
        let system = (Owner::System, PathBuf::from(SYSTEM_ALIASES));
        Self { aliases: user.into_iter().chain([system]).collect(), stores, cache }
    }

    /// Everything that the word may mean, in a stable order: none, one, or several.
    pub(crate) fn candidates(&self, word: &OsStr) -> Result<Vec<Candidate>, Failure> {
        if word.as_bytes().contains(&b'/') {
            let file = PathBuf::from(word);
            return Ok(vec![Candidate { place: Place::Path, file, command: None, package: None }]);
        }
        let Some(name) = word.to_str().filter(|name| is_name(name)) else {
            return Err(Failure::usage(format!("`{}` is no command's name", word.display()))
                .hint("a name has up to 62 letters, digits, `-`, `_` and `.`; a path has a `/`"));
        };
        for (scope, folder) in &self.aliases {
            if let Some(alias) = alias::read(folder, name)? {
                return Ok(vec![self.of_alias(alias, *scope)?]);
            }
        }
        let found = commands::having(&self.stores, name, self.cache.as_deref(), SystemTime::now())?;
        for failure in &found.unreadable {
            eprintln!("warning: {}", failure.message());
        }
        let candidate = |package| Candidate::installed(package, Some(name));
        Ok(found.packages.iter().map(candidate).collect())
    }

    /// The one thing that the word means.
    pub(crate) fn find(&self, word: &OsStr) -> Result<Candidate, Failure> {
        self.only(&self.candidates(word)?, word)
    }

    /// The only candidate, or why there is none.
    pub(crate) fn only(
        &self,
        candidates: &[Candidate],
        word: &OsStr,
    ) -> Result<Candidate, Failure> {
        let shown = word.display();
        match candidates {
            [one] => Ok(one.clone()),
            [] => Err(Failure::new(Exit::NotFound, format!("no package has a command `{shown}`"))
                .hint("it is looked for among your aliases, the system's, and the commands of installed packages")),
            several => {
                let message = format!("several packages have a command `{shown}`");
                let hint = format!("an alias decides: `{}`", self.alias_path(word).display());
                let failure = Failure::refused(message);
                let failure = several.iter().fold(failure, |failure, one| failure.hint(one.line()));
                Err(failure.hint(hint))
            }
        }
    }

    /// Where an alias of this name would be.
    fn alias_path(&self, word: &OsStr) -> PathBuf {
        let folder = self.aliases.first().map(|(_, folder)| folder.clone()).unwrap_or_default();
        folder.join(format!("{}.toml", word.display()))
    }

    fn of_alias(&self, alias: alias::Alias, scope: Owner) -> Result<Candidate, Failure> {
        let place = Place::Alias(scope);
        match alias.package {
            alias::Target::File(file) => {
                Ok(Candidate { place, file, command: alias.command, package: None })
            }
            alias::Target::Installed(wanted) => {
                let package = meant(&self.stores, &wanted)?.ok_or_else(|| {
                    let file = alias.file.display();
                    Failure::launch(format!("`{file}`: the package `{wanted}` is not installed"))
                        .hint("`pkgtool list` says what is installed")
                })?;
                Ok(Candidate { place, ..Candidate::installed(&package, alias.command.as_deref()) })
            }
        }
    }
}

/// Whether a manifest may have a command of this name.
fn is_name(name: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=62).contains(&name.len()) && name.bytes().all(good)
}
