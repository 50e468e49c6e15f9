//! [`Client`]: the transport over `object_store`, and the one place with an async runtime.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use futures_util::StreamExt as _;
use object_store::aws::AmazonS3Builder;
use object_store::http::HttpBuilder;
use object_store::local::LocalFileSystem;
use object_store::path::Path as StorePath;
use object_store::{BackoffConfig, GetOptions, GetRange, GetResult, ObjectStore, RetryConfig};
use tokio::runtime::{Builder, Runtime};

use super::download::download;
use super::error::{ErrorKind, TransportError};
use super::location::{Location, Scheme};
use super::oci;
use super::pace::Pace;
use super::settings::Settings;
use super::web::{Connector, client};
use super::{Downloaded, Progress, Request, Transport};

/// Fetches over all schemes. Connections are kept between calls.
pub struct Client {
    settings: Settings,
    runtime: Runtime,
    /// Made when it is first needed: local files need no TLS.
    web: OnceLock<Result<Connector, String>>,
    stores: Mutex<HashMap<String, Arc<dyn ObjectStore>>>,
    /// Of registries.
    memory: oci::Memory,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Client {
    /// A client by these settings. Nothing is connected yet.
    ///
    /// # Errors
    /// The system has no more threads or file descriptors.
    pub fn new(settings: Settings) -> std::io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (stores, memory) = (Mutex::default(), oci::Memory::default());
        Ok(Self { settings, runtime, web: OnceLock::new(), stores, memory })
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(super) fn memory(&self) -> &oci::Memory {
        &self.memory
    }

    pub(super) fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// The HTTP client under all stores.
    pub(super) fn web(&self, from: &Location) -> Result<reqwest::Client, TransportError> {
        self.connector(from).map(|connector| reqwest::Client::clone(&connector.0))
    }

    fn connector(&self, from: &Location) -> Result<Connector, TransportError> {
        let made = self.web.get_or_init(|| {
            let client = client(&self.settings);
            client.map(|client| Connector(Arc::new(client))).map_err(|error| {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                cause.unwrap_or_else(|| error.to_string())
            })
        });
        made.clone().map_err(|message| TransportError::new(ErrorKind::Network, from, message))
    }

    fn retry(&self) -> RetryConfig {
        RetryConfig {
            max_retries: self.settings.retries,
            retry_timeout: self.settings.retry_timeout,
            backoff: BackoffConfig::default(),
        }
    }

    fn store(&self, from: &Location) -> Result<Arc<dyn ObjectStore>, TransportError> {
        let root = from.root();
        let known = || self.stores.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = known().get(root.as_str()) {
            return Ok(Arc::clone(store));
        }
        let failed = |error| TransportError::of_store(from, &error);
        let store: Arc<dyn ObjectStore> = match from.scheme() {
            Scheme::File => Arc::new(LocalFileSystem::new()),
            Scheme::Http | Scheme::Https => {
                let builder = HttpBuilder::new().with_url(root.as_str()).with_retry(self.retry());
                let connector = self.connector(from)?;
                Arc::new(builder.with_http_connector(connector).build().map_err(failed)?)
            }
            Scheme::S3 => self.s3(from)?,
            Scheme::Oci => {
                return Err(TransportError::new(
                    ErrorKind::NotFound,
                    from,
                    "a registry is no folder of files",
                ));
            }
        };
        known().insert(root.to_string(), Arc::clone(&store));
        Ok(store)
    }

    fn s3(&self, from: &Location) -> Result<Arc<dyn ObjectStore>, TransportError> {
        let s3 = &self.settings.s3;
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(from.host())
            .with_region(s3.region.as_deref().unwrap_or("us-east-1"))
            .with_retry(self.retry())
            .with_allow_http(true)
            .with_http_connector(self.connector(from)?);
        if let Some(endpoint) = &s3.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        builder = match &s3.keys {
            None => builder.with_skip_signature(true),
            Some((id, secret)) => builder.with_access_key_id(id).with_secret_access_key(secret),
        };
        if let Some(token) = &s3.token {
            builder = builder.with_token(token);
        }
        let store = builder.build().map_err(|error| TransportError::of_store(from, &error))?;
        Ok(Arc::new(store))
    }

    /// Asks for a file or a range of it.
    pub(super) async fn get(
        &self,
        from: &Location,
        range: Option<GetRange>,
    ) -> Result<GetResult, TransportError> {
        if from.scheme() == Scheme::Oci {
            return self.get_from_registry(from, range).await;
        }
        let store = self.store(from)?;
        let path = StorePath::parse(from.path())
            .map_err(|error| TransportError::new(ErrorKind::NotFound, from, error.to_string()))?;
        let options = GetOptions { range, ..GetOptions::default() };
        store.get_opts(&path, options).await.map_err(|error| TransportError::of_store(from, &error))
    }

    async fn collect(
        &self,
        from: &Location,
        found: GetResult,
        limit: u64,
    ) -> Result<Vec<u8>, TransportError> {
        let announced = found.range.end.saturating_sub(found.range.start);
        if announced > limit {
            return Err(TransportError::too_large(from, Some(announced), limit));
        }
        let mut bytes = Vec::new();
        let mut stream = found.into_stream();
        let mut pace = Pace::new();
        while let Some(piece) = stream.next().await {
            let piece = piece.map_err(|error| TransportError::of_store(from, &error))?;
            pace.note(piece.len(), from, &self.settings)?;
            let length = u64::try_from(bytes.len().saturating_add(piece.len()));
            if length.is_ok_and(|length| length <= limit) {
                bytes.extend_from_slice(&piece);
            } else {
                return Err(TransportError::too_large(from, None, limit));
            }
        }
        if u64::try_from(bytes.len()) != Ok(announced) {
            let message = format!("{announced} bytes were announced, {} came", bytes.len());
            return Err(TransportError::new(ErrorKind::Network, from, message));
        }
        Ok(bytes)
    }
}

impl Transport for Client {
    fn read(&self, from: &Location, limit: u64) -> Result<Vec<u8>, TransportError> {
        self.runtime.block_on(async {
            let found = self.get(from, None).await?;
            self.collect(from, found, limit).await
        })
    }

    fn read_range(&self, from: &Location, range: Range<u64>) -> Result<Vec<u8>, TransportError> {
        let length = range.end.saturating_sub(range.start);
        if length == 0 {
            return Ok(Vec::new());
        }
        self.runtime.block_on(async {
            let found = self.get(from, Some(GetRange::Bounded(range.clone()))).await?;
            if found.range != range {
                let size = found.meta.size;
                let message = format!("bytes {range:?} were wanted, it has {size}");
                return Err(TransportError::new(ErrorKind::WrongSize, from, message));
            }
            self.collect(from, found, length).await
        })
    }

    fn download(
        &self,
        requests: &[Request],
        progress: &dyn Progress,
    ) -> Vec<Result<Downloaded, TransportError>> {
        progress.begin(requests.iter().map(|request| request.size).sum());
        let answers = self.runtime.block_on(async {
            let each = requests.iter().map(|request| download(self, request, progress));
            let parallel = self.settings.parallel.max(1);
            futures_util::stream::iter(each).buffered(parallel).collect().await
        });
        progress.end();
        answers
    }
}
