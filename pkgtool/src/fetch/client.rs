//! What the environment says about the network: proxies, keys, and logins of registries.

use std::path::PathBuf;

use driftpm::files;
use driftpm::transport::oci::{Login, Logins, Reference};
use driftpm::transport::{Client, ErrorKind, Settings, TransportError};

use crate::exit::{Exit, Failure};

/// The most bytes of a file with logins.
const MAX_LOGINS: u64 = 1 << 20;

/// A client by the environment. Nothing is connected yet, and no login looked for.
pub(crate) fn client() -> Result<Client, Failure> {
    let user_agent = concat!("pkgtool/", env!("CARGO_PKG_VERSION")).to_owned();
    let settings =
        Settings { user_agent, logins: Logins::new(login), ..Settings::of_variables(&variable) };
    Client::new(settings).map_err(|error| Failure::system("cannot use the network", &error))
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Where Docker and Podman keep logins; the first file that has the registry counts.
fn files_with_logins() -> Vec<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).filter(|path| !path.is_empty());
    let below =
        |name: &str, path: &str| folder(name).map(|folder| PathBuf::from(folder).join(path));
    let docker = below("DOCKER_CONFIG", "config.json");
    let home = if docker.is_none() { below("HOME", ".docker/config.json") } else { None };
    let podman = below("XDG_RUNTIME_DIR", "containers/auth.json");
    [docker, podman, home].into_iter().flatten().collect()
}

fn login(reference: &Reference) -> Result<Option<Login>, String> {
    for path in files_with_logins() {
        let bytes = match files::read(&path, MAX_LOGINS) {
            Ok(bytes) => bytes,
            Err(error) if error.is_missing() => continue,
            Err(error) => return Err(error.to_string()),
        };
        let found = Login::of_config(&bytes, reference)
            .map_err(|problem| format!("`{}`: {problem}", path.display()))?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// What the transport says, as a failure of a command.
pub(crate) fn transport(error: &TransportError) -> Failure {
    let exit = match error.kind {
        ErrorKind::WrongContent => Exit::Signature,
        _ => Exit::Environment,
    };
    let failure = Failure::new(exit, format!("{error} ({})", error.kind.code()));
    if error.kind == ErrorKind::Denied && Reference::is_meant(&error.from) {
        return failure.hint(
            "logins are read where `docker login` and `podman login` keep them; programs that keep \
             them elsewhere are not asked",
        );
    }
    failure
}
