//! Who asks a registry: names and passwords as the files of Docker and Podman have them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::Deserialize;

use super::reference::Reference;
use crate::keys::decode_base64;

/// How somebody says who they are.
#[derive(Clone, PartialEq, Eq)]
pub enum Login {
    /// By a name and a password.
    Password {
        /// The name.
        user: String,
        /// The password.
        password: String,
    },
    /// By a token that other tokens are given for (`identitytoken`).
    Identity(String),
    /// By a token that the registry takes as it is (`registrytoken`).
    Bearer(String),
}

impl fmt::Debug for Login {
    /// Without the secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Password { .. } => "Password",
            Self::Identity(_) => "Identity",
            Self::Bearer(_) => "Bearer",
        })
    }
}

/// What finds the login for a repository, or says why it cannot.
type Find = dyn Fn(&Reference) -> Result<Option<Login>, String> + Send + Sync;

/// Where logins are looked for, when a registry asks and not before.
#[derive(Clone)]
pub struct Logins(Arc<Find>);

impl Logins {
    /// Looks for logins with `find`.
    pub fn new(
        find: impl Fn(&Reference) -> Result<Option<Login>, String> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(find))
    }

    pub(super) fn find(&self, reference: &Reference) -> Result<Option<Login>, String> {
        (self.0)(reference)
    }
}

impl Default for Logins {
    /// There are none.
    fn default() -> Self {
        Self::new(|_| Ok(None))
    }
}

impl fmt::Debug for Logins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Logins")
    }
}

/// The part of `config.json` and `auth.json` that is read.
#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

impl Login {
    /// The login for a repository in a file of Docker's or Podman's; `None` if it has none. Of
    /// several entries the one for the longest part of the name counts, as Podman has it.
    ///
    /// # Errors
    /// What is wrong with the file, without what is in it.
    pub fn of_config(bytes: &[u8], reference: &Reference) -> Result<Option<Self>, String> {
        // The parser's message could quote a password.
        let config: Config = serde_json::from_slice(bytes).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            format!("line {line}, column {column}: it is no file of registries and passwords")
        })?;
        let mut place = format!("{}/{}", reference.host(), reference.name());
        let mut places = Vec::new();
        loop {
            places.push(place.clone());
            match place.rsplit_once('/') {
                Some((above, _)) => place = above.to_owned(),
                None => break,
            }
        }
        if reference.is_docker_hub() {
            places.extend(["docker.io", "index.docker.io"].map(str::to_owned));
        }
        // `https://index.docker.io/v1/` and the like are how Docker writes some of them.
        let plain = |key: &str| {
            let key = key.trim_start_matches("https://").trim_start_matches("http://");
            key.trim_end_matches('/').trim_end_matches("/v1").trim_end_matches("/v2").to_owned()
        };
        for place in places {
            for (key, entry) in &config.auths {
                if plain(key) == place
                    && let Some(login) = entry
                        .login()
                        .map_err(|what| format!("the entry of `{}` {what}", key.escape_debug()))?
                {
                    return Ok(Some(login));
                }
            }
        }
        Ok(None)
    }
}

impl Entry {
    /// `None` for an entry without content: somebody else keeps the password.
    fn login(&self) -> Result<Option<Login>, &'static str> {
        let text = |field: &Option<String>| field.clone().filter(|text| !text.is_empty());
        if let Some(token) = text(&self.registrytoken) {
            return Ok(Some(Login::Bearer(token)));
        }
        if let Some(token) = text(&self.identitytoken) {
            return Ok(Some(Login::Identity(token)));
        }
        if let Some(auth) = text(&self.auth) {
            let wrong = "has an `auth` that is not `NAME:PASSWORD` in base64";
            let decoded = decode_base64(&auth).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            let decoded = decoded.ok_or(wrong)?;
            // Docker fills it up with zeroes.
            let (user, password) = decoded.trim_end_matches('\0').split_once(':').ok_or(wrong)?;
            let (user, password) = (user.to_owned(), password.to_owned());
            return Ok(Some(Login::Password { user, password }));
        }
        let named = text(&self.username).zip(text(&self.password));
        Ok(named.map(|(user, password)| Login::Password { user, password }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(config: &str, reference: &str) -> Result<Option<Login>, String> {
        Login::of_config(config.as_bytes(), &Reference::parse(reference).unwrap())
    }

    fn password(user: &str, password: &str) -> Option<Login> {
        Some(Login::Password { user: user.into(), password: password.into() })
    }

    #[test]
    fn entries_are_found_as_docker_and_podman_write_them() {
        // me:secret, you:sesame
        let config = r#"{"auths": {
            "h:5000": {"auth": "bWU6c2VjcmV0"},
            "h:5000/team": {"auth": "eW91OnNlc2FtZQ=="},
            "https://other.example/v2/": {"username": "me", "password": "a:b"},
            "https://index.docker.io/v1/": {"identitytoken": "long"},
            "token": {"registrytoken": "short"},
            "empty": {}
        }, "credsStore": "x"}"#;
        for (reference, expected) in [
            ("oci://h:5000/app:1", password("me", "secret")),
            ("oci://h:5000/team/app", password("you", "sesame")),
            ("oci://h:5000/teams/app", password("me", "secret")),
            ("oci://h/app", None),
            ("oci://other.example/x", password("me", "a:b")),
            ("oci://docker.io/a/b", Some(Login::Identity("long".into()))),
            ("oci://token/x", Some(Login::Bearer("short".into()))),
            ("oci://empty/x", None),
        ] {
            assert_eq!(find(config, reference), Ok(expected), "{reference}");
        }
        assert_eq!(find("{}", "oci://h/n"), Ok(None));
    }

    #[test]
    fn what_is_wrong_is_said_without_secrets() {
        for config in [
            "secret",
            r#"{"auths": {"h": "secret"}}"#,
            r#"{"auths": {"h": {"auth": "secret"}}}"#,
            r#"{"auths": {"h": {"auth": "c2VjcmV0"}}}"#,
        ] {
            let error = find(config, "oci://h/n").unwrap_err();
            assert!(!error.contains("secret") && !error.contains("c2VjcmV0"), "{error}");
        }
        let shown = format!("{:?}", password("me", "secret").unwrap());
        assert!(!shown.contains("secret"), "{shown}");
    }
}
