//! `pkgtool repo`

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use driftpm::index::Statement;
use driftpm::keys::PrivateKey;
use serde_json::{Value, json};

use crate::exit::{Exit, Failure, print_line};
use crate::fetch::client;
use crate::input::TrustArgs;
use crate::remote::hand_over;
use crate::repository::push::{PushedRepository, push_repository};
use crate::repository::{self, Checked, Repository};
use crate::sources::repository_in_registry;
use crate::store::{Identity, Wanted};

/// Seconds of a day.
const DAY: u64 = 86_400;

/// Make and maintain a repository: a folder of packages with a signed index
///
/// Any web server, object store or USB stick can hold the folder; `pkgtool source` and `fetch` use
/// it. `index.html` in it is a page for people. To change a repository on a server, upload
/// `packages` first and `epk-index.json.sig` last; to registries of containers `push` does it.
#[derive(Debug, Args)]
pub(crate) struct RepoArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a repository without packages
    Init {
        /// The folder; it is made if it isn't there
        #[arg(value_name = "DIR")]
        folder: PathBuf,

        /// What the repository is called
        #[arg(long, default_value = "Packages")]
        title: String,
    },
    /// Verify packages as a whole and take them in
    Add {
        /// The repository
        #[arg(value_name = "DIR")]
        folder: PathBuf,

        /// The packages
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,

        #[command(flatten)]
        trust: TrustArgs,

        #[command(flatten)]
        sign: SignArgs,
    },
    /// Take packages out and remove their files
    Remove {
        /// The repository
        #[arg(value_name = "DIR")]
        folder: PathBuf,

        /// The packages
        #[arg(required = true, value_name = "NAME@VERSION")]
        names: Vec<String>,

        #[command(flatten)]
        sign: SignArgs,
    },
    /// State what the index is, and until when that may be believed
    Sign {
        /// The repository
        #[arg(value_name = "DIR")]
        folder: PathBuf,

        #[command(flatten)]
        sign: SignArgs,
    },
    /// Push a signed repository to a registry of containers
    Push {
        /// The repository
        #[arg(value_name = "DIR")]
        folder: PathBuf,

        /// Where to: `oci://HOST[:PORT]/NAME`
        #[arg(value_name = "REFERENCE")]
        to: String,

        /// Print an object as JSON
        #[arg(long)]
        json: bool,
    },
    /// Check the index, its signature and every package
    Check {
        /// The repository
        #[arg(value_name = "DIR")]
        folder: PathBuf,

        /// One of these keys must have signed
        #[arg(long, value_name = "KEYID")]
        key: Vec<String>,

        /// Print an object as JSON
        #[arg(long)]
        json: bool,
    },
}

/// How the index is signed.
#[derive(Debug, Args)]
struct SignArgs {
    /// Sign the index with this key file; more than one for more signatures
    #[arg(long, value_name = "KEY")]
    sign: Vec<PathBuf>,

    /// For how many days the signature may be believed
    #[arg(long, value_name = "DAYS", default_value_t = 30)]
    valid_for: u64,

    /// The number of this state, above the one before; without, the next one
    #[arg(long, value_name = "N")]
    number: Option<u64>,

    /// Print a JSON object a line
    #[arg(long)]
    json: bool,
}

pub(crate) fn repo(args: &RepoArgs) -> Result<(), Failure> {
    match &args.verb {
        Verb::Init { folder, title } => Repository::init(folder, title).map(drop),
        Verb::Add { folder, files, trust, sign } => add(folder, files, trust, sign),
        Verb::Remove { folder, names, sign } => remove(folder, names, sign),
        Verb::Sign { folder, sign } => {
            if sign.sign.is_empty() {
                return Err(Failure::usage("`repo sign` needs `--sign KEY`"));
            }
            let (repository, _lock) = Repository::open(folder)?;
            sign.apply(&repository, folder)
        }
        Verb::Push { .. } => Err(hand_over()),
        Verb::Check { folder, key, json } => check(folder, key, *json),
    }
}

/// What `pkgtool-remote` does of it; `None` for the rest.
pub(crate) fn run_remote(args: &RepoArgs) -> Option<Result<(), Failure>> {
    match &args.verb {
        Verb::Push { folder, to, json } => Some(push(folder, to, *json)),
        _ => None,
    }
}

fn add(
    folder: &Path,
    files: &[PathBuf],
    trust: &TrustArgs,
    sign: &SignArgs,
) -> Result<(), Failure> {
    let options = trust.open_options()?;
    let keys = sign.keys()?;
    let (mut repository, _lock) = Repository::open(folder)?;
    for file in files {
        let (identity, release) = repository.add(file, &options)?;
        if sign.json {
            print_line(json!({
                "schema": "epk.repo-add/1",
                "name": identity.name,
                "version": identity.version,
                "file": release.file,
                "size": release.size,
                "package_hash": format!("sha256:{}", release.package_hash),
            }))?;
        } else {
            print_line(format!("{identity}: {}, {} bytes", release.file, release.size))?;
        }
    }
    repository.save()?;
    sign.apply_with(&keys, &repository, folder)
}

