//! Postern: a UPnP Internet Gateway Device for Linux netfilter.
//!
//! ```text
//!  LAN bytes              pure codecs                decisions (no I/O, `now` passed in)          kernel
//!  udp 1900   daemon ─ ssdp ──────────────────┐
//!  tcp http   daemon ─ http → soap → igd ─────┼──▶ gateway: policy + lease table ── plan ──▶ netfilter (one netlink batch)
//!  ctl socket daemon ─ ctl ───────────────────┤        │      ▲ commit / refuse ◀── ok / no ──┘
//!  rtnetlink  daemon ─ wan/lan addresses ─────┘        └─▶ events
//! ```
//!
//! Arrows go one way only: a codec knows no gateway, the gateway knows no protocol, and only
//! [`daemon`], [`netlink::socket`] and the netfilter driver do I/O. Time and randomness are
//! arguments everywhere else.

pub mod config;
pub mod daemon;
pub mod gateway;
pub mod igd;
pub mod netfilter;
pub mod netlink;
pub mod pcp;
pub mod proto;
pub mod sys;
