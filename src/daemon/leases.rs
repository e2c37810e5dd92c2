//! The lease files: what a stopped daemon leaves for the next one, and what others read.
//!
//! The state file (`leases` in the state directory) holds everything, in lines of our
//! own. The peer file (`upnp_lease_file`) holds what LuCI and scripts have always read there:
//! `PROTOCOL:external port:address:port:unix time:description`, time 0 for no end. That for IPv6
//! (`upnp_lease_file6`) has pinholes:
//! `PROTOCOL;address;port;remote host;remote port;UniqueID;unix time;description`.
//!
//! The state file stores time *left* and the clocks it was true at. Within one boot the time
//! since then is taken from the boot clock, so that a wall clock set by NTP in between ends
//! nothing early; over a reboot only the wall clock is left, and one that went backwards counts
//! as no time passed. Pure: reading and writing the files is the daemon's.

use crate::gateway::guard::{self, Client, Filter, Guard};
use crate::gateway::mapping::{clean_description, External, Id, Mapping, Origin, Protocol};
use crate::gateway::pinhole::{Hole, Pinhole};
use std::fmt::{self, Write};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

/// Longest state file read, in bytes: some 300 for each of 65,535 mappings.
pub const FILE_MAX: u64 = 20 << 20;

/// Longest time left that a peer file is believed, in seconds: the longest lease the peer gives.
/// More means that the wall clock is not set yet.
const PEER_LEASE_MAX: u64 = 604_800;

/// What a line `guard` tells of the mapping or pinhole of this id, which is before it.
const GUARD: &str = "guard";

/// First line of the state file; another number is another format.
const HEADER: &str = "postern-leases 1";

/// All the clocks at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clocks {
    /// The monotonic clock that deadlines are on.
    pub now: Instant,
    /// Which boot this is; empty if the kernel does not say.
    pub boot: String,
    /// Seconds since boot, sleep included.
    pub uptime: u64,
    /// Seconds since 1970, as far as the router knows.
    pub unix: u64,
}

/// What a state file tells beside the mappings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Saved {
    /// The mappings. Those of our own file whose time is up end at once: their flows may go on.
    pub mappings: Vec<Mapping>,
    /// The pinholes, likewise.
    pub pinholes: Vec<Pinhole>,
    /// The run that wrote it.
    pub run: Run,
}

/// What a run tells the next one of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// BOOTID.UPNP.ORG.
    pub boot_id: u32,
    /// It ended in peace and took its kernel table along: the mappings are to be put back even if
    /// a table is there, which can only be what an interrupted start made.
    pub stopped: bool,
    /// The epoch of NAT-PMP and PCP, in seconds; read, as it has gone on since.
    pub epoch: Option<u32>,
    /// Where mappings were reached last.
    pub external: Option<Ipv4Addr>,
}

impl Saved {
    fn guard(&mut self, line: &str) {
        let Some((id, guard)) = read_guard(line) else { return };
        let mapping = self.mappings.last_mut().filter(|m| m.id == id).map(|m| &mut m.guard);
        let pinhole = self.pinholes.last_mut().filter(|p| p.id == id).map(|p| &mut p.guard);
        if let Some(place) = pinhole.or(mapping) {
            *place = Some(Box::new(guard));
        }
    }
}

/// Writes the state file's text, piece by piece: it may be megabytes.
pub fn write<'a>(
    out: &mut dyn Write,
    mappings: impl Iterator<Item = &'a Mapping>,
    pinholes: impl Iterator<Item = &'a Pinhole>,
    run: &Run,
    clocks: &Clocks,
) -> fmt::Result {
    let Run { boot_id, stopped, epoch, external } = *run;
    let Clocks { boot, uptime, unix, now } = clocks;
    let boot = if boot.is_empty() { "-" } else { boot };
    write!(out, "{HEADER}\nclocks {boot} {uptime} {unix}\nbootid {boot_id}\n")?;
    if stopped {
        out.write_str("stopped\n")?;
    }
    if let Some(epoch) = epoch {
        writeln!(out, "epoch {epoch}")?;
    }
    if let Some(external) = external {
        writeln!(out, "external {external}")?;
    }
    for m in mappings {
        write!(out, "lease {} {} {} ", m.id, m.external.protocol, m.external.port)?;
        match m.external.remote {
            Some(remote) => write!(out, "{remote} ")?,
            None => out.write_str("* ")?,
        }
        write!(out, "{} ", m.internal)?;
        match m.remaining(*now) {
            Some(left) => write!(out, "{} ", left.as_millis() as u64)?,
            None => out.write_str("- ")?,
        }
        writeln!(out, "{} {} {}", u8::from(m.enabled), m.origin.name(), m.description)?;
        write_guard(out, m.id, &m.guard)?;
    }
    for pinhole in pinholes {
        let Hole { protocol, internal, internal_port, .. } = pinhole.hole;
        let (id, unique_id) = (pinhole.id, pinhole.unique_id);
        write!(out, "pinhole {id} {unique_id} {protocol} {internal} {internal_port} ")?;
        match pinhole.hole.remote {
            Some(remote) => write!(out, "{remote} ")?,
            None => out.write_str("* ")?,
        }
        let port = pinhole.hole.remote_port.unwrap_or(0);
        let left = pinhole.remaining(*now).as_millis() as u64;
        writeln!(out, "{port} {left} {} {}", pinhole.origin.name(), pinhole.description)?;
        write_guard(out, id, &pinhole.guard)?;
    }
    Ok(())
}

