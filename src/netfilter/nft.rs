//! The driver: [`Backend`] on the kernel's nf_tables, over one netlink socket.
//!
//! A change is one batch, so it happens whole or not at all; the kernel has answered when
//! [`Backend::apply`] returns. What somebody else has put among the elements is read back, too, so
//! that the gateway can remove it.

pub mod hook;

pub use crate::netfilter::ruleset::Signal;
pub use hook::Hook;

use crate::gateway::mapping::Protocol;
use crate::gateway::network::Wan;
use crate::netfilter::conntrack;
use crate::netfilter::element::{self, Count};
use crate::netfilter::forwards::Forwards;
use crate::netfilter::listeners::Listeners;
use crate::netfilter::ruleset::{self, WanSet, RULE_COUNT, SCHEMA, TABLE};
use crate::netfilter::userdata::{read_stamp, Stamp};
use crate::netfilter::{
    Backend, BackendError, Change, Flow, Installed, Note, Rule, Slot, WanRules, WAN_ADDRESSES_MAX,
};
use crate::netlink::nfnl::{self, attribute as a, message as m};
use crate::netlink::socket::{Dump, Fault, Socket, Traffic};
use crate::netlink::wire::{self, Message, Writer};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Instant;

/// How often a batch is sent again without the deletions of what had just expired.
const EXPIRED_RETRIES: usize = 16;
/// Most deletions in a batch of which the kernel tells what they deleted: its answer must have room.
const ECHOES_MAX: usize = 64;
/// How often a set is read to get two readings that agree.
const READINGS_MAX: usize = 5;

/// The kernel's nf_tables.
pub struct Nft {
    socket: Socket,
    writer: Writer,
    signal: Signal,
    created: u64,
    adopted: bool,
    listeners: Listeners,
    forwards: Forwards,
}

impl Nft {
    /// Opens the socket and finds out which signal the kernel can give: this bit of the conntrack
    /// mark if one is named, else the label, else the bit [`MARK_DEFAULT`](ruleset::MARK_DEFAULT).
    /// Changes nothing; the table is made by [`ensure`](Backend::ensure). `boottime_seconds` is the
    /// time of `CLOCK_BOOTTIME`, kept as the age of a table that is made anew.
    ///
    /// # Errors
    /// No permission, a kernel without nf_tables or connection tracking, or a mark of no bits.
    pub fn open(mark: Option<u32>, boottime_seconds: u64) -> io::Result<Nft> {
        let mut nft = Nft::new(boottime_seconds)?;
        nft.signal = match mark {
            Some(0) => return Err(io::ErrorKind::InvalidInput.into()),
            Some(bit) => Signal::CtMark(bit),
            None if nft.can(Signal::CtLabel)? => Signal::CtLabel,
            None => Signal::CtMark(ruleset::MARK_DEFAULT),
        };
        if let Some(stamp) = nft.stamp()?.flatten() {
            nft.created = stamp.created;
            nft.adopted = true;
        }
        Ok(nft)
    }

    /// Looks at the table that is there, to list it while no daemon runs. Nothing is made or
    /// changed.
    ///
    /// # Errors
    /// `NotFound` if there is no table of this daemon's; no permission.
    pub fn open_existing() -> io::Result<Nft> {
        let mut nft = Nft::new(0)?;
        let Some(stamp) = nft.stamp()?.flatten() else {
            return Err(io::ErrorKind::NotFound.into());
        };
        nft.signal = Signal::from_mark(stamp.mark);
        nft.created = stamp.created;
        nft.adopted = true;
        Ok(nft)
    }

    fn new(created: u64) -> io::Result<Nft> {
        Ok(Nft {
            socket: Socket::nfnetlink()?,
            writer: Writer::new(1),
            signal: Signal::CtLabel,
            created,
            adopted: false,
            listeners: Listeners::default(),
            forwards: Forwards::default(),
        })
    }

    /// Whether a table of this daemon's was there when this was opened, as after a crash: its
    /// mappings stay and can be listed.
    pub fn adopted(&self) -> bool {
        self.adopted
    }

    /// Whether the table is there now. Anybody with the right may have removed it.
    pub fn exists(&mut self) -> io::Result<bool> {
        Ok(self.stamp()?.flatten().is_some())
    }

    /// The external addresses that the kernel forwards from, sorted.
    pub fn external_addresses(&mut self) -> io::Result<Vec<Ipv4Addr>> {
        let keys = self.keys(WanSet::Ext4)?;
        let octets = keys.into_iter().filter_map(|key| <[u8; 4]>::try_from(key).ok());
        let mut addresses: Vec<_> = octets.map(Ipv4Addr::from).collect();
        addresses.sort_unstable();
        Ok(addresses)
    }

