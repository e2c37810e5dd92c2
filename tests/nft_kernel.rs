//! The netfilter driver against the kernel, each test in a network namespace of its own.
//!
//! Needs root and `nft`; fails without. Other processes see nothing of it.

#![allow(clippy::unwrap_used)]

use postern::gateway::guard::{Client, Filter, Guard, FILTERS_MAX};
use postern::gateway::mapping::{Id, Origin, Port, Protocol};
use postern::gateway::pinhole::Hole;
use postern::gateway::policy::Policy;
use postern::gateway::{Gateway, Lan, Map6Request, MapRequest, Wan};
use postern::netfilter::nft::{Hook, Nft, Signal};
use postern::netfilter::ruleset::TABLE;
use postern::netfilter::{
    Backend, BackendError, Change, Element, Installed, Note, Rule, Slot, WanRules,
};
use postern::netlink::nfnl::{self, message::NEW_ELEMENT};
use postern::netlink::route::Net;
use postern::netlink::socket::{Event, Socket};
use postern::netlink::watch::Watch;
use postern::netlink::wire::Messages;
use postern::sys::wait_readable;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV4};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const LABEL: &str = include_str!("ruleset/ct-label.nft");
const MARK: &str = include_str!("ruleset/ct-mark.nft");
const LAN: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 10);
const HOUR: Duration = Duration::from_secs(3600);

