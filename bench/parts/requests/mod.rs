//! What requests cost a daemon: CPU time, system calls and netlink bytes.
//!
//! CPU time is what the process is charged, user and system. Each request has a connection of its
//! own. Mappings made for a round are gone after it, so that their number stays.

mod tables;

use crate::lab::clients::{external, ControlPoint, Datagrams};
use crate::lab::flood::Flood;
use crate::lab::flows::Flows;
use crate::lab::gateway::{Gateway, Kind};
use crate::lab::processor::OnOne;
use crate::lab::stats::{by_form, Sample};
use crate::lab::strace;
use crate::report::Report;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Requests of each kind in a round.
const BATCH: u16 = 10;
/// Numbers of the mappings that a round makes and ends.
const FIRST: u16 = 20_000;
/// Most searches at one size: a host may ask for so many at once.
const SEARCHES: usize = 4;
/// Mappings in the lease file whose writing is measured.
const FILE_SIZE: u16 = 1000;

/// Kinds of requests. One round makes them in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Request {
    Add,
    Refresh,
    Get,
    Delete,
    NatPmp,
    Pcp,
    Search,
    /// Of UDP, where the others' are of TCP.
    AddUdp,
    /// The whole list, entry by entry.
    Enumerate,
}

use Request::{Add, AddUdp, Delete, Enumerate, Get, NatPmp, Pcp, Refresh, Search};

const EACH: [Request; 8] = [Add, Refresh, Get, Delete, NatPmp, Pcp, Search, AddUdp];
const ALL: [Request; 9] = [Add, AddUdp, Refresh, Get, Delete, NatPmp, Pcp, Search, Enumerate];

impl Request {
    fn name(self) -> &'static str {
        match self {
            Add => "AddPortMapping, new",
            AddUdp => "AddPortMapping, new, UDP",
            Refresh => "AddPortMapping, again",
            Get => "GetSpecificPortMappingEntry",
            Delete => "DeletePortMapping",
            NatPmp => "NAT-PMP map",
            Pcp => "PCP MAP",
            Search => "M-SEARCH",
            Enumerate => "GetGenericPortMappingEntry, all",
        }
    }

    /// Whether postern looks through the connection table after it.
    fn is_looked_after(self) -> bool {
        matches!(self, AddUdp | Delete)
    }
}

/// Of one kind of gateway at one size: microseconds for each kind of request.
type Costs = BTreeMap<Request, Sample>;
/// What a kind of request asks of the kernel.
type KernelWork = BTreeMap<Request, strace::Asked>;

/// Everything found.
#[derive(Default)]
struct Found {
    sizes: &'static [u16],
    costs: BTreeMap<(Kind, u16), Costs>,
    asked: BTreeMap<(Kind, u16), KernelWork>,
    /// Microseconds that postern takes to write its lease file at [`FILE_SIZE`].
    lease_file: Option<f64>,
    /// Microseconds of postern for one AddPortMapping of UDP alone, by the flows that the router knows.
    lone_adds: Vec<(u16, f64)>,
}

impl Found {
    fn cost(&self, kind: Kind, size: u16, request: Request) -> Option<f64> {
        self.costs.get(&(kind, size))?.get(&request)?.median()
    }

    fn asked(&self, kind: Kind, size: u16, request: Request) -> Option<strace::Asked> {
        self.asked.get(&(kind, size))?.get(&request).copied()
    }
}

/// Measures it.
pub fn measure(report: &mut Report) {
    let sizes = by_form(&[0, 100][..], &[0, 10, 100, 500, 1000, 4000]);
    let mut found = Found { sizes, ..Found::default() };
    let _pinned = OnOne::new();
    for kind in [Kind::Postern, Kind::Lookless, Kind::Miniupnpd, Kind::Scanless] {
        for &size in sizes {
            if kind == Kind::Scanless && size > 1000 {
                // There the scan is no matter.
                continue;
            }
            let gateway = Gateway::start_with(kind, size);
            // The connections by which the mappings were made.
            Flows::of(&gateway.world).flush();
            found.costs.insert((kind, size), costs(&gateway, size));
            if matches!(kind, Kind::Postern | Kind::Miniupnpd) {
                found.asked.insert((kind, size), kernel_work(&gateway, size));
            }
            if kind == Kind::Lookless && size == FILE_SIZE {
                found.lease_file = lease_file(&gateway);
            }
        }
    }
    found.lone_adds = lone_adds();
    tables::write(&found, report);
}

