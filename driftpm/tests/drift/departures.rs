//! The recorded cases that come out differently on purpose. `spec/drift.md`, "Departures", has
//! the reasons.

/// How a scenario differs.
pub(crate) enum Departure {
    /// Every step agrees, but fewer files are left: nothing unverified and nothing stale. Those
    /// that are left are the recorded ones, except that these have other bytes.
    Files(&'static [&'static str]),
    /// These are the exit statuses, as far as they are given; reports and files differ.
    Exits(&'static [i32]),
    /// Exit statuses agree with the recorded ones, reports and files do not.
    Reports,
}

/// Departures by the scenario's number, which its name begins with.
pub(crate) const SCENARIOS: &[(&str, Departure)] = &[
    ("a02-", Departure::Exits(&[2])),
    ("a12-", Departure::Exits(&[2, 2])),
    ("b03-", Departure::Exits(&[2, 2, 2, 2, 2])),
    ("b04-", Departure::Exits(&[2, 2, 2, 2, 0])),
    ("b08-", Departure::Exits(&[2, 2, 2])),
    ("c02-", Departure::Files(&[])),
    ("c03-", Departure::Files(&[])),
    ("c04-", Departure::Files(&["repo/acme.http-1.4.0-any.dmp"])),
    ("c06-", Departure::Files(&[])),
    ("c07-", Departure::Exits(&[2])),
    ("c09-", Departure::Exits(&[2, 2])),
    ("d10-", Departure::Files(&[])),
    ("d21-", Departure::Exits(&[2])),
    ("d34-", Departure::Exits(&[2])),
    ("d37-", Departure::Files(&[])),
    ("d38-", Departure::Files(&[])),
    ("d44-", Departure::Exits(&[2])),
    ("d45-", Departure::Files(&[])),
    ("d49-", Departure::Exits(&[2, 2])),
    ("e03-", Departure::Files(&["drift.lock.json"])),
    ("e09-", Departure::Exits(&[2])),
    ("e10-", Departure::Exits(&[2])),
    ("e11-", Departure::Exits(&[2])),
    ("e13-", Departure::Files(&[])),
    ("f09-", Departure::Files(&[])),
    ("f10-", Departure::Files(&[])),
    ("g13-", Departure::Exits(&[2])),
    ("g14-", Departure::Exits(&[2])),
    ("g26-", Departure::Reports),
    ("g27-", Departure::Exits(&[2])),
];

/// Sidecar cases, with the code of the gate instead.
pub(crate) const SIDECARS: &[(&str, &str)] = &[
    ("reserved-std-project-trusted", "NAMESPACE_RESERVED"),
    ("reserved-std-not-configured", "NAMESPACE_RESERVED"),
    ("no-modules-any-known-key", "NO_MODULES"),
];

/// Trust stores that the gate refuses instead of reading.
pub(crate) const TRUST_REFUSED: &[&str] =
    &["revoked-string", "revoked-number", "version-0.0", "version-false"];

/// Trust stores about which `doctor` says something else: the status instead.
pub(crate) const TRUST_DOCTOR: &[(&str, &str)] = &[
    ("version-0.0", "fatal"),
    ("version-false", "fatal"),
    ("key-pubkey-newline", "degraded"),
    ("not-utf8", "fatal"),
];

/// Base64 texts that are refused: one value has one spelling.
pub(crate) const BASE64_REFUSED: &[&str] = &["AB==", "AAB=", "AAAA===="];

/// Signatures that are refused: keys of small order sign nothing.
pub(crate) const ED25519_REFUSED: &[&str] = &["identity-key", "noncanonical-identity-key"];