/// Runs `test` on a thread that has left for an empty network namespace; the threads and
/// processes that it starts are in there too.
fn in_a_namespace<T: Send>(test: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let entered = scope.spawn(|| {
            // Only unsharing memory or descriptors could be unsound; this is neither.
            #[allow(deprecated)]
            rustix::thread::unshare(rustix::thread::UnshareFlags::NEWNET)
                .expect("these tests need root");
            test()
        });
        entered.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Runs a program with `input`; its output, or a panic with what it said.
fn run(program: &str, arguments: &[&str], input: &str) -> String {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("these tests need {program}: {e}"));
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

fn nft(script: &str) -> String {
    run("nft", &["-f", "-"], script)
}

/// The table in the words of nft 1.0, which writes the family that a rule matches even where what
/// follows implies it; nft 1.1 leaves it out there.
fn listing() -> String {
    let mut text = run("nft", &["list", "table", "inet", "postern"], "");
    for implied in ["masquerade to :ip saddr", "snat ip to ct original ip daddr map @self4:"] {
        let short = format!("meta l4proto {{ tcp, udp }} {implied}");
        text = text
            .replace(&short, &format!("meta l4proto {{ tcp, udp }} meta nfproto ipv4 {implied}"));
    }
    text
}

/// A set (`set`) or map (`map`) as `nft` lists it.
fn set(what: &str, name: &str) -> String {
    run("nft", &["list", what, "inet", "postern", name], "")
}

fn wan() -> WanRules {
    WanRules {
        device: Some("wan".into()),
        device6: None,
        addresses: vec![Ipv4Addr::new(203, 0, 113, 1)],
        counting: false,
    }
}

fn opened() -> Nft {
    let mut nft = Nft::open(None, 5).unwrap();
    nft.ensure(&wan()).unwrap();
    nft
}

fn note(id: u64, description: &str) -> Note {
    Note { id: Id(id), origin: Origin::Pcp, client: None, description: description.into() }
}

/// The three elements of a mapping of `port` to the same port of [`LAN`].
fn mapping(port: u16, remote: Option<Ipv4Addr>) -> [Rule; 3] {
    let internal = SocketAddrV4::new(LAN, port);
    let protocol = Protocol::Udp;
    [
        Rule::Gate { protocol, port },
        Rule::Forward { protocol, port, remote, internal, note: note(port.into(), "Xbox") },
        Rule::Reverse { protocol, internal, port },
    ]
}

fn held(port: u16, remote: Option<Ipv4Addr>) -> Rule {
    let internal = SocketAddrV4::new(LAN, port);
    Rule::Held { protocol: Protocol::Tcp, port, remote, internal, note: note(9, "off") }
}

fn until(rule: Rule, expires: Option<Instant>) -> Element {
    Element { rule, expires }
}

fn adds(rules: impl IntoIterator<Item = Rule>, expires: Option<Instant>) -> Vec<Change> {
    rules.into_iter().map(|rule| Change::Add(until(rule, expires))).collect()
}

fn rules(list: &[Installed]) -> Vec<Rule> {
    list.iter().map(|installed| installed.rule.clone()).collect()
}

/// Whether the time left is `expected`, less at most what a slow machine takes.
fn about(left: Option<Duration>, expected: Duration) -> bool {
    left.is_some_and(|left| left <= expected && left + Duration::from_secs(20) > expected)
}

#[test]
fn the_table_reads_as_written_down_and_can_be_loaded_from_its_listing() {
    for (mark, signal, text) in
        [(None, Signal::CtLabel, LABEL), (Some(0x4000_0000), Signal::CtMark(0x4000_0000), MARK)]
    {
        in_a_namespace(|| {
            let mut nft = Nft::open(mark, 5).unwrap();
            assert_eq!(nft.signal(), signal);
            nft.ensure(&wan()).unwrap();
            assert_eq!(listing(), text);

            let counting = WanRules { counting: true, ..wan() };
            nft.ensure(&counting).unwrap();
            let marked = match signal {
                Signal::CtLabel => "ct label 127",
                Signal::CtMark(_) => "ct mark & 0x40000000 == 0x40000000",
            };
            let chain = format!(
                "\n\tchain count6 {{\n\t\ttype filter hook forward priority filter + 1; policy \
                 accept;\n\t\tmeta nfproto ipv6 iifname @wanif {marked} ct status confirmed goto \
                 p6_count\n\t}}\n}}\n"
            );
            let whole = [text.strip_suffix("}\n").unwrap(), &chain].concat();
            assert_eq!(listing(), whole);
            nft.ensure(&counting).unwrap();
            assert_eq!(listing(), whole, "nothing to do");
            run("nft", &["delete", "chain", "inet", "postern", "count6"], "");
            nft.ensure(&counting).unwrap();
            assert_eq!(listing(), whole, "made again");
            nft.ensure(&wan()).unwrap();
            assert_eq!(listing(), text);
        });
        in_a_namespace(|| {
            nft(text);
            assert_eq!(listing(), text);
        });
    }
}

#[test]
fn pinholes_of_all_four_kinds_come_back_from_the_kernel() {
    in_a_namespace(|| {
        let mut nft = opened();
        let now = Instant::now();
        let internal = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x10);
        let peer = Ipv6Addr::new(0x2001, 0xdb8, 9, 0, 0, 0, 0, 9);
        let mut rules_wanted = Vec::new();
        for (i, (remote, remote_port)) in
            [(None, None), (Some(peer), None), (None, Some(4000)), (Some(peer), Some(4000))]
                .into_iter()
                .enumerate()
        {
            let protocol = Protocol::Tcp;
            let hole = Hole { internal, internal_port: 3000, protocol, remote, remote_port };
            let (id, unique_id) = (i as u64 + 1, 0xff00 + i as u16);
            rules_wanted.push(Rule::Pinhole { hole, unique_id, note: note(id, "a \"game\"") });
        }
        nft.apply(&adds(rules_wanted.clone(), Some(now + HOUR)), now).unwrap();
        let list = nft.list().unwrap();
        assert_eq!(rules(&list), rules_wanted);
        assert!(list.iter().all(|installed| about(installed.remaining, HOUR)));
        assert!(set("set", "p6_any").contains("2001:db8:1::10 . tcp . 3000 counter"));
        assert!(set("set", "p6_rhp").contains("2001:db8:9::9 . 2001:db8:1::10 . tcp . 3000 . 4000"));

        // Another schema's table is replaced with them, what they have counted and their time.
        run("nft", &["flush", "chain", "inet", "postern", "hairpin"], "");
        let shorter = Change::Replace(until(rules_wanted[0].clone(), Some(now + HOUR / 2)));
        nft.ensure(&wan()).unwrap();
        nft.apply(&[shorter], now).unwrap();
        let list = nft.list().unwrap();
        assert_eq!(rules(&list), rules_wanted);
        assert!(about(list[0].remaining, HOUR / 2));
        let slots: Vec<_> = rules_wanted.iter().map(|rule| Change::Remove(rule.slot())).collect();
        nft.apply(&slots, now).unwrap();
        assert_eq!(listing(), LABEL);
    });
}

