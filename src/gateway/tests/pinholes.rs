//! IPv6 pinholes: who gets one, what keeps it, what ends it.

use super::{lan, ROUTER};
use crate::gateway::mapping::{Origin, Protocol, Refusal};
use crate::gateway::pinhole::{Hole, Pinhole, PinholeGranted, PinholeRequest};
use crate::gateway::policy::{PermRule, Policy};
use crate::gateway::{Asker, Event, Gateway, Lan, Reason, PINHOLES_PER_ADDRESS, PREFIX_GRACE};
use crate::netfilter::memory::Memory;
use crate::netfilter::{Backend, Slot};
use proptest::prelude::*;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

const HOST: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x10);
const OTHER: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x20);
const PEER: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 9, 0, 0, 0, 0, 9);
const HOUR: Duration = Duration::from_secs(3600);

struct Lab {
    gateway: Gateway<Memory>,
    now: Instant,
}

fn lan6(address: &str) -> Lan {
    Lan { device: "br-lan".into(), address: address.parse().unwrap(), prefix_len: 64 }
}

fn lans(addresses: &[&str]) -> Vec<Lan> {
    let mut lans = vec![lan("br-lan", ROUTER), lan6("fe80::1")];
    lans.extend(addresses.iter().map(|address| lan6(address)));
    lans
}

fn hole(internal_port: u16) -> Hole {
    let protocol = Protocol::Udp;
    Hole { internal: HOST, internal_port, protocol, remote: None, remote_port: None }
}

fn ask(hole: Hole) -> PinholeRequest<'static> {
    PinholeRequest {
        client: hole.internal,
        origin: Origin::Upnp,
        hole,
        lease: HOUR,
        description: "a game",
        high_ports_only: true,
    }
}

impl Lab {
    fn new() -> Lab {
        Lab::with(Policy::default())
    }

    fn with(policy: Policy) -> Lab {
        let now = Instant::now();
        let mut gateway = Gateway::new(Memory::new(), policy, 1);
        gateway.backend().set_now(now);
        gateway.resync(now).unwrap();
        gateway.set_lans(lans(&["2001:db8:1::1"]), now);
        Lab { gateway, now }
    }

    fn open(&mut self, hole: Hole) -> PinholeGranted {
        self.gateway.add_pinhole(&ask(hole), self.now).unwrap()
    }

    fn refused(&mut self, request: &PinholeRequest<'_>) -> Refusal {
        self.gateway.add_pinhole(request, self.now).unwrap_err()
    }

    fn after(&mut self, time: Duration) {
        self.now += time;
        self.gateway.backend().set_now(self.now);
        self.gateway.handle_timeout(self.now);
    }

    fn list(&self) -> Vec<Pinhole> {
        self.gateway.pinholes().cloned().collect()
    }

    /// How many pinholes the kernel holds: exactly those of the table.
    fn in_kernel(&mut self) -> usize {
        let wanted: Vec<_> =
            self.list().iter().map(|p| (Slot::Pinhole(p.hole), p.expires)).collect();
        let elements = self.gateway.backend().elements();
        let held: Vec<_> =
            elements.iter().map(|(slot, kept)| (*slot, kept.element.expires.unwrap())).collect();
        assert_eq!(held, wanted);
        held.len()
    }
}

#[test]
fn a_unique_id_that_was_given_up_is_not_the_next_pinholes_after_a_refresh_154() {
    let mut lab = Lab::new();
    lab.open(hole(3000));
    let given_up = lab.open(hole(3001)).unique_id;
    lab.after(Duration::from_secs(1800));
    lab.open(hole(3000));
    lab.after(Duration::from_secs(1801));
    assert_eq!(lab.gateway.pinhole(given_up), None, "its time is up");
    // Whoever still knows the number must not close what another program has opened.
    assert_ne!(lab.open(hole(3002)).unique_id, given_up);
}

#[test]
fn a_table_that_is_made_anew_for_something_else_gets_its_pinholes_back_301() {
    let mut lab = Lab::new();
    lab.open(hole(3000));
    lab.gateway.backend().remove().unwrap();
    lab.gateway.set_policy(Policy::default(), lab.now).unwrap();
    lab.gateway.reconcile(lab.now).unwrap();
    assert_eq!((lab.list().len(), lab.in_kernel()), (1, 1));
}

