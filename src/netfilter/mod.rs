//! The lower half: what the kernel holds, and the trait through which the gateway changes it.
//!
//! One mapping is up to three kernel elements (see [`Rule`]). The gateway computes which elements
//! must change; a [`Backend`] makes the change in one atomic batch or refuses it whole.

pub mod conntrack;
pub mod element;
pub mod forwards;
pub mod listeners;
pub mod memory;
pub mod nft;
pub mod ruleset;
pub mod userdata;

use crate::gateway::guard::{Client, Filter};
use crate::gateway::mapping::{Id, Origin, Protocol};
use crate::gateway::network::Wan;
use crate::gateway::pinhole::Hole;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};
use std::time::{Duration, Instant};

/// What rides in an element's userdata, so that a mapping can be read back from the kernel alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The mapping's name.
    pub id: Id,
    /// Which protocol asked for it.
    pub origin: Origin,
    /// Who asked by PCP, if anybody did.
    pub client: Option<Client>,
    /// The asker's words, at most [`DESCRIPTION_MAX`](crate::gateway::mapping::DESCRIPTION_MAX)
    /// bytes.
    pub description: String,
}

/// One kernel element, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// `w0_ext`: packets to this port concern us, and nobody else may leave from it.
    Gate {
        /// Transport protocol.
        protocol: Protocol,
        /// External port.
        port: u16,
    },
    /// `w0_any` (no remote) or `w0_rh`: where packets to this port go.
    Forward {
        /// Transport protocol.
        protocol: Protocol,
        /// External port.
        port: u16,
        /// The only remote host it applies to.
        remote: Option<Ipv4Addr>,
        /// New destination.
        internal: SocketAddrV4,
        /// What else is known of the mapping.
        note: Note,
    },
    /// `w0_sel`: only packets that a [`Rule::Filtered`] lets in go anywhere from this port.
    Select {
        /// Transport protocol.
        protocol: Protocol,
        /// External port.
        port: u16,
    },
    /// `w0_flt`: where packets of some remote peers to this port go. A mapping with filters has
    /// one for each in the place of its [`Rule::Forward`].
    Filtered {
        /// Transport protocol.
        protocol: Protocol,
        /// External port.
        port: u16,
        /// The remote peers, of IPv4.
        filter: Filter,
        /// New destination.
        internal: SocketAddrV4,
        /// What else is known of the mapping.
        note: Note,
    },
    /// `w0_off`: a disabled mapping. No rule looks here; it is only kept, and ended on time.
    Held {
        /// Transport protocol.
        protocol: Protocol,
        /// External port.
        port: u16,
        /// The only remote host it would apply to.
        remote: Option<Ipv4Addr>,
        /// Where packets would go.
        internal: SocketAddrV4,
        /// What else is known of the mapping.
        note: Note,
    },
    /// `w0_rev`: packets from this internal endpoint leave from this external port.
    Reverse {
        /// Transport protocol.
        protocol: Protocol,
        /// Internal endpoint.
        internal: SocketAddrV4,
        /// External port.
        port: u16,
    },
    /// `p6_any`, `p6_rh`, `p6_rp` or `p6_rhp`, by what of the remote side is given: an IPv6
    /// pinhole.
    Pinhole {
        /// What is let through.
        hole: Hole,
        /// UniqueID.
        unique_id: u16,
        /// What else is known of it.
        note: Note,
    },
    /// `p6_sel`: this host has pinholes with filters.
    Select6 {
        /// The host.
        internal: Ipv6Addr,
    },
    /// `p6_flt`: a pinhole for some remote peers. One with filters has one for each in the place
    /// of its [`Rule::Pinhole`].
    Filtered6 {
        /// What is let through, from any remote side.
        hole: Hole,
        /// The remote peers, of IPv6.
        filter: Filter,
        /// UniqueID.
        unique_id: u16,
        /// What else is known of it.
        note: Note,
    },
}

/// An element's key: what the kernel tells it apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Slot {
    /// Key of [`Rule::Gate`].
    Gate(Protocol, u16),
    /// Key of [`Rule::Forward`].
    Forward(Protocol, u16, Option<Ipv4Addr>),
    /// Key of [`Rule::Select`].
    Select(Protocol, u16),
    /// Key of [`Rule::Filtered`].
    Filtered(Protocol, u16, Filter),
    /// Key of [`Rule::Held`].
    Held(Protocol, u16, Option<Ipv4Addr>),
    /// Key of [`Rule::Reverse`].
    Reverse(Protocol, SocketAddrV4),
    /// Key of [`Rule::Pinhole`].
    Pinhole(Hole),
    /// Key of [`Rule::Select6`].
    Select6(Ipv6Addr),
    /// Key of [`Rule::Filtered6`].
    Filtered6(Hole, Filter),
}

impl Slot {
    /// Whether the element counts what it lets in.
    pub fn is_counted(&self) -> bool {
        matches!(
            self,
            Slot::Forward(..) | Slot::Filtered(..) | Slot::Pinhole(_) | Slot::Filtered6(..)
        )
    }

    /// Whether a connection counted is what [`Backend::apply`] tells of: of a mapping, not of a
    /// pinhole, which counts packets and only while it is told to.
    pub fn tells_use(&self) -> bool {
        matches!(self, Slot::Forward(..) | Slot::Filtered(..))
    }
}

impl Note {
    /// That of an element that somebody else has made: no mapping has id 0.
    pub fn foreign() -> Note {
        Note { id: Id(0), origin: Origin::Manual, client: None, description: String::new() }
    }

    /// Whether it is that.
    pub fn is_foreign(&self) -> bool {
        self.id == Id(0)
    }
}