#[test]
fn filters_of_both_families_come_back_and_are_replaced_though_they_overlap() {
    in_a_namespace(|| {
        let mut nft = opened();
        let now = Instant::now();
        let (protocol, port) = (Protocol::Udp, 7000);
        let internal = SocketAddrV4::new(LAN, port);
        let internal6 = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x10);
        let filter = |address: &str, len, port| {
            Filter::new(address.parse::<IpAddr>().unwrap(), len, port).unwrap()
        };
        let client = Client { nonce: [0xa5; 12], port: 4000, peer_port: 0 };
        let note = |id| Note { client: Some(client), ..note(id, "") };
        // The first address of one lies within another, which is narrower.
        let v4 = [("10.0.0.0", 8, 53), ("10.0.0.0", 16, 0), ("203.0.113.9", 32, 65535)];
        let v6 = [("2001:db8:8::", 48, 53), ("2001:db8:8::", 64, 0), ("2001:db8:9::9", 128, 0)];
        let hole = Hole {
            internal: internal6,
            internal_port: port,
            protocol,
            remote: None,
            remote_port: None,
        };
        let mut wanted = vec![Rule::Select { protocol, port }];
        wanted.extend(v4.map(|(address, len, from)| {
            let filter = filter(address, len, from);
            Rule::Filtered { protocol, port, filter, internal, note: note(1) }
        }));
        wanted.push(Rule::Select6 { internal: internal6 });
        wanted.extend(v6.map(|(address, len, from)| {
            let filter = filter(address, len, from);
            Rule::Filtered6 { hole, filter, unique_id: 7, note: note(2) }
        }));
        nft.apply(&adds(wanted.clone(), Some(now + HOUR)), now).unwrap();
        let list = nft.list().unwrap();
        assert_eq!(rules(&list), wanted);
        assert!(list.iter().all(|installed| about(installed.remaining, HOUR)));
        let listed = set("map", "w0_flt");
        assert!(listed.contains("udp . 7000 . 10.0.0.0/8 . 53 "), "{listed}");
        assert!(listed.contains("udp . 7000 . 203.0.113.9 . 65535 "), "{listed}");

        let again =
            wanted.iter().cloned().map(|rule| Change::Replace(until(rule, Some(now + HOUR / 2))));
        nft.apply(&again.collect::<Vec<_>>(), now).unwrap();
        let list = nft.list().unwrap();
        assert_eq!(rules(&list), wanted);
        assert!(list.iter().all(|installed| about(installed.remaining, HOUR / 2)));
        // A table that must be made anew has them, too.
        run("nft", &["flush", "chain", "inet", "postern", "hairpin"], "");
        nft.ensure(&wan()).unwrap();
        assert_eq!(rules(&nft.list().unwrap()), wanted);
        assert_eq!(nft.connections(&wanted[1].slot()), Ok(0));
        let slots: Vec<_> = wanted.iter().map(|rule| Change::Remove(rule.slot())).collect();
        nft.apply(&slots, now).unwrap();
        assert_eq!(listing(), LABEL);
    });
}

#[test]
fn a_filter_that_is_lacking_comes_back_though_another_of_its_mapping_overlaps_it() {
    in_a_namespace(|| {
        let mut gateway = Gateway::new(opened(), Policy::default(), 1);
        let (host, host6) = (LAN, Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x10));
        let now = Instant::now();
        let lan = |address: &str, prefix_len| Lan {
            device: "br-lan".into(),
            address: address.parse().unwrap(),
            prefix_len,
        };
        gateway.set_lans(vec![lan("192.168.1.1", 24), lan("2001:db8:1::1", 64)], now);
        let addresses = vec![Ipv4Addr::new(203, 0, 113, 1)];
        gateway.set_wan(Wan { device: Some("wan".into()), device6: None, addresses }).unwrap();
        // The first address and port of the first lie inside the second.
        let guard = |wide: &str, wide_len, narrow_len| {
            let filter = |len, port| Filter::new(wide.parse().unwrap(), len, port).unwrap();
            let client = Client { nonce: [7; 12], port: 1, peer_port: 0 };
            Guard { client, filters: vec![filter(wide_len, 53), filter(narrow_len, 0)] }
        };
        let protocol = Protocol::Udp;
        let map = MapRequest {
            client: host,
            origin: Origin::Pcp,
            protocol,
            internal: SocketAddrV4::new(host, 7000),
            port: Port::Exactly(7000),
            remote: None,
            lease: HOUR,
            guard: Some(guard("10.0.0.0", 8, 16)),
            replaces_filters: false,
        };
        gateway.map(&map, now).unwrap();
        let hole = Hole {
            internal: host6,
            internal_port: 7000,
            protocol,
            remote: None,
            remote_port: None,
        };
        let map6 = Map6Request {
            client: host6,
            hole,
            lease: HOUR,
            guard: guard("2001:db8:8::", 48, 64),
            replaces_filters: false,
        };
        gateway.map6(&map6, now).unwrap();
        let whole = rules(&gateway.backend().list().unwrap());
        self::nft(
            "delete element inet postern w0_flt { udp . 7000 . 10.0.0.0/8 . 53 }
            delete element inet postern p6_flt \
                { 2001:db8:1::10 . udp . 7000 . 2001:db8:8::/48 . 53 }",
        );
        assert_eq!(gateway.backend().list().unwrap().len(), whole.len() - 2);
        gateway.resync(now).unwrap();
        assert_eq!(rules(&gateway.backend().list().unwrap()), whole);
    });
}

