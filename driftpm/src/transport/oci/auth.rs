//! What a registry wants to see before it answers (the token protocol of distribution, and
//! RFC 7617 for those that want a password).

use http_auth::{ChallengeRef, parse_challenges};
use reqwest::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{RequestBuilder, Response};
use serde::Deserialize;
use url::Url;
use url::form_urlencoded::Serializer;

use super::login::Login;
use super::reference::is_loopback;
use super::registry::{Access, Registry};
use crate::transport::error::{ErrorKind, TransportError};

/// The most bytes of an answer with a token.
const MAX_ANSWER: u64 = 1 << 20;

/// What a registry asks for.
#[derive(Debug, PartialEq, Eq)]
enum Challenge {
    /// Name and password with each request.
    Basic,
    /// A token, to be had at a URL.
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

impl Registry<'_> {
    /// The header that answers a refusal.
    pub(super) async fn authorize(
        &self,
        refusal: &Response,
        access: Access,
    ) -> Result<HeaderValue, TransportError> {
        let denied = |message: String| TransportError::new(ErrorKind::Denied, self.from, message);
        let challenge = find(refusal.headers())
            .ok_or_else(|| denied("it asks for a login, in no way that is known here".into()))?;
        let login = self.settings.logins.find(self.reference).map_err(&denied)?;
        match (challenge, login) {
            (Challenge::Bearer { .. }, Some(Login::Bearer(token))) => secret("Bearer", &token),
            (Challenge::Bearer { realm, service, scope }, login) => {
                let scope = scope.unwrap_or_else(|| access.scope(self.reference.name()));
                let url = self.realm(&realm, refusal.url())?;
                let request = self.token_request(url, service.as_deref(), &scope, login.as_ref());
                let token = self.token(request).await?;
                secret("Bearer", &token)
            }
            (Challenge::Basic, Some(Login::Password { user, password })) => basic(&user, &password),
            (Challenge::Basic, _) => {
                return Err(denied("it asks for a user name and a password".into()));
            }
        }
        .ok_or_else(|| denied("the login has characters that no header holds".into()))
    }

    /// Where tokens are given, unless it would be told a password that others could read.
    fn realm(&self, text: &str, registry: &Url) -> Result<Url, TransportError> {
        let wrong = |what: &str| {
            let text = text.escape_debug();
            let message = format!("it sends us to `{text}` for a token: {what}");
            TransportError::new(ErrorKind::Redirect, self.from, message)
        };
        let realm = Url::parse(text).map_err(|_| wrong("that is no URL"))?;
        let host = realm.host_str().unwrap_or_default();
        match (registry.scheme(), realm.scheme()) {
            (_, "https") => Ok(realm),
            ("http", "http") if is_loopback(host) || Some(host) == registry.host_str() => Ok(realm),
            _ => Err(wrong("that is not encrypted")),
        }
    }

    fn token_request(
        &self,
        mut realm: Url,
        service: Option<&str>,
        scope: &str,
        login: Option<&Login>,
    ) -> RequestBuilder {
        let words = || {
            let mut words = Serializer::new(String::new());
            if let Some(service) = service {
                words.append_pair("service", service);
            }
            words.append_pair("scope", scope);
            words
        };
        if let Some(Login::Identity(token)) = login {
            let mut words = words();
            words.append_pair("grant_type", "refresh_token");
            words.append_pair("client_id", "driftpm");
            words.append_pair("refresh_token", token);
            let kind = "application/x-www-form-urlencoded";
            return self.web.post(realm).header("content-type", kind).body(words.finish());
        }
        let query = match realm.query() {
            Some(query) => format!("{query}&{}", words().finish()),
            None => words().finish(),
        };
        realm.set_query(Some(&query));
        let request = self.web.get(realm);
        match login {
            Some(Login::Password { user, password }) => request.basic_auth(user, Some(password)),
            _ => request,
        }
    }

    async fn token(&self, request: RequestBuilder) -> Result<String, TransportError> {
        let answer = self.attempt(request, self.settings.retries, None).await?;
        if !answer.status().is_success() {
            let problem = self.refused(answer).await;
            let message = format!("no token is given: {}", problem.message);
            return Err(TransportError { message, ..problem });
        }
        let bytes = self.small(answer, MAX_ANSWER).await?;
        let token: Option<Token> = serde_json::from_slice(&bytes).ok();
        let token = token.and_then(|found| found.token.or(found.access_token));
        token.filter(|token| !token.is_empty()).ok_or_else(|| {
            let message = "the answer to the request for a token has none";
            TransportError::new(ErrorKind::Network, self.from, message)
        })
    }
}

/// The challenge that can be met; a token before a password that goes with each request.
fn find(headers: &HeaderMap) -> Option<Challenge> {
    let mut found = None;
    for header in headers.get_all(WWW_AUTHENTICATE) {
        let challenges = header.to_str().ok().and_then(|text| parse_challenges(text).ok());
        for challenge in challenges.unwrap_or_default() {
            let value = |key| parameter(&challenge, key);
            if challenge.scheme.eq_ignore_ascii_case("bearer")
                && let Some(realm) = value("realm")
            {
                let (service, scope) = (value("service"), value("scope"));
                return Some(Challenge::Bearer { realm, service, scope });
            }
            if challenge.scheme.eq_ignore_ascii_case("basic") {
                found = Some(Challenge::Basic);
            }
        }
    }
    found
}

fn parameter(challenge: &ChallengeRef<'_>, key: &str) -> Option<String> {
    let found = challenge.params.iter().find(|(name, _)| name.eq_ignore_ascii_case(key));
    found.map(|(_, value)| value.to_unescaped())
}

fn secret(scheme: &str, text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("{scheme} {text}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn basic(user: &str, password: &str) -> Option<HeaderValue> {
    use base64::Engine as _;
    let both = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    secret("Basic", &both)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_that_can_be_met_are_found() {
        let of = |texts: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for text in texts {
                headers.append(WWW_AUTHENTICATE, HeaderValue::from_static(text));
            }
            find(&headers)
        };
        let bearer = |scope: Option<&str>| {
            Some(Challenge::Bearer {
                realm: "https://auth/token".into(),
                service: Some("a, \"b\"".into()),
                scope: scope.map(str::to_owned),
            })
        };
        let full = "Bearer realm=\"https://auth/token\",service=\"a, \\\"b\\\"\",scope=\"repository:n:pull,push\"";
        assert_eq!(of(&[full]), bearer(Some("repository:n:pull,push")));
        let short = "bearer Realm=\"https://auth/token\", service=\"a, \\\"b\\\"\"";
        assert_eq!(of(&["Basic realm=\"x\"", short]), bearer(None));
        assert_eq!(of(&["Basic realm=\"x\""]), Some(Challenge::Basic));
        for none in ["Bearer service=\"x\"", "Digest realm=\"x\", nonce=\"y\"", "\"", ""] {
            assert_eq!(of(&[none]), None, "{none}");
        }
    }
}
