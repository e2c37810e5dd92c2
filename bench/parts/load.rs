//! Many clients at once: requests a second, and how long the slowest wait.

use crate::lab::clients::{add_arguments, delete_arguments};
use crate::lab::gateway::{Gateway, Kind};
use crate::lab::stats::{by_form, figure, ms, times, Sample};
use crate::report::{Report, Table};
use crate::world::{enter, Host};
use std::thread;
use std::time::{Duration, Instant};

/// Mappings there before.
const MAPPINGS: u16 = 100;
/// Numbers of the mappings that clients make and end.
const FIRST: u16 = 20_000;

/// Measures it.
pub fn measure(report: &mut Report) {
    let rounds = by_form(1, 3);
    let clients: &[u16] = by_form(&[1, 8], &[1, 8, 32]);
    let mut table = Table::new(
        "Clients at once: each makes and ends a mapping, again and again",
        &[
            "clients",
            "requests/s: postern",
            "miniupnpd",
            "ratio",
            "99 of 100 within, ms: postern",
            "miniupnpd",
            "ratio",
            "failed: postern",
            "miniupnpd",
        ],
    );
    let gateways = [Kind::Postern, Kind::Miniupnpd].map(|kind| Gateway::start_with(kind, MAPPINGS));
    for &clients in clients {
        let mut rates = [Sample::default(), Sample::default()];
        let mut slowest = rates.clone();
        let mut failed = [0, 0];
        for _ in 0..rounds {
            for (place, gateway) in gateways.iter().enumerate() {
                let told = crowd(gateway, clients);
                rates[place].add(told.rate);
                slowest[place].add(told.times.quantile(0.99).unwrap_or(0.0));
                failed[place] += told.failed;
            }
        }
        let [us, peer] = [&rates[0], &rates[1]].map(Sample::median);
        let [our_wait, peer_wait] = [&slowest[0], &slowest[1]].map(Sample::median);
        table.row([
            clients.to_string(),
            figure(us),
            figure(peer),
            times(us, peer),
            figure(our_wait),
            figure(peer_wait),
            times(peer_wait, our_wait),
            failed[0].to_string(),
            failed[1].to_string(),
        ]);
    }
    table.note(format!(
        "Medians of n = {rounds} rounds of {} s among {MAPPINGS} mappings; the clients run on the same \
         processors. A client beyond the five that wait at miniupnpd's door tries again after a second.",
        length().as_secs_f64()
    ));
    report.table(table);
}

fn length() -> Duration {
    by_form(Duration::from_millis(500), Duration::from_secs(2))
}

struct Told {
    rate: f64,
    times: Sample,
    failed: usize,
}

/// A round with so many clients.
fn crowd(gateway: &Gateway, clients: u16) -> Told {
    let begin = Instant::now();
    let until = begin + length();
    let all = thread::scope(|scope| {
        let one = |client| scope.spawn(move || busy(gateway, FIRST + client, until));
        let clients: Vec<_> = (0..clients).map(one).collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect::<Vec<_>>()
    });
    let took = begin.elapsed().as_secs_f64();
    let (good, bad): (Vec<_>, Vec<_>) = all.into_iter().flatten().partition(|(good, _)| *good);
    Told {
        rate: good.len() as f64 / took,
        times: good.into_iter().map(|(_, time)| ms(time)).collect(),
        failed: bad.len(),
    }
}

/// One client until it is late: for each request whether it was granted, and how long it took.
fn busy(gateway: &Gateway, number: u16, until: Instant) -> Vec<(bool, Duration)> {
    enter(&gateway.world.name(Host::Alice));
    let control = gateway.kind.control();
    let (add, delete) = (add_arguments("TCP", number), delete_arguments("TCP", number));
    let requests = [("AddPortMapping", &add), ("DeletePortMapping", &delete)];
    let mut told = Vec::new();
    while Instant::now() < until {
        for (action, arguments) in requests {
            let begin = Instant::now();
            let good = control.ask(action, arguments).unwrap_or(false);
            told.push((good, begin.elapsed()));
        }
    }
    told
}