#[test]
fn filters_that_have_ended_leave_their_room_to_others() {
    in_a_namespace(|| {
        let mut nft = opened();
        let protocol = Protocol::Tcp;
        let internal6 = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x10);
        let (remote, remote6) = (IpAddr::V4(LAN), IpAddr::V6(internal6));
        // As many as there may be at once, from so many ports of a remote host, and one to another
        // port.
        let all = |port: u16| {
            let internal = SocketAddrV4::new(LAN, port);
            let note = || note(1, "");
            (0..FILTERS_MAX as u16).map(move |i| Filter::new(remote, 32, 1 + i).unwrap()).flat_map(
                move |filter| {
                    let hole = Hole {
                        internal: internal6,
                        internal_port: port,
                        protocol,
                        remote: None,
                        remote_port: None,
                    };
                    let filter6 = Filter::new(remote6, 128, filter.port().unwrap()).unwrap();
                    [
                        Rule::Filtered { protocol, port, filter, internal, note: note() },
                        Rule::Filtered6 { hole, filter: filter6, unique_id: 7, note: note() },
                    ]
                },
            )
        };
        let lease = Duration::from_millis(300);
        // Without a pause of the kernel's between its sweeps, and with one.
        for (port, pause) in [(1, 0), (2, 0), (3, 1000), (4, 0)] {
            let now = Instant::now();
            nft.apply(&adds(all(port), Some(now + lease)), now).unwrap();
            thread::sleep(lease + Duration::from_millis(20 + pause));
        }
        let now = Instant::now();
        let wanted: Vec<Rule> = all(5).collect();
        nft.apply(&adds(wanted.clone(), Some(now + HOUR)), now).unwrap();
        assert_eq!(nft.list().unwrap().len(), wanted.len());
    });
}

#[test]
fn opening_changes_nothing_and_a_mark_of_no_bits_is_refused() {
    in_a_namespace(|| {
        assert!(!Nft::open(None, 5).unwrap().adopted());
        assert_eq!(run("nft", &["list", "ruleset"], ""), "");
        assert!(Nft::open(Some(0), 5).is_err());
        assert_eq!(Nft::open_existing().err().unwrap().kind(), std::io::ErrorKind::NotFound);
    });
}

#[test]
fn a_mapping_is_added_listed_refreshed_and_deleted() {
    in_a_namespace(|| {
        let mut nft = opened();
        let now = Instant::now();
        let remote = Some(Ipv4Addr::new(198, 51, 100, 7));
        let all: Vec<Rule> = [mapping(3074, None), mapping(3075, remote)].concat();
        nft.apply(&adds(all, Some(now + HOUR)), now).unwrap();
        nft.apply(&adds([held(80, None), held(80, remote)], None), now).unwrap();

        let list = nft.list().unwrap();
        let [gate, any, reverse] = mapping(3074, None);
        let [gate2, rh, reverse2] = mapping(3075, remote);
        let expected =
            [gate, gate2, any.clone(), rh, held(80, None), held(80, remote), reverse, reverse2];
        assert_eq!(rules(&list), expected);
        for (i, installed) in list.iter().enumerate() {
            match i {
                4 | 5 => assert_eq!(installed.remaining, None),
                _ => assert!(about(installed.remaining, HOUR), "{installed:?}"),
            }
        }
        assert!(set("map", "w0_any").contains("comment \"Xbox\" : 192.168.1.10 . 3074"));

        // A refresh: another end, description and target.
        let mut changed = any;
        if let Rule::Forward { internal, note, .. } = &mut changed {
            internal.set_port(4000);
            note.description = "a \"quoted\" name".into();
        }
        let element = until(changed.clone(), Some(now + 2 * HOUR));
        nft.apply(&[Change::Replace(element)], now).unwrap();
        let list = nft.list().unwrap();
        assert_eq!(list[2].rule, changed);
        assert!(about(list[2].remaining, 2 * HOUR));

        let removals: Vec<Change> =
            list.iter().map(|installed| Change::Remove(installed.rule.slot())).collect();
        nft.apply(&removals, now).unwrap();
        assert_eq!(nft.list().unwrap(), []);
        assert_eq!(listing(), LABEL, "nothing is left behind");
        assert!(nft.traffic().sent > 0 && nft.traffic().received > 0);
    });
}

