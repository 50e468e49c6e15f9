//! Modification times: the packed civil date of format 1.0 and its relation to Unix time.
//!
//! Conversions between civil dates and days follow the proleptic Gregorian calendar
//! (ISO 8601); leap seconds don't exist, as in POSIX.

/// Seconds and nanoseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Timestamp {
    /// Whole seconds, negative before 1970.
    pub seconds: i64,
    /// 0 to 999,999,999, counted forward from `seconds`.
    pub nanoseconds: u32,
}

/// A time as an entry stores it, in one `u64` (`spec/epk-1.0.md` §3.3):
///
/// | bits | field | bits | field |
/// |---|---|---|---|
/// | 0-25 | year | 42-47 | minute |
/// | 26-29 | month | 48-53 | second |
/// | 30-35 | day | 54-63 | millisecond |
/// | 36-41 | hour | | |
///
/// Zero means "no time".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PackedTime(pub u64);

/// The last year that is written: later times do not fit four digits.
const LAST_YEAR: i64 = 9999;

impl PackedTime {
    /// No time.
    pub const NONE: Self = Self(0);

    /// The date and time of day in UTC, cut to milliseconds. `None` outside years 1 to 9999,
    /// which the packer must refuse or clamp.
    #[must_use]
    pub fn from_timestamp(time: Timestamp) -> Option<Self> {
        let days = time.seconds.div_euclid(86_400);
        let second_of_day = time.seconds.rem_euclid(86_400);
        let (year, month, day) = civil_from_days(days)?;
        if !(1..=LAST_YEAR).contains(&year) {
            return None;
        }
        let field = |value: i64, shift: u32| u64::try_from(value).map(|v| v << shift).ok();
        Some(Self(
            field(year, 0)?
                | field(month, 26)?
                | field(day, 30)?
                | field(second_of_day / 3600, 36)?
                | field(second_of_day / 60 % 60, 42)?
                | field(second_of_day % 60, 48)?
                | u64::from(time.nanoseconds / 1_000_000) << 54,
        ))
    }

    /// The fields year, month, day, hour, minute, second, millisecond, unchecked.
    #[must_use]
    pub fn fields(self) -> [u32; 7] {
        let field = |shift: u32, bits: u32| {
            u32::try_from((self.0 >> shift) & ((1 << bits) - 1)).unwrap_or(u32::MAX)
        };
        [
            field(0, 26),
            field(26, 4),
            field(30, 6),
            field(36, 6),
            field(42, 6),
            field(48, 6),
            field(54, 10),
        ]
    }

    /// The time as Unix time; `None` for "no time" and for dates that don't exist.
    #[must_use]
    pub fn to_timestamp(self) -> Option<Timestamp> {
        let [year, month, day, hour, minute, second, millisecond] = self.fields();
        if self.0 == 0 || hour > 23 || minute > 59 || second > 59 || millisecond > 999 {
            return None;
        }
        let days = days_from_civil(i64::from(year), i64::from(month), i64::from(day))?;
        let seconds =
            days * 86_400 + i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second);
        Some(Timestamp { seconds, nanoseconds: millisecond * 1_000_000 })
    }
}

/// Days since 1970-01-01, `None` when the date doesn't exist or the year is above 9999.
fn days_from_civil(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1..=LAST_YEAR).contains(&year) || !(1..=12).contains(&month) || day < 1 {
        return None;
    }
    // Years begin in March, so that the leap day is the last of its year.
    let shifted = if month <= 2 { year - 1 } else { year };
    let era = shifted.div_euclid(400);
    let year_of_era = shifted.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * 146_097 + day_of_era - 719_468;
    (civil_from_days(days)? == (year, month, day)).then_some(days)
}

/// Year, month and day of the day that lies `days` after 1970-01-01.
fn civil_from_days(days: i64) -> Option<(i64, i64, i64)> {
    let shifted = days.checked_add(719_468)?;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    Some((year, month, day))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packs_and_unpacks() {
        // 2024-02-29T23:59:58.999Z, the contract's example.
        let time = Timestamp { seconds: 1_709_251_198, nanoseconds: 999_999_999 };
        let packed = PackedTime::from_timestamp(time).expect("a date of our time");
        assert_eq!(packed.fields(), [2024, 2, 29, 23, 59, 58, 999]);
        assert_eq!(
            packed.to_timestamp(),
            Some(Timestamp { seconds: 1_709_251_198, nanoseconds: 999_000_000 })
        );
    }

    #[test]
    fn every_day_of_eight_centuries_round_trips() {
        for days in -146_097..146_097 {
            let time = Timestamp { seconds: days * 86_400 + 1, nanoseconds: 0 };
            let packed = PackedTime::from_timestamp(time).expect("in range");
            assert_eq!(packed.to_timestamp(), Some(time), "day {days}");
        }
    }

    #[test]
    fn refuses_what_is_no_date() {
        assert_eq!(PackedTime::NONE.to_timestamp(), None);
        assert_eq!(PackedTime(u64::MAX).to_timestamp(), None);
        // 2023-02-29
        assert_eq!(PackedTime(2023 | 2 << 26 | 29 << 30).to_timestamp(), None);
        for seconds in [i64::MIN, i64::MAX, -62_135_596_801, 253_402_300_800] {
            let time = Timestamp { seconds, nanoseconds: 0 };
            assert_eq!(PackedTime::from_timestamp(time), None, "{seconds}");
        }
    }
}