/// What PCP keeps: `guard ID NONCE PORT PEER'S-PORT [FILTER…]`.
fn write_guard(out: &mut dyn Write, id: Id, guard: &Option<Box<Guard>>) -> fmt::Result {
    let Some(guard) = guard else { return Ok(()) };
    let Client { nonce, port, peer_port } = guard.client;
    write!(out, "{GUARD} {id} ")?;
    nonce.iter().try_for_each(|byte| write!(out, "{byte:02x}"))?;
    write!(out, " {port} {peer_port}")?;
    guard.filters.iter().try_for_each(|filter| write!(out, " {filter}"))?;
    out.write_str("\n")
}

fn read_guard(line: &str) -> Option<(Id, Guard)> {
    let mut words = line.split(' ');
    let id = Id(words.next()?.parse().ok()?);
    let nonce = words.next()?;
    if nonce.len() != 24 || !nonce.is_ascii() {
        return None;
    }
    let nonce = u128::from_str_radix(nonce, 16).ok()?.to_be_bytes();
    let nonce = *nonce.last_chunk()?;
    let (port, peer_port) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let filters = words.map(Filter::read).collect::<Option<Vec<_>>>()?;
    Some((id, Guard { client: Client { nonce, port, peer_port }, filters }))
}

/// Reads a state file back. Lines that make no sense are left out; another format gives nothing.
pub fn read(text: &str, clocks: &Clocks) -> Saved {
    let mut saved = Saved::default();
    let mut lines = text.lines();
    if lines.next() != Some(HEADER) {
        return saved;
    }
    let mut passed = Duration::ZERO;
    for line in lines {
        saved.run.stopped |= line == "stopped";
        match line.split_once(' ') {
            Some(("clocks", rest)) => passed = time_passed(rest, clocks).unwrap_or_default(),
            Some(("bootid", rest)) => saved.run.boot_id = rest.parse().unwrap_or_default(),
            Some(("epoch", rest)) => {
                let since = |epoch: u32| epoch.wrapping_add(passed.as_secs() as u32);
                saved.run.epoch = rest.parse().ok().map(since);
            }
            Some(("external", rest)) => saved.run.external = rest.parse().ok(),
            Some(("lease", rest)) => saved.mappings.extend(read_lease(rest, passed, clocks.now)),
            Some(("pinhole", rest)) => {
                saved.pinholes.extend(read_pinhole(rest, passed, clocks.now));
            }
            Some((GUARD, rest)) => saved.guard(rest),
            _ => {}
        }
    }
    saved
}

/// Time from when `line` (`BOOT UPTIME UNIX`) was written until `clocks`.
fn time_passed(line: &str, clocks: &Clocks) -> Option<Duration> {
    let mut words = line.split(' ');
    let boot = words.next()?;
    let uptime: u64 = words.next()?.parse().ok()?;
    let unix: u64 = words.next()?.parse().ok()?;
    let seconds = if boot == clocks.boot && clocks.uptime >= uptime {
        clocks.uptime - uptime
    } else {
        clocks.unix.saturating_sub(unix)
    };
    Some(Duration::from_secs(seconds))
}

