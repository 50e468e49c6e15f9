//! Searching repositories for words.

use semver::Version;

use super::super::resolve::{Offer, VersionSource};
use super::remote::RemoteSource;
use crate::json::{Value, object};
use crate::problem::Problem;

/// What is searched for: words, all of which must be found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query(Vec<String>);

impl Query {
    /// The words of these texts, in lower case.
    pub fn new<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        let words = texts.into_iter().flat_map(str::split_whitespace);
        Self(words.map(str::to_lowercase).collect())
    }

    /// How well something fits: the sum of what the words are worth, if all are found.
    fn score(&self, id: &str, description: &str, tags: &[String]) -> Option<usize> {
        let (id, description) = (id.to_lowercase(), description.to_lowercase());
        let tags: Vec<String> = tags.iter().map(|tag| tag.to_lowercase()).collect();
        let worth = |word: &String| {
            if id == *word {
                Some(16)
            } else if id.split('.').any(|part| part == word) {
                Some(8)
            } else if tags.contains(word) {
                Some(6)
            } else if id.contains(word.as_str()) {
                Some(4)
            } else {
                let found = tags.iter().any(|tag| tag.contains(word.as_str()))
                    || description.contains(word.as_str());
                found.then_some(1)
            }
        };
        self.0.iter().map(worth).sum()
    }
}

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// The package.
    pub package: String,
    /// The repository that has it.
    pub repository: String,
    /// Its newest version that is neither withdrawn nor a pre-release, else the newest.
    pub version: Option<String>,
    /// One line for people.
    pub description: Option<String>,
    /// Its tags.
    pub tags: Vec<String>,
    score: usize,
}

impl Hit {
    /// The entry of reports.
    #[must_use]
    pub fn to_json(&self) -> Value {
        object([
            ("package_id", self.package.as_str().into()),
            ("repository", self.repository.as_str().into()),
            ("version", self.version.as_deref().into()),
            ("description", self.description.as_deref().into()),
            ("tags", self.tags.clone().into()),
        ])
    }
}

/// A repository that can be searched.
#[derive(Debug)]
pub enum Searched<'a> {
    /// With an index, which has descriptions.
    Remote(&'a RemoteSource),
    /// Without: only names are known.
    Plain(&'a dyn VersionSource),
}

impl std::fmt::Debug for dyn VersionSource + '_ {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Looks for `query` in one repository; best first, of equals by name, at most `most`.
///
/// # Errors
/// What is wrong with the repository
pub fn search(query: &Query, source: &Searched<'_>, most: usize) -> Result<Vec<Hit>, Problem> {
    let mut hits = Vec::new();
    let mut hit = |package: &str, description: Option<&str>, tags: &[String], name: &str| {
        if let Some(score) = query.score(package, description.unwrap_or_default(), tags) {
            hits.push(Hit {
                package: package.to_owned(),
                repository: name.to_owned(),
                version: None,
                description: description.map(str::to_owned),
                tags: tags.to_vec(),
                score,
            });
        }
    };
    let source: &dyn VersionSource = match source {
        Searched::Remote(remote) => {
            for head in remote.index()?.packages() {
                hit(&head.id, head.description.as_deref(), &head.tags, remote.name());
            }
            *remote
        }
        Searched::Plain(source) => {
            for id in source.packages()? {
                hit(&id, None, &[], source.name());
            }
            *source
        }
    };
    hits.sort_by(|a, b| b.score.cmp(&a.score).then_with(|| a.package.cmp(&b.package)));
    hits.truncate(most);
    for hit in &mut hits {
        hit.version = newest(&source.offers(&hit.package)?);
    }
    Ok(hits)
}

fn newest(offers: &[Offer]) -> Option<String> {
    let version = |offer: &Offer| {
        let version = Version::parse(&offer.identity.version).ok()?;
        Some((version.pre.is_empty(), version, offer.identity.version.clone()))
    };
    let found = offers.iter().filter(|offer| !offer.yanked).filter_map(version).max();
    found.map(|(_, _, text)| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_words_count_and_names_count_most() {
        let tags = ["net".to_owned(), "Client".to_owned()];
        let score = |words: &str| Query::new([words]).score("acme.http", "Speaks HTTP/2", &tags);
        assert_eq!(score("acme.http"), Some(16));
        assert_eq!(score("HTTP"), Some(8));
        assert_eq!(score("client"), Some(6));
        assert_eq!(score("acm"), Some(4));
        assert_eq!(score("speaks"), Some(1));
        assert_eq!(score("http net"), Some(14));
        assert_eq!(score("http ftp"), None);
        assert_eq!(score(""), Some(0));
    }
}
