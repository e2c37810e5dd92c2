//! A router's years in an hour: real clients, abuse, reloads, redials and new configurations, all
//! at once and at random, against one daemon that must end as it began.
//!
//! A warm-up does everything once. Then the daemon, with nothing mapped, is measured: its memory,
//! its descriptors. Rounds follow until the time is up; after each, what the clients were told, the
//! daemon's list and the kernel's table must be the same, and packets must find the ports that are
//! open, and no others. Every other minute and at the end everything is closed and the daemon
//! measured again: same process, no more than [`gauge::PAGE_BUDGET`] pages more, as many
//! descriptors, no line in the log that was not asked for.
//!
//! `SOAK_SECONDS` is how long it runs, warm-up included (default 120); `SOAK_SEED` repeats the
//! choices of another run, though not its timing. Needs root and what `tests/setup.sh` installs.

// All of this is test code, though nothing of it is marked `#[test]`.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

mod abuse;
mod client;
mod disturb;
mod events;
mod gauge;
mod ledger;
mod libraries;
mod mutate;

#[path = "../netns/clients.rs"]
#[allow(dead_code)]
mod clients;
#[path = "../netns/daemon.rs"]
#[allow(dead_code)]
mod daemon;
#[path = "../netns/pcp_client.rs"]
#[allow(dead_code)]
mod pcp_client;
#[path = "../netns/script.rs"]
#[allow(dead_code)]
mod script;
#[path = "../netns/traffic.rs"]
#[allow(dead_code)]
mod traffic;
#[path = "../netns/world.rs"]
#[allow(dead_code)]
mod world;

use abuse::Mallory;
use client::Client;
use disturb::Disturber;
use fastrand::Rng;
use gauge::Gauge;
use std::env;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use world::{Host, World};

/// How long clients, abuse and disturbances run between two comparisons.
const ROUND: Duration = Duration::from_secs(6);
/// How often everything is closed and the daemon measured, in a long run.
const MEASURED_EVERY: Duration = Duration::from_secs(100);
/// What closing everything and measuring takes at the end.
const LAST_MEASUREMENT: Duration = Duration::from_secs(14);

/// What a round is made of.
#[derive(Clone, Copy, PartialEq)]
enum Round {
    /// Everything once, one after the other.
    WarmUp,
    /// The WAN stays, and clients of others run, which take a refusal for the end.
    Calm,
    /// The WAN comes and goes.
    Stormy,
}

/// Everybody who takes part.
struct Cast<'w> {
    world: &'w World,
    clients: Vec<Client<'w>>,
    mallory: Mallory<'w>,
    disturber: Disturber<'w>,
    random: Rng,
}

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text}: not a number")))
}

fn main() {
    let seconds = number("SOAK_SECONDS").unwrap_or(120);
    let seed = number("SOAK_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("soak: {seconds} s, SOAK_SEED={seed}");
    println!("soak: {}", daemon::program().display());
    let begin = Instant::now();
    let end = begin + Duration::from_secs(seconds);
    let mut random = Rng::with_seed(seed);
    let world = World::new();
    disturb::firewall(&world);
    // A device that joins a bridge may change its MAC address: before anybody knows that.
    let mallory = Mallory::new(&world, random.fork());
    let daemon = world.start_with(&disturb::config(&world, ""));
    let mut gauge = Gauge::of(&daemon);
    let mut cast = Cast {
        world: &world,
        clients: vec![
            Client::new(&world, Host::Alice, random.fork()),
            Client::new(&world, Host::Bob, random.fork()),
        ],
        mallory,
        disturber: Disturber::new(&world, daemon.pid(), random.fork()),
        random,
    };

    // Where the heap's last free page is differs from peak to peak: the largest of some counts.
    let mut start = None;
    for round in [Round::WarmUp, Round::Stormy, Round::Calm] {
        cast.play(round);
        cast.close_everything();
        let now = gauge.measure(&world, &daemon);
        println!("{:>5} s: warming up, {now}", begin.elapsed().as_secs());
        start = Some(now.largest(start));
    }
    let start = start.unwrap();

    let mut measured = Instant::now();
    let mut rounds = 0;
    while Instant::now() + ROUND + LAST_MEASUREMENT < end {
        let round = if rounds % 2 == 0 { Round::Stormy } else { Round::Calm };
        cast.play(round);
        gauge.read_log(&world, &daemon);
        rounds += 1;
        if measured.elapsed() >= MEASURED_EVERY {
            cast.close_everything();
            let now = gauge.measure(&world, &daemon);
            println!("{:>5} s: {rounds} rounds, {now}", begin.elapsed().as_secs());
            start.assert_same(&now);
            measured = Instant::now();
        }
    }
    cast.close_everything();
    let last = gauge.measure(&world, &daemon);
    println!("{:>5} s: {rounds} rounds, {last}", begin.elapsed().as_secs());
    cast.report();
    println!("soak: most memory ever {} KiB; {}", daemon.peak(), gauge.expected());
    assert!(rounds > 2, "{seconds} s are too few: {rounds} rounds");
    start.assert_same(&last);
    daemon.stop();
    println!("soak: PASS");
}

impl Cast<'_> {
    /// One round, and the comparison after it.
    fn play(&mut self, round: Round) {
        let over = AtomicBool::new(false);
        let until = Instant::now() + ROUND;
        let (world, mallory, disturber) = (self.world, &mut self.mallory, &mut self.disturber);
        let clients = &mut self.clients;
        let library = self.random.usize(..libraries::COUNT);
        let stop = || over.load(Ordering::Relaxed);
        thread::scope(|scope| {
            // What fails ends the others too, or they would be waited for.
            let _stop = Over(&over);
            let turns: Vec<_> = clients
                .iter_mut()
                .map(|client| scope.spawn(move || client.take_turns(stop)))
                .collect();
            let abuse = scope.spawn(move || mallory.abuse(round == Round::WarmUp, stop));
            let library = scope.spawn(move || match round {
                Round::WarmUp => (0..libraries::COUNT).for_each(|i| libraries::run(world, i)),
                Round::Calm => libraries::run(world, library),
                Round::Stormy => {}
            });
            disturber.disturb(round, until);
            library.join().unwrap();
            over.store(true, Ordering::Relaxed);
            abuse.join().unwrap();
            turns.into_iter().for_each(|turn| turn.join().unwrap());
        });
        self.mallory.clean_up();
        self.disturber.settle();
        ledger::compare(self.world, &mut self.clients, self.disturber.address(), &mut self.random);
    }

    /// Deletes what was made, by those who made it.
    fn close_everything(&mut self) {
        self.clients.iter_mut().for_each(Client::close_everything);
        self.mallory.clean_up();
        let status = self.world.status();
        for what in ["mappings", "pinholes", "subscriptions"] {
            assert!(status[what].is_null() || status[what] == 0, "{what} are left: {status}");
        }
        ledger::compare(self.world, &mut self.clients, self.disturber.address(), &mut self.random);
    }

    fn report(&self) {
        for client in &self.clients {
            client.report();
        }
        println!("soak: abuse {:?}", self.mallory.done);
        println!("soak: disturbances {:?}", self.disturber.done);
    }
}

/// Says that the round is over when dropped.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