fn read_lease(line: &str, passed: Duration, now: Instant) -> Option<Mapping> {
    let mut words = line.splitn(9, ' ');
    let id = Id(words.next()?.parse().ok()?);
    let protocol = read_protocol(words.next()?)?;
    let port = words.next()?.parse().ok().filter(|&port| port != 0)?;
    let remote = match words.next()? {
        "*" => None,
        address => Some(address.parse().ok()?),
    };
    let internal = words.next()?.parse().ok()?;
    let expires = match words.next()? {
        "-" => None,
        left => {
            let left = Duration::from_millis(left.parse().ok()?).saturating_sub(passed);
            Some(now.checked_add(left)?)
        }
    };
    let enabled = words.next()? == "1";
    let origin = Origin::from_name(words.next()?)?;
    let description = clean_description(words.next().unwrap_or_default());
    let external = External { protocol, port, remote };
    Some(Mapping { id, external, internal, expires, enabled, origin, description, guard: None })
}

fn read_pinhole(line: &str, passed: Duration, now: Instant) -> Option<Pinhole> {
    let mut words = line.splitn(10, ' ');
    let id = Id(words.next()?.parse().ok()?);
    let unique_id = words.next()?.parse().ok()?;
    let hole = Hole {
        protocol: read_protocol(words.next()?)?,
        internal: words.next()?.parse().ok()?,
        internal_port: words.next()?.parse().ok().filter(|&port| port != 0)?,
        remote: match words.next()? {
            "*" => None,
            address => Some(address.parse().ok()?),
        },
        remote_port: Some(words.next()?.parse().ok()?).filter(|&port| port != 0),
    };
    let left = Duration::from_millis(words.next()?.parse().ok()?).saturating_sub(passed);
    let expires = now.checked_add(left)?;
    let origin = Origin::from_name(words.next()?)?;
    let description = clean_description(words.next().unwrap_or_default());
    Some(Pinhole { id, unique_id, hole, expires, origin, description, guard: None })
}

fn read_protocol(name: &str) -> Option<Protocol> {
    Protocol::ALL.into_iter().find(|protocol| protocol.name() == name)
}

/// Writes the peer file's text: enabled mappings for any remote host, ends as Unix time. One for
/// some hosts only would be read back as one for all.
pub fn write_peer<'a>(
    out: &mut dyn Write,
    mappings: impl Iterator<Item = &'a Mapping>,
    clocks: &Clocks,
) -> fmt::Result {
    let for_all = |m: &&Mapping| m.external.remote.is_none() && guard::filters(&m.guard).is_empty();
    for m in mappings.filter(|m| m.enabled).filter(for_all) {
        let (protocol, port) = (m.external.protocol, m.external.port);
        let end = m.remaining(clocks.now).map_or(0, |left| clocks.unix + left.as_secs().max(1));
        let (address, internal) = (m.internal.ip(), m.internal.port());
        writeln!(out, "{protocol}:{port}:{address}:{internal}:{end}:{}", m.description)?;
    }
    Ok(())
}

/// Writes the text of the peer's file for IPv6.
pub fn write_peer6<'a>(
    out: &mut dyn Write,
    pinholes: impl Iterator<Item = &'a Pinhole>,
    clocks: &Clocks,
) -> fmt::Result {
    for pinhole in pinholes.filter(|p| guard::filters(&p.guard).is_empty()) {
        let Hole { protocol, internal, internal_port, .. } = pinhole.hole;
        write!(out, "{protocol};{internal};{internal_port};")?;
        if let Some(remote) = pinhole.hole.remote {
            write!(out, "{remote}")?;
        }
        let port = pinhole.hole.remote_port.unwrap_or(0);
        let end = clocks.unix + pinhole.remaining(clocks.now).as_secs().max(1);
        writeln!(out, ";{port};{};{end};{}", pinhole.unique_id, pinhole.description)?;
    }
    Ok(())
}

/// Reads the peer's file for IPv6. Ids are all 0: the gateway gives new ones.
pub fn read_peer6(text: &str, clocks: &Clocks) -> Vec<Pinhole> {
    text.lines().filter_map(|line| read_peer6_line(line, clocks)).collect()
}

