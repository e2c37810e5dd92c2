//! The methods of the objects `postern` and `luci.upnp`.
//!
//! `luci.upnp` speaks as the plugin of that name of OpenWrt's luci-app-upnp does, with ids that
//! last in the place of line numbers.

use crate::daemon::fields::Fields as _;
use crate::daemon::owner::Wish;
use crate::daemon::report::{external_address, Row, Status as Report};
use crate::daemon::{Daemon, State};
use crate::gateway::mapping::{Id, Protocol, Refusal};
use crate::gateway::pinhole::LEASE_MAX;
use crate::proto::blobmsg::{Fields, Kind, Value, Writer};
use crate::proto::ubus::{self, Message, Method, Status};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

/// Most mappings and pinholes in one answer; the next question goes on behind the last.
pub const LIST_MAX: u64 = 128;

const POSTERN: &[Method] = &[
    ("status", &[]),
    ("list", &[("after", Kind::Int32), ("limit", Kind::Int32)]),
    ("delete", &[("id", Kind::Int32)]),
    (
        "add",
        &[
            ("protocol", Kind::Text),
            ("external_port", Kind::Int32),
            ("internal_address", Kind::Text),
            ("internal_port", Kind::Int32),
            ("remote", Kind::Text),
            ("lease", Kind::Int32),
            ("description", Kind::Text),
        ],
    ),
    ("flush", &[("host", Kind::Text)]),
];

const LUCI: &[Method] = &[("get_status", &[]), ("delete_rule", &[("token", Kind::Text)])];

/// Our objects; the last hears events.
pub(super) const OBJECTS: [Option<(&str, &[Method])>; 3] =
    [Some(("postern", POSTERN)), Some(("luci.upnp", LUCI)), None];

/// Whether an event or notification is of netifd's networks.
pub(super) fn is_of_networks(message: &Message<'_>) -> bool {
    let fields = Fields::new(message.data.unwrap_or_default());
    match message.method {
        Some("ubus.object.add") => {
            fields.text("path").is_some_and(|path| path.starts_with("network.interface"))
        }
        method => method.is_some(),
    }
}

/// The whole answer to a call of the object at this place, whose number is `id`.
pub(super) fn answer(daemon: &Daemon, at: Option<usize>, call: &Message<'_>, id: u32) -> Vec<u8> {
    let mut out = ubus::reply(call, id);
    let empty = out.len();
    let arguments = Fields::new(call.data.unwrap_or_default());
    let status = match (at, call.method.unwrap_or_default()) {
        (Some(0), "status") => status(daemon, &mut out),
        (Some(0), "list") => list(daemon, arguments, &mut out),
        (Some(0), "delete") => delete(daemon, arguments, &mut out),
        (Some(0), "add") => add(daemon, arguments, &mut out),
        (Some(0), "flush") => flush(daemon, arguments, &mut out),
        (Some(1), "get_status") => rules(daemon, &mut out),
        (Some(1), "delete_rule") => delete_rule(daemon, arguments, &mut out),
        (Some(_), _) => Err(Status::MethodNotFound),
        (None, _) => Err(Status::NotFound),
    };
    let end = ubus::end(call, id, status.err().unwrap_or(Status::Ok));
    match out.len() > empty {
        true => [out.finish(), end].concat(),
        false => end,
    }
}

fn status(daemon: &Daemon, out: &mut Writer) -> Result<(), Status> {
    Report::of(daemon).fill(out);
    Ok(())
}

fn list(daemon: &Daemon, arguments: Fields<'_>, out: &mut Writer) -> Result<(), Status> {
    let after = number(arguments, "after", 0, i64::MAX as u64)?.unwrap_or(0);
    let limit = number(arguments, "limit", 1, u32::MAX.into())?.unwrap_or(LIST_MAX);
    out.array("mappings");
    let more = each(daemon, Id(after), limit.min(LIST_MAX), &mut |row| {
        out.table("");
        row.fill(out);
        out.close();
    });
    out.close();
    out.flag("more", more);
    Ok(())
}

fn delete(daemon: &Daemon, arguments: Fields<'_>, out: &mut Writer) -> Result<(), Status> {
    let id = number(arguments, "id", 0, u64::MAX)?.ok_or(Status::InvalidArgument)?;
    daemon.delete(Id(id)).map_err(|refusal| refuse(refusal, out))
}

