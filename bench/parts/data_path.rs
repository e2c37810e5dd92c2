//! What a packet from the Internet costs on its way through the router.
//!
//! A world for each design and number of mappings, all there at once and measured in turn, so that
//! whatever else the machine does meets them all.

use crate::lab::clients::{external, internal};
use crate::lab::firewall;
use crate::lab::flood::{arrived, Flood};
use crate::lab::gateway::{Gateway, Kind};
use crate::lab::processor::OnOne;
use crate::lab::stats::{by_form, figure, times, Sample};
use crate::report::{Line, Plot, Report, Table, Target};
use crate::world::World;

/// A port that nothing is mapped to.
const UNMAPPED: u16 = 9999;
/// So many mappings miniupnpd restores from its lease file; more would take minutes.
const RESTORED: u16 = 1000;
/// How long one round of one site takes at most, about.
const ROUND_NS: f64 = 5e6;

/// Kinds of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Packet {
    First,
    FirstUnmapped,
    Established,
}

use Packet::{Established, First, FirstUnmapped};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Design {
    OneRedirect,
    Postern,
    Miniupnpd,
}

use Design::{Miniupnpd, OneRedirect, Postern};

/// Every site, measured.
struct Found {
    sites: Vec<Site>,
    sizes: &'static [u16],
    rounds: u16,
}

/// Measures it.
pub fn measure(report: &mut Report) {
    let sizes = by_form(&[0, 10, 500][..], &[0, 1, 10, 100, 1000, 10_000]);
    let rounds = by_form(3, 61);
    let _pinned = OnOne::new();
    let mut sites = vec![Site::one_redirect()];
    for (design, kind) in [(Postern, Kind::Postern), (Miniupnpd, Kind::Miniupnpd)] {
        sites.extend(sizes.iter().map(|size| Site::daemon(design, kind, *size)));
    }
    for _ in 0..rounds {
        sites.iter_mut().for_each(Site::round);
    }
    sites.iter().for_each(Site::check);
    let found = Found { sites, sizes, rounds };
    found.table(report);
    found.targets(report);
    found.plot(report);
}

impl Found {
    fn cost(&self, design: Design, mappings: u16, packet: Packet) -> Option<f64> {
        let wanted = |site: &&Site| site.design == design && site.mappings == mappings;
        self.sites.iter().find(wanted)?.costs[packet as usize].median()
    }

    fn redirect(&self, packet: Packet) -> Option<f64> {
        self.cost(OneRedirect, 1, packet)
    }

    fn table(&self, report: &mut Report) {
        let mut table = Table::new(
            "Packets: ns each, all the way from the Internet to a LAN host",
            &[
                "packet",
                "mappings",
                "postern",
                "miniupnpd",
                "ratio",
                "one redirect",
                "postern to it",
            ],
        );
        let kinds = [
            (First, "first of a flow, to the last mapping"),
            (FirstUnmapped, "first of a flow, to no mapping"),
            (Established, "of an answered flow"),
        ];
        for (packet, name) in kinds {
            for &size in self.sizes.iter().filter(|size| **size > 0 || packet == FirstUnmapped) {
                let us = self.cost(Postern, size, packet);
                let peer = self.cost(Miniupnpd, size, packet);
                let one = self.redirect(packet);
                table.row([
                    name.into(),
                    size.to_string(),
                    figure(us),
                    figure(peer),
                    times(peer, us),
                    figure(one),
                    times(us, one),
                ]);
            }
        }
        let counts = self.sites.iter().map(|site| site.count(First));
        let (least, most) = (counts.clone().min().unwrap(), counts.max().unwrap());
        table.note(format!(
            "Medians of n = {} rounds, all sites in turn, {least} to {most} packets a round. Each \
             packet of the first two kinds is a new flow; the connection table is emptied before a \
             round. One redirect is a static port forward as fw4 writes it, without any daemon. What \
             arrived was counted: all that should, nothing else.",
            self.rounds
        ));
        table.note(
            format!("miniupnpd's rules beyond the first {RESTORED} are copies of one that it made, byte for byte \
             but for the ports.")
        );
        report.table(table);
    }