    /// The signal to the main firewall.
    pub fn signal(&self) -> Signal {
        self.signal
    }

    /// When the table was first made, in seconds of `CLOCK_BOOTTIME`. A replacement by another
    /// schema keeps it.
    pub fn created(&self) -> u64 {
        self.created
    }

    /// Sets that for a table that is made from now on.
    pub fn set_created(&mut self, boottime_seconds: u64) {
        self.created = boottime_seconds;
    }

    /// The number by which announcements tell this driver's changes.
    pub fn port(&self) -> u32 {
        self.socket.port()
    }

    /// Bytes moved on the netlink socket.
    pub fn traffic(&self) -> Traffic {
        self.socket.traffic()
    }

    /// Somebody else has changed rules, of whatever table.
    pub fn rules_changed(&mut self) {
        self.forwards.forget();
    }

    /// Whether the main firewall lets through what carries our signal.
    pub fn forward_hook(&mut self) -> io::Result<Hook> {
        hook::look(&mut self.socket, &mut self.writer, self.signal)
    }

    /// Whether the kernel can give this signal.
    fn can(&mut self, signal: Signal) -> io::Result<bool> {
        nfnl::begin(&mut self.writer);
        let rule = ruleset::probe(&mut self.writer, signal);
        let faults = self.socket.batch(&self.writer.finish(), &mut |_| {})?;
        match faults.iter().find(|f| f.sequence != rule || f.errno == libc::EPERM) {
            Some(fault) => Err(io::Error::from_raw_os_error(fault.errno)),
            None => Ok(faults.is_empty()),
        }
    }

