//! Where flows may have lost their leave, and which have.

use super::*;
use crate::gateway::pinhole::{Hole, Pinhole};
use crate::gateway::{Closed, Place, CLOSED_MAX};
use std::net::SocketAddr;

fn places(lab: &mut Lab) -> Vec<Place> {
    let closed = lab.gateway.take_closed();
    assert_eq!(Closed { places: Vec::new(), ..closed.clone() }, Closed::default());
    closed.places
}

fn udp(client: Ipv4Addr, port: u16) -> Request<'static> {
    Request { protocol: UDP, ..ask(client, port) }
}

#[test]
fn only_what_was_closed_or_leads_elsewhere_is_looked_at() {
    let mut lab = Lab::new();
    lab.open(&ask(ALICE, 3000));
    assert_eq!(places(&mut lab), [], "a TCP port was opened");
    lab.open(&udp(ALICE, 3000));
    let endpoint = SocketAddrV4::new(ALICE, 3000);
    let opened = [Place::Endpoint(UDP, endpoint), Place::Opened(UDP, 3000)];
    assert_eq!(places(&mut lab), opened);
    let disabled = Request { enabled: false, ..udp(ALICE, 3000) };
    lab.add(&disabled).unwrap();
    assert_eq!(places(&mut lab), [Place::Port(UDP, 3000)]);
    lab.add(&udp(ALICE, 3000)).unwrap();
    assert_eq!(places(&mut lab), opened, "enabled again");
    lab.add(&ask(ALICE, 3000)).unwrap();
    assert!(!lab.gateway.has_closed(), "refreshed");
    let elsewhere = Request { internal: SocketAddrV4::new(ALICE, 3001), ..ask(ALICE, 3000) };
    lab.add(&elsewhere).unwrap();
    assert_eq!(places(&mut lab), [Place::Port(TCP, 3000)]);
    lab.add(&Request { enabled: false, ..elsewhere }).unwrap();
    assert_eq!(places(&mut lab), [Place::Port(TCP, 3000)], "disabled");
    lab.delete(Asker::Owner, TCP, 3000).unwrap();
    assert_eq!(places(&mut lab), [], "nothing could come in");
    lab.wait(4000);
    assert_eq!(places(&mut lab), [Place::Port(UDP, 3000)], "its time was up");
}

#[test]
fn an_address_that_is_lost_is_noted_but_not_while_there_is_none_299() {
    let mut lab = Lab::new();
    let other = Ipv4Addr::new(203, 0, 113, 9);
    let mut lost = |addresses: &[Ipv4Addr]| {
        lab.gateway.set_wan(wan(addresses)).unwrap();
        lab.gateway.take_closed().address
    };
    assert!(!lost(&[PUBLIC, other]), "one more");
    assert!(!lost(&[]), "it may come back");
    assert!(!lost(&[other, PUBLIC]));
    assert!(lost(&[other]));
    lost(&[]);
    assert!(lost(&[PUBLIC]), "after a while without");
}

#[test]
fn what_is_opened_without_end_closes_nothing() {
    let mut lab = Lab::new();
    for port in 3000..3100 {
        lab.open(&udp(ALICE, port));
    }
    let closed = lab.gateway.take_closed();
    assert!(closed.opened_everywhere && !closed.everywhere && !closed.address);
    assert!(closed.has(&Place::Opened(UDP, 9)) && !closed.has(&Place::Port(UDP, 9)));
    assert_eq!(closed.places.len(), CLOSED_MAX);
}