    fn targets(&self, report: &mut Report) {
        let many = *self.sizes.last().unwrap();
        let at_many = self.cost(Postern, many, First);
        let flat = Target::at_most(
            &format!("new connection of postern at {many} mappings, to that at 10"),
            at_many,
            self.cost(Postern, 10, First),
            1.05,
        );
        report.target(flat.or_fail_above(1.5));
        report.target(Target::at_most(
            &format!("new connection of postern at {many} mappings, to one static redirect"),
            at_many,
            self.redirect(First),
            1.25,
        ));
        report.target(Target::at_least(
            &format!("new connection at {many} mappings, miniupnpd to postern"),
            self.cost(Miniupnpd, many, First),
            at_many,
            50.0,
        ));
        let noise = self.sites[0].costs[Established as usize].spread().max(0.03);
        report.target(Target::at_most(
            &format!("established packet of postern at {many}, to one redirect, within the noise"),
            self.cost(Postern, many, Established),
            self.redirect(Established),
            1.0 + noise,
        ));
    }

    fn plot(&self, report: &mut Report) {
        let line = |name: &str, cost: &dyn Fn(u16) -> Option<f64>| {
            let sizes = self.sizes.iter().filter(|size| **size > 0);
            let points = sizes.filter_map(|size| Some((f64::from(*size), cost(*size)?))).collect();
            Line { name: name.into(), points }
        };
        report.plot(Plot {
            title: "First packet of a new connection".into(),
            x: "mappings".into(),
            y: "ns".into(),
            lines: vec![
                line("miniupnpd", &|size| self.cost(Miniupnpd, size, First)),
                line("postern", &|size| self.cost(Postern, size, First)),
                line("one static redirect", &|_| self.redirect(First)),
            ],
        });
    }
}

/// One design at one size.
struct Site {
    design: Design,
    mappings: u16,
    flood: Flood,
    place: Place,
    /// Nanoseconds a packet, for each [`Packet`].
    costs: [Sample; 3],
    /// Packets that the LAN host must have got.
    sent: u64,
}

/// What keeps the world up.
enum Place {
    Bare(World),
    Served(Gateway),
}

impl Place {
    fn world(&self) -> &World {
        match self {
            Place::Bare(world) => world,
            Place::Served(gateway) => &gateway.world,
        }
    }
}

impl Site {
    fn one_redirect() -> Site {
        let world = World::new();
        firewall::one_redirect(&world);
        Site::new(OneRedirect, 1, Place::Bare(world))
    }

    fn daemon(design: Design, kind: Kind, mappings: u16) -> Site {
        let mut gateway = Gateway::start_with(kind, mappings.min(RESTORED));
        gateway.fill(mappings);
        Site::new(design, mappings, Place::Served(gateway))
    }

    fn new(design: Design, mappings: u16, place: Place) -> Site {
        let flood = Flood::in_world(place.world(), (mappings > 0).then(|| internal(mappings)));
        let mut site = Site { design, mappings, flood, place, costs: Default::default(), sent: 0 };
        // Whoever must be found on the wires is found now, and how long a packet takes.
        site.round();
        site
    }

    /// So many packets that a round is neither long nor too short to be timed.
    fn count(&self, packet: Packet) -> u16 {
        let typical = self.costs[packet as usize].median().unwrap_or(100_000.0);
        (ROUND_NS / typical).clamp(50.0, 800.0) as u16
    }

    fn round(&mut self) {
        let [first, unmapped, established] =
            [First, FirstUnmapped, Established].map(|packet| self.count(packet));
        if self.mappings > 0 {
            let port = external(self.mappings);
            self.costs[First as usize].add(self.flood.new_flows(port, first));
            self.costs[Established as usize].add(self.flood.established(port, established));
            self.sent += u64::from(first) + u64::from(established);
        }
        self.costs[FirstUnmapped as usize].add(self.flood.new_flows(UNMAPPED, unmapped));
    }

    fn check(&self) {
        let arrived = arrived(self.place.world());
        assert_eq!(arrived, self.sent, "packets were lost, or got where they must not");
    }
}