fn read_peer6_line(line: &str, clocks: &Clocks) -> Option<Pinhole> {
    let mut words = line.splitn(8, ';');
    let hole = Hole {
        protocol: read_protocol(words.next()?)?,
        internal: words.next()?.parse().ok()?,
        internal_port: words.next()?.parse().ok().filter(|&port| port != 0)?,
        remote: match words.next()? {
            "" | "*" => None,
            address => Some(address.parse().ok()?),
        },
        remote_port: Some(words.next()?.parse().ok()?).filter(|&port| port != 0),
    };
    let unique_id = words.next()?.parse().ok()?;
    let end: u64 = words.next()?.parse().ok()?;
    let left = end.checked_sub(clocks.unix).filter(|&left| left > 0)?.min(PEER_LEASE_MAX);
    let expires = clocks.now.checked_add(Duration::from_secs(left))?;
    let description = clean_description(words.next().unwrap_or_default());
    let origin = Origin::Upnp;
    Some(Pinhole { id: Id(0), unique_id, hole, expires, origin, description, guard: None })
}

/// Reads a peer file, with six fields or, as newer ones have, a remote host after the port.
/// Ids are all 0: the gateway gives new ones.
pub fn read_peer(text: &str, clocks: &Clocks) -> Vec<Mapping> {
    text.lines().filter_map(|line| read_peer_line(line, clocks)).collect()
}

fn read_peer_line(line: &str, clocks: &Clocks) -> Option<Mapping> {
    let (protocol, rest) = line.split_once(':')?;
    let protocol = read_protocol(protocol)?;
    let (port, rest) = rest.split_once(':')?;
    let port = port.parse().ok().filter(|&port| port != 0)?;
    let (first, rest) = rest.split_once(':')?;
    let (second, after) = rest.split_once(':')?;
    // The field after the port is a remote host if an address follows it, not a port.
    let (remote, address, rest) = match second.parse::<Ipv4Addr>() {
        Ok(address) => (read_remote(first)?, address, after),
        Err(_) => (None, first.parse().ok()?, rest),
    };
    let (internal_port, rest) = rest.split_once(':')?;
    let (end, description) = rest.split_once(':')?;
    let internal = SocketAddrV4::new(address, internal_port.parse().ok().filter(|&p| p != 0)?);
    let expires = match end.parse::<u64>().ok()? {
        0 => None,
        end => {
            let left = end.checked_sub(clocks.unix).filter(|&left| left > 0)?.min(PEER_LEASE_MAX);
            Some(clocks.now.checked_add(Duration::from_secs(left))?)
        }
    };
    let external = External { protocol, port, remote };
    Some(Mapping {
        id: Id(0),
        external,
        internal,
        expires,
        enabled: true,
        origin: Origin::Upnp,
        description: clean_description(description),
        guard: None,
    })
}