#[test]
fn who_else_may_leave_from_a_port_or_go_on_to_its_host() {
    let mut lab = Lab::new();
    lab.open(&udp(ALICE, 3000));
    let only = Request { remote: Some(REMOTE), ..udp(ALICE, 3001) };
    lab.open(&only);
    lab.open(&Request { enabled: false, ..udp(ALICE, 3002) });
    let of_others =
        |host, from, port| lab.gateway.is_of_others(UDP, port, SocketAddrV4::new(host, from));
    assert!(!of_others(ALICE, 3000, 3000) && of_others(ALICE, 3001, 3000));
    assert!(of_others(BOB, 3000, 3000) && !of_others(BOB, 3000, 3002));
    assert!(!of_others(BOB, 3000, 3003), "nobody's");
    let leads = |from: Ipv4Addr, to: Ipv4Addr, port| {
        lab.gateway.leads_on(UDP, (from, 9).into(), (to, port).into())
    };
    assert!(leads(BOB, PUBLIC, 3000) && leads(REMOTE, PUBLIC, 3001));
    assert!(!leads(BOB, PUBLIC, 3001) && !leads(BOB, PUBLIC, 3002));
    assert!(!leads(BOB, ROUTER, 3000) && !leads(PUBLIC, PUBLIC, 3000));
}

#[test]
fn a_port_through_which_nothing_came_is_not_looked_at() {
    let mut lab = Lab::new();
    let open = |lab: &mut Lab, port| {
        lab.open(&ask(ALICE, port));
        Slot::Forward(TCP, port, None)
    };
    let deleted = |lab: &mut Lab, port| {
        lab.delete(Asker::Owner, TCP, port).unwrap();
        places(lab)
    };
    open(&mut lab, 3000);
    assert_eq!(deleted(&mut lab, 3000), []);
    let used = open(&mut lab, 3001);
    lab.gateway.backend().set_connections(&used, 1);
    assert_eq!(deleted(&mut lab, 3001), [Place::Port(TCP, 3001)]);
    open(&mut lab, 3002);
    lab.add(&ask(ALICE, 3002)).unwrap();
    assert_eq!(deleted(&mut lab, 3002), [Place::Port(TCP, 3002)], "a refresh may miss one");
    open(&mut lab, 3003);
    lab.gateway.backend().elements_mut().clear();
    lab.gateway.resync(lab.now).unwrap();
    assert_eq!(deleted(&mut lab, 3003), [Place::Port(TCP, 3003)], "the table was gone");

    let slots = open_filtered(&mut lab, 3004);
    assert_eq!(deleted(&mut lab, 3004), []);
    open_filtered(&mut lab, 3004);
    lab.gateway.backend().set_connections(&slots[1], 1);
    assert_eq!(deleted(&mut lab, 3004), [Place::Port(TCP, 3004)]);
}

/// Maps a port for two remote peers; the elements by which they come in.
fn open_filtered(lab: &mut Lab, port: u16) -> [Slot; 2] {
    let filters = [9, 10].map(|from| Filter::new(REMOTE.into(), 32, from).unwrap());
    lab.gateway.map(&filtered(port, &filters), lab.now).unwrap();
    filters.map(|filter| Slot::Filtered(TCP, port, filter))
}

#[test]
fn too_many_places_are_all_of_them() {
    let mut lab = Lab::new();
    for port in (0..=CLOSED_MAX as u16).map(|number| 3000 + number) {
        lab.open(&ask(ALICE, port));
        lab.gateway.backend().set_connections(&Slot::Forward(TCP, port, None), 1);
    }
    lab.gateway.flush(lab.now).unwrap();
    let closed = lab.gateway.take_closed();
    assert!(closed.everywhere && closed.places.len() == CLOSED_MAX);
    assert!(closed.has(&Place::Port(UDP, 9)));
    assert!(lab.gateway.take_closed().is_empty());
}

#[test]
fn what_could_not_be_looked_at_is_looked_at_with_what_has_come_since() {
    let mut lab = Lab::new();
    let close = |lab: &mut Lab, ports: std::ops::Range<u16>| {
        for port in ports {
            lab.open(&ask(ALICE, port));
            lab.gateway.backend().set_connections(&Slot::Forward(TCP, port, None), 1);
            lab.delete(Asker::Owner, TCP, port).unwrap();
        }
    };
    close(&mut lab, 3000..3002);
    let closed = lab.gateway.take_closed();
    close(&mut lab, 2999..3001);
    lab.gateway.put_back(closed.clone());
    assert_eq!(places(&mut lab), [2999, 3000, 3001].map(|port| Place::Port(TCP, port)));
    close(&mut lab, 4000..4000 + CLOSED_MAX as u16);
    lab.gateway.put_back(closed);
    assert!(lab.gateway.take_closed().everywhere);
    lab.gateway.put_back(Closed { everywhere: true, ..Closed::default() });
    assert!(lab.gateway.take_closed().everywhere);
}

