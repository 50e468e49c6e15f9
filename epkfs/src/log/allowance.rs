//! How many warnings and errors a log is to have: a damaged disk, or a broken package that is tried
//! again and again, fills no log.

use std::time::{Duration, Instant};

/// So many lines in so much time.
const LINES: u32 = 100;
const TIME: Duration = Duration::from_secs(60);

/// Counts lines.
#[derive(Debug, Default)]
pub(super) struct Allowance {
    /// When the first line of those that are counted came.
    since: Option<Instant>,
    lines: u32,
    left_out: u64,
}

/// What becomes of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judgement {
    /// It is written.
    Admitted,
    /// It is written, after so many were left out.
    AdmittedAfter(u64),
    /// It is the first that is left out.
    Last,
    /// It is left out.
    LeftOut,
}

impl Allowance {
    /// Judges a line that comes now.
    pub(super) fn judge(&mut self, now: Instant) -> Judgement {
        if self.since.is_none_or(|since| now.saturating_duration_since(since) >= TIME) {
            let left_out = std::mem::take(&mut self.left_out);
            (self.since, self.lines) = (Some(now), 1);
            return match left_out {
                0 => Judgement::Admitted,
                count => Judgement::AdmittedAfter(count),
            };
        }
        self.lines = self.lines.saturating_add(1);
        if self.lines <= LINES {
            return Judgement::Admitted;
        }
        self.left_out += 1;
        if self.left_out == 1 { Judgement::Last } else { Judgement::LeftOut }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_many_are_written_and_the_others_counted() {
        let (mut allowance, start) = (Allowance::default(), Instant::now());
        for _ in 0..LINES {
            assert_eq!(allowance.judge(start), Judgement::Admitted);
        }
        assert_eq!(allowance.judge(start), Judgement::Last);
        for _ in 0..500 {
            assert_eq!(allowance.judge(start + TIME / 2), Judgement::LeftOut);
        }
        assert_eq!(allowance.judge(start + TIME), Judgement::AdmittedAfter(501));
        assert_eq!(allowance.judge(start + TIME), Judgement::Admitted);
    }

    #[test]
    fn a_few_lines_are_never_left_out() {
        let (mut allowance, start) = (Allowance::default(), Instant::now());
        for minute in 0..1000 {
            assert_eq!(allowance.judge(start + TIME * minute), Judgement::Admitted);
        }
    }
}
