//! `pkgtool trust`

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};
use epk_format::signature::KeyId;
use epk_format::trust::{Entry, NamePrefix, Names, Revocation};
use epkfs::policy::Rules;
use serde_json::{Value, json};

use crate::exit::{Exit, Failure, print_line};
use crate::input::{policy_folder, read_trust, unusable};
use crate::sources::parse_key;
use crate::store::Owner;
use crate::trust::TrustFile;

/// Say whose signatures count
///
/// A key is trusted for all packages, or for those whose names begin with given parts. The user's
/// keys are in $XDG_CONFIG_HOME/epk/trust.toml, those for everybody in /etc/epk/trust.toml; both
/// count. A key that either of them revokes is trusted by nobody: packages that it has signed are
/// not installed, mounted or run any more.
#[derive(Debug, Args)]
pub(crate) struct TrustCommand {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List the policy, the trusted and the revoked keys
    List {
        /// Print a JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Trust keys
    Add {
        /// The keys: a key id, a public key, or a trust file
        #[arg(required = true, value_name = "KEY")]
        keys: Vec<String>,

        /// Only for packages of this name, and of names below it; more than one for more names
        #[arg(long = "for", value_name = "NAME", value_parser = parse_prefix)]
        names: Vec<NamePrefix>,

        /// Whose key it is
        #[arg(long, value_name = "TEXT")]
        comment: Option<String>,

        #[command(flatten)]
        common: Common,
    },
    /// Trust a key no more
    Remove {
        /// The key: its id, or the public key
        #[arg(value_name = "KEY", value_parser = parse_id)]
        key: KeyId,

        /// Only for this name no more
        #[arg(long = "for", value_name = "NAME", value_parser = parse_prefix)]
        names: Vec<NamePrefix>,

        #[command(flatten)]
        common: Common,
    },
    /// Revoke a key for good: what it has signed is refused, old packages too
    Revoke {
        /// The key: its id, or the public key
        #[arg(value_name = "KEY", value_parser = parse_id)]
        key: KeyId,

        /// Why
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,

        #[command(flatten)]
        common: Common,
    },
}

#[derive(Debug, Args)]
struct Common {
    /// For all users
    #[arg(long)]
    system: bool,

