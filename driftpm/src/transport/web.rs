//! The HTTP client under the stores: redirects, proxies and certificates as we want them.

use std::sync::Arc;

use object_store::ClientOptions;
use object_store::client::{HttpClient, HttpConnector};
use reqwest::redirect::Policy;
use reqwest::{Certificate, ClientBuilder, NoProxy, Proxy};

use super::settings::Settings;

/// Connects a store to a client of ours, which does not care for the store's own options.
#[derive(Clone, Debug)]
pub(super) struct Connector(pub(super) Arc<reqwest::Client>);

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(reqwest::Client::clone(&self.0)))
    }
}

/// A client by these settings.
///
/// # Errors
/// A proxy or certificate that is none; no certificates of the system.
pub(super) fn client(settings: &Settings) -> reqwest::Result<reqwest::Client> {
    // If somebody else has chosen for the process, that will do as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let roots = settings.root_certificates.iter().map(|pem| Certificate::from_pem(pem));
    let roots = roots.collect::<reqwest::Result<Vec<_>>>()?;
    let builder = || -> reqwest::Result<ClientBuilder> {
        // `no_proxy` comes first: it means that the environment is not asked.
        let mut builder = reqwest::Client::builder()
            .no_proxy()
            .user_agent(&settings.user_agent)
            .connect_timeout(settings.connect_timeout)
            .read_timeout(settings.idle_timeout)
            .redirect(redirects(settings.redirects));
        for proxy in proxies(settings)? {
            builder = builder.proxy(proxy);
        }
        Ok(builder)
    };
    match builder()?.tls_certs_merge(roots.clone()).build() {
        Ok(client) => Ok(client),
        // A machine without any certificates can still speak plain HTTP, and TLS with the
        // certificates that the user has given.
        Err(error) if error.is_builder() => builder()?.tls_certs_only(roots).build(),
        Err(error) => Err(error),
    }
}

fn proxies(settings: &Settings) -> reqwest::Result<Vec<Proxy>> {
    let proxies = &settings.proxies;
    let none_for = proxies.none_for.as_deref().and_then(NoProxy::from_string);
    let mut found = Vec::new();
    if let Some(url) = &proxies.http {
        found.push(Proxy::http(url)?.no_proxy(none_for.clone()));
    }
    if let Some(url) = &proxies.https {
        found.push(Proxy::https(url)?.no_proxy(none_for.clone()));
    }
    if let Some(url) = &proxies.all {
        found.push(Proxy::all(url)?.no_proxy(none_for));
    }
    Ok(found)
}

/// A few, and none that gives up encryption.
fn redirects(most: usize) -> Policy {
    Policy::custom(move |attempt| {
        let weaker = attempt.url().scheme() != "https"
            && attempt.previous().iter().any(|url| url.scheme() == "https");
        if weaker {
            let message = format!("a redirect to the weaker `{}` is not followed", attempt.url());
            attempt.error(message)
        } else if attempt.previous().len() > most {
            attempt.error(format!("more than {most} redirects are not followed"))
        } else {
            attempt.follow()
        }
    })
}
