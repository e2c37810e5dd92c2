//! How many log lines of one kind are written: what the LAN does must not fill the log.

use std::time::{Duration, Instant};

/// Lines of one kind that may come at once.
const BURST: u16 = 60;
/// After so long there is room for one more.
const EACH: Duration = Duration::from_secs(2);
/// Most kinds told apart, by the place in the source that writes them. All others count as one.
const KINDS_MAX: usize = 32;

/// Where a line is written.
pub type Kind = (Option<&'static str>, Option<u32>);

struct Budget {
    kind: Kind,
    left: u16,
    since: Instant,
    dropped: u32,
}

/// The kinds that have been written.
pub struct Pace(Vec<Budget>);

impl Pace {
    /// Nothing is written yet.
    pub const fn new() -> Pace {
        Pace(Vec::new())
    }

    /// Whether a line of this kind is written; if so, how many before it were not.
    pub fn pass(&mut self, kind: Kind, now: Instant) -> Option<u32> {
        let known = self.0.iter().position(|budget| budget.kind == kind);
        let at = match known {
            Some(at) => at,
            None if self.0.len() < KINDS_MAX => {
                self.0.push(Budget { kind, left: BURST, since: now, dropped: 0 });
                self.0.len() - 1
            }
            None => KINDS_MAX - 1,
        };
        let budget = self.0.get_mut(at)?;
        let more = now.saturating_duration_since(budget.since).as_secs() / EACH.as_secs();
        if more > 0 {
            budget.left =
                u16::try_from(more).map_or(BURST, |more| more.saturating_add(budget.left));
            budget.left = budget.left.min(BURST);
            budget.since = now;
        }
        match budget.left.checked_sub(1) {
            Some(left) => {
                budget.left = left;
                Some(std::mem::take(&mut budget.dropped))
            }
            None => {
                budget.dropped = budget.dropped.saturating_add(1);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_that_comes_too_often_is_written_now_and_then_and_counted_272() {
        let mut pace = Pace::new();
        let now = Instant::now();
        let (kind, other) = ((Some("a"), Some(1)), (Some("a"), Some(2)));
        for _ in 0..BURST {
            assert_eq!(pace.pass(kind, now), Some(0));
        }
        for _ in 0..7 {
            assert_eq!(pace.pass(kind, now), None);
        }
        assert_eq!(pace.pass(other, now), Some(0));
        let later = now + EACH;
        assert_eq!(pace.pass(kind, later), Some(7));
        assert_eq!(pace.pass(kind, later), None);
        assert_eq!(pace.pass(kind, later + EACH * 1_000_000), Some(1));
        for line in 0..1000 {
            pace.pass((Some("b"), Some(line)), now);
        }
        assert_eq!(pace.0.len(), KINDS_MAX);
    }
}