#[test]
fn what_goes_and_has_surely_let_nothing_in_is_told() {
    in_a_namespace(|| {
        let mut nft = opened();
        let now = Instant::now();
        let [gate, forward, reverse] = mapping(3074, None);
        let slot = forward.slot();
        let mut removed_after = |changes: &[Change], count: &str| {
            nft.apply(changes, now).unwrap();
            if !count.is_empty() {
                self::nft("delete element inet postern w0_any { udp . 3074 }");
                self::nft(&format!(
                    "add element inet postern w0_any {{ udp . 3074 counter {count} : \
                     192.168.1.10 . 3074 }}"
                ));
            }
            nft.apply(&[Change::Remove(slot)], now).unwrap()
        };
        let element = until(forward, Some(now + HOUR));
        let add = Change::Add(element.clone());
        assert_eq!(removed_after(std::slice::from_ref(&add), ""), [slot]);
        assert_eq!(removed_after(std::slice::from_ref(&add), "packets 1 bytes 60"), []);
        assert_eq!(removed_after(&[Change::Restore(element.clone())], ""), []);
        nft.apply(&[add], now).unwrap();
        let refresh = Change::Replace(element);
        assert_eq!(nft.apply(&[refresh], now).unwrap(), [], "it has not gone");
        assert_eq!(nft.connections(&slot).unwrap(), 0);
        assert_eq!(nft.apply(&[Change::Remove(slot)], now).unwrap(), []);

        let others = [gate.clone(), reverse.clone()].map(|rule| until(rule, None));
        nft.apply(&others.map(Change::Add), now).unwrap();
        let remove = [gate.slot(), reverse.slot(), slot].map(Change::Remove);
        assert_eq!(nft.apply(&remove, now).unwrap(), [], "those count nothing, this had ended");
    });
}

#[test]
fn a_refresh_carries_the_connection_count_over() {
    in_a_namespace(|| {
        let mut nft = opened();
        let now = Instant::now();
        self::nft(
            "add element inet postern w0_any { udp . 3074 counter packets 5 bytes 500 : \
             192.168.1.10 . 3074 }",
        );
        let [_, forward, _] = mapping(3074, None);
        let slot = forward.slot();
        assert_eq!(nft.connections(&slot).unwrap(), 5);
        let list = nft.list().unwrap();
        let foreign = list[0].rule.note().is_some_and(Note::is_foreign);
        assert!(list.len() == 1 && foreign, "one that was added by hand is told as that: {list:?}");
        nft.apply(&[Change::Replace(until(forward, Some(now + HOUR)))], now).unwrap();
        assert_eq!(nft.connections(&slot).unwrap(), 5);
        assert_eq!(nft.list().unwrap()[0].connections, 5);
        assert!(set("map", "w0_any").contains("counter packets 5 bytes 500"));
        nft.apply(&[Change::Remove(slot)], now).unwrap();
        assert_eq!(nft.connections(&slot).unwrap(), 0);
    });
}

#[test]
fn the_kernel_ends_a_mapping_by_itself_and_deleting_it_then_is_no_error() {
    in_a_namespace(|| {
        let mut nft = opened();
        let now = Instant::now();
        let short = Some(now + Duration::from_millis(300));
        nft.apply(&adds(mapping(1000, None), short), now).unwrap();
        nft.apply(&adds(mapping(2000, None), Some(now + HOUR)), now).unwrap();
        thread::sleep(Duration::from_millis(500));
        assert_eq!(rules(&nft.list().unwrap()), mapping(2000, None));

        // Gone, there, gone, gone but wanted again: all in one batch.
        let [gate, forward, reverse] = mapping(1000, None);
        let changes = [
            Change::Remove(gate.slot()),
            Change::Remove(Slot::Gate(Protocol::Udp, 2000)),
            Change::Remove(reverse.slot()),
            Change::Replace(until(forward.clone(), Some(now + HOUR))),
        ];
        nft.apply(&changes, Instant::now()).unwrap();
        let [_, forward2, reverse2] = mapping(2000, None);
        assert_eq!(rules(&nft.list().unwrap()), [forward, forward2, reverse2]);
    });
}

