//! How many answers a source may have: searches are small, answers many and large, and the source
//! of a datagram is easily forged.
//!
//! A token bucket per source bounds what one forged source can be sent, and one bucket over all
//! bounds the whole, with one in it over all of IPv6. A host that runs several searching programs
//! at once (each asking for everything and for a few types, by unicast and multicast, three times
//! over) stays within its burst.

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
/// Of [`TOTAL_BURST`] at most so many to sources over IPv6: a host has as many addresses as it likes.
pub const TOTAL_V6_BURST: u32 = 256;
/// Of [`TOTAL_PER_SECOND`] likewise.
pub const TOTAL_V6_PER_SECOND: u32 = 128;
/// Sources remembered; a new one takes the place of the one that has been quiet longest.
pub const SOURCES_MAX: usize = 64;

/// What is left for each source and for all. A new one is full.
#[derive(Clone, Debug, Default)]
pub struct Budget {
    /// `None` until the first search.
    total: Option<Bucket>,
    /// `None` until the first search over IPv6.
    total_v6: Option<Bucket>,
    /// The one that has been quiet longest is the first.
    sources: Vec<(IpAddr, Bucket)>,
}

impl Budget {
    /// How many answers `source` could have now.
    pub fn left(&self, source: IpAddr, now: Instant) -> u32 {
        self.refilled(source, now).left()
    }

    /// Takes up to `count` answers for `source`. Returns how many it may have: send no more.
    pub fn take(&mut self, source: IpAddr, count: u32, now: Instant) -> u32 {
        let mut share = self.refilled(source, now);
        let granted = count.min(share.left());
        share.own.spend(granted);
        share.total.spend(granted);
        self.total = Some(share.total);
        if let Some(mut total) = share.total_v6 {
            total.spend(granted);
            self.total_v6 = Some(total);
        }
        self.sources.retain(|(known, _)| *known != source);
        if self.sources.len() >= SOURCES_MAX {
            self.sources.remove(0);
        }
        self.sources.push((source, share.own));
        granted
    }

    /// The buckets that answers to `source` are taken from, as full as they are now.
    fn refilled(&self, source: IpAddr, now: Instant) -> Share {
        let known = self.sources.iter().find(|(known, _)| *known == source);
        let own = known.map(|(_, bucket)| *bucket);
        Share {
            own: Bucket::refilled(own, SOURCE_BURST, SOURCE_PER_SECOND, now),
            total: Bucket::refilled(self.total, TOTAL_BURST, TOTAL_PER_SECOND, now),
            total_v6: source
                .is_ipv6()
                .then(|| Bucket::refilled(self.total_v6, TOTAL_V6_BURST, TOTAL_V6_PER_SECOND, now)),
        }
    }
}

/// What one source takes from.
struct Share {
    own: Bucket,
    total: Bucket,
    /// If it is one over IPv6.
    total_v6: Option<Bucket>,
}

impl Share {
    fn left(&self) -> u32 {
        let of_family = self.total_v6.map_or(u32::MAX, |bucket| bucket.whole());
        self.own.whole().min(self.total.whole()).min(of_family)
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

    /// One as it was last, or a full one if there was none, as it is now.
    fn refilled(known: Option<Bucket>, burst: u32, per_second: u32, now: Instant) -> Bucket {
        let mut bucket = known.unwrap_or(Bucket::full(burst, now));
        bucket.refill(burst, per_second, now);
        bucket
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
