//! Why something was not fetched.

use std::fmt;
use std::io;

use object_store::client::{HttpError, HttpErrorKind};

use super::location::Location;

/// What kind of thing went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The server does not have it.
    NotFound,
    /// The server does not let us have it.
    Denied,
    /// It is larger than allowed.
    TooLarge,
    /// It has another size than it must have.
    WrongSize,
    /// It has another hash than it must have, or is of another kind.
    WrongContent,
    /// The server does not take what it was given.
    Refused,
    /// A redirect that is not followed: to a weaker scheme, or one too many.
    Redirect,
    /// No answer, or none any more.
    Timeout,
    /// The server cannot be reached, or its answers cannot be used.
    Network,
    /// It cannot be written or read on this machine.
    Local,
}

impl ErrorKind {
    /// The stable code of reports.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::NotFound => "TRANSPORT_NOT_FOUND",
            Self::Denied => "TRANSPORT_DENIED",
            Self::TooLarge => "TRANSPORT_TOO_LARGE",
            Self::WrongSize => "TRANSPORT_WRONG_SIZE",
            Self::WrongContent => "TRANSPORT_WRONG_CONTENT",
            Self::Refused => "TRANSPORT_REFUSED",
            Self::Redirect => "TRANSPORT_REDIRECT",
            Self::Timeout => "TRANSPORT_TIMEOUT",
            Self::Network => "TRANSPORT_NETWORK",
            Self::Local => "TRANSPORT_LOCAL",
        }
    }
}

/// Why something was not fetched, and from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransportError {
    /// What kind of thing went wrong.
    pub kind: ErrorKind,
    /// From where it was to come.
    pub from: String,
    /// What was found, and what was allowed.
    pub message: String,
    /// The conversation broke off: it says nothing about what the server can do.
    pub(super) broke_off: bool,
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", self.from, self.message)
    }
}

impl std::error::Error for TransportError {}

impl TransportError {
    pub(super) fn new(kind: ErrorKind, from: &Location, message: impl Into<String>) -> Self {
        Self { kind, from: from.to_string(), message: message.into(), broke_off: false }
    }

    pub(super) fn too_large(from: &Location, found: Option<u64>, limit: u64) -> Self {
        let found = match found {
            Some(found) => format!("it has {found} bytes"),
            None => "it goes on".to_owned(),
        };
        Self::new(ErrorKind::TooLarge, from, format!("{found}, at most {limit} are taken"))
    }

    pub(super) fn local(from: &Location, action: &str, error: &io::Error) -> Self {
        Self::new(ErrorKind::Local, from, format!("cannot {action}: {error}"))
    }

    /// Puts an object store's error into our kinds. Its texts go down several levels; the last
    /// one says what happened.
    pub(super) fn of_store(from: &Location, error: &object_store::Error) -> Self {
        use object_store::Error as E;
        let kind = match error {
            E::NotFound { .. } => ErrorKind::NotFound,
            E::PermissionDenied { .. } | E::Unauthenticated { .. } => ErrorKind::Denied,
            _ => kind_of_chain(error),
        };
        let message = match kind {
            ErrorKind::NotFound => "there is no such file".to_owned(),
            ErrorKind::Denied => format!("access is denied: {}", innermost(error)),
            ErrorKind::Timeout => format!("no answer in time: {}", innermost(error)),
            _ => innermost(error),
        };
        Self { broke_off: broke_off(error), ..Self::new(kind, from, message) }
    }

    /// The same for an error of the HTTP client.
    pub(super) fn of_web(from: &Location, error: &reqwest::Error) -> Self {
        let kind = kind_of_chain(error);
        let message = match kind {
            ErrorKind::Timeout => format!("no answer in time: {}", innermost(error)),
            _ => innermost(error),
        };
        Self { broke_off: true, ..Self::new(kind, from, message) }
    }

    /// Whether another time may be better.
    pub(super) fn may_pass(&self) -> bool {
        matches!(self.kind, ErrorKind::Timeout | ErrorKind::Network)
    }
}

fn broke_off(error: &object_store::Error) -> bool {
    chain(error).any(|error| {
        let kind = error.downcast_ref::<HttpError>().map(HttpError::kind);
        kind.is_some_and(|kind| !matches!(kind, HttpErrorKind::Decode | HttpErrorKind::Unknown))
    })
}

/// An error and its causes.
pub(super) fn chain<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| error.source())
}

fn kind_of_chain(error: &(dyn std::error::Error + 'static)) -> ErrorKind {
    for error in chain(error) {
        if let Some(error) = error.downcast_ref::<reqwest::Error>() {
            if error.is_redirect() {
                return ErrorKind::Redirect;
            }
            if error.is_timeout() {
                return ErrorKind::Timeout;
            }
        }
        if let Some(error) = error.downcast_ref::<io::Error>()
            && error.kind() == io::ErrorKind::TimedOut
        {
            return ErrorKind::Timeout;
        }
    }
    ErrorKind::Network
}

fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    chain(error).last().map(ToString::to_string).unwrap_or_default()
}
