//! IPv6: found, asked, and packets pass through a pinhole (WANIPv6FirewallControl:1).

use super::{sleep_until, Story};
use crate::control_point::ControlPoint;
use crate::outcome::{ensure, same, Because, Outcome};
use crate::traffic::{Program, PORT};
use crate::world::{HOST6, ROUTER6};
use std::time::{Duration, Instant};

/// An hour, as programs ask for it.
const LEASE: &str = "3600";
/// A lease that the checks wait out, in seconds.
const SHORT: u64 = 3;

/// The service for pinholes of a gateway that has been found.
pub(super) struct Pinholes<'w> {
    service: ControlPoint<'w>,
    program: Program,
}

impl Story<'_> {
    pub(super) fn is_discovered_over_ipv6(&self) -> Outcome {
        let begun = Instant::now();
        let found = ControlPoint::find_v6(&self.world)?;
        let here = format!("http://[{ROUTER6}]:");
        ensure(found.location.starts_with(&here), || format!("found at {}", found.location))?;
        let (place, time) = (&found.location, begun.elapsed().as_millis());
        self.done(format!("IGD:2 found over IPv6 at {place}, {time} ms"));
        Ok(())
    }

    /// Asked over IPv4 by the host that the neighbour table shows to be the same.
    pub(super) fn opens_pinholes(&self, gateway: &ControlPoint<'_>) -> Outcome<Pinholes<'_>> {
        let service = gateway.service_of(&self.world, "WANIPv6FirewallControl:1")?;
        let program = Program::start_v6(&self.world)?;
        program.is_not_reached_by_udp(&self.world, PORT)?;
        program.is_not_reached_by_tcp(&self.world, PORT)?;

        let pinholes = Pinholes { service, program };
        let udp = pinholes.open("17", LEASE)?;
        let tcp = pinholes.open("6", LEASE)?;
        pinholes.program.is_reached_by_udp(&self.world, PORT)?;
        same("packets that came by UDP", pinholes.packets(&udp)?, 1)?;
        pinholes.program.is_reached_by_tcp(&self.world, PORT)?;
        ensure(pinholes.packets(&tcp)? >= 3, || "TCP's packets are not counted".into())?;
        self.done(format!(
            "pinholes {udp} and {tcp} to [{HOST6}]:{PORT}: UDP and TCP pass, counted"
        ));

        pinholes.service.call("DeletePinhole", &[("UniqueID", &tcp)])?;
        pinholes.program.is_not_reached_by_tcp(&self.world, PORT)?;
        let short = pinholes.open("6", &SHORT.to_string())?;
        let end = Instant::now() + Duration::from_secs(SHORT + 1);
        pinholes.program.is_reached_by_tcp(&self.world, PORT)?;
        sleep_until(end);
        pinholes.program.is_not_reached_by_tcp(&self.world, PORT)?;
        pinholes.service.is_refused("GetPinholePackets", &[("UniqueID", &short)], 704)?;
        self.done(format!("pinhole {tcp} deleted, {short} ended after {SHORT} s: both closed"));
        Ok(pinholes)
    }

    /// What [`opens_pinholes`](Story::opens_pinholes) left is there, under the same UniqueID.
    pub(super) fn keeps_pinholes(&self, pinholes: &Pinholes<'_>) -> Outcome {
        pinholes.program.is_reached_by_udp(&self.world, PORT)?;
        let again = pinholes.open("17", LEASE)?;
        same("packets counted", pinholes.packets(&again)?, 2)?;
        self.done(format!("pinhole {again} outlived the crash, with what it had counted"));
        Ok(())
    }
}

impl Pinholes<'_> {
    /// Opens one to the program for any remote host, or refreshes it; its UniqueID.
    fn open(&self, protocol: &str, lease: &str) -> Outcome<String> {
        let arguments = [
            ("RemoteHost", ""),
            ("RemotePort", "0"),
            ("InternalClient", &HOST6.to_string()[..]),
            ("InternalPort", &PORT.to_string()[..]),
            ("Protocol", protocol),
            ("LeaseTime", lease),
        ];
        self.service.call("AddPinhole", &arguments)?.pop().ok_or("no UniqueID".into())
    }

    fn packets(&self, id: &str) -> Outcome<u32> {
        let out = self.service.call("GetPinholePackets", &[("UniqueID", id)])?;
        out.concat().parse().because("GetPinholePackets")
    }
}
