//! `pkgtool source`

use clap::{Args, Subcommand};
use serde_json::json;

use crate::exit::{Failure, print_line};
use crate::sources::{Source, Sources, parse_key, parse_name, parse_url};

/// Say where packages may be fetched from
///
/// A source is a repository with the keys that its index must be signed by. Nothing is fetched
/// until `pkgtool fetch` or `search` asks for it.
#[derive(Debug, Args)]
pub(crate) struct SourceArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Add a source
    Add {
        /// What it is called here
        #[arg(value_parser = parse_name)]
        name: String,

        /// The folder with the index: `https://`, `http://`, `s3://`, `file://`, a path, or in a
        /// registry of containers `oci://HOST/NAME`
        url: String,

        /// Who signs the index: a key id, a public key, or the line with both that `keygen` printed;
        /// more than one if any of them may
        #[arg(long, required = true, value_name = "KEYID", value_parser = parse_key)]
        key: Vec<String>,
    },
    /// List the sources
    List {
        /// Print a JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Forget a source; what was installed stays
    Remove {
        /// Its name
        name: String,
    },
}

pub(crate) fn source(args: &SourceArgs) -> Result<(), Failure> {
    match &args.verb {
        Verb::Add { name, url, key } => {
            let mut sources = Sources::user()?;
            let source = Source { url: parse_url(url)?, keys: key.clone() };
            match sources.by_name.get(name) {
                Some(there) if *there == source => return Ok(()),
                Some(_) => {
                    return Err(Failure::refused(format!("there is a source `{name}`"))
                        .hint(format!("`pkgtool source remove {name}` makes room")));
                }
                None => {}
            }
            sources.by_name.insert(name.clone(), source);
            sources.save()
        }
        Verb::List { json } => {
            let user = Sources::user()?.by_name;
            for (name, source) in Sources::all()? {
                let owner = if user.contains_key(&name) { "user" } else { "system" };
                let Source { url, keys } = source;
                if *json {
                    print_line(json!({
                        "schema": "epk.source/1",
                        "name": name,
                        "url": url,
                        "key_ids": keys,
                        "owner": owner,
                    }))?;
                } else {
                    print_line(format!("{name} {owner} {url} {}", keys.join(" ")))?;
                }
            }
            Ok(())
        }
        Verb::Remove { name } => {
            let mut sources = Sources::user()?;
            if sources.by_name.remove(name).is_none() {
                return Err(Failure::refused(format!("the user has no source `{name}`")));
            }
            sources.save()
        }
    }
}
