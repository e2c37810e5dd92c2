//! How many answers a source may have: searches are small, answers many and large, and the source
//! of a datagram is easily forged.
//!
//! A token bucket per source bounds what one forged source can be sent, and one bucket over all
//! bounds the whole. A host that runs several searching programs at once (each asking for
//! everything and for a few types, by unicast and multicast, three times over) stays within its
//! burst.

use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Most answers one source gets at once: two programs that ask for everything and for single types,
/// by unicast and multicast, three times over.
pub const SOURCE_BURST: u32 = 160;
/// Answers per second one source gets for as long as it asks.
pub const SOURCE_PER_SECOND: u32 = 16;
/// Most answers all sources together get at once.
pub const TOTAL_BURST: u32 = 512;
/// Answers per second all sources together get for as long as they ask.
pub const TOTAL_PER_SECOND: u32 = 256;
/// Sources remembered; a new one takes the place of the one that has been quiet longest.
pub const SOURCES_MAX: usize = 64;

/// What is left for each source and for all. A new one is full.
#[derive(Clone, Debug, Default)]
pub struct Budget {
    /// `None` until the first search.
    total: Option<Bucket>,
    /// The one that has been quiet longest is the first.
    sources: Vec<(IpAddr, Bucket)>,
}

impl Budget {
    /// How many answers `source` could have now.
    pub fn left(&self, source: IpAddr, now: Instant) -> u32 {
        let (own, total) = self.refilled(source, now);
        own.whole().min(total.whole())
    }

    /// Takes up to `count` answers for `source`. Returns how many it may have: send no more.
    pub fn take(&mut self, source: IpAddr, count: u32, now: Instant) -> u32 {
        let (mut own, mut total) = self.refilled(source, now);
        let granted = count.min(own.whole()).min(total.whole());
        own.spend(granted);
        total.spend(granted);
        self.total = Some(total);
        self.sources.retain(|(known, _)| *known != source);
        if self.sources.len() >= SOURCES_MAX {
            self.sources.remove(0);
        }
        self.sources.push((source, own));
        granted
    }

    /// What is in the bucket of `source` and in that of all.
    fn refilled(&self, source: IpAddr, now: Instant) -> (Bucket, Bucket) {
        let known = self.sources.iter().find(|(known, _)| *known == source);
        let mut own = known.map_or(Bucket::full(SOURCE_BURST, now), |(_, bucket)| *bucket);
        let mut total = self.total.unwrap_or(Bucket::full(TOTAL_BURST, now));
        own.refill(SOURCE_BURST, SOURCE_PER_SECOND, now);
        total.refill(TOTAL_BURST, TOTAL_PER_SECOND, now);
        (own, total)
    }
}

/// A bucket, in thousandths of an answer.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    level: u32,
    /// The time the level is of.
    at: Instant,
}

impl Bucket {
    fn full(burst: u32, at: Instant) -> Self {
        Bucket { level: burst * 1000, at }
    }

    /// Adds what has come since, in whole milliseconds; what is left of one counts next time.
    fn refill(&mut self, burst: u32, per_second: u32, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_millis();
        let millis = u32::try_from(passed).unwrap_or(u32::MAX);
        let level = self.level.saturating_add(millis.saturating_mul(per_second));
        if level >= burst * 1000 {
            *self = Bucket::full(burst, now.max(self.at));
        } else {
            self.level = level;
            self.at += Duration::from_millis(millis.into());
        }
    }

    fn whole(&self) -> u32 {
        self.level / 1000
    }

    fn spend(&mut self, answers: u32) {
        self.level = self.level.saturating_sub(answers.saturating_mul(1000));
    }
}

#[cfg(test)]
mod tests;
