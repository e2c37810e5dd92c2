//! SSDP as a device speaks it (UDA 1.1 §1): searches in, answers and announcements out.
//!
//! Pure: [`parse_search`] borrows from the datagram, writers append one datagram, [`Budget`] gets
//! the time as an argument. Nothing panics, whatever the bytes. What is not a search for something
//! we could have is `None`: the rule is silence, since other programs' searches fill this group
//! all day.

mod budget;
mod message;
mod search;

pub use budget::{
    Budget, SOURCES_MAX, SOURCE_BURST, SOURCE_PER_SECOND, TOTAL_BURST, TOTAL_PER_SECOND,
    TOTAL_V6_BURST, TOTAL_V6_PER_SECOND,
};
pub use message::{
    next_alive, write_alive, write_byebye, write_response, write_update, Advert, Common,
    MESSAGE_MAX, VALUE_MAX,
};
pub use search::{
    delay, parse_search, split_version, Search, Target, DELAY_MAX, MX_MAX, SEARCH_MAX, TARGET_MAX,
};

use std::net::{Ipv4Addr, Ipv6Addr};

/// The IPv4 group.
pub const GROUP_V4: Ipv4Addr = Ipv4Addr::new(239, 255, 255, 250);
/// The IPv6 group of link-local scope (UDA 1.1 annex A).
pub const GROUP_V6_LINK: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xc);
/// The IPv6 group of site-local scope (UDA 1.1 annex A).
pub const GROUP_V6_SITE: Ipv6Addr = Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 0, 0xc);
/// The UDP port.
pub const PORT: u16 = 1900;
/// `HOST` of announcements to [`GROUP_V4`].
pub const HOST_V4: &str = "239.255.255.250:1900";
/// `HOST` of announcements to [`GROUP_V6_LINK`].
pub const HOST_V6_LINK: &str = "[FF02::C]:1900";
/// `HOST` of announcements to [`GROUP_V6_SITE`].
pub const HOST_V6_SITE: &str = "[FF05::C]:1900";
/// Hops an announcement may go (UDA 1.1 §1).
pub const TTL: u32 = 2;
