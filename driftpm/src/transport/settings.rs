//! What a client is told about the world. Nothing is read from the environment here.

use std::time::Duration;

use super::oci::Logins;

/// How to connect, and with what patience.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What servers are told who asks.
    pub user_agent: String,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long a server may be silent in the middle of an answer.
    pub idle_timeout: Duration,
    /// The fewest bytes a second that a server may send, once it has had `idle_timeout` to begin: it
    /// must not hold us for ever by a byte now and then.
    pub slowest: u64,
    /// How often a request is made again after it failed in a way that may pass.
    pub retries: usize,
    /// How long such a request is tried, all in all.
    pub retry_timeout: Duration,
    /// How many redirects are followed.
    pub redirects: usize,
    /// How many files are downloaded at a time.
    pub parallel: usize,
    /// Proxies.
    pub proxies: Proxies,
    /// Certificates, as PEM, that are accepted beside those of the system.
    pub root_certificates: Vec<Vec<u8>>,
    /// Of object stores.
    pub s3: S3Settings,
    /// Of registries of containers.
    pub logins: Logins,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            user_agent: concat!("driftpm/", env!("CARGO_PKG_VERSION")).to_owned(),
            connect_timeout: Duration::from_secs(15),
            idle_timeout: Duration::from_secs(30),
            slowest: 256,
            retries: 4,
            retry_timeout: Duration::from_secs(60),
            redirects: 5,
            parallel: 6,
            proxies: Proxies::default(),
            root_certificates: Vec::new(),
            s3: S3Settings::default(),
            logins: Logins::default(),
        }
    }
}

impl Settings {
    /// With what programs are usually told by variables of the environment: proxies, and the
    /// object store's server, region and keys. `variable` gives those that are set to something.
    #[must_use]
    pub fn of_variables(variable: &dyn Fn(&str) -> Option<String>) -> Self {
        let first = |names: &[&str]| names.iter().find_map(|name| variable(name));
        let keys = variable("AWS_ACCESS_KEY_ID").zip(variable("AWS_SECRET_ACCESS_KEY"));
        Self {
            proxies: Proxies {
                // In capitals it could be a header of a request that a web server runs us for.
                http: variable("http_proxy"),
                https: first(&["https_proxy", "HTTPS_PROXY"]),
                all: first(&["all_proxy", "ALL_PROXY"]),
                none_for: first(&["no_proxy", "NO_PROXY"]),
            },
            s3: S3Settings {
                endpoint: first(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]),
                region: first(&["AWS_REGION", "AWS_DEFAULT_REGION"]),
                keys,
                token: variable("AWS_SESSION_TOKEN"),
            },
            ..Self::default()
        }
    }
}

/// The proxies that programs are usually told by the variables of these names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    /// `http_proxy`
    pub http: Option<String>,
    /// `https_proxy`
    pub https: Option<String>,
    /// `all_proxy`
    pub all: Option<String>,
    /// `no_proxy`: hosts, domains and networks that are reached without, separated by commas.
    pub none_for: Option<String>,
}

/// Where object stores are, and who asks.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct S3Settings {
    /// The server's URL; absent: Amazon's.
    pub endpoint: Option<String>,
    /// The region; absent: `us-east-1`.
    pub region: Option<String>,
    /// Key id and secret key; absent: requests are not signed, as for public buckets.
    pub keys: Option<(String, String)>,
    /// A session's token, beside the keys.
    pub token: Option<String>,
}

impl std::fmt::Debug for S3Settings {
    /// Without the secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("S3Settings")
            .field("endpoint", &self.endpoint)
            .field("region", &self.region)
            .field("key_id", &self.keys.as_ref().map(|(id, _)| id))
            .finish_non_exhaustive()
    }
}
