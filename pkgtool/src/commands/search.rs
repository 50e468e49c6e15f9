//! `pkgtool search`

use clap::Args;
use serde_json::json;

use crate::exit::{Failure, print_line};
use crate::fetch::{Network, Offer, offers};

/// Look for packages in the sources
///
/// A package is found if its name, description or a command of it has every word. Prints the newest
/// version of each. Exits with 1 if there is none.
#[derive(Debug, Args)]
pub(crate) struct SearchArgs {
    /// The words; none finds everything
    words: Vec<String>,

    /// Only in this source
    #[arg(long, value_name = "SOURCE")]
    from: Option<String>,

    /// Print a JSON object a line
    #[arg(long)]
    json: bool,
}

pub(crate) fn search(args: &SearchArgs) -> Result<(), Failure> {
    let words: Vec<String> = args.words.iter().map(|word| word.to_lowercase()).collect();
    let offers = offers(&Network::open()?, args.from.as_deref())?;
    let mut found = 0;
    for (at, offer) in offers.iter().enumerate() {
        // From old to new: the last one of a source and name counts.
        let same = |other: &Offer| {
            (&other.source, &other.identity.name) == (&offer.source, &offer.identity.name)
        };
        let newer = offers.iter().skip(at.saturating_add(1));
        if newer.take_while(|other| other.identity.name == offer.identity.name).any(same) {
            continue;
        }
        if !words.iter().all(|word| has(offer, word)) {
            continue;
        }
        found += 1;
        let description = offer.release.description.as_deref();
        if args.json {
            print_line(json!({
                "schema": "epk.search/1",
                "name": offer.identity.name,
                "version": offer.identity.version,
                "source": offer.source,
                "arch": offer.release.arch,
                "size": offer.release.size,
                "commands": offer.release.commands,
                "description": description,
            }))?;
        } else {
            let description = description.map(|text| format!(": {text}")).unwrap_or_default();
            print_line(format!("{} ({}){description}", offer.identity, offer.source))?;
        }
    }
    match found {
        0 => Err(Failure::refused("no package has these words")),
        _ => Ok(()),
    }
}

fn has(offer: &Offer, word: &str) -> bool {
    let texts = std::iter::once(&offer.identity.name)
        .chain(&offer.release.description)
        .chain(&offer.release.commands);
    texts.into_iter().any(|text| text.to_lowercase().contains(word))
}
