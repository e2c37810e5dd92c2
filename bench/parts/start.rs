//! How soon a daemon answers after its start, and how often it wakes when there is nothing to do.

use crate::lab::clients::Datagrams;
use crate::lab::gateway::{Gateway, Kind};
use crate::lab::launch;
use crate::lab::stats::{by_form, figure, ms, times, Sample};
use crate::lab::strace::Trace;
use crate::report::{Report, Table};
use crate::world::World;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// From one search to the next.
const AGAIN: Duration = Duration::from_millis(2);
/// What a loop waits with.
const WAITS: &str = "epoll_wait,epoll_pwait,epoll_pwait2,select,pselect6,poll,ppoll";

/// Both, with nothing to do.
pub struct Idle {
    gateways: [Gateway; 2],
    since: Instant,
}

impl Idle {
    /// Starts them. What a daemon announces after its start has been said some minutes later.
    pub fn start() -> Idle {
        let gateways = [Kind::Postern, Kind::Miniupnpd].map(Gateway::start);
        Idle { gateways, since: Instant::now() }
    }
}

/// Measures it.
pub fn measure(report: &mut Report, idle: &Idle) {
    let mut table = Table::new("At start and idle", &["", "postern", "miniupnpd", "ratio"]);
    let starts = by_form(2, 7);
    for (leases, starts) in [(0, starts), (by_form(100, 1000), by_form(1, 3))] {
        let mut times_to_answer = [Sample::default(), Sample::default()];
        for _ in 0..starts {
            for (place, kind) in [Kind::Postern, Kind::Miniupnpd].into_iter().enumerate() {
                times_to_answer[place].add(start(kind, leases));
            }
        }
        let [us, peer] = [&times_to_answer[0], &times_to_answer[1]].map(Sample::median);
        table.row([
            format!("ms to the first answer, {leases} leases to restore, n = {starts}"),
            figure(us),
            figure(peer),
            times(peer, us),
        ]);
    }
    let length = by_form(Duration::from_secs(2), Duration::from_secs(30));
    let age = idle.since.elapsed().as_secs();
    let wakes = wakes(&idle.gateways, length);
    let [us, peer] = wakes.map(Some);
    table.row(["wake-ups a minute, idle".into(), figure(us), figure(peer), times(peer, us)]);
    table.note(format!(
        "Medians, from the program's start to the first answered search. The host searches by unicast \
         every {} ms; miniupnpd waits some 50 ms before it answers any. Wake-ups were counted for {} s, {age} s after the start.",
        AGAIN.as_millis(),
        length.as_secs()
    ));
    report.table(table);
}

/// Milliseconds from the start of a daemon, with so many leases to restore, to its first answer.
fn start(kind: Kind, leases: u16) -> f64 {
    let world = World::new();
    launch::write_leases(&world, leases);
    let name = world.name(crate::world::Host::Alice);
    std::thread::scope(|scope| {
        let begin = Instant::now();
        let asking = scope.spawn(move || {
            crate::world::enter(&name);
            let socket = Datagrams::to(1900);
            while !socket.search(AGAIN) {
                assert!(begin.elapsed() < launch::patience(leases), "{kind:?} answers no search");
            }
            ms(begin.elapsed())
        });
        let _gateway = if kind.is_ours() {
            launch::postern(world, kind, &[])
        } else {
            launch::miniupnpd(world, kind)
        };
        asking.join().unwrap()
    })
}

/// How often each wakes in a minute.
fn wakes(gateways: &[Gateway; 2], length: Duration) -> [f64; 2] {
    let traces = [&gateways[0], &gateways[1]].map(|gateway| Trace::of(gateway.pid, WAITS));
    sleep(length);
    traces.map(|trace| {
        let text = trace.end();
        // The wait that the trace began or ended in is no wake-up.
        let woken = text.lines().filter(|line| line.contains(" = ")).count();
        woken as f64 * 60.0 / length.as_secs_f64()
    })
}