    /// The table's stamp: outer `None` without a table, inner `None` if it is not this daemon's.
    fn stamp(&mut self) -> io::Result<Option<Option<Stamp>>> {
        nfnl::message(&mut self.writer, m::GET_TABLE, wire::ACK);
        self.writer.text(a::TABLE_NAME, TABLE);
        let mut stamp = None;
        let asked = self.socket.ask(&self.writer.finish(), &mut |message| {
            stamp =
                message.attributes(nfnl::HEADER_LEN).find(a::TABLE_USERDATA).and_then(read_stamp);
        });
        match asked {
            Ok(_) => Ok(Some(stamp)),
            Err(e) if is_absent(&e) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Whether every set and rule of the table is there, and if so, whether the packets of pinholes
    /// are counted.
    fn counting(&mut self) -> io::Result<Option<bool>> {
        let mut missing: Vec<&str> = ruleset::set_names().collect();
        nfnl::message(&mut self.writer, m::GET_SET, wire::DUMP);
        self.writer.text(a::SET_TABLE, TABLE);
        self.socket.ask(&self.writer.finish(), &mut |message| {
            let name = message.attributes(nfnl::HEADER_LEN).find(a::SET_NAME).and_then(wire::text);
            missing.retain(|wanted| name != Some(wanted));
        })?;
        let (mut rules, mut counting) = (0, 0);
        nfnl::message(&mut self.writer, m::GET_RULE, wire::DUMP);
        self.writer.text(a::RULE_TABLE, TABLE);
        self.socket.ask(&self.writer.finish(), &mut |message| {
            let rule = message.attributes(nfnl::HEADER_LEN);
            if rule.find(a::RULE_TABLE).and_then(wire::text) == Some(TABLE) {
                let chain = rule.find(a::RULE_CHAIN).and_then(wire::text);
                match chain.is_some_and(ruleset::is_counting) {
                    true => counting += 1,
                    false => rules += 1,
                }
            }
        })?;
        let whole = missing.is_empty() && rules == RULE_COUNT && counting <= 1;
        Ok(whole.then_some(counting == 1))
    }

    /// Every element of a set by key, read until two readings agree on the keys. A set of many
    /// elements comes in pieces, between which the kernel loses its place when elements go; if
    /// there is never agreement, what either of the last two readings saw is taken.
    fn read(&mut self, set: &'static str) -> io::Result<Vec<(Installed, Count)>> {
        let (mut last, mut older) = (Vec::new(), Vec::new());
        for reading in 0..READINGS_MAX {
            let mut found = Vec::new();
            let dump = self.dump(set, &mut |message| {
                found.extend(element::items(message).filter_map(|item| element::read(set, &item)));
            })?;
            tidy(&mut found);
            let whole = dump.chunks <= 1 && !dump.interrupted;
            if whole || (reading > 0 && same_keys(&last, &found)) {
                return Ok(found);
            }
            older = std::mem::replace(&mut last, found);
        }
        last.extend(older);
        tidy(&mut last);
        Ok(last)
    }

    fn dump(&mut self, set: &str, each: &mut dyn FnMut(&Message<'_>)) -> io::Result<Dump> {
        element::dump(&mut self.writer, set);
        self.socket.ask(&self.writer.finish(), each)
    }

    /// The keys of a set that follows the WAN.
    fn keys(&mut self, set: WanSet) -> io::Result<Vec<Vec<u8>>> {
        let mut keys = Vec::new();
        self.dump(set.name(), &mut |message| {
            let items = element::items(message);
            keys.extend(items.filter_map(|item| element::item_key(&item).map(Vec::from)));
        })?;
        Ok(keys)
    }

    /// What one element has counted, or `None` if it is not there.
    fn count(&mut self, slot: &Slot) -> io::Result<Option<Count>> {
        element::get(&mut self.writer, slot);
        let mut count = None;
        let asked = self.socket.ask(&self.writer.finish(), &mut |message| {
            count = element::items(message).next().map(|item| element::item_count(&item));
        });
        match asked {
            Ok(_) => Ok(count),
            Err(e) if is_absent(&e) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Sends the batch that has been written. What the kernel echoes is handed to `echoed`.
    fn commit(&mut self, echoed: &mut dyn FnMut(&Message<'_>)) -> io::Result<Vec<Fault>> {
        self.writer.add_flags(wire::ACK);
        nfnl::end(&mut self.writer);
        self.socket.batch(&self.writer.finish(), echoed)
    }

    /// Makes the table anew, in place of one that is there (`exists`), whose mappings stay.
    fn replace(&mut self, exists: bool, wan: &WanKeys) -> Result<(), BackendError> {
        let mut kept = Vec::new();
        for set in element::SETS.into_iter().filter(|_| exists) {
            match self.read(set) {
                Ok(found) => kept.extend(found),
                Err(e) if is_absent(&e) => {}
                Err(e) => return Err(refused(&e)),
            }
        }
        nfnl::begin(&mut self.writer);
        if exists {
            ruleset::remove(&mut self.writer);
        }
        ruleset::create(&mut self.writer, self.signal, self.created);
        if wan.counting {
            ruleset::count(&mut self.writer, self.signal, true);
        }
        let foreign = |rule: &Rule| rule.note().is_some_and(Note::is_foreign);
        for (installed, count) in kept.iter().filter(|(kept, _)| !foreign(&kept.rule)) {
            element::add(&mut self.writer, &installed.rule, installed.remaining, *count);
        }
        for set in WanSet::ALL {
            for key in wan.of(set) {
                ruleset::wan_element(&mut self.writer, set, key, true);
            }
        }
        done(self.commit(&mut |_| {}))
    }

    /// Makes what changes what it shall be; only the difference is written. `counting`: the
    /// packets of pinholes are counted now.
    fn follow(&mut self, wan: &WanKeys, counting: bool) -> Result<(), BackendError> {
        let mut batch = Writer::new(1);
        nfnl::begin(&mut batch);
        let empty = batch.len();
        if wan.counting != counting {
            ruleset::count(&mut batch, self.signal, wan.counting);
        }
        for set in WanSet::ALL {
            let wanted = wan.of(set);
            let there = self.keys(set).map_err(|e| refused(&e))?;
            for key in there.iter().filter(|key| !wanted.contains(key)) {
                ruleset::wan_element(&mut batch, set, key, false);
            }
            for key in wanted.iter().filter(|key| !there.contains(key)) {
                ruleset::wan_element(&mut batch, set, key, true);
            }
        }
        if batch.len() == empty {
            return Ok(());
        }
        batch.add_flags(wire::ACK);
        nfnl::end(&mut batch);
        done(self.socket.batch(&batch.finish(), &mut |_| {}))
    }

    /// Writes `changes` and sends them, without deleting what is `gone`. Each message that is
    /// refused is told as the change it belongs to, whether it was the deletion, and why. What has
    /// gone `unused` is told, too.
    fn attempt(
        &mut self,
        changes: &[Change],
        counts: &[Count],
        gone: &[bool],
        unused: &mut Vec<Slot>,
        now: Instant,
    ) -> io::Result<Vec<(usize, bool, i32)>> {
        let mut sent: Vec<(u32, usize, bool)> = Vec::new();
        let writer = &mut self.writer;
        nfnl::begin(writer);
        let removals = changes.iter().filter(|change| matches!(change, Change::Remove(_))).count();
        // All deletions first: a filter is refused while another that overlaps it is there.
        for (i, change) in changes.iter().enumerate() {
            let (slot, echo) = match change {
                Change::Add(_) | Change::Restore(_) => continue,
                Change::Replace(element) => (element.rule.slot(), false),
                Change::Remove(slot) => (*slot, slot.tells_use() && removals <= ECHOES_MAX),
            };
            if !gone[i] {
                sent.push((element::delete(writer, &slot, echo), i, true));
            }
        }
        for (i, change) in changes.iter().enumerate() {
            if let Change::Add(new) | Change::Restore(new) | Change::Replace(new) = change {
                let left = new.expires.map(|at| at.saturating_duration_since(now));
                sent.push((element::add(writer, &new.rule, left, counts[i]), i, false));
            }
        }
        if sent.is_empty() {
            writer.finish();
            return Ok(Vec::new());
        }
        let first = sent.first().map_or(0, |(sequence, ..)| *sequence);
        let faults = self.commit(&mut |echo| unused.extend(element::unused(echo)))?;
        let place = |fault: &Fault| {
            // Numbers count up by one; the batch's own frame is no change of ours.
            let i = fault.sequence.wrapping_sub(first) as usize;
            let (_, change, deletion) = sent.get(i).copied().unwrap_or((0, usize::MAX, false));
            (change, deletion, fault.errno)
        };
        Ok(faults.iter().map(place).collect())
    }
}

impl Backend for Nft {
    fn ensure(&mut self, wan: &WanRules) -> Result<bool, BackendError> {
        let wan = WanKeys::new(wan)?;
        let found = self.stamp().map_err(|e| refused(&e))?;
        let stamp = found.flatten();
        if let Some(stamp) = stamp {
            self.created = stamp.created;
        }
        let ours = |s: Stamp| s.schema == SCHEMA && s.mark == self.signal.mark();
        let whole = match stamp.is_some_and(ours) {
            true => self.counting().map_err(|e| refused(&e))?,
            false => None,
        };
        match whole {
            Some(counting) => self.follow(&wan, counting).map(|()| false),
            None => self.replace(found.is_some(), &wan).map(|()| true),
        }
    }

    fn is_whole(&mut self) -> Result<bool, BackendError> {
        let stamp = self.stamp().map_err(|e| refused(&e))?.flatten();
        let ours = |s: Stamp| s.schema == SCHEMA && s.mark == self.signal.mark();
        match stamp.is_some_and(ours) {
            true => Ok(self.counting().map_err(|e| refused(&e))?.is_some()),
            false => Ok(false),
        }
    }

    fn apply(&mut self, changes: &[Change], now: Instant) -> Result<Vec<Slot>, BackendError> {
        let mut counts = vec![Count::default(); changes.len()];
        for (change, count) in changes.iter().zip(&mut counts) {
            let slot = match change {
                Change::Restore(_) => {
                    *count = element::uncertain(Count::default());
                    continue;
                }
                Change::Replace(element) => element.rule.slot(),
                Change::Add(_) | Change::Remove(_) => continue,
            };
            if slot.is_counted() {
                let counted = self.count(&slot).map_err(|e| refused(&e))?.unwrap_or_default();
                // More may come in before the new element takes the old one's place.
                *count = element::uncertain(counted);
            }
        }
        let mut gone = vec![false; changes.len()];
        for _ in 0..=EXPIRED_RETRIES {
            let mut unused = Vec::new();
            let faults = self.attempt(changes, &counts, &gone, &mut unused, now);
            let faults = faults.map_err(|e| unanswered(&e))?;
            if faults.is_empty() {
                return Ok(unused);
            }
            for (change, deletion, errno) in faults {
                if !deletion || errno != libc::ENOENT {
                    return Err(refused(&io::Error::from_raw_os_error(errno)));
                }
                gone[change] = true;
            }
            // The same number says that an element or that the whole table is not there.
            if self.stamp().map_err(|e| refused(&e))?.is_none() {
                return Err(refused(&io::Error::from_raw_os_error(libc::ENOENT)));
            }
        }
        Err(BackendError::OutOfStep("elements go faster than they can be deleted".into()))
    }

    fn list(&mut self) -> Result<Vec<Installed>, BackendError> {
        let mut all = Vec::new();
        for set in element::SETS {
            let found = self.read(set).map_err(|e| refused(&e))?;
            all.extend(found.into_iter().map(|(installed, _)| installed));
        }
        Ok(all)
    }

    fn connections(&mut self, slot: &Slot) -> Result<u64, BackendError> {
        let count = self.count(slot).map_err(|e| refused(&e))?;
        Ok(count.unwrap_or_default().packets)
    }

    fn leaves_from(&mut self, flow: &Flow) -> Result<Option<SocketAddrV4>, BackendError> {
        conntrack::get(&mut self.writer, flow);
        let mut found = None;
        let asked = self.socket.ask(&self.writer.finish(), &mut |message| {
            found = found.or(conntrack::read(message));
        });
        match asked {
            Ok(_) => Ok(found),
            Err(e) if is_absent(&e) => Ok(None),
            Err(e) => Err(BackendError::Failed(format!("connection tracking: {e}"))),
        }
    }

    fn is_taken(
        &mut self,
        protocol: Protocol,
        port: u16,
        internal: SocketAddrV4,
        wan: &Wan,
        now: Instant,
    ) -> bool {
        let wanted = (protocol, port, internal);
        self.listeners.has(protocol, port, wan, now)
            || self.forwards.has(&mut self.socket, &mut self.writer, wan, wanted)
    }

    fn remove(&mut self) -> Result<(), BackendError> {
        nfnl::begin(&mut self.writer);
        ruleset::remove(&mut self.writer);
        done(self.commit(&mut |_| {}))
    }
}

/// The keys that the sets that follow the WAN shall hold.
struct WanKeys {
    addresses: Vec<Vec<u8>>,
    /// The device of IPv4, if there is one.
    device4: Vec<Vec<u8>>,
    /// That of IPv6.
    device6: Vec<Vec<u8>>,
    /// Both.
    devices: Vec<Vec<u8>>,
    counting: bool,
}

impl WanKeys {
    fn new(wan: &WanRules) -> Result<WanKeys, BackendError> {
        if wan.addresses.len() > WAN_ADDRESSES_MAX {
            return Err(BackendError::Failed(format!(
                "more than {WAN_ADDRESSES_MAX} external addresses"
            )));
        }
        let mut addresses: Vec<_> = wan.addresses.iter().map(|a| a.octets().to_vec()).collect();
        addresses.sort_unstable();
        addresses.dedup();
        let device4 = device_keys(wan.device.as_deref())?;
        let device6 = device_keys(wan.device6.as_deref().or(wan.device.as_deref()))?;
        let mut devices = [&device4[..], &device6].concat();
        devices.dedup();
        Ok(WanKeys { addresses, device4, device6, devices, counting: wan.counting })
    }

    fn of(&self, set: WanSet) -> &[Vec<u8>] {
        match set {
            WanSet::Ext4 | WanSet::Self4 => &self.addresses,
            WanSet::Out4 => &self.device4,
            WanSet::In6 => &self.device6,
            WanSet::Wanif => &self.devices,
        }
    }
}

/// The key of a device, if there is one.
fn device_keys(name: Option<&str>) -> Result<Vec<Vec<u8>>, BackendError> {
    let Some(name) = name else { return Ok(Vec::new()) };
    let key = ruleset::device_key(name).ok_or_else(|| {
        BackendError::Failed(format!("{name}: a device name has 1 to 15 bytes, no space or /"))
    })?;
    Ok(vec![key.to_vec()])
}

/// By key, each once; of equal keys the first stays.
fn tidy(elements: &mut Vec<(Installed, Count)>) {
    elements.sort_by_key(|(installed, _)| installed.rule.slot());
    elements.dedup_by_key(|(installed, _)| installed.rule.slot());
}

fn same_keys(a: &[(Installed, Count)], b: &[(Installed, Count)]) -> bool {
    let slots = |list: &[(Installed, Count)]| -> Vec<Slot> {
        list.iter().map(|(installed, _)| installed.rule.slot()).collect()
    };
    slots(a) == slots(b)
}

fn is_absent(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENOENT)
}

/// The outcome of a batch, in the trait's words.
fn done(faults: io::Result<Vec<Fault>>) -> Result<(), BackendError> {
    match faults.map_err(|e| refused(&e))?.first() {
        None => Ok(()),
        Some(fault) => Err(refused(&io::Error::from_raw_os_error(fault.errno))),
    }
}

/// A batch may be done although its answer was lost.
fn unanswered(error: &io::Error) -> BackendError {
    BackendError::Unanswered(format!("nf_tables: no answer: {error}"))
}

fn refused(error: &io::Error) -> BackendError {
    match error.raw_os_error() {
        Some(libc::ENOENT) => BackendError::OutOfStep("the table or a set is gone".into()),
        Some(libc::EEXIST) => BackendError::OutOfStep("an element is there already".into()),
        _ => BackendError::Failed(format!("nf_tables: {error}")),
    }
}