fn add(daemon: &Daemon, arguments: Fields<'_>, out: &mut Writer) -> Result<(), Status> {
    let wrong = Status::InvalidArgument;
    let port = |name| number(arguments, name, 1, u16::MAX.into());
    let protocol = text(arguments, "protocol")?;
    let protocol = Protocol::from_name(protocol).ok_or(wrong)?;
    let external = port("external_port")?.ok_or(wrong)? as u16;
    let internal = port("internal_port")?.map_or(external, |port| port as u16);
    let host: IpAddr = text(arguments, "internal_address")?.parse().map_err(|_| wrong)?;
    let remote = match text(arguments, "remote")? {
        "" => None,
        address => Some(address.parse::<IpAddr>().map_err(|_| wrong)?),
    };
    let of_another_family = remote.is_some_and(|remote| remote.is_ipv4() != host.is_ipv4());
    // Nothing translates the ports of IPv6.
    if of_another_family || (host.is_ipv6() && internal != external) {
        return Err(wrong);
    }
    let longest = if host.is_ipv6() { LEASE_MAX } else { u32::MAX };
    let lease = number(arguments, "lease", 0, longest.into())?.map(|lease| lease as u32);
    let wish = Wish {
        protocol,
        port: external,
        internal: SocketAddr::new(host, internal),
        remote,
        lease: lease.filter(|lease| *lease != 0),
        description: text(arguments, "description")?,
    };
    if host.is_ipv6() && lease == Some(0) {
        return Err(wrong);
    }
    let id = daemon.open(&wish).map_err(|refusal| refuse(refusal, out))?;
    out.number("id", id.0);
    out.number("external_port", external.into());
    Ok(())
}

fn flush(daemon: &Daemon, arguments: Fields<'_>, out: &mut Writer) -> Result<(), Status> {
    let host = match arguments.get("host") {
        None => None,
        Some(Value::Text(host)) => Some(host.parse().map_err(|_| Status::InvalidArgument)?),
        Some(_) => return Err(Status::InvalidArgument),
    };
    let deleted = daemon.flush(host).map_err(|refusal| refuse(refusal, out))?;
    out.number("deleted", deleted as u64);
    Ok(())
}

fn rules(daemon: &Daemon, out: &mut Writer) -> Result<(), Status> {
    out.array("rules");
    each(daemon, Id(0), LIST_MAX, &mut |row| {
        out.table("");
        row.fill_rule(out);
        out.close();
    });
    out.close();
    Ok(())
}

fn delete_rule(daemon: &Daemon, arguments: Fields<'_>, out: &mut Writer) -> Result<(), Status> {
    let id = text(arguments, "token").ok().and_then(|token| token.parse().ok());
    let deleted = id.is_some_and(|id| daemon.delete(Id(id)).is_ok());
    out.text("result", if deleted { "OK" } else { "Bad request" });
    Ok(())
}

/// Walks at most `limit` mappings and pinholes by id, those behind `after`. Whether there are more.
fn each(daemon: &Daemon, after: Id, limit: u64, tell: &mut dyn FnMut(&Row<'_>)) -> bool {
    let mut state = daemon.state();
    let state = &mut *state;
    let now = Instant::now();
    state.gateway.handle_timeout(now);
    daemon.mutated(state);
    let mut last = after;
    for _ in 0..limit {
        match row_after(state, last, now, tell) {
            Some(id) => last = id,
            None => return false,
        }
    }
    row_after(state, last, now, &mut |_| ()).is_some()
}

/// Tells the mapping or pinhole with the next id.
fn row_after(
    state: &mut State,
    after: Id,
    now: Instant,
    tell: &mut dyn FnMut(&Row<'_>),
) -> Option<Id> {
    let gateway = &mut state.gateway;
    let mapping = gateway.next_after(Some(after)).cloned();
    let later = gateway.pinholes().filter(|pinhole| pinhole.id > after);
    let pinhole = later.min_by_key(|pinhole| pinhole.id);
    match (mapping, pinhole.cloned()) {
        (mapping, Some(pinhole)) if mapping.as_ref().is_none_or(|m| pinhole.id < m.id) => {
            let packets = gateway.pinhole_packets(pinhole.unique_id);
            tell(&Row::of_pinhole(&pinhole, Some(packets), now));
            Some(pinhole.id)
        }
        (mapping, _) => {
            let mapping = mapping?;
            let external = external_address(gateway.external());
            let connections = gateway.connections(&mapping.external);
            tell(&Row::of(&mapping, external, Some(connections), now));
            Some(mapping.id)
        }
    }
}

/// A number of this range, if it is there.
fn number(arguments: Fields<'_>, name: &str, min: u64, max: u64) -> Result<Option<u64>, Status> {
    match arguments.get(name) {
        None => Ok(None),
        Some(Value::Number(number)) => match u64::try_from(number) {
            Ok(number) if (min..=max).contains(&number) => Ok(Some(number)),
            _ => Err(Status::InvalidArgument),
        },
        Some(_) => Err(Status::InvalidArgument),
    }
}

/// A text, empty if it is not there.
fn text<'a>(arguments: Fields<'a>, name: &str) -> Result<&'a str, Status> {
    match arguments.get(name) {
        None => Ok(""),
        Some(Value::Text(text)) => Ok(text),
        Some(_) => Err(Status::InvalidArgument),
    }
}

