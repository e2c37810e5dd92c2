//! What happens to a router: its firewall is loaded again, its WAN goes and comes back another one,
//! its owner changes the configuration, or breaks it.

use crate::abuse::MALLORY;
use crate::clients::{ask, ControlPoint};
use crate::daemon::UUID;
use crate::events::DESCRIBED;
use crate::traffic::FROM_ALICE;
use crate::world::{World, EXTERNAL, FIREWALL};
use crate::Round;
use fastrand::Rng;
use rustix::process::{kill_process, Pid, Signal};
use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

/// `max_mappings`, by which a configuration that is in force is known.
const MAPPINGS: u32 = 4000;
/// Ports that a rule denies now and then.
const DENIED: u16 = 26_000;
/// The firewall's limit of new connections would make clients wait, seconds at a time.
const LIMIT: &str = "tcp flags & (fin | syn | rst | ack) == syn jump syn_flood";

/// Loads the firewall.
pub fn firewall(world: &World) {
    assert!(FIREWALL.contains(LIMIT));
    world.nft(&FIREWALL.replace(LIMIT, ""));
}

/// The configuration, with lines that come first.
pub fn config(world: &World, more: &str) -> String {
    with_rules(world, &format!("{more}\toption max_mappings '{MAPPINGS}'\n"), 27_000)
}

fn with_rules(world: &World, more: &str, denied: u16) -> String {
    let last = denied + 9;
    let rule = |action: &str, ports: &str, host: &str, internal: &str| {
        format!(
            "config perm_rule\n\toption action '{action}'\n\toption ext_ports '{ports}'\n\
             \toption int_addr '{host}'\n\toption int_ports '{internal}'\n"
        )
    };
    let denied = format!("{denied}-{last}");
    let mallory = format!("{MALLORY}/32");
    [
        world.config(&format!("{more}\toption max_mappings_per_host '2000'")),
        // What is asked for by chance is not what others need for their work.
        rule("deny", "17500-17599", &mallory, "0-65535"),
        rule("deny", "20000-26999", &mallory, "0-65535"),
        rule("deny", &denied, "0.0.0.0/0", "0-65535"),
        rule("allow", "1024-65535", "0.0.0.0/0", "1024-65535"),
    ]
    .concat()
}

type Disturbance<'w> = (&'static str, fn(&mut Disturber<'w>));

/// See the top.
pub struct Disturber<'w> {
    world: &'w World,
    daemon: Pid,
    random: Rng,
    address: Ipv4Addr,
    igd: ControlPoint<'w>,
    /// What was done how often.
    pub done: BTreeMap<&'static str, u32>,
}

