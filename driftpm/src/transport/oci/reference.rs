//! Which artifact of which registry: `oci://HOST[:PORT]/NAME[:TAG]` or `…@sha256:…`.

use std::fmt;

use epk_format::digest::Sha256;
use url::{Host, Url};

use crate::keys::sha256_text;

/// The most bytes of a tag (distribution-spec, "Pulling manifests").
const MAX_TAG: usize = 128;
/// The most bytes of host and name together, which clients of registries allow.
const MAX_NAME: usize = 255;

/// What a reference names in its repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pointer {
    /// A name that can be moved.
    Tag(String),
    /// The SHA-256 of a manifest.
    Digest(Sha256),
}

/// A repository of a registry, and a manifest in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    plain: bool,
    host: String,
    name: String,
    pointer: Option<Pointer>,
}

/// Why a text is no reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` names no artifact of a registry: {problem}")]
pub struct ReferenceError {
    text: String,
    problem: String,
}

impl Reference {
    /// Whether a text means to be a reference.
    #[must_use]
    pub fn is_meant(text: &str) -> bool {
        text.starts_with("oci://") || text.starts_with("oci+http://")
    }

    /// Reads `oci://HOST[:PORT]/NAME`, with `:TAG` or `@sha256:…` behind it or neither. With
    /// `oci+http://` the registry is asked without encryption wherever it is.
    ///
    /// # Errors
    /// [`ReferenceError`]
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        let wrong = |problem: &str| ReferenceError {
            // Somebody may have written a password before the host.
            text: text
                .rsplit_once("//")
                .map_or(text, |(_, rest)| {
                    match rest.split_once('/').unwrap_or((rest, "")).0.rsplit_once('@') {
                        Some((_, host)) => host,
                        None => text,
                    }
                })
                .escape_debug()
                .to_string(),
            problem: problem.to_owned(),
        };
        let (plain, rest) = match (text.strip_prefix("oci://"), text.strip_prefix("oci+http://")) {
            (Some(rest), _) => (false, rest),
            (None, Some(rest)) => (true, rest),
            (None, None) => return Err(wrong("it begins with neither `oci://` nor `oci+http://`")),
        };
        let (host, rest) = rest.split_once('/').ok_or_else(|| wrong("it has no name"))?;
        if !is_host(host) {
            return Err(wrong("expected a host, and behind it a port or nothing"));
        }
        let (name, pointer) = match rest.split_once('@') {
            Some((name, digest)) => {
                let digest = digest.strip_prefix("sha256:").and_then(Sha256::from_hex);
                let digest = digest.ok_or_else(|| {
                    wrong("expected `sha256:` and 64 lower-case hexadecimal digits behind `@`")
                })?;
                (name, Some(Pointer::Digest(digest)))
            }
            None => match rest.rsplit_once(':') {
                Some((name, tag)) if is_tag(tag) => (name, Some(Pointer::Tag(tag.to_owned()))),
                Some(_) => return Err(wrong(&format!("{TAG_RULE} behind `:`"))),
                None => (rest, None),
            },
        };
        if !name.split('/').all(is_component) || host.len() + 1 + name.len() > MAX_NAME {
            return Err(wrong(
                "a name has components of lower-case letters and digits, with `.`, `_`, `__` or \
                 `-` between them, and no more than 255 bytes with its host",
            ));
        }
        Ok(Self { plain, host: host.to_owned(), name: name.to_owned(), pointer })
    }

    /// Host and port, as they were written.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The repository's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The manifest that is named, if one is.
    #[must_use]
    pub fn pointer(&self) -> Option<&Pointer> {
        self.pointer.as_ref()
    }

    /// The same repository, and the manifest that has this tag.
    ///
    /// # Errors
    /// [`ReferenceError`] if it is no tag.
    pub fn with_tag(&self, tag: &str) -> Result<Self, ReferenceError> {
        if !is_tag(tag) {
            let text = tag.escape_debug().to_string();
            return Err(ReferenceError { text, problem: TAG_RULE.to_owned() });
        }
        Ok(Self { pointer: Some(Pointer::Tag(tag.to_owned())), ..self.clone() })
    }

    /// The same repository, and the manifest that has this hash.
    #[must_use]
    pub fn with_digest(&self, digest: Sha256) -> Self {
        Self { pointer: Some(Pointer::Digest(digest)), ..self.clone() }
    }

    /// The same repository.
    #[must_use]
    pub fn without_pointer(&self) -> Self {
        Self { pointer: None, ..self.clone() }
    }

    /// How the registry may be spoken to.
    pub(super) fn encryption(&self) -> Encryption {
        if self.plain {
            Encryption::None
        } else if is_loopback(&self.host) {
            Encryption::IfOffered
        } else {
            Encryption::Always
        }
    }

    /// The host that answers, which for one registry is not the one that people write.
    pub(super) fn api_host(&self) -> &str {
        if self.is_docker_hub() { "registry-1.docker.io" } else { &self.host }
    }

    pub(super) fn is_docker_hub(&self) -> bool {
        matches!(&*self.host, "docker.io" | "index.docker.io")
    }
}