/// A remote host field: empty or `*` for any. `None` when it is neither that nor an address.
fn read_remote(field: &str) -> Option<Option<Ipv4Addr>> {
    match field {
        "" | "*" => Some(None),
        address => address.parse().ok().map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut dyn Write) -> fmt::Result) -> String {
        let mut text = String::new();
        write(&mut text).unwrap();
        text
    }

    fn clocks(uptime: u64, unix: u64) -> Clocks {
        Clocks { now: Instant::now(), boot: "b00t".into(), uptime, unix }
    }

    fn mapping(id: u64, left: Option<u64>, now: Instant) -> Mapping {
        Mapping {
            id: Id(id),
            external: External { protocol: Protocol::Udp, port: 3074, remote: None },
            internal: "192.168.1.10:3074".parse().unwrap(),
            expires: left.map(|s| now + Duration::from_secs(s)),
            enabled: true,
            origin: Origin::Upnp,
            description: "a: game of two  words".into(),
            guard: None,
        }
    }

    #[test]
    fn mappings_come_back_with_the_time_left_less_the_time_passed() {
        let then = clocks(1000, 50_000);
        let mut other = mapping(9, None, then.now);
        other.enabled = false;
        other.external.remote = Some(Ipv4Addr::new(203, 0, 113, 2));
        other.origin = Origin::Pcp;
        other.description.clear();
        let list = [mapping(7, Some(100), then.now), other];
        let run = Run {
            boot_id: 42,
            stopped: true,
            epoch: Some(700),
            external: Some(Ipv4Addr::new(11, 22, 33, 1)),
        };
        let text = text(|out| write(out, list.iter(), [].iter(), &run, &then));

        let mut later = clocks(1060, 99_999_999);
        later.now = then.now;
        let saved = read(&text, &later);
        assert_eq!(saved.run, Run { epoch: Some(760), ..run });
        assert_eq!(saved.mappings, [mapping(7, Some(40), then.now), list[1].clone()]);
        let after = Clocks { uptime: 1101, ..later };
        let saved = read(&text, &after);
        assert_eq!(
            saved.mappings,
            [mapping(7, Some(0), then.now), list[1].clone()],
            "one ends now"
        );
    }

    #[test]
    fn a_clock_that_jumps_at_boot_ends_nothing() {
        let then = clocks(1000, 50_000);
        let list = [mapping(7, Some(100), then.now)];
        let text = text(|out| write(out, list.iter(), [].iter(), &Run::default(), &then));
        let left = |clocks: Clocks| read(&text, &clocks).mappings[0].remaining(clocks.now);
        let jumped = Clocks { unix: 9_000_000, ..clocks(1010, 0) };
        assert_eq!(left(jumped), Some(Duration::from_secs(90)));
        let backwards = Clocks { boot: "other".into(), ..clocks(5, 10) };
        assert_eq!(left(backwards), Some(Duration::from_secs(100)));
        let rebooted = Clocks { boot: "other".into(), ..clocks(5, 50_101) };
        assert_eq!(left(rebooted), Some(Duration::ZERO));
    }

    #[test]
    fn what_pcp_keeps_comes_back_with_its_mapping() {
        let then = clocks(1000, 50_000);
        let filters = ["203.0.113.0/24,53", "198.51.100.7/32,*"];
        let client = Client { nonce: *b"abcdefghijk\xff", port: 5350, peer_port: 9 };
        let guard = Guard { client, filters: filters.map(|f| Filter::read(f).unwrap()).to_vec() };
        let mut first = mapping(7, Some(100), then.now);
        first.guard = Some(Box::new(guard));
        let second = mapping(8, None, then.now);
        let hole = Hole {
            internal: "2001:db8::10".parse().unwrap(),
            internal_port: 7000,
            protocol: Protocol::Tcp,
            remote: None,
            remote_port: None,
        };
        let guard = Some(Box::new(Guard { client, filters: Vec::new() }));
        let pinhole = Pinhole {
            id: Id(9),
            unique_id: 3,
            hole,
            expires: then.now + Duration::from_secs(100),
            origin: Origin::Pcp,
            description: String::new(),
            guard,
        };
        let (list, holes) = ([first, second], [pinhole]);
        let text = text(|out| write(out, list.iter(), holes.iter(), &Run::default(), &then));
        let line =
            "\nguard 7 6162636465666768696a6bff 5350 9 203.0.113.0/24,53 198.51.100.7/32,*\n";
        assert!(text.contains(line), "{text}");
        let saved = read(&text, &then);
        assert_eq!((&saved.mappings[..], &saved.pinholes[..]), (&list[..], &holes[..]));
        for wrong in ["guard 9 zz 1 1", "guard 9 6162636465666768696a6bff 1", "guard 1"] {
            assert_eq!(read(&format!("{text}{wrong}\n"), &then).pinholes, holes, "{wrong}");
        }
    }

    #[test]
    fn the_peer_file_is_written_and_read_as_others_write_and_read_it() {
        let clocks = clocks(0, 1_700_000_000);
        let list = [mapping(7, Some(100), clocks.now), mapping(8, None, clocks.now)];
        let text = text(|out| write_peer(out, list.iter(), &clocks));
        let want = "UDP:3074:192.168.1.10:3074:1700000100:a: game of two  words\n\
                    UDP:3074:192.168.1.10:3074:0:a: game of two  words\n";
        assert_eq!(text, want);
        let back = read_peer(&text, &clocks);
        assert_eq!(back.len(), 2);
        assert_eq!(back[0], Mapping { id: Id(0), ..list[0].clone() });
        let seven = "TCP:80:203.0.113.2:192.168.1.10:8080:1700000009:x\n\
                     TCP:81:*:192.168.1.10:8081:1700000009:y\nTCP:82:192.168.1.10:80:1:old\nrubbish";
        let back = read_peer(seven, &clocks);
        assert_eq!(back.len(), 2);
        assert_eq!(back[0].external.remote, Some(Ipv4Addr::new(203, 0, 113, 2)));
        assert_eq!(back[1].external.remote, None);
        assert_eq!(back[1].internal.port(), 8081);
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_a_reader_panic(text in "\\PC*|(postern-leases 1\n(lease|clocks|guard|epoch) [ -~\n]*)") {
            let clocks = clocks(3, 4);
            read(&text, &clocks);
            read_peer(&text, &clocks);
        }
    }
}
