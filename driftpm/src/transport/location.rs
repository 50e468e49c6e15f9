//! Where a file is: a URL of one of a few schemes, without anything that could surprise.

use std::fmt;
use std::path::{Path, PathBuf};

use url::Url;

use super::oci::Reference;

/// How files are reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scheme {
    /// On this machine.
    File,
    /// Over HTTP, unencrypted.
    Http,
    /// Over HTTP and TLS.
    Https,
    /// In an object store; the URL's host is the bucket.
    S3,
    /// In a registry of containers; made of a [`Reference`] only.
    Oci,
}

impl Scheme {
    /// The text before `://`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Http => "http",
            Self::Https => "https",
            Self::S3 => "s3",
            Self::Oci => "oci",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::File, Self::Http, Self::Https, Self::S3].into_iter().find(|s| s.as_str() == text)
    }

    /// Whether what lies under this scheme may send us to `other`: never from the network to
    /// this machine's files, never from an encrypted connection to a plain one.
    #[must_use]
    pub fn may_lead_to(self, other: Self) -> bool {
        match (self, other) {
            // Its files are known by their hashes; nothing outside of it is.
            (Self::Oci, _) => other == Self::Oci,
            (_, Self::File) => self == Self::File,
            (Self::Https | Self::S3, Self::Http) => false,
            _ => true,
        }
    }
}

/// A place of which files can be fetched, or a folder of such.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Location {
    scheme: Scheme,
    url: Url,
}

/// Why a text is no location.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// No URL at all.
    #[error("`{text}` is no URL: {reason}")]
    NotUrl {
        /// What was given.
        text: String,
        /// Why not.
        reason: String,
    },
    /// Another scheme.
    #[error("`{0}` has a scheme that is not `file`, `http`, `https` or `s3`")]
    Scheme(String),
    /// Something in it that is not for files.
    #[error("`{text}` has {what}, which is not allowed here")]
    Part {
        /// What was given, without passwords.
        text: String,
        /// Which part.
        what: &'static str,
    },
    /// A relative path that would leave its folder, or has characters that no path needs.
    #[error("the path `{path}` {problem}")]
    Path {
        /// What was given.
        path: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A scheme to which the base must not lead.
    #[error("`{to}` is not followed from `{from}`: the scheme is weaker")]
    Weaker {
        /// The base.
        from: String,
        /// Where it leads.
        to: String,
    },
}

impl Location {
    /// Reads a URL.
    ///
    /// # Errors
    /// [`LocationError`]
    pub fn parse(text: &str) -> Result<Self, LocationError> {
        let url = Url::parse(text).map_err(|error| LocationError::NotUrl {
            text: text.to_owned(),
            reason: error.to_string(),
        })?;
        let scheme = Scheme::parse(url.scheme())
            .ok_or_else(|| LocationError::Scheme(url.scheme().to_owned() + "://…"))?;
        let part = |what| LocationError::Part { text: without_secrets(&url), what };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(part("a user name or password"));
        }
        if url.query().is_some() {
            return Err(part("a query"));
        }
        if url.fragment().is_some() {
            return Err(part("a fragment"));
        }
        if scheme == Scheme::File && url.host_str().is_some_and(|host| !host.is_empty()) {
            return Err(part("a host"));
        }
        if scheme != Scheme::File && url.host_str().is_none_or(str::is_empty) {
            return Err(part("no host"));
        }
        // The URL's parser has resolved `..`; encoded ones are left and mean the same to servers.
        for segment in url.path_segments().into_iter().flatten() {
            let decoded = decode(segment).ok_or_else(|| part("a path that is not UTF-8"))?;
            check_segment(&decoded)
                .map_err(|problem| LocationError::Path { path: url.path().to_owned(), problem })?;
        }
        Ok(Self { scheme, url })
    }

    /// A manifest of a registry, or a file: a blob by its digest or one of the manifest's by its
    /// title.
    pub(super) fn of_reference(reference: &Reference, file: Option<&str>) -> Self {
        let mut url = Url::parse(&reference.to_string())
            .unwrap_or_else(|error| unreachable!("a reference is a URL: {error}"));
        url.set_fragment(file);
        Self { scheme: Scheme::Oci, url }
    }

    /// A directory of this machine. A relative path is taken from the current directory.
    ///
    /// # Errors
    /// [`LocationError`]
    pub fn of_directory(path: &Path) -> Result<Self, LocationError> {
        let no_url = |reason: &str| LocationError::NotUrl {
            text: path.display().to_string(),
            reason: reason.to_owned(),
        };
        let path = std::path::absolute(path).map_err(|error| no_url(&error.to_string()))?;
        let url = Url::from_directory_path(&path).map_err(|()| no_url("no absolute path"))?;
        Self::parse(url.as_str())
    }

    /// How it is reached.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The file's path, if it is on this machine.
    #[must_use]
    pub fn to_file_path(&self) -> Option<PathBuf> {
        if self.scheme == Scheme::File { self.url.to_file_path().ok() } else { None }
    }

    /// The host, or an object store's bucket.
    pub(super) fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    /// Scheme, host and port: what has one connection.
    pub(super) fn root(&self) -> Url {
        let mut root = self.url.clone();
        root.set_path("/");
        root
    }

    /// The path, decoded, without a leading or final `/`.
    pub(super) fn path(&self) -> String {
        let segments = self.url.path_segments().into_iter().flatten();
        let decoded: Vec<String> = segments.filter_map(decode).collect();
        decoded.join("/").trim_matches('/').to_owned()
    }

    /// What `reference` means to a file in this folder: a URL of its own, as long as its scheme is
    /// not weaker, or a path downwards.
    ///
    /// # Errors
    /// [`LocationError`]
    pub fn join(&self, reference: &str) -> Result<Self, LocationError> {
        if reference.contains("://") {
            let target = Self::parse(reference)?;
            if !self.scheme.may_lead_to(target.scheme) {
                return Err(LocationError::Weaker {
                    from: self.to_string(),
                    to: target.to_string(),
                });
            }
            return Ok(target);
        }
        let wrong = |problem| LocationError::Path { path: reference.to_owned(), problem };
        if reference.is_empty() {
            return Err(wrong("is empty"));
        }
        if self.scheme == Scheme::Oci {
            // Nothing that a URL writes in another way, nor what could be a digest.
            let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            if !reference.chars().all(fits) {
                return Err(wrong("is no name of an artifact's file"));
            }
            let mut url = self.url.clone();
            url.set_fragment(Some(reference));
            return Ok(Self { scheme: self.scheme, url });
        }
        let mut url = self.url.clone();
        {
            let mut segments = url.path_segments_mut().map_err(|()| wrong("has no base"))?;
            segments.pop_if_empty();
            for segment in reference.split('/') {
                if matches!(segment, "" | "." | "..") {
                    return Err(wrong("has an empty component, `.` or `..`"));
                }
                check_segment(segment).map_err(wrong)?;
                segments.push(segment);
            }
        }
        Ok(Self { scheme: self.scheme, url })
    }
}

