//! Which modification times go into a package.

use epk_format::time::{PackedTime, Timestamp};

use crate::exit::{Exit, Failure};

/// The variable of reproducible-builds.org: seconds since 1970.
pub(crate) const SOURCE_DATE_EPOCH: &str = "SOURCE_DATE_EPOCH";

/// What `--mtime` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Mtime {
    /// No times
    Zero,
    /// The files' own times
    Source,
    /// The files' own times, none later than SOURCE_DATE_EPOCH
    Clamp,
}

/// How a file's time becomes an entry's.
///
/// Folders never have a time, as with EXOS's packer: a folder's time changes whenever somebody
/// makes a temporary file in it, and says nothing about the package. Files' times are cut to whole
/// seconds, which every filesystem and archiver keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Times {
    Zero,
    Source { latest: Option<i64> },
}

impl Times {
    /// The policy that `--mtime` and the value of [`SOURCE_DATE_EPOCH`] make together.
    ///
    /// Without `--mtime`: the files' own times, bounded by `SOURCE_DATE_EPOCH` if it is set. Not
    /// zero, because programs compare times: Python would compile every module anew that has
    /// another time than its `.pyc` says.
    pub(crate) fn new(mtime: Option<Mtime>, epoch: Option<&str>) -> Result<Self, Failure> {
        let bound = || epoch.map(parse_epoch).transpose();
        match mtime {
            Some(Mtime::Zero) => Ok(Self::Zero),
            Some(Mtime::Source) => Ok(Self::Source { latest: None }),
            None => Ok(Self::Source { latest: bound()? }),
            Some(Mtime::Clamp) => match bound()? {
                Some(latest) => Ok(Self::Source { latest: Some(latest) }),
                None => {
                    let message = format!("`--mtime clamp` needs `{SOURCE_DATE_EPOCH}`");
                    Err(Failure::new(Exit::Usage, message).hint(format!(
                        "for example `{SOURCE_DATE_EPOCH}=$(git log -1 --format=%ct)`"
                    )))
                }
            },
        }
    }

    /// The time of an entry for a file changed at `seconds` since 1970. `None` when the format
    /// can't hold it.
    pub(crate) fn packed(self, seconds: i64) -> Option<PackedTime> {
        match self {
            Self::Zero => Some(PackedTime::NONE),
            Self::Source { latest } => {
                let seconds = latest.map_or(seconds, |latest| seconds.min(latest));
                PackedTime::from_timestamp(Timestamp { seconds, nanoseconds: 0 })
            }
        }
    }
}

fn parse_epoch(text: &str) -> Result<i64, Failure> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let value = digits.then(|| text.parse().ok()).flatten();
    value.ok_or_else(|| {
        let message = format!("`{SOURCE_DATE_EPOCH}` is `{text}`, not a number of seconds");
        Failure::new(Exit::Environment, message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_epoch_bounds_unless_told_otherwise() {
        let table = [
            (None, None, Some(Times::Source { latest: None })),
            (None, Some("5"), Some(Times::Source { latest: Some(5) })),
            (Some(Mtime::Clamp), Some("5"), Some(Times::Source { latest: Some(5) })),
            (Some(Mtime::Clamp), None, None),
            (Some(Mtime::Source), Some("5"), Some(Times::Source { latest: None })),
            (Some(Mtime::Zero), Some("5"), Some(Times::Zero)),
            (None, Some(""), None),
            (None, Some("-1"), None),
            (None, Some("+1"), None),
            (None, Some("99999999999999999999"), None),
        ];
        for (mtime, epoch, expected) in table {
            assert_eq!(Times::new(mtime, epoch).ok(), expected, "{mtime:?} {epoch:?}");
        }
    }

    #[test]
    fn clamps() {
        let times = Times::Source { latest: Some(1_000_000_000) };
        let packed = |seconds| times.packed(seconds).and_then(PackedTime::to_timestamp);
        assert_eq!(packed(2_000_000_000).map(|t| t.seconds), Some(1_000_000_000));
        assert_eq!(packed(999_999_999).map(|t| t.seconds), Some(999_999_999));
        assert_eq!(packed(-5).map(|t| t.seconds), Some(-5));
        assert_eq!(Times::Source { latest: None }.packed(i64::MAX), None);
        assert_eq!(Times::Zero.packed(i64::MAX), Some(PackedTime::NONE));
    }
}
