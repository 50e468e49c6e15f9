//! Which modification times go into a package.

use epk_format::time::{PackedTime, Timestamp};
use epk_format::write::Format;

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
/// In format 1.0 folders never have a time, as with EXOS's packer, and files' times are cut to
/// whole seconds, which every filesystem and archiver keeps. Format 2.0 keeps all times as they
/// are.
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

    /// The time of an entry for something changed at `time`.
    ///
    /// # Errors
    /// When the format can't hold it.
    pub(crate) fn of(self, format: Format, time: Timestamp) -> Result<Option<Timestamp>, BadTime> {
        let Self::Source { latest } = self else { return Ok(None) };
        let latest = latest.map(|seconds| Timestamp { seconds, nanoseconds: 0 });
        let time = latest.map_or(time, |latest| time.min(latest));
        match format {
            Format::V1 => {
                let time = Timestamp { nanoseconds: 0, ..time };
                PackedTime::from_timestamp(time).map(|_| Some(time)).ok_or(BadTime)
            }
            Format::V2 => Ok(Some(time)),
        }
    }
}

/// A time that the format can't hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadTime;

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
        let at = |seconds, nanoseconds| Timestamp { seconds, nanoseconds };
        let table = [
            (at(2_000_000_000, 5), at(1_000_000_000, 0), at(1_000_000_000, 0)),
            (at(1_000_000_000, 5), at(1_000_000_000, 0), at(1_000_000_000, 0)),
            (at(999_999_999, 5), at(999_999_999, 0), at(999_999_999, 5)),
            (at(-5, 5), at(-5, 0), at(-5, 5)),
        ];
        for (time, first, second) in table {
            assert_eq!(times.of(Format::V1, time), Ok(Some(first)));
            assert_eq!(times.of(Format::V2, time), Ok(Some(second)));
        }
        let end = at(i64::MAX, 0);
        let source = Times::Source { latest: None };
        assert_eq!(source.of(Format::V1, end), Err(BadTime));
        assert_eq!(source.of(Format::V2, end), Ok(Some(end)));
        assert_eq!(Times::Zero.of(Format::V2, end), Ok(None));
    }
}