    /// Print a JSON object a line
    #[arg(long)]
    json: bool,
}

impl Common {
    fn owner(&self) -> Owner {
        if self.system { Owner::System } else { Owner::User }
    }
}

fn parse_prefix(text: &str) -> Result<NamePrefix, String> {
    NamePrefix::parse(text).map_err(|error| error.to_string())
}

fn parse_id(text: &str) -> Result<KeyId, String> {
    let id = parse_key(text)?;
    KeyId::parse(&id).ok_or_else(|| format!("`{id}` is no key id"))
}

pub(crate) fn trust(command: &TrustCommand) -> Result<(), Failure> {
    match &command.verb {
        Verb::List { json } => list(*json),
        Verb::Add { keys, names, comment, common } => add(keys, names, comment.as_deref(), common),
        Verb::Remove { key, names, common } => {
            let names: BTreeSet<NamePrefix> = names.iter().cloned().collect();
            let file = TrustFile::change(common.owner(), |store| {
                store.remove(key, &names).map_err(Failure::refused)
            })?;
            match file.store.trusted.get(key) {
                Some(entry) => Line::trusted(&file, key, entry, false).print(common.json),
                None => Line::removed(&file, key).print(common.json),
            }
        }
        Verb::Revoke { key, reason, common } => {
            let file = TrustFile::change(common.owner(), |store| {
                store.revoke(key, now(), reason.as_deref());
                Ok(())
            })?;
            let entry = file.store.revoked.get(key).cloned().unwrap_or_default();
            Line::revoked(&file, key, &entry).print(common.json)
        }
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    i64::try_from(since).unwrap_or(i64::MAX)
}

fn add(
    texts: &[String],
    names: &[NamePrefix],
    comment: Option<&str>,
    common: &Common,
) -> Result<(), Failure> {
    let mut keys = Vec::new();
    for text in texts {
        keys.extend(keys_of(text)?);
    }
    let names = match names {
        [] => Names::All,
        some => Names::Below(some.iter().cloned().collect()),
    };
    // What either file revokes is not trusted by the other one.
    let rules = Rules::of(policy_folder().as_deref()).map_err(|error| unusable(&error))?;
    let file = TrustFile::change(common.owner(), |store| {
        for id in &keys {
            let revoked = Failure::new(
                Exit::Signature,
                format!("`{id}` is revoked, and not trusted any more (SIGNER_REVOKED)"),
            );
            if rules.trust.is_revoked(id) {
                return Err(revoked);
            }
            store.add(id, names.clone(), comment).map_err(|_| revoked)?;
        }
        Ok(())
    })?;
    keys.iter().try_for_each(|id| {
        let entry = file.store.trusted.get(id).cloned().unwrap_or_default();
        Line::trusted(&file, id, &entry, false).print(common.json)
    })
}

/// The keys of what a user wrote: a key, or a file of keys.
fn keys_of(text: &str) -> Result<Vec<KeyId>, Failure> {
    if let Ok(id) = parse_id(text) {
        return Ok(vec![id]);
    }
    let path = Path::new(text);
    if !path.exists() {
        return Err(Failure::usage(format!("`{text}` is neither a key nor a file"))
            .hint("expected a key id (`ed25519:…`), a public key in base64, or a trust file"));
    }
    let keys: Vec<KeyId> = read_trust(path)?.ids().cloned().collect();
    if keys.is_empty() {
        return Err(Failure::refused(format!("`{text}` has no keys")));
    }
    Ok(keys)
}

fn list(json: bool) -> Result<(), Failure> {
    let rules = Rules::of(policy_folder().as_deref()).map_err(|error| unusable(&error))?;
    let policy = rules.policy(None).word();
    let by = rules.said_by.as_ref().map(|path| path.to_string_lossy());
    if json {
        print_line(json!({ "schema": "epk.policy/1", "policy": policy, "by": by }))?;
    } else {
        let by = by.map_or("nothing says otherwise".to_owned(), |path| format!("`{path}`"));
        print_line(format!("policy {policy}, {by}"))?;
    }
    let user = policy_folder().map(|_| TrustFile::read(Owner::User)).transpose()?;
    for file in user.into_iter().chain([TrustFile::read(Owner::System)?]) {
        for (id, entry) in &file.store.trusted {
            Line::trusted(&file, id, entry, rules.trust.is_revoked(id)).print(json)?;
        }
        for (id, entry) in &file.store.revoked {
            Line::revoked(&file, id, entry).print(json)?;
        }
    }
    Ok(())
}

/// What a file says of a key.
struct Line<'a> {
    owner: Owner,
    id: &'a KeyId,
    state: &'static str,
    names: Option<Names>,
    since: Option<i64>,
    text: Option<String>,
}

impl<'a> Line<'a> {
    fn trusted(file: &TrustFile, id: &'a KeyId, entry: &Entry, overruled: bool) -> Self {
        Line {
            owner: file.owner,
            id,
            state: if overruled { "overruled" } else { "trusted" },
            names: Some(entry.names()),
            since: None,
            text: entry.comment.clone(),
        }
    }

    fn revoked(file: &TrustFile, id: &'a KeyId, entry: &Revocation) -> Self {
        let (since, text) = (entry.since, entry.reason.clone());
        Line { owner: file.owner, id, state: "revoked", names: None, since, text }
    }

    fn removed(file: &TrustFile, id: &'a KeyId) -> Self {
        Line { owner: file.owner, id, state: "removed", names: None, since: None, text: None }
    }

    fn print(&self, json: bool) -> Result<(), Failure> {
        let Line { owner, id, state, names, since, text } = self;
        if json {
            let names = names.as_ref().map(|names| match names {
                Names::All => Value::Null,
                Names::Below(prefixes) => json!(prefixes),
            });
            return print_line(json!({
                "schema": "epk.trust/1",
                "key_id": id.as_str(),
                "owner": owner.word(),
                "state": state,
                "names": names,
                "since": since,
                "text": text,
            }));
        }
        let names = names.as_ref().map(|names| format!(" for {names}")).unwrap_or_default();
        let text = text.as_ref().map(|text| format!(" ({})", text.escape_debug()));
        print_line(format!("{id} {} {state}{names}{}", owner.word(), text.unwrap_or_default()))
    }
}