#[test]
fn an_end_in_the_past_is_not_for_ever() {
    in_a_namespace(|| {
        let mut nft = opened();
        let now = Instant::now();
        nft.apply(&adds(mapping(1000, None), Some(now)), now + HOUR).unwrap();
        thread::sleep(Duration::from_millis(50));
        assert_eq!(nft.list().unwrap(), []);
    });
}

#[test]
fn a_batch_that_does_not_fit_the_kernel_changes_nothing() {
    in_a_namespace(|| {
        let mut nft = opened();
        let now = Instant::now();
        nft.apply(&adds(mapping(1000, None), None), now).unwrap();
        let again = adds([mapping(999, None), mapping(1000, None)].concat(), None);
        assert!(matches!(nft.apply(&again, now), Err(BackendError::OutOfStep(_))));
        assert_eq!(rules(&nft.list().unwrap()), mapping(1000, None));

        self::nft("delete table inet postern");
        let gate = Slot::Gate(Protocol::Udp, 1000);
        for changes in [again, vec![Change::Remove(gate)]] {
            assert!(matches!(nft.apply(&changes, now), Err(BackendError::OutOfStep(_))));
        }
        assert!(matches!(nft.list(), Err(BackendError::OutOfStep(_))));
        nft.remove().unwrap();
        nft.ensure(&wan()).unwrap();
        assert_eq!(listing(), LABEL);
        nft.remove().unwrap();
        assert_eq!(run("nft", &["list", "ruleset"], ""), "");
    });
}

#[test]
fn ensuring_again_writes_only_what_differs() {
    in_a_namespace(|| {
        let mut nft = opened();
        let now = Instant::now();
        nft.apply(&adds(mapping(1000, None), None), now).unwrap();
        let before = listing();
        nft.ensure(&wan()).unwrap();
        assert_eq!(listing(), before);

        let moved = WanRules {
            device: Some("pppoe-wan".into()),
            device6: None,
            addresses: vec![Ipv4Addr::new(203, 0, 113, 50), Ipv4Addr::new(203, 0, 113, 51)],
            counting: false,
        };
        nft.ensure(&moved).unwrap();
        assert!(set("set", "wanif").contains("elements = { \"pppoe-wan\" }"));
        let ext4 = set("map", "ext4");
        assert!(ext4.contains("203.0.113.50 : goto w0") && !ext4.contains("203.0.113.1 "));
        // IPv6 comes in by a tunnel: pinholes are looked up there alone.
        let other = WanRules { device6: Some("6in4".into()), ..moved };
        nft.ensure(&other).unwrap();
        assert!(set("map", "in6").contains("elements = { \"6in4\" : goto p6 }"));
        assert!(set("map", "out4").contains("elements = { \"pppoe-wan\" : goto w0_out }"));
        let both = set("set", "wanif");
        assert!(both.contains("\"6in4\"") && both.contains("\"pppoe-wan\""), "{both}");
        nft.ensure(&WanRules { device: None, ..other }).unwrap();
        assert!(!set("map", "out4").contains("elements"));
        nft.ensure(&WanRules::default()).unwrap();
        assert!(!set("set", "wanif").contains("elements"));
        nft.ensure(&wan()).unwrap();
        assert_eq!(listing(), before);

        let long = WanRules {
            device: Some("a-name-too-long-".into()),
            device6: None,
            addresses: Vec::new(),
            counting: false,
        };
        assert!(matches!(nft.ensure(&long), Err(BackendError::Failed(_))));
        assert_eq!(listing(), before);
    });
}

#[test]
fn a_crash_or_a_damaged_table_keeps_the_mappings_and_the_age() {
    in_a_namespace(|| {
        let now = Instant::now();
        let remote = Some(Ipv4Addr::new(198, 51, 100, 7));
        let mine = [mapping(1000, None), mapping(2000, remote)].concat();
        opened().apply(&adds(mine.clone(), Some(now + HOUR)), now).unwrap();
        let sorted = rules(&Nft::open_existing().unwrap().list().unwrap());
        assert_eq!(sorted.len(), mine.len());

        for damage in ["", "flush table inet postern", "flush chain inet postern p6"] {
            nft(damage);
            let mut nft = Nft::open(None, 99).unwrap();
            assert!(nft.adopted());
            assert_eq!(nft.created(), 5);
            nft.ensure(&wan()).unwrap();
            let list = nft.list().unwrap();
            assert_eq!(rules(&list), sorted);
            assert!(list.iter().all(|installed| about(installed.remaining, HOUR)));
        }

        // Another signal is another table.
        let mut other = Nft::open(Some(0x4000_0000), 99).unwrap();
        other.ensure(&wan()).unwrap();
        assert_eq!(rules(&other.list().unwrap()), sorted);
        assert!(listing().contains("ct mark set ct mark | 0x40000000"));
        assert_eq!(other.created(), 5);
    });
}

