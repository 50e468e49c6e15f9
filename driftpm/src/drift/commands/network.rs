//! What commands need to reach repositories on servers.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::gate::{TOOLCHAIN_KEYS, USER_STORE, load_trust_so_far};
use super::super::platform::Platform;
use super::super::project::{Project, RepositoryKind, RepositorySpec};
use super::super::repositories::{Repositories, Surroundings};
use super::super::repository::Access;
use super::super::resolve::VersionSource;
use super::super::trust::{Consent, DEFAULT_STORE, FirstUse};
use super::report::{PlatformArgs, Report, finish, one};
use super::{Failure, Host};
use crate::index::Seen;
use crate::problem::Problem;
use crate::transport::Client;

/// Where a toolchain's packages lie beside its binaries.
const TOOLCHAIN_PACKAGES: &str = "drift-packages";

/// The option about new signers.
#[derive(Debug, clap::Args)]
pub(super) struct FirstUseArgs {
    /// Trust the first signer of a repository's index, and of a namespace, without asking, and
    /// write that into the project's trust store; never for reserved namespaces and revoked keys
    #[arg(long)]
    pub(super) trust_on_first_use: bool,
}

/// Opens what all repositories on servers share. `store` is the project's trust store.
pub(super) fn access(
    store: Option<PathBuf>,
    args: &FirstUseArgs,
    json: bool,
    host: &Host<'_>,
) -> Result<Access, Problem> {
    let path = store.unwrap_or_else(|| PathBuf::from(DEFAULT_STORE));
    let trust = load_trust_so_far(
        &path,
        host.home.as_ref().map(|home| home.join(USER_STORE)).as_deref(),
        host.binary_dir.as_ref().map(|dir| dir.join(TOOLCHAIN_KEYS)).as_deref(),
    )
    .map_err(|verdict| Problem::new(verdict.code, verdict.message).in_file(verdict.path))?;
    let consent = match (args.trust_on_first_use, host.world.asker()) {
        (true, _) => Consent::Always,
        (false, Some(ask)) => Consent::Ask(ask),
        (false, None) => Consent::Never,
    };
    let folder = |found: Option<PathBuf>, what: &str| {
        found.ok_or_else(|| {
            let message = format!("there is no folder for the user's {what}: `HOME` is not set");
            Problem::new("FILE_ERROR", message)
        })
    };
    let state = folder(host.world.state_dir(), "state")?;
    let cache = folder(host.world.cache_dir(), "cache")?;
    let client = Client::new(host.world.network())
        .map_err(|error| Problem::new("TRANSPORT_LOCAL", error.to_string()))?;
    Ok(Access {
        client: Arc::new(client),
        trust: Arc::new(FirstUse::new(path, trust, consent)),
        seen: Seen::in_folder(&state.join("drift/indexes")),
        cache: Access::cache_below(&cache),
        now: host.now,
        progress: host.shared_progress(json),
    })
}

/// The project's trust store, if the project names one.
pub(super) fn store_of(project: &Project) -> Option<PathBuf> {
    project.file.trust.store.as_ref().map(|path| path.below(&project.root))
}

/// The options of commands that look into the project's repositories.
#[derive(Debug, clap::Args)]
pub(super) struct ReachArgs {
    #[command(flatten)]
    platform: PlatformArgs,
    #[command(flatten)]
    first_use: FirstUseArgs,
    /// Print a JSON report and nothing else
    #[arg(long)]
    pub(super) json: bool,
}

impl ReachArgs {
    /// Opens the project's repositories, and says for which platform.
    pub(super) fn open(
        &self,
        project: &Project,
        host: &Host<'_>,
    ) -> Result<(Repositories, Platform), Problem> {
        let shared = OnceCell::new();
        let remote = |spec: &RepositorySpec| -> Result<Box<dyn VersionSource>, Problem> {
            let shared =
                shared.get_or_init(|| access(store_of(project), &self.first_use, self.json, host));
            let access = shared.as_ref().map_err(Clone::clone)?;
            Ok(Box::new(access.open(&spec.name, &url_of(spec)?)?))
        };
        let around =
            Surroundings { toolchain_packages: toolchain_packages(host), remote: Some(&remote) };
        Ok((Repositories::open(project, &around)?, self.platform.platform(host)?))
    }

    /// Prints what came of it.
    pub(super) fn finish(
        &self,
        host: &mut Host<'_>,
        result: Result<Report, Problem>,
    ) -> Result<u8, Failure> {
        finish(host, self.json, result.map_err(one))
    }
}

/// Where a toolchain's packages lie.
pub(super) fn toolchain_packages(host: &Host<'_>) -> Option<PathBuf> {
    host.binary_dir.as_deref().map(|dir: &Path| dir.join(TOOLCHAIN_PACKAGES))
}

/// The repository's URL, of a scheme that its type has.
fn url_of(spec: &RepositorySpec) -> Result<String, Problem> {
    let wrong =
        |message: String| Err(Problem::new("REPOSITORY_URL", message).about(spec.name.as_str()));
    let kind = spec.kind.as_str();
    let Some(url) = &spec.url else {
        return wrong(format!("a repository of type `{kind}` needs a URL"));
    };
    let schemes: &[&str] = match spec.kind {
        RepositoryKind::Http => &["http://", "https://"],
        RepositoryKind::S3 => &["s3://"],
        RepositoryKind::Dir | RepositoryKind::Toolchain => &["file://"],
    };
    if schemes.iter().any(|scheme| url.starts_with(scheme)) {
        return Ok(url.clone());
    }
    wrong(format!(
        "the URL of a repository of type `{kind}` begins with `{}`",
        schemes.join("` or `")
    ))
}
