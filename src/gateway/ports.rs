//! The choice of an external port for who does not insist on one, random as RFC 7857 §9 asks.

use std::ops::RangeInclusive;

/// The smallest port that is given to somebody who did not ask for it by number.
pub(crate) const CHOSEN_MIN: u16 = 1024;

/// Where hosts go whose own source port is mapped to another: the ruleset's `masquerade` range.
/// Ports from here are chosen only when there is no other.
pub(crate) const DISPLACED_MIN: u16 = 49152;

/// How often a port is drawn blindly before all are tried in order. With half of the ports taken,
/// one request in 65536 gets as far.
const DRAWS: usize = 16;

/// SplitMix64: small, and good enough to make ports hard to guess in passing. No secret.
#[derive(Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    /// A sequence of its own for each seed.
    pub(crate) fn new(seed: u64) -> Self {
        Rng(seed)
    }

    /// A number below `bound`, which is not 0.
    fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let high = (z ^ (z >> 31)) >> 32;
        ((high * u64::from(bound)) >> 32) as u32
    }
}

/// A port of `open` (disjoint ranges, none reaching below [`CHOSEN_MIN`]) that is `free`, or
/// `None` when there is none.
///
/// `free` is asked at most once for each port plus a few draws, and in order only until the first
/// free one: no more often than there are ports that are not free.
pub(crate) fn choose(
    rng: &mut Rng,
    open: &[RangeInclusive<u16>],
    free: impl Fn(u16) -> bool,
) -> Option<u16> {
    let pools = [CHOSEN_MIN..=DISPLACED_MIN - 1, DISPLACED_MIN..=u16::MAX];
    pools.iter().find_map(|pool| {
        let parts: Vec<_> = open
            .iter()
            .map(|part| *part.start().max(pool.start())..=*part.end().min(pool.end()))
            .filter(|part| !part.is_empty())
            .collect();
        let total = parts.iter().map(size).sum();
        if total == 0 {
            return None;
        }
        let draws: Vec<u32> = (0..DRAWS).map(|_| rng.below(total)).collect();
        let first = rng.below(total);
        let sweep = (0..total).map(|step| (first + step) % total);
        draws.into_iter().chain(sweep).filter_map(|i| nth(&parts, i)).find(|port| free(*port))
    })
}

fn size(part: &RangeInclusive<u16>) -> u32 {
    u32::from(*part.end()) - u32::from(*part.start()) + 1
}

/// The port at this place of all `parts` together.
fn nth(parts: &[RangeInclusive<u16>], mut index: u32) -> Option<u16> {
    for part in parts {
        if index < size(part) {
            return u16::try_from(u32::from(*part.start()) + index).ok();
        }
        index -= size(part);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::collections::BTreeSet;

    #[test]
    fn ports_are_spread_over_what_is_open_and_spare_the_displaced_hosts() {
        let mut rng = Rng::new(1);
        let open = [2000..=2999, 40000..=65535];
        let chosen: BTreeSet<u16> =
            (0..500).filter_map(|_| choose(&mut rng, &open, |_| true)).collect();
        assert!(chosen.len() > 400);
        assert!(chosen
            .iter()
            .all(|port| (2000..=2999).contains(port) || (40000..DISPLACED_MIN).contains(port)));
        assert!(chosen.range(..3000).next().is_some() && chosen.range(3000..).next().is_some());
    }

    #[test]
    fn the_displaced_hosts_range_is_used_when_nothing_else_is_left() {
        let mut rng = Rng::new(2);
        let port = choose(&mut rng, &[1024..=65535], |port| port >= DISPLACED_MIN);
        assert!(port.is_some_and(|port| port >= DISPLACED_MIN));
        assert_eq!(choose(&mut rng, &[60000..=60000], |_| true), Some(60000));
    }

    #[test]
    fn the_last_free_port_is_found_and_a_full_range_ends_the_search() {
        let mut rng = Rng::new(3);
        for last in [1024, 1025, 30000, 49151, 49152, 65535] {
            assert_eq!(choose(&mut rng, &[1024..=65535], |port| port == last), Some(last));
        }
        let asked = Cell::new(0);
        let none = choose(&mut rng, &[1024..=65535], |_| {
            asked.set(asked.get() + 1);
            false
        });
        assert_eq!(none, None);
        assert_eq!(asked.get(), 65536 - 1024 + 2 * DRAWS);
        assert_eq!(choose(&mut rng, &[], |_| true), None);
    }

    #[test]
    fn another_seed_gives_other_ports() {
        let first = |seed| choose(&mut Rng::new(seed), &[1024..=65535], |_| true);
        assert_eq!(first(7), first(7));
        assert_ne!(first(7), first(8));
    }
}