#[test]
fn a_table_of_another_schema_is_replaced_with_its_mappings() {
    in_a_namespace(|| {
        nft("table inet postern { comment \"postern schema 0\"
               set w0_ext { type inet_proto . inet_service; flags timeout; }
               map w0_any { type inet_service : ipv4_addr; flags timeout; }
               set strange { type ipv4_addr; }
             }
             add element inet postern w0_ext { tcp . 80 timeout 1h }
             add element inet postern w0_any { 80 timeout 1h : 192.168.1.2 }");
        let mut nft = opened();
        assert!(!listing().contains("strange"));
        let gate = Rule::Gate { protocol: Protocol::Tcp, port: 80 };
        assert_eq!(rules(&nft.list().unwrap()), [gate], "what can be read is carried over");
        nft.apply(&[Change::Remove(Slot::Gate(Protocol::Tcp, 80))], Instant::now()).unwrap();
        assert_eq!(listing(), LABEL);
    });
}

#[test]
fn what_a_socket_changes_is_left_out_of_what_is_announced_and_so_is_a_later_one() {
    in_a_namespace(|| {
        let (mut first, mut second) = (opened(), Nft::open(None, 5).unwrap());
        let mut changes = Socket::nf_tables_changes(TABLE, first.port()).unwrap();
        let mut port = 1000;
        let mut announced = |nft: &mut Nft, changes: &mut Socket| {
            port += 1;
            nft.apply(&adds(mapping(port, None), None), Instant::now()).unwrap();
            let mut any = false;
            while let Event::Bytes(length) = changes.event().unwrap() {
                // The end of a change is told by thread, of which the daemon has one.
                let messages = Messages(changes.received(length));
                any |= messages.filter_map(|m| nfnl::number(&m)).any(|m| m == NEW_ELEMENT);
            }
            any
        };
        assert!(!announced(&mut first, &mut changes));
        assert!(announced(&mut second, &mut changes));
        changes.leave_out(TABLE, second.port()).unwrap();
        assert!(!announced(&mut second, &mut changes));
        assert!(announced(&mut first, &mut changes));
    });
}

#[test]
fn four_thousand_mappings_are_listed_whole_while_others_come_and_go() {
    in_a_namespace(|| {
        let mut nft = opened();
        let now = Instant::now();
        let mut expected = Vec::new();
        for chunk in (1u16..=4000).collect::<Vec<_>>().chunks(1000) {
            let rules: Vec<Rule> = chunk.iter().flat_map(|port| mapping(*port, None)).collect();
            nft.apply(&adds(rules.clone(), Some(now + HOUR)), now).unwrap();
            expected.extend(rules);
        }
        expected.sort_by_key(|rule| match rule {
            Rule::Gate { port, .. } => (0, *port),
            Rule::Forward { port, .. } => (1, *port),
            Rule::Held { port, .. } | Rule::Reverse { port, .. } => (2, *port),
            _ => unreachable!("none was made"),
        });
        assert_eq!(rules(&nft.list().unwrap()), expected);

        let others = adds((5000..5500).flat_map(|port| mapping(port, None)), None);
        nft.apply(&others, now).unwrap();
        thread::scope(|scope| {
            // Spawned from here, so in the same namespace.
            scope.spawn(|| {
                let mut nft = Nft::open_existing().unwrap();
                for port in 5000..5500 {
                    let slots = mapping(port, None).map(|rule| Change::Remove(rule.slot()));
                    nft.apply(&slots, now).unwrap();
                }
            });
            for _ in 0..5 {
                let list = rules(&nft.list().unwrap());
                let missing = expected.iter().filter(|rule| !list.contains(rule)).count();
                assert_eq!(missing, 0);
            }
        });
    });
}