impl<'w> Disturber<'w> {
    /// One for the daemon with this process id.
    pub fn new(world: &'w World, pid: u32, random: Rng) -> Disturber<'w> {
        let daemon = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        let location = "http://192.168.1.1:5000/igd1/desc.xml";
        let igd = world.control_point_at(FROM_ALICE, location, ":WANIPConnection:");
        Disturber { world, daemon, random, address: EXTERNAL, igd, done: BTreeMap::new() }
    }

    /// The WAN's address.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// One thing after the other until then, everything of the round once first.
    pub fn disturb(&mut self, round: Round, until: Instant) {
        let mut all: Vec<Disturbance<'w>> = vec![
            ("firewall reload", |this| firewall(this.world)),
            ("firewall restart", Disturber::restart),
            ("nft flush ruleset", Disturber::flush),
            ("SIGHUP", |this| this.hup()),
        ];
        if round == Round::Stormy {
            all.extend::<[Disturbance<'w>; 7]>([
                ("redial", Disturber::redial),
                ("WAN down and up", Disturber::down),
                ("another address", Disturber::another_address),
                ("SIGHUP, changed", Disturber::change),
                ("SIGHUP, a rule that denies", Disturber::deny),
                ("SIGHUP, not to be served", Disturber::unservable),
                ("SIGHUP, bad values", Disturber::bad_values),
            ]);
        }
        let mut order = all.clone();
        self.random.shuffle(&mut order);
        while Instant::now() < until || !order.is_empty() {
            let (name, disturb) =
                order.pop().unwrap_or_else(|| all[self.random.usize(..all.len())]);
            disturb(self);
            *self.done.entry(name).or_default() += 1;
            thread::sleep(Duration::from_millis(self.random.u64(100..600)));
        }
    }

    /// Back to the usual configuration, with a WAN.
    pub fn settle(&mut self) {
        self.configure(&config(self.world, ""), MAPPINGS);
        let address = self.address.to_string();
        self.wait_for(|world| {
            let status = world.status();
            status["state"] == "active" && status["external"]["address"] == address
        });
    }

    /// Patient as [`World::wait_for`] need not be: everything else goes on meanwhile.
    fn wait_for(&self, holds: impl Fn(&World) -> bool) {
        let until = Instant::now() + Duration::from_secs(5);
        while !holds(self.world) {
            assert!(Instant::now() < until, "not so after five seconds: {}", self.world.status());
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn hup(&self) {
        kill_process(self.daemon, Signal::HUP).unwrap();
    }

    /// Has a configuration read and waits until it is in force.
    fn configure(&self, config: &str, mappings: u32) {
        self.world.configure(config);
        self.hup();
        self.wait_for(|world| world.status()["limits"]["mappings"] == mappings);
    }

    fn restart(&mut self) {
        self.world.firewall_stop();
        firewall(self.world);
    }

    fn flush(&mut self) {
        self.world.nft("flush ruleset");
        thread::sleep(Duration::from_millis(self.random.u64(..50)));
        firewall(self.world);
    }

    fn next_address(&mut self) -> Ipv4Addr {
        self.address = Ipv4Addr::new(11, 22, 33, self.random.u8(40..240));
        self.address
    }

    /// The device comes back with another index and address.
    fn redial(&mut self) {
        self.world.unplug_wan();
        thread::sleep(Duration::from_millis(self.random.u64(..400)));
        self.world.plug_wan();
        let address = self.next_address();
        self.world.wan_address(address);
    }

    fn down(&mut self) {
        self.world.ip(crate::world::Host::Router, "link set wan down");
        thread::sleep(Duration::from_millis(self.random.u64(..400)));
        let up = "addr replace 2001:db8:ffff::1/64 dev wan\nlink set wan up";
        self.world.ip(crate::world::Host::Router, up);
        self.world.wan_address(self.address);
    }

    fn another_address(&mut self) {
        let address = self.next_address();
        self.world.wan_address(address);
    }

    fn change(&mut self) {
        let mappings = MAPPINGS - self.random.u32(1..500);
        let options = [
            "igdv1 '0'",
            "model_number 'another'",
            "friendly_name 'A router & more'",
            "notify_interval '60'",
            "max_lifetime '7200'",
            "upload '100'",
            "system_uptime '0'",
            "revoke_flows '0'",
            "uuid '7c9e6679-7425-40de-944b-e07fc1f90ae8'",
            "serial_number '7'",
        ];
        let option = |_| format!("\toption {}\n", options[self.random.usize(..options.len())]);
        let more: String = (0..3).map(option).collect();
        let more = format!("{more}\toption max_mappings '{mappings}'\n");
        DESCRIBED.fetch_add(1, Ordering::SeqCst);
        self.configure(&with_rules(self.world, &more, 27_000), mappings);
        thread::sleep(Duration::from_millis(200));
        self.configure(&config(self.world, ""), MAPPINGS);
        DESCRIBED.fetch_add(1, Ordering::SeqCst);
    }

    /// What a rule of today forbids is closed.
    fn deny(&mut self) {
        // Without a WAN there is nothing to close.
        let made = self.igd.add(&ask("TCP", DENIED, DENIED)).is_ok();
        let mappings = MAPPINGS - 1;
        let more = format!("\toption max_mappings '{mappings}'\n");
        self.configure(&with_rules(self.world, &more, DENIED), mappings);
        assert_eq!(self.igd.delete("TCP", DENIED), Err(714), "it was made: {made}");
        assert!(self.igd.add(&ask("TCP", DENIED, DENIED)).is_err(), "denied");
        self.configure(&config(self.world, ""), MAPPINGS);
    }

    /// The configuration in force stays.
    fn unservable(&mut self) {
        let bad = config(self.world, "").replace("'br-lan'", "'wan'");
        match self.random.bool() {
            true => self.world.configure(&bad),
            false => fs::remove_file(self.world.dir.join("upnpd")).unwrap(),
        }
        self.hup();
        thread::sleep(Duration::from_millis(100));
        let status = self.world.status();
        assert_eq!(status["limits"]["mappings"], MAPPINGS, "{status}");
        self.configure(&config(self.world, ""), MAPPINGS);
    }

    /// A bad value is as if not there.
    fn bad_values(&mut self) {
        let mappings = MAPPINGS - 2;
        let more = format!(
            "\toption max_mappings '{mappings}'\n\toption port 'many'\n\toption notify_interval '1'\n\
             \toption nonsense '1'\n\toption secure_mode 'perhaps'\n"
        );
        let text = with_rules(self.world, &more, 27_000).replace(UUID, "no UUID");
        self.configure(&text, mappings);
        self.configure(&config(self.world, ""), MAPPINGS);
    }
}
