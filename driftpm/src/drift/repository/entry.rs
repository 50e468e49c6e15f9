//! One version of a package, for one target, in an index.

use std::collections::BTreeMap;

use super::super::identity::Identity;
use super::super::platform::Requirement;
use super::super::project::Fields;
use super::super::resolve::Offer;
use super::file::INDEX_NAME;
use crate::json::{Object, Value, object};
use crate::keys::sha256_text;
use crate::problem::Problem;

/// One package file, as an index lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is, where, and what it needs.
    pub offer: Offer,
    /// Its size in bytes.
    pub size: u64,
    /// When it was first listed, for people.
    pub published_at: String,
    /// Where it lies packed with Zstandard, if it does.
    pub packed: Option<String>,
    /// Whether what it asks of platforms could be understood. If not, it must not be used.
    pub understood: bool,
}

impl Entry {
    /// Reads an entry. Fields that are not known are passed over.
    ///
    /// # Errors
    /// `INDEX_INVALID`
    pub fn parse(package_id: &str, value: &Value) -> Result<Self, Problem> {
        let Some(object) = value.as_object() else {
            return Err(super::file::invalid(format!("{}, not an object", value.kind())));
        };
        let fields = Fields::top("INDEX_INVALID", INDEX_NAME, object);
        let hash = |key: &'static str, text: &str| {
            let digits = text.strip_prefix("sha256:");
            let right = digits.and_then(epk_format::digest::Sha256::from_hex);
            right
                .map(|hash| sha256_text(&hash))
                .ok_or_else(|| fields.wrong(key, "no hash `sha256:…`"))
        };
        let mut dependencies = BTreeMap::new();
        for (package, constraint) in fields.members("dependencies")? {
            let constraint = constraint.as_str();
            let constraint =
                constraint.ok_or_else(|| fields.wrong("dependencies", "no strings"))?;
            dependencies.insert(package.to_owned(), constraint.to_owned());
        }
        let (platform, understood) = match fields.get("platform_requirements") {
            None => (Requirement::default(), true),
            Some(value) => {
                let below = fields.below("platform_requirements", value)?;
                Requirement::from_json(&below)
                    .map_or((Requirement::default(), false), |found| (found, true))
            }
        };
        let signer_kids = match fields.get("signer_kids") {
            None => Vec::new(),
            Some(list) => {
                let list = list.as_strings();
                let list = list.ok_or_else(|| fields.wrong("signer_kids", "no list of strings"))?;
                list.into_iter().map(str::to_owned).collect()
            }
        };
        let flag = |key: &'static str| match fields.get(key) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(other) => Err(fields.wrong(key, format!("{}, not a boolean", other.kind()))),
        };
        let size = match fields.get("size") {
            Some(Value::Number(number)) => number.as_u64(),
            _ => None,
        };
        let offer = Offer {
            identity: Identity {
                package_id: package_id.to_owned(),
                version: fields.text("version")?.to_owned(),
                target: fields.text("target")?.to_owned(),
            },
            dependencies,
            platform,
            sha256: hash("sha256", fields.text("sha256")?)?,
            sig_sha256: fields
                .optional_text("sig_sha256")?
                .map(|text| hash("sig_sha256", text))
                .transpose()?,
            signer_kids,
            path: fields.text("url")?.to_owned(),
            native: flag("native")?,
            yanked: flag("yanked")?,
        };
        Ok(Self {
            offer,
            size: size.ok_or_else(|| fields.wrong("size", "no number of bytes"))?,
            published_at: fields.optional_text("published_at")?.unwrap_or_default().to_owned(),
            packed: fields.optional_text("packed_url")?.map(str::to_owned),
            understood,
        })
    }

    /// The entry as JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let offer = &self.offer;
        let mut dependencies = Object::new();
        for (package, constraint) in &offer.dependencies {
            dependencies.insert(package.as_str(), constraint.as_str());
        }
        object([
            ("version", offer.identity.version.as_str().into()),
            ("target", offer.identity.target.as_str().into()),
            ("sha256", offer.sha256.as_str().into()),
            ("size", Value::Number(self.size.into())),
            ("url", offer.path.as_str().into()),
            ("packed_url", self.packed.as_deref().into()),
            ("sig_sha256", offer.sig_sha256.as_deref().into()),
            ("signer_kids", offer.signer_kids.clone().into()),
            ("published_at", self.published_at.as_str().into()),
            ("dependencies", dependencies.into()),
            ("platform_requirements", offer.platform.to_json()),
            ("native", offer.native.into()),
            ("yanked", offer.yanked.into()),
        ])
    }
}