impl Rule {
    /// What is known of the mapping or pinhole that it is made for; `None` if several share it.
    pub fn note(&self) -> Option<&Note> {
        match self {
            Rule::Forward { note, .. }
            | Rule::Filtered { note, .. }
            | Rule::Held { note, .. }
            | Rule::Pinhole { note, .. }
            | Rule::Filtered6 { note, .. } => Some(note),
            Rule::Gate { .. }
            | Rule::Reverse { .. }
            | Rule::Select { .. }
            | Rule::Select6 { .. } => None,
        }
    }

    /// The element's key.
    pub fn slot(&self) -> Slot {
        match *self {
            Rule::Gate { protocol, port } => Slot::Gate(protocol, port),
            Rule::Forward { protocol, port, remote, .. } => Slot::Forward(protocol, port, remote),
            Rule::Select { protocol, port } => Slot::Select(protocol, port),
            Rule::Filtered { protocol, port, filter, .. } => Slot::Filtered(protocol, port, filter),
            Rule::Held { protocol, port, remote, .. } => Slot::Held(protocol, port, remote),
            Rule::Reverse { protocol, internal, .. } => Slot::Reverse(protocol, internal),
            Rule::Pinhole { hole, .. } => Slot::Pinhole(hole),
            Rule::Select6 { internal } => Slot::Select6(internal),
            Rule::Filtered6 { hole, filter, .. } => Slot::Filtered6(hole, filter),
        }
    }
}

/// A [`Rule`] and its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    /// What it does.
    pub rule: Rule,
    /// When the kernel drops it by itself, or `None` for never.
    pub expires: Option<Instant>,
}

/// One step of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A new element.
    Add(Element),
    /// The same for what has been there before. What has come in through it is not known.
    Restore(Element),
    /// An element whose key is there already gets a new content or end (delete and add in the
    /// same batch, the only way that is right on every kernel). Its connection count goes on.
    Replace(Element),
    /// The element goes. One that the kernel has ended already is no error.
    Remove(Slot),
}

/// An element as the kernel reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// What it does.
    pub rule: Rule,
    /// Time left, or `None` for no end.
    pub remaining: Option<Duration>,
    /// Connections counted ([`Rule::Forward`], [`Rule::Filtered`]) or packets ([`Rule::Pinhole`],
    /// [`Rule::Filtered6`]), else 0.
    pub connections: u64,
}

/// The part of the ruleset that changes: the WAN's device and addresses, and whether the packets
/// of pinholes are counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WanRules {
    /// WAN device name, at most 15 bytes, or `None` while it is unknown.
    pub device: Option<String>,
    /// That of IPv6, likewise; `None` where it is the same.
    pub device6: Option<String>,
    /// Addresses whose mapped ports are ours, sorted; at most [`WAN_ADDRESSES_MAX`].
    pub addresses: Vec<Ipv4Addr>,
    /// Every forwarded packet is looked at to count those of pinholes: only while there are some.
    pub counting: bool,
}

/// What a host sends from one port to one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flow {
    /// Transport protocol.
    pub protocol: Protocol,
    /// Where it comes from.
    pub internal: SocketAddrV4,
    /// Where it goes.
    pub remote: SocketAddrV4,
}

/// Most WAN addresses served at once.
pub const WAN_ADDRESSES_MAX: usize = 16;

/// Why a batch was not applied. Nothing of it is in the kernel then, unless it was
/// [`Unanswered`](BackendError::Unanswered).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackendError {
    /// The table, a set or an element is not as the daemon believes: resync, then try again.
    OutOfStep(String),
    /// The kernel refuses, or cannot be asked.
    Failed(String),
    /// What the kernel has made of the batch is not known: resync.
    Unanswered(String),
}

impl fmt::Display for BackendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BackendError::OutOfStep(text) => write!(f, "the kernel's table is not ours: {text}"),
            BackendError::Failed(text) | BackendError::Unanswered(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for BackendError {}

/// What the gateway needs of the kernel.
pub trait Backend {
    /// Makes the table exist and its WAN elements equal to `wan`. Elements of mappings that are
    /// there already stay. Idempotent. Returns whether the table had to be made anew.
    fn ensure(&mut self, wan: &WanRules) -> Result<bool, BackendError>;

    /// Whether the table is there with every set and rule, whatever elements it has.
    fn is_whole(&mut self) -> Result<bool, BackendError>;

    /// Makes all `changes` in one atomic batch, or none. `now` turns ends into time left.
    ///
    /// Returns those removed elements of mappings that have certainly never let anything in: they
    /// were [added](Change::Add), have stayed as they were, and have counted no connection. Of many
    /// that are removed at once none may be told.
    fn apply(&mut self, changes: &[Change], now: Instant) -> Result<Vec<Slot>, BackendError>;

    /// Every element of every mapping that has not ended, and such as somebody else has put among
    /// them, with a [foreign](Note::foreign) note.
    fn list(&mut self) -> Result<Vec<Installed>, BackendError>;

    /// Connections counted by one element, or packets if it is a pinhole's; 0 if it is gone.
    fn connections(&mut self, slot: &Slot) -> Result<u64, BackendError>;

    /// Where a flow of the kernel's connection table leaves from, if there is such a flow.
    fn leaves_from(&mut self, flow: &Flow) -> Result<Option<SocketAddrV4>, BackendError>;

    /// Whether an external port is not for us to forward to `internal`: a program of the router
    /// itself listens on it, or the router's owner forwards it elsewhere.
    fn is_taken(
        &mut self,
        protocol: Protocol,
        port: u16,
        internal: SocketAddrV4,
        wan: &Wan,
        now: Instant,
    ) -> bool;

    /// Removes the table and everything in it. Nothing there is no error.
    fn remove(&mut self) -> Result<(), BackendError>;
}
