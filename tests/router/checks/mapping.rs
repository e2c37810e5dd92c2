//! Found, asked, and packets pass: what a gateway is there for.

use super::{ask, is_left, Story, LEASE, TCP, UDP};
use crate::control_point::ControlPoint;
use crate::daemon::Daemon;
use crate::firewall;
use crate::outcome::{ensure, same, Outcome, PATIENCE};
use crate::traffic::PORT;
use crate::world::{EXTERNAL, HOST};
use postern::netfilter::ruleset::{Signal, MARK_DEFAULT};
use std::net::SocketAddr;
use std::time::Instant;

/// External port that is never mapped.
const UNMAPPED: u16 = 17999;

impl Story<'_> {
    /// Also shows that packets get through without the firewall: it is what stops them.
    pub(super) fn firewall_drops_what_has_no_signal(&self, daemon: &Daemon<'_>) -> Outcome<Signal> {
        let signal = match &daemon.status_of("signal")?[..] {
            "ct-label" => Signal::CtLabel,
            "ct-mark" => Signal::CtMark(MARK_DEFAULT),
            other => return Err(format!("an unknown signal: {other}")),
        };
        let host = SocketAddr::from((HOST, PORT));
        self.program.is_reached_at(&self.world, host)?;
        self.world.router.inside(move || firewall::load(signal))?;
        self.program.is_not_reached_at(&self.world, host)?;
        same("the firewall's line", daemon.status_of("forward_hook")?, "ok")?;
        self.done(format!(
            "firewall that accepts {}: what passed to {host} before is dropped",
            signal.name()
        ));
        Ok(signal)
    }

    pub(super) fn is_discovered(&self) -> Outcome<ControlPoint<'_>> {
        let find = |version| {
            let begun = Instant::now();
            let found = ControlPoint::find(&self.world, version)?;
            let address = found.call("GetExternalIPAddress", &[])?;
            same("GetExternalIPAddress", address.join(" "), EXTERNAL.to_string())?;
            let (place, time) = (&found.location, begun.elapsed().as_millis());
            self.done(format!("IGD:{version} found at {place}, external {EXTERNAL}, {time} ms"));
            Ok::<_, String>(found)
        };
        let first = find(1)?;
        let second = find(2)?;
        ensure(first.location != second.location, || "both versions are described alike".into())?;
        Ok(second)
    }

    pub(super) fn maps_ports(&self, gateway: &ControlPoint<'_>) -> Outcome {
        self.program.is_not_reached_by_tcp(&self.world, TCP)?;
        self.program.is_not_reached_by_udp(&self.world, UDP)?;
        self.done(format!("before: TCP {TCP} and UDP {UDP} are silent"));

        gateway.add(&ask("TCP", TCP, "a web server"))?;
        gateway.add(&ask("UDP", UDP, "a game of two"))?;
        self.both_pass()?;
        self.program.is_not_reached_by_udp(&self.world, TCP)?;
        self.program.is_not_reached_by_tcp(&self.world, UNMAPPED)?;
        self.done(format!(
            "mapped: TCP {TCP} and UDP {UDP} reach {HOST}:{PORT}, source kept, answers come back; \
             other ports are silent"
        ));

        for (protocol, external, description) in
            [("TCP", TCP, "a web server"), ("UDP", UDP, "a game of two")]
        {
            let entry = gateway.entry(protocol, external)?;
            same(protocol, entry.words, format!("{HOST}:{PORT} enabled=1 '{description}'"))?;
            is_left(entry.left, LEASE, PATIENCE)?;
        }
        self.done("GetSpecificPortMappingEntry tells both as they were asked for");
        Ok(())
    }
}