#[test]
fn what_ends_or_is_denied_while_nobody_runs_is_looked_at_at_the_start() {
    let mut lab = Lab::new();
    lab.open(&ask(ALICE, 3000));
    lab.open(&Request { lease: Some(secs(5)), ..ask(ALICE, 3001) });
    lab.open(&ask(ALICE, 3002));
    let (saved, begun) = (lab.rows(), lab.now);
    let policy = Policy { rules: vec![rule(false, 3002..=3002)], ..Policy::default() };
    let wanted = [3001, 3002].map(|port| Place::Port(TCP, port));

    // A restart puts back what was saved.
    lab.now += secs(6);
    let mut restarted = Lab::with(policy.clone());
    restarted.gateway.restore(saved.clone(), Vec::new(), lab.now).unwrap();
    assert_eq!((restarted.ports(), places(&mut restarted)), (vec![3000], wanted.to_vec()));

    // After a crash the kernel tells what is open.
    let memory = lab.gateway.backend();
    memory.set_now(lab.now);
    lab.gateway = Gateway::new(std::mem::take(memory), policy, 1);
    lab.gateway.adopt(lab.now).unwrap();
    assert_eq!(places(&mut lab), [Place::Port(TCP, 3002)]);
    lab.gateway.note_ended(&saved, &[], lab.now);
    assert_eq!(places(&mut lab), wanted[..1]);

    let hole = Hole {
        internal: "2001:db8::10".parse().unwrap(),
        internal_port: 7000,
        protocol: TCP,
        remote: None,
        remote_port: None,
    };
    let pinhole = Pinhole {
        id: Id(9),
        unique_id: 3,
        hole,
        expires: begun + secs(1),
        origin: Origin::Upnp,
        description: String::new(),
        guard: None,
    };
    let host = [Place::Host(TCP, hole.internal, 7000)];
    lab.gateway.note_ended(&[], std::slice::from_ref(&pinhole), lab.now);
    assert_eq!(places(&mut lab), host);
    lab.gateway.restore(Vec::new(), vec![pinhole], lab.now).unwrap();
    assert_eq!(places(&mut lab), host);
}

#[test]
fn a_flow_has_leave_as_long_as_the_table_would_let_it_in() {
    let mut lab = Lab::new();
    lab.open(&Request { internal: SocketAddrV4::new(ALICE, 7000), ..ask(ALICE, 3000) });
    lab.open(&Request { remote: Some(REMOTE), ..ask(ALICE, 3001) });
    let filter = Filter::new(REMOTE.into(), 32, 9).unwrap();
    lab.gateway.map(&filtered(3002, &[filter]), lab.now).unwrap();
    let lets_in = |lab: &Lab, from: (Ipv4Addr, u16), port: u16, to: u16| {
        let external = SocketAddr::from((PUBLIC, port));
        lab.gateway.lets_in(TCP, from.into(), external, SocketAddr::from((ALICE, to)))
    };
    let other = (PUBLIC, 9);
    assert!(lets_in(&lab, other, 3000, 7000));
    assert!(!lets_in(&lab, other, 3000, 7001), "it led elsewhere");
    assert!(lets_in(&lab, (REMOTE, 1), 3001, 3001) && !lets_in(&lab, other, 3001, 3001));
    assert!(lets_in(&lab, (REMOTE, 9), 3002, 3002));
    assert!(!lets_in(&lab, (REMOTE, 8), 3002, 3002) && !lets_in(&lab, other, 3002, 3002));
    assert_eq!(lab.gateway.leaving_port(TCP, SocketAddrV4::new(ALICE, 7000)), Some(3000));
    lab.delete(Asker::Owner, TCP, 3000).unwrap();
    assert!(!lets_in(&lab, other, 3000, 7000));
    assert_eq!(lab.gateway.leaving_port(TCP, SocketAddrV4::new(ALICE, 7000)), None);
}
