//! What PCP keeps with a mapping or pinhole beside: whose it is (Mapping Nonce) and which remote
//! peers it lets in (FILTER), RFC 6887.

use crate::gateway::network::prefix_contains;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Most filters of one mapping.
pub const FILTERS_PER_MAPPING: usize = 16;
/// Most filters in all mappings of one family. The kernel's interval sets have no limit of their own.
pub const FILTERS_MAX: usize = 256;

/// The program that asked by PCP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Client {
    /// Mapping Nonce (RFC 6887 §11.1): who does not know it cannot change the mapping.
    pub nonce: [u8; 12],
    /// The port it asked from last, which updates go to (§14.2); 0 if they go nowhere.
    pub port: u16,
    /// Of a mapping made by PEER the remote peer's port (§12.1), else 0.
    pub peer_port: u16,
}

/// Remote peers that are let in (RFC 6887 §13.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Filter {
    address: IpAddr,
    prefix_len: u8,
    port: Option<u16>,
}

impl Filter {
    /// Hosts of a prefix of at most the family's bits, whose own host bits do not count, from one
    /// port or, with 0, from any.
    pub fn new(address: IpAddr, prefix_len: u8, port: u16) -> Option<Filter> {
        let address = match address {
            IpAddr::V4(a) if prefix_len <= 32 => {
                let keep = u32::MAX.checked_shl(32 - u32::from(prefix_len)).unwrap_or(0);
                Ipv4Addr::from_bits(a.to_bits() & keep).into()
            }
            IpAddr::V6(a) if prefix_len <= 128 => {
                let keep = u128::MAX.checked_shl(128 - u32::from(prefix_len)).unwrap_or(0);
                Ipv6Addr::from_bits(a.to_bits() & keep).into()
            }
            _ => return None,
        };
        Some(Filter { address, prefix_len, port: Some(port).filter(|port| *port != 0) })
    }

    /// The prefix's first address.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// The prefix's length.
    pub fn prefix_len(&self) -> u8 {
        self.prefix_len
    }

    /// The only port let in from, never 0, or `None` for any.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Whether packets from there are let in.
    pub fn lets_in(&self, remote: SocketAddr) -> bool {
        prefix_contains((self.address, self.prefix_len), remote.ip())
            && self.port.is_none_or(|port| port == remote.port())
    }

    /// Whether everything that `other` lets in is let in by this one.
    fn covers(&self, other: &Filter) -> bool {
        self.prefix_len <= other.prefix_len
            && prefix_contains((self.address, self.prefix_len), other.address)
            && (self.port.is_none() || self.port == other.port)
    }

    /// The word that [`Display`](fmt::Display) writes, read back.
    pub fn read(word: &str) -> Option<Filter> {
        let (word, port) = match word.strip_suffix('*') {
            Some(rest) => (rest.strip_suffix(',')?, 0),
            None => {
                let (word, port) = word.rsplit_once(',')?;
                (word, port.parse().ok().filter(|port| *port != 0)?)
            }
        };
        let (address, prefix_len) = word.split_once('/')?;
        Filter::new(address.parse().ok()?, prefix_len.parse().ok()?, port)
    }
}

/// `PREFIX/LENGTH,PORT`, `*` for any port: one word, for a file.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{},", self.address, self.prefix_len)?;
        match self.port {
            Some(port) => port.fmt(f),
            None => f.write_str("*"),
        }
    }
}

/// What PCP keeps with a mapping.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Guard {
    /// Whose it is.
    pub client: Client,
    /// Which remote peers are let in, sorted, none within another; empty: all.
    pub filters: Vec<Filter>,
}

/// Filters that let in what any of `all` does, without those within another, in the order that
/// the kernel takes them: one whose first address and port lie inside another comes before it.
pub(crate) fn tidy(mut all: Vec<Filter>) -> Vec<Filter> {
    all.sort_unstable();
    all.dedup();
    let kept: Vec<Filter> = all
        .iter()
        .filter(|one| !all.iter().any(|other| other != *one && other.covers(one)))
        .copied()
        .collect();
    kept
}

/// A guard's filters, if there is one.
pub(crate) fn filters(guard: &Option<Box<Guard>>) -> &[Filter] {
    guard.as_deref().map_or(&[], |guard| &guard.filters)
}

/// Who asked by PCP, if anybody did.
pub(crate) fn client(guard: &Option<Box<Guard>>) -> Option<Client> {
    guard.as_deref().map(|guard| guard.client)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(address: &str, prefix_len: u8, port: u16) -> Filter {
        Filter::new(address.parse().unwrap(), prefix_len, port).unwrap()
    }

    #[test]
    fn a_filter_is_a_word_and_back() {
        for (made, word) in [
            (filter("203.0.113.9", 24, 0), "203.0.113.0/24,*"),
            (filter("203.0.113.9", 32, 53), "203.0.113.9/32,53"),
            (filter("0.0.0.0", 0, 53), "0.0.0.0/0,53"),
            (filter("2001:db8::1", 128, 0), "2001:db8::1/128,*"),
        ] {
            assert_eq!(made.to_string(), word);
            assert_eq!(Filter::read(word), Some(made));
        }
        for wrong in
            ["", "*", ",*", "203.0.113.9,53", "203.0.113.9/33,53", "203.0.113.9/32,0", "x/1,1"]
        {
            assert_eq!(Filter::read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_lies_within_another_is_left_out() {
        let wide = filter("203.0.113.0", 24, 0);
        let all = vec![
            filter("203.0.113.9", 32, 53),
            wide,
            filter("203.0.113.9", 32, 0),
            wide,
            filter("203.0.0.0", 16, 53),
        ];
        assert_eq!(tidy(all), [filter("203.0.0.0", 16, 53), wide]);
        let apart =
            vec![filter("10.0.0.0", 8, 1), filter("10.0.0.0", 8, 2), filter("11.0.0.0", 8, 1)];
        assert_eq!(tidy(apart.clone()), apart);
    }
}