/// Whether a registry must speak TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Encryption {
    Always,
    /// On this machine, where nobody stands in between.
    IfOffered,
    /// The user has said so.
    None,
}

const TAG_RULE: &str = "expected a tag, which is 1 to 128 letters, digits, `_`, `.` and `-` and begins with none of \
     the last two";

/// Whether a text can be a tag.
#[must_use]
pub fn is_tag(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    (1..=MAX_TAG).contains(&text.len()) && text.chars().all(fits) && !text.starts_with(['.', '-'])
}

/// A component of a name: words of lower-case letters and digits with separators between them.
fn is_component(text: &str) -> bool {
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let inner = text.strip_prefix(is_word).is_some() && text.strip_suffix(is_word).is_some();
    let separators = text.split(is_word).filter(|separator| !separator.is_empty());
    inner
        && separators
            .into_iter()
            .all(|found| matches!(found, "." | "_" | "__") || found.chars().all(|c| c == '-'))
}

fn is_host(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || ".-:[]".contains(c);
    !text.is_empty()
        && text.chars().all(fits)
        && !text.ends_with(':')
        && Url::parse(&format!("https://{text}/")).is_ok_and(|url| url.path() == "/")
}

/// Whether a host, with a port or without, is this machine by its name or number.
pub(super) fn is_loopback(host: &str) -> bool {
    let url = Url::parse(&format!("https://{host}/"));
    match url.as_ref().ok().and_then(Url::host) {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.plain { "oci+http" } else { "oci" };
        write!(f, "{scheme}://{}/{}", self.host, self.name)?;
        match &self.pointer {
            None => Ok(()),
            Some(Pointer::Tag(tag)) => write!(f, ":{tag}"),
            Some(Pointer::Digest(digest)) => write!(f, "@{}", sha256_text(digest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_written_back() {
        let digest = format!("oci://h/n@sha256:{}", "a".repeat(64));
        for text in [
            "oci://h/n",
            "oci://registry.example.org:5000/a/b-c/d__e.f:1.2.3_rc-1",
            "oci://[::1]:5000/n:_",
            "oci+http://10.0.0.1/n:latest",
            &digest,
        ] {
            assert_eq!(Reference::parse(text).unwrap().to_string(), text);
        }
        let reference = Reference::parse("oci://h:1/a/b:t").unwrap();
        assert_eq!((reference.host(), reference.name()), ("h:1", "a/b"));
        assert_eq!(reference.pointer(), Some(&Pointer::Tag("t".into())));
        assert_eq!(reference.with_tag("u").unwrap().to_string(), "oci://h:1/a/b:u");
        assert!(reference.with_tag("1+2").is_err());
    }

    #[test]
    fn what_is_none_is_refused() {
        let long = format!("oci://h/{}", "a".repeat(300));
        let tag = format!("oci://h/n:{}", "a".repeat(129));
        for text in [
            "",
            "h/n",
            "http://h/n",
            "oci://",
            "oci://h",
            "oci://h/",
            "oci:///n",
            "oci://h:x/n",
            "oci://h:/n",
            "oci://u:secret@h/n",
            "oci://h/N",
            "oci://h/a//b",
            "oci://h/a/",
            "oci://h/-a",
            "oci://h/a.",
            "oci://h/a___b",
            "oci://h/a..b",
            "oci://h/n:",
            "oci://h/n:-",
            "oci://h/n:1+2",
            "oci://h/n:a@sha256:0",
            "oci://h/n@sha256:00",
            "oci://h/n@sha512:00",
            "oci://h/n?x",
            "oci://h/n#x",
            "oci://h/../n",
            "oci://h/%41",
            &long,
            &tag,
        ] {
            let error = Reference::parse(text).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn encryption_is_given_up_on_this_machine_or_when_asked() {
        for (text, expected) in [
            ("oci://example.org/n", Encryption::Always),
            ("oci://10.0.0.1:5000/n", Encryption::Always),
            ("oci://localhost.example.org/n", Encryption::Always),
            ("oci://localhost:5000/n", Encryption::IfOffered),
            ("oci://127.1.2.3/n", Encryption::IfOffered),
            ("oci://[::1]:5000/n", Encryption::IfOffered),
            ("oci+http://example.org/n", Encryption::None),
        ] {
            assert_eq!(Reference::parse(text).unwrap().encryption(), expected, "{text}");
        }
    }
}