#[test]
fn the_same_five_keys_are_the_same_pinhole_with_a_new_lease_155() {
    let mut lab = Lab::new();
    let first = lab.open(hole(3000));
    assert!(first.new && first.unique_id != 0);
    lab.after(Duration::from_secs(100));
    let slot = Slot::Pinhole(hole(3000));
    lab.gateway.backend().set_connections(&slot, 5);
    assert_eq!(lab.open(hole(3000)), PinholeGranted { new: false, ..first });
    assert_eq!(lab.list()[0].seconds_left(lab.now), 3600);
    assert_eq!(lab.gateway.pinhole_packets(first.unique_id), 5, "what was counted stays");

    let others = [
        Hole { remote: Some(PEER), ..hole(3000) },
        Hole { remote_port: Some(4000), ..hole(3000) },
        Hole { remote: Some(PEER), remote_port: Some(4000), ..hole(3000) },
        Hole { protocol: Protocol::Tcp, ..hole(3000) },
        hole(3001),
    ];
    let mut ids = vec![(first.id, first.unique_id)];
    for other in others {
        let granted = lab.open(other);
        assert!(
            granted.new && ids.iter().all(|id| id.0 != granted.id && id.1 != granted.unique_id)
        );
        ids.push((granted.id, granted.unique_id));
    }
    assert_eq!(lab.in_kernel(), 6);
}

#[test]
fn only_the_host_itself_is_given_a_pinhole_and_only_a_host_157() {
    let mut lab = Lab::new();
    let mut to = |client: Ipv6Addr, internal: Ipv6Addr| {
        lab.refused(&PinholeRequest { client, ..ask(Hole { internal, ..hole(3000) }) })
    };
    let ip = |text: &str| text.parse::<Ipv6Addr>().unwrap();
    assert_eq!(to(OTHER, HOST), Refusal::NotOwner);
    assert_eq!(to(PEER, PEER), Refusal::Denied, "not of this LAN");
    let router = ip("2001:db8:1::1");
    assert_eq!(to(router, router), Refusal::InvalidTarget);
    let anycast = ip("2001:db8:1::");
    assert_eq!(to(anycast, anycast), Refusal::InvalidTarget);
    let link = ip("fe80::10");
    assert_eq!(to(link, link), Refusal::InvalidTarget, "nothing comes to it from outside");
    assert_eq!(lab.refused(&ask(hole(0))), Refusal::InvalidTarget);
    assert_eq!(lab.refused(&ask(hole(1023))), Refusal::Denied);
    assert_eq!(lab.in_kernel(), 0);

    let mut free = Lab::with(Policy { secure_mode: false, ..Policy::default() });
    let for_other = PinholeRequest { client: OTHER, ..ask(hole(3000)) };
    assert!(free.gateway.add_pinhole(&for_other, free.now).is_ok());
}

#[test]
fn limits_hold_and_a_refresh_needs_no_room() {
    let mut lab = Lab::new();
    let first = 2000;
    for port in first..first + PINHOLES_PER_ADDRESS as u16 {
        lab.open(hole(port));
    }
    assert_eq!(lab.refused(&ask(hole(1999))), Refusal::QuotaExceeded);
    assert!(!lab.open(hole(2000)).new);
    for host in 0x20..0x23 {
        for port in first..first + PINHOLES_PER_ADDRESS as u16 {
            let internal = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, host);
            lab.open(Hole { internal, ..hole(port) });
        }
    }
    let internal = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x99);
    assert_eq!(lab.refused(&ask(Hole { internal, ..hole(2000) })), Refusal::TableFull);
}