/// A component of a path, decoded: what no server should read as something else.
fn check_segment(segment: &str) -> Result<(), &'static str> {
    if matches!(segment, "." | "..") {
        Err("has a component `.` or `..`")
    } else if segment.contains(['/', '\\']) {
        Err("has a `/` or `\\` inside a component")
    } else if segment.chars().any(char::is_control) {
        Err("has a control character")
    } else {
        Ok(())
    }
}

/// `None` if what the percent signs stand for is not UTF-8.
fn decode(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        let mut ahead = rest.clone();
        let digits = (byte == b'%').then(|| (ahead.next(), ahead.next()));
        let value = |digit: Option<u8>| char::from(digit?).to_digit(16);
        match digits.and_then(|(high, low)| u8::try_from(value(high)? * 16 + value(low)?).ok()) {
            Some(decoded) => {
                bytes.push(decoded);
                rest = ahead;
            }
            None => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).ok()
}

fn without_secrets(url: &Url) -> String {
    let mut url = url.clone();
    let _ = url.set_password(None);
    url.set_query(None);
    url.to_string()
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.url.as_str())
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.url.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_urls_of_four_schemes() {
        for text in [
            "file:///a/b",
            "http://h/",
            "https://h:8443/a%20b/",
            "s3://bucket/prefix",
            "http://[::1]:80/x",
        ] {
            assert!(Location::parse(text).is_ok(), "{text}");
        }
        for text in [
            "",
            "a/b",
            "/a/b",
            "ftp://h/x",
            "data:,x",
            "http://",
            "s3:///x",
            "file://host/x",
            "http://user@h/",
            "http://u:p@h/",
            "https://h/a?b",
            "https://h/a#b",
            "http://h/a/%2e%2e%2fb",
            "http://h/a%5cb",
            "http://h/a%00",
            "http://h/a%ff",
        ] {
            assert!(Location::parse(text).is_err(), "{text}");
        }
        let error = Location::parse("http://u:secret@h/?t=secret").unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }

    #[test]
    fn files_of_artifacts() {
        let reference = Reference::parse("oci://127.0.0.1:5000/a/b:t").unwrap();
        let folder = Location::of_artifact(&reference);
        assert_eq!(folder.to_string(), "oci://127.0.0.1:5000/a/b:t");
        let file = folder.join("epk-index.json.sig").unwrap();
        assert_eq!(file.to_string(), "oci://127.0.0.1:5000/a/b:t#epk-index.json.sig");
        for wrong in ["", "a/b", "https://h/x", "oci://h/n", "sha256:00", "a b", "ü"] {
            assert!(folder.join(wrong).is_err(), "{wrong}");
        }
        let base = Location::parse("https://h/").unwrap();
        assert!(base.join("oci://h/n").is_err());
    }

    #[test]
    fn references_go_down_and_never_to_a_weaker_scheme() {
        let base = Location::parse("https://h/repo/").unwrap();
        for (reference, expected) in [
            ("a/b c.dmp", "https://h/repo/a/b%20c.dmp"),
            ("ü%41.dmp", "https://h/repo/%C3%BC%2541.dmp"),
            ("https://cdn/x", "https://cdn/x"),
            ("s3://bucket/x", "s3://bucket/x"),
        ] {
            assert_eq!(base.join(reference).unwrap().to_string(), expected, "{reference}");
        }
        for reference in [
            "",
            "/x",
            "../x",
            "a/../b",
            "a//b",
            "./a",
            "a\\b",
            "a\nb",
            "http://h/x",
            "file:///etc/passwd",
        ] {
            assert!(base.join(reference).is_err(), "{reference}");
        }
        let plain = Location::parse("http://h/repo").unwrap();
        assert_eq!(plain.join("x").unwrap().to_string(), "http://h/repo/x");
        assert!(plain.join("https://h/x").is_ok() && plain.join("file:///x").is_err());
        assert_eq!(base.join("ü%41.dmp").unwrap().path(), "repo/ü%41.dmp");
    }
}