/// Rounds until time is up.
fn costs(gateway: &Gateway, size: u16) -> Costs {
    let most = by_form(3, if gateway.kind.is_ours() { 30 } else { 12 });
    // Of postern's more: it is waited for after each look.
    let budget = Duration::from_secs(if gateway.kind.is_ours() { 20 } else { by_form(1, 10) });
    let until = Instant::now() + budget;
    let mut costs = Costs::new();
    let mut flows = Flows::of(&gateway.world);
    let mut rounds = 0;
    while rounds == 0 || (rounds < most && Instant::now() < until) {
        flows.flush();
        for request in EACH {
            if request == Search && rounds >= SEARCHES {
                continue;
            }
            let work = || batch(gateway.kind.control(), request);
            let each = cpu_of(gateway, request, work) / f64::from(BATCH);
            costs.entry(request).or_default().add(each);
            undo(gateway, request);
        }
        rounds += 1;
    }
    let lists = by_form(1, if gateway.kind.is_ours() || size < 4000 { 3 } else { 1 });
    for _ in 0..lists {
        let control = gateway.kind.control();
        let all = cpu_of(gateway, Enumerate, || assert_eq!(control.enumerate(), size));
        costs.entry(Enumerate).or_default().add(all);
    }
    costs
}

/// Microseconds of CPU that the daemon takes for what a LAN host does, one request or more.
fn cpu_of(gateway: &Gateway, request: Request, work: impl FnOnce() + Send) -> f64 {
    let before = gateway.settled();
    gateway.inside(work);
    let after = if request.is_looked_after() { gateway.rested() } else { gateway.settled() };
    (after - before) as f64 / 1e3
}

/// A number of requests of one kind.
fn batch(control: ControlPoint, request: Request) {
    let each = |work: &dyn Fn(u16)| (FIRST..FIRST + BATCH).for_each(work);
    match request {
        Add | Refresh => each(&|number| control.add(number)),
        AddUdp => each(&|number| of_udp(control).add(number)),
        Get => each(&|number| control.get(number)),
        Delete => each(&|number| control.delete(number)),
        NatPmp => {
            let socket = Datagrams::to(5351);
            each(&|number| socket.natpmp(number, 3600));
        }
        Pcp => {
            let socket = Datagrams::to(5351);
            each(&|number| socket.pcp(number, 3600));
        }
        Search => {
            let socket = Datagrams::to(1900);
            each(&|_| assert!(socket.search(Duration::from_secs(2)), "a search is not answered"));
        }
        Enumerate => {}
    }
}

fn of_udp(control: ControlPoint) -> ControlPoint {
    ControlPoint { protocol: "UDP", ..control }
}

/// Ends the mappings of a batch that has no DeletePortMapping after it.
fn undo(gateway: &Gateway, request: Request) {
    gateway.inside(|| {
        let socket = Datagrams::to(5351);
        for number in FIRST..FIRST + BATCH {
            match request {
                NatPmp => socket.natpmp(number, 0),
                Pcp => socket.pcp(number, 0),
                AddUdp => of_udp(gateway.kind.control()).delete(number),
                Add | Refresh | Get | Delete | Search | Enumerate => {}
            }
        }
    });
    if matches!(request, NatPmp | Pcp | AddUdp) {
        gateway.rested();
    }
}

/// So many requests are made under strace.
fn traced(kind: Kind, size: u16) -> u16 {
    match kind {
        Kind::Miniupnpd | Kind::Scanless if size >= 4000 => 2,
        Kind::Miniupnpd | Kind::Scanless => 5,
        _ => 20,
    }
}

fn kernel_work(gateway: &Gateway, size: u16) -> KernelWork {
    let control = gateway.kind.control();
    let requests = traced(gateway.kind, size);
    let work = |request| {
        let numbers = FIRST..FIRST + requests;
        let asked = strace::count(gateway.pid, requests, || {
            gateway.inside(|| match request {
                Add => numbers.for_each(|number| control.add(number)),
                Get => numbers.for_each(|number| control.get(number)),
                _ => numbers.for_each(|number| control.delete(number)),
            });
        });
        (request, asked)
    };
    [Add, Get, Delete].map(work).into()
}

/// Microseconds that postern takes to write the lease file for others, which it does once for many
/// requests.
fn lease_file(gateway: &Gateway) -> Option<f64> {
    let path = gateway.world.dir.join("leases");
    let written = || std::fs::metadata(&path).and_then(|data| data.modified()).ok();
    let (file, begin) = (written(), gateway.settled());
    let until = Instant::now() + Duration::from_secs(20);
    while written() == file && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(50));
    }
    let took = (gateway.settled() - begin) as f64 / 1e3;
    (written() != file).then_some(took)
}

/// One AddPortMapping and its look through the connection table, among flows of others.
fn lone_adds() -> Vec<(u16, f64)> {
    let gateway = Gateway::start_with(Kind::Postern, 10);
    let mut flood = Flood::in_world(&gateway.world, None);
    let control = of_udp(gateway.kind.control());
    let mut lone = |flows: u16| {
        let once = |_| {
            Flows::of(&gateway.world).flush();
            flood.fill_table(external(1), flows);
            // The deletion before has been looked after.
            gateway.rested();
            let cost = cpu_of(&gateway, AddUdp, || control.add(FIRST));
            gateway.inside(|| control.delete(FIRST));
            cost
        };
        let sample: Sample = (0..by_form(1, 7)).map(once).collect();
        (flows, sample.median().unwrap_or(0.0))
    };
    by_form(&[0, 1000][..], &[0, 1000, 10_000]).iter().map(|flows| lone(*flows)).collect()
}