#[test]
fn it_ends_on_time_by_deletion_and_not_by_others_161_162() {
    let mut lab = Lab::new();
    let id = lab.open(hole(3000)).unique_id;
    let (host, other) = (Asker::Host(HOST.into()), Asker::Host(OTHER.into()));
    let now = lab.now;
    let gateway = &mut lab.gateway;
    assert_eq!(gateway.update_pinhole(other, id, HOUR, now), Err(Refusal::NotOwner));
    assert_eq!(gateway.delete_pinhole(other, id, now), Err(Refusal::NotOwner));
    assert_eq!(gateway.update_pinhole(host, id ^ 1, HOUR, now), Err(Refusal::NoSuchMapping));
    assert_eq!(gateway.delete_pinhole(host, id ^ 1, now), Err(Refusal::NoSuchMapping));
    assert_eq!(gateway.update_pinhole(host, id, HOUR * 2, now), Ok(()));
    assert_eq!(gateway.poll_timeout(), Some(now + HOUR * 2));
    lab.after(HOUR * 2 - Duration::from_millis(1));
    assert_eq!(lab.in_kernel(), 1);
    lab.after(Duration::from_millis(1));
    assert_eq!((lab.in_kernel(), lab.gateway.poll_timeout()), (0, None));
    let mut last = None;
    while let Some(event) = lab.gateway.next_event() {
        last = Some(event);
    }
    assert!(matches!(last, Some(Event::PinholeRemoved { reason: Reason::Expired, .. })));

    let second = lab.open(hole(3000));
    assert_ne!(second.unique_id, id, "a name is not given again at once");
    assert_eq!(lab.gateway.delete_pinhole(host, second.unique_id, lab.now), Ok(()));
    assert_eq!(lab.in_kernel(), 0);
    let third = lab.open(hole(3000));
    assert_eq!(lab.gateway.delete_id(third.id, lab.now), Ok(()));
    lab.open(hole(3001));
    assert_eq!(lab.gateway.flush_host(HOST.into(), lab.now), Ok(1));
    lab.open(hole(3001));
    assert_eq!(lab.gateway.flush(lab.now), Ok(1));
    assert_eq!(lab.in_kernel(), 0);
}

#[test]
fn packets_are_counted_while_there_are_pinholes_163() {
    let mut lab = Lab::new();
    let counting = |lab: &mut Lab| lab.gateway.backend().wan().counting;
    assert!(!counting(&mut lab));
    lab.open(hole(3000));
    assert!(counting(&mut lab));
    lab.after(HOUR);
    assert!(!counting(&mut lab));
}

#[test]
fn another_prefix_ends_the_pinholes_of_the_old_one_at_once_167() {
    let mut lab = Lab::new();
    lab.open(hole(3000));
    lab.gateway.set_lans(lans(&["2001:db8:1::1", "fd00::1"]), lab.now);
    assert_eq!(lab.in_kernel(), 1);
    lab.gateway.set_lans(lans(&["2001:db8:2::1", "fd00::1"]), lab.now);
    assert_eq!(lab.in_kernel(), 0);
}

#[test]
fn a_prefix_that_comes_back_in_time_loses_nothing_167() {
    let mut lab = Lab::new();
    lab.open(hole(3000));
    lab.gateway.set_lans(lans(&["fd00::1"]), lab.now);
    assert_eq!(lab.gateway.poll_timeout(), Some(lab.now + PREFIX_GRACE));
    lab.after(PREFIX_GRACE - Duration::from_millis(1));
    lab.gateway.set_lans(lans(&["2001:db8:1::1"]), lab.now);
    lab.after(PREFIX_GRACE);
    assert_eq!(lab.in_kernel(), 1);

    lab.gateway.set_lans(lans(&[]), lab.now);
    lab.gateway.backend().fail_next(1);
    lab.after(PREFIX_GRACE);
    assert!(lab.list().is_empty(), "whatever the kernel says");
    assert!(lab.gateway.needs_resync());
    lab.gateway.resync(lab.now).unwrap();
    assert_eq!(lab.in_kernel(), 0);
}

#[test]
fn what_the_kernel_refuses_has_not_happened() {
    let mut lab = Lab::new();
    lab.gateway.backend().fail_next(1);
    assert_eq!(lab.refused(&ask(hole(3000))), Refusal::Backend);
    assert!(lab.list().is_empty());
    let id = lab.open(hole(3000)).unique_id;
    let host = Asker::Host(HOST.into());
    lab.gateway.backend().fail_next(1);
    let refused = lab.gateway.update_pinhole(host, id, HOUR * 3, lab.now);
    assert_eq!(refused, Err(Refusal::Backend));
    lab.gateway.backend().fail_next(1);
    assert_eq!(lab.gateway.delete_pinhole(host, id, lab.now), Err(Refusal::Backend));
    assert_eq!(lab.list()[0].seconds_left(lab.now), 3600);
    assert_eq!(lab.in_kernel(), 1);
}

#[test]
fn one_that_pcp_has_asked_for_is_only_lengthened_240() {
    let mut lab = Lab::new();
    let request = PinholeRequest { origin: Origin::Pcp, ..ask(hole(3000)) };
    let id = lab.gateway.add_pinhole(&request, lab.now).unwrap().unique_id;
    let host = Asker::Host(HOST.into());
    for (lease, left) in [(HOUR / 2, HOUR), (HOUR * 2, HOUR * 2), (HOUR, HOUR * 2)] {
        assert_eq!(lab.gateway.update_pinhole(host, id, lease, lab.now), Ok(()));
        assert_eq!(lab.gateway.poll_timeout(), Some(lab.now + left));
    }
}