/// Says in words what a refusal's number cannot.
fn refuse(refusal: Refusal, out: &mut Writer) -> Status {
    out.text("error", &refusal.to_string());
    status_of(refusal)
}

/// The status of a refusal.
const fn status_of(refusal: Refusal) -> Status {
    match refusal {
        Refusal::InvalidTarget => Status::InvalidArgument,
        Refusal::NoSuchMapping => Status::NotFound,
        Refusal::Conflict | Refusal::Denied | Refusal::NotOwner | Refusal::Reserved => {
            Status::PermissionDenied
        }
        Refusal::NoExternalAddress | Refusal::PrivateExternalAddress => Status::NotSupported,
        Refusal::NoFreePort
        | Refusal::QuotaExceeded
        | Refusal::TableFull
        | Refusal::TooManyFilters => Status::NoMemory,
        Refusal::Backend => Status::SystemError,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_its_status() {
        let expected = [
            (Refusal::Backend, 13),
            (Refusal::Conflict, 6),
            (Refusal::Denied, 6),
            (Refusal::InvalidTarget, 2),
            (Refusal::NoExternalAddress, 8),
            (Refusal::NoFreePort, 11),
            (Refusal::NoSuchMapping, 4),
            (Refusal::NotOwner, 6),
            (Refusal::PrivateExternalAddress, 8),
            (Refusal::QuotaExceeded, 11),
            (Refusal::Reserved, 6),
            (Refusal::TableFull, 11),
            (Refusal::TooManyFilters, 11),
        ];
        assert_eq!(Refusal::ALL.map(|refusal| (refusal, status_of(refusal) as u8)), expected);
    }

    #[test]
    fn arguments_of_another_type_or_range_are_refused_and_absent_ones_have_a_meaning() {
        let mut out = Writer::new();
        out.number("n", 7);
        out.text("t", "7");
        out.flag("f", true);
        out.null("z");
        let written = out.finish();
        let arguments = Fields::new(&written);
        let wrong = Err(Status::InvalidArgument);
        assert_eq!(number(arguments, "n", 7, 7), Ok(Some(7)));
        assert_eq!(number(arguments, "n", 8, 9), wrong);
        assert_eq!(number(arguments, "n", 0, 6), wrong);
        for other in ["t", "f", "z"] {
            assert_eq!(number(arguments, other, 0, 9), wrong, "{other}");
        }
        assert_eq!(number(arguments, "absent", 1, 2), Ok(None));
        assert_eq!(text(arguments, "t"), Ok("7"));
        assert_eq!(text(arguments, "n"), Err(Status::InvalidArgument));
        assert_eq!(text(arguments, "absent"), Ok(""));
    }

    #[test]
    fn netifd_s_events_are_told_from_the_rest() {
        let mut out = Writer::new();
        out.text("path", "network.interface.wan");
        let ours = out.finish();
        let mut out = Writer::new();
        out.text("path", "session");
        let other = out.finish();
        let event = |method, data| is_of_networks(&Message { method, data, ..Message::default() });
        assert!(event(Some("network.interface"), None));
        assert!(event(Some("interface.update"), None));
        assert!(event(Some("ubus.object.add"), Some(&ours)));
        assert!(!event(Some("ubus.object.add"), Some(&other)));
        assert!(!event(None, Some(&ours)));
    }
}