fn remove(folder: &Path, names: &[String], sign: &SignArgs) -> Result<(), Failure> {
    let keys = sign.keys()?;
    let (mut repository, _lock) = Repository::open(folder)?;
    let mut files = Vec::new();
    for name in names {
        let wanted = Wanted::parse(name)?;
        let Wanted { name, version: Some(version) } = wanted else {
            return Err(Failure::usage(format!("`{wanted}` has no version"))
                .hint("what is published is removed version by version: `NAME@VERSION`"));
        };
        let identity = Identity { name, version };
        files.push(repository.remove(&identity).ok_or_else(|| {
            Failure::refused(format!("`{}` does not have `{identity}`", folder.display()))
        })?);
    }
    repository.save()?;
    sign.apply_with(&keys, &repository, folder)?;
    for file in files {
        std::fs::remove_file(&file).map_err(|error| {
            Failure::system(format!("cannot remove `{}`", file.display()), &error)
        })?;
    }
    Ok(())
}

impl SignArgs {
    fn keys(&self) -> Result<Vec<PrivateKey>, Failure> {
        self.sign.iter().map(|path| read_key(path)).collect()
    }

    fn apply(&self, repository: &Repository, folder: &Path) -> Result<(), Failure> {
        self.apply_with(&self.keys()?, repository, folder)
    }

    /// Signs; without keys, says what is missing.
    fn apply_with(
        &self,
        keys: &[PrivateKey],
        repository: &Repository,
        folder: &Path,
    ) -> Result<(), Failure> {
        if keys.is_empty() {
            let folder = folder.display();
            eprintln!("warning: the index is not signed: `pkgtool repo sign {folder} --sign KEY`");
            return Ok(());
        }
        let valid_for = self.valid_for.saturating_mul(DAY);
        let statement = repository.sign(keys, self.number, valid_for)?;
        let key_ids: Vec<String> = keys.iter().map(|key| key.public().id()).collect();
        if self.json {
            print_line(statement_json("epk.repo-sign/1", &statement, &key_ids))
        } else {
            let Statement { number, expires, .. } = statement;
            let by = key_ids.join("`, `");
            print_line(format!("state {number}, until {expires} (seconds since 1970), by `{by}`"))
        }
    }
}

fn statement_json(schema: &str, statement: &Statement, key_ids: &[String]) -> Value {
    json!({
        "schema": schema,
        "number": statement.number,
        "created": statement.created,
        "expires": statement.expires,
        "key_ids": key_ids,
    })
}

fn read_key(path: &Path) -> Result<PrivateKey, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::environment(format!("`{}`: {error}", path.display())))?;
    PrivateKey::parse_file(&text).map_err(|error| {
        Failure::new(Exit::Signature, format!("`{}` is no key file: {error}", path.display()))
            .hint("`pkgtool keygen` makes one")
    })
}

fn push(folder: &Path, to: &str, json: bool) -> Result<(), Failure> {
    let to = repository_in_registry(to)?;
    let pushed = push_repository(&client()?, folder, &to)?;
    let PushedRepository { reference, digest, statement, packages, pushed, sent } = pushed;
    let number = statement.number;
    if json {
        return print_line(json!({
            "schema": "epk.repo-push/1",
            "reference": reference.to_string(),
            "digest": format!("sha256:{digest}"),
            "number": number,
            "packages": packages,
            "pushed": pushed,
            "sent": sent,
        }));
    }
    print_line(format!(
        "`{reference}`: state {number}, sha256:{digest}, {packages} packages, {pushed} pushed, {sent} bytes"
    ))
}

fn check(folder: &Path, keys: &[String], json: bool) -> Result<(), Failure> {
    let Checked { packages, statement, key_ids, findings } = repository::check(folder, keys)?;
    if json {
        let findings: Vec<Value> = findings
            .iter()
            .map(|finding| {
                json!({ "code": finding.code, "about": finding.about, "message": finding.message })
            })
            .collect();
        print_line(json!({
            "schema": "epk.repo-check/1",
            "good": findings.is_empty(),
            "packages": packages,
            "number": statement.as_ref().map(|statement| statement.number),
            "expires": statement.as_ref().map(|statement| statement.expires),
            "key_ids": key_ids,
            "findings": findings,
        }))?;
    } else {
        for finding in &findings {
            let about = finding.about.escape_debug();
            print_line(format!("{about}: {} ({})", finding.message, finding.code))?;
        }
        if findings.is_empty() {
            print_line(format!("{packages} packages, all as the index says"))?;
        }
    }
    match findings.len() {
        0 => Ok(()),
        count => Err(Failure::refused(format!("`{}`: {count} findings", folder.display()))),
    }
}