#[test]
fn the_forward_hook_is_missing_only_where_a_chain_drops_and_no_rule_accepts_the_signal() {
    const DROPS: &str = "add table inet fw4
        add chain inet fw4 forward { type filter hook forward priority 0; policy drop; }
        add rule inet fw4 forward ct state established accept";
    let cases = [
        ("", Hook::Ok, Hook::Ok),
        (DROPS, Hook::Missing, Hook::Missing),
        ("add rule inet fw4 forward ct label 5 accept", Hook::Missing, Hook::Missing),
        ("add rule inet fw4 forward ct label 127 drop", Hook::Missing, Hook::Missing),
        ("add rule inet fw4 forward ct label 127 accept", Hook::Ok, Hook::Missing),
        ("add rule inet fw4 forward ct mark & 0x40000000 == 0x40000000 accept", Hook::Ok, Hook::Ok),
    ];
    in_a_namespace(|| {
        let mut label = opened();
        let mut mark = Nft::open(Some(0x4000_0000), 5).unwrap();
        for (script, with_label, with_mark) in cases {
            nft(script);
            assert_eq!(label.forward_hook().unwrap(), with_label, "{script}");
            assert_eq!(mark.forward_hook().unwrap(), with_mark, "{script}");
        }
    });
}

fn ip(arguments: &str) {
    run("ip", &arguments.split(' ').collect::<Vec<_>>(), "");
}

/// A device whose cable is plugged in.
fn plug(name: &str) {
    ip(&format!("link add {name} type veth peer name {name}-far"));
    ip(&format!("link set {name}-far up"));
    ip(&format!("link set {name} up"));
}

/// Follows the network until something holds. The kernel tells of a cable when it gets to it.
fn see(watch: &mut Watch, net: &mut Net, holds: impl Fn(&Net) -> bool) {
    let end = Instant::now() + Duration::from_secs(5);
    let (before, mut changed) = (holds(net), false);
    while !holds(net) {
        assert!(Instant::now() < end, "not so after five seconds");
        wait_readable(watch, 100).unwrap();
        changed |= watch.read(net).unwrap();
    }
    assert!(before || changed, "what has changed is told");
}

#[test]
fn the_network_is_followed_over_renewals_outages_and_redials() {
    in_a_namespace(|| {
        // A link-local address is tentative for a second, and its end is a change that nobody made.
        std::fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1").unwrap();
        plug("wan");
        ip("addr add 203.0.113.1/24 dev wan");
        ip("addr add 203.0.113.2/24 dev wan");
        ip("route add default via 203.0.113.254 metric 10");
        let mut net = Net::new();
        let mut watch = Watch::open(&mut net).unwrap();
        let one = (Ipv4Addr::new(203, 0, 113, 1), 24);
        let two = (Ipv4Addr::new(203, 0, 113, 2), 24);
        assert_eq!(net.wan_device(None).as_deref(), Some("wan"));
        assert_eq!(net.wan_device(Some("other")).as_deref(), Some("other"));
        assert_eq!(net.addresses_v4("wan"), [one, two]);
        see(&mut watch, &mut net, |net| net.is_up("wan") && !net.is_up("lo"));
        let index = net.index("wan");
        assert!(!watch.read(&mut net).unwrap(), "nothing has changed");

        ip("addr change 203.0.113.1/24 dev wan valid_lft 1000 preferred_lft 1000");
        watch.read(&mut net).unwrap();
        ip("addr change 203.0.113.1/24 dev wan valid_lft 2000 preferred_lft 2000");
        assert!(!watch.read(&mut net).unwrap(), "a renewal changes nothing");
        assert_eq!(net.addresses_v4("wan"), [one, two]);

        // A link that goes down loses its default route without a word.
        ip("link set wan down");
        see(&mut watch, &mut net, |net| !net.is_up("wan"));
        ip("link set wan up");
        see(&mut watch, &mut net, |net| net.is_up("wan"));
        see(&mut watch, &mut net, |net| net.wan_device(None).is_none());

        ip("link del wan");
        plug("wan");
        ip("addr add 10.0.0.1 peer 10.0.0.2 dev wan");
        ip("route add default dev wan");
        see(&mut watch, &mut net, |net| net.is_up("wan") && net.index("wan") != index);
        assert_eq!(net.addresses_v4("wan"), [(Ipv4Addr::new(10, 0, 0, 1), 32)]);
        assert_eq!(net.wan_device(None).as_deref(), Some("wan"));

        plug("wan2");
        ip("route replace default dev wan2");
        see(&mut watch, &mut net, |net| net.is_up("wan2"));
        assert_eq!(net.wan_device(None).as_deref(), Some("wan2"));
        assert!(watch.is_drained());
    });
}