#[test]
fn rules_that_come_to_forbid_it_end_it() {
    let mut lab = Lab::new();
    lab.open(hole(3000));
    lab.open(hole(5000));
    let deny = PermRule {
        allow: false,
        external: 3000..=3999,
        internal: (Ipv4Addr::UNSPECIFIED.into(), 0),
        internal_ports: 0..=65535,
    };
    let policy = Policy { rules: vec![deny], ..Policy::default() };
    lab.gateway.set_policy(policy, lab.now).unwrap();
    assert_eq!(lab.list().iter().map(|p| p.hole.internal_port).collect::<Vec<_>>(), [5000]);
    assert_eq!(lab.in_kernel(), 1);
}

#[test]
fn it_is_read_back_from_the_kernel_and_from_an_earlier_run_under_its_names() {
    let mut lab = Lab::new();
    lab.open(hole(3000));
    lab.open(Hole { remote: Some(PEER), ..hole(3000) });
    lab.gateway.backend().set_connections(&Slot::Pinhole(hole(3000)), 9);
    let before = lab.list();
    let kernel = std::mem::take(lab.gateway.backend());
    let mut again = Gateway::new(kernel, Policy::default(), 2);
    again.set_lans(lans(&["2001:db8:1::1"]), lab.now);
    assert_eq!(again.adopt(lab.now), Ok(2));
    lab.gateway = again;
    assert_eq!(lab.list(), before);
    assert_eq!(lab.gateway.pinhole_packets(before[0].unique_id), 9);

    let mut restored = Lab::new();
    let taken = restored.open(hole(4000));
    let now = restored.now;
    assert_eq!(restored.gateway.restore(Vec::new(), before.clone(), now), Ok(2));
    assert_eq!(restored.in_kernel(), 3);
    let own = restored.gateway.pinhole(taken.unique_id).map(|p| p.hole.internal_port);
    assert_eq!(own, Some(4000), "who is there keeps the name");
}

#[derive(Clone, Debug)]
enum Op {
    Add(Hole, u64),
    Delete(usize),
    Wait(u64),
    Lans(bool),
    Fail(usize),
}

fn op() -> impl Strategy<Value = Op> {
    let remote = prop_oneof![Just(None), Just(Some(PEER))];
    let port = prop_oneof![Just(None), Just(Some(7))];
    let hole =
        (2000..2003u16, remote, port, any::<bool>()).prop_map(|(at, remote, port, tcp)| Hole {
            protocol: if tcp { Protocol::Tcp } else { Protocol::Udp },
            remote,
            remote_port: port,
            ..hole(at)
        });
    prop_oneof![
        4 => (hole, 1..100u64).prop_map(|(hole, lease)| Op::Add(hole, lease)),
        2 => (0..4usize).prop_map(Op::Delete),
        2 => (1..40u64).prop_map(Op::Wait),
        1 => any::<bool>().prop_map(Op::Lans),
        1 => (1..3usize).prop_map(Op::Fail),
    ]
}

proptest! {
    #[test]
    fn the_kernel_holds_what_the_table_holds_after_any_history(
        ops in proptest::collection::vec(op(), 1..40),
    ) {
        let mut lab = Lab::new();
        for op in ops {
            let now = lab.now;
            match op {
                Op::Add(hole, lease) => {
                    let lease = Duration::from_secs(lease);
                    let _ = lab.gateway.add_pinhole(&PinholeRequest { lease, ..ask(hole) }, now);
                }
                Op::Delete(which) => {
                    let id = lab.list().get(which).map_or(1, |p| p.unique_id);
                    let _ = lab.gateway.delete_pinhole(Asker::Owner, id, now);
                }
                Op::Wait(seconds) => lab.after(Duration::from_secs(seconds)),
                Op::Lans(there) => {
                    let prefix: &[&str] = if there { &["2001:db8:1::1"] } else { &[] };
                    lab.gateway.set_lans(lans(prefix), now);
                }
                Op::Fail(calls) => lab.gateway.backend().fail_next(calls),
            }
        }
        lab.gateway.backend().heal();
        lab.gateway.resync(lab.now).unwrap();
        lab.in_kernel();
    }
}
