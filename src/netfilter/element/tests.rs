//! Bytes that kernels from 5.10 to 6.18 were seen to accept, recorded on a little-endian machine,
//! and what must survive the way there and back.

use super::*;
use crate::gateway::mapping::{Id, Origin};
use crate::netfilter::ruleset::{wan_element, WanSet};
use crate::netlink::recorded::here;
use crate::netlink::wire::Messages;
use proptest::prelude::*;

const HOUR: Option<Duration> = Some(Duration::from_secs(3600));
const TCP: Protocol = Protocol::Tcp;
const UDP: Protocol = Protocol::Udp;

fn note() -> Note {
    Note { id: Id(3074), origin: Origin::Pcp, client: None, description: "Xbox".into() }
}

fn internal() -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, 10), 3074)
}

fn gate() -> Rule {
    Rule::Gate { protocol: UDP, port: 3074 }
}

fn forward(remote: Option<Ipv4Addr>) -> Rule {
    Rule::Forward { protocol: UDP, port: 3074, remote, internal: internal(), note: note() }
}

fn reverse() -> Rule {
    Rule::Reverse { protocol: UDP, internal: internal(), port: 3074 }
}

fn written(fill: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = Writer::new(1);
    nfnl::begin(&mut writer);
    fill(&mut writer);
    nfnl::end(&mut writer);
    writer.finish()
}

#[test]
fn a_new_mapping_is_three_elements_in_one_batch() {
    let batch = written(|w| {
        for rule in [gate(), forward(None), reverse()] {
            add(w, &rule, HOUR, Count::default());
        }
    });
    let expected = here(
        "140000001000010001000000000000000000000a
        500000000c0a01060200000000000000010000000c000100706f737465726e000b00020077305f657874000024
        000380200001800c000400000000000036ee80100001800c000100110000000c020000
        780000000c0a01060300000000000000010000000c000100706f737465726e000b00020077305f616e7900004c
        000380480001800c000400000000000036ee80100001800c000100110000000c020000100002800c000100c0a8
        010a0c02000018000600000558626f7800800b0103000000000000000c02
        600000000c0a01060400000000000000010000000c000100706f737465726e000b00020077305f726576000034
        000380300001800c000400000000000036ee801400018010000100c0a8010a110000000c0200000c0002800600
        01000c020000
        140000001100010005000000000000000000000a",
    );
    assert_eq!(batch, expected);
}

#[test]
fn a_refresh_deletes_and_adds_with_the_count_so_far() {
    let batch = written(|w| {
        delete(w, &forward(None).slot(), false);
        let count = Count { packets: 5, bytes: 500 };
        add(w, &forward(None), Some(Duration::from_secs(7200)), count);
        delete(w, &reverse().slot(), true);
    });
    let expected = here(
        "140000001000010001000000000000000000000a
        440000000e0a01000200000000000000010000000c000100706f737465726e000b00020077305f616e79000018
        00038014000180100001800c000100110000000c020000
        a40000000c0a01060300000000000000010000000c000100706f737465726e000b00020077305f616e79000078
        000380740001800c00040000000000006ddd00100001800c000100110000000c020000100002800c000100c0a8
        010a0c0200002c0007800c000100636f756e746572001c0002800c00010000000000000001f40c000200000000
        000000000518000600000558626f7800800b0103000000000000000c02
        480000000e0a09000400000000000000010000000c000100706f737465726e000b00020077305f72657600001c
        000380180001801400018010000100c0a8010a110000000c020000
        140000001100010005000000000000000000000a",
    );
    assert_eq!(batch, expected);
}

#[test]
fn another_wan_address_is_two_elements_out_and_two_in() {
    let batch = written(|w| {
        for (key, add) in [([203, 0, 113, 1], false), ([203, 0, 113, 50], true)] {
            wan_element(w, WanSet::Ext4, &key, add);
            wan_element(w, WanSet::Self4, &key, add);
        }
    });
    let expected = here(
        "140000001000010001000000000000000000000a
        400000000e0a01000200000000000000010000000c000100706f737465726e0009000200657874340000000014
        000380100001800c00018008000100cb007101
        400000000e0a01000300000000000000010000000c000100706f737465726e000a00020073656c663400000014
        000380100001800c00018008000100cb007101
        580000000c0a01040400000000000000010000000c000100706f737465726e000900020065787434000000002c
        000380280001800c00018008000100cb007132180002801400028008000100fffffffc0700020077300000
        4c0000000c0a01040500000000000000010000000c000100706f737465726e000a00020073656c663400000020
        0003801c0001800c00018008000100cb0071320c00028008000100cb007132
        140000001100010006000000000000000000000a",
    );
    assert_eq!(batch, expected);
}

#[test]
fn questions_name_the_set_and_the_key() {
    let mut writer = Writer::new(1);
    dump(&mut writer, "w0_any");
    let expected = "2c0000000d0a010301000000000000000100000
        00c000100706f737465726e000b00020077305f616e790000";
    assert_eq!(writer.finish(), here(expected));
    get(&mut writer, &forward(None).slot());
    let expected = "440000000d0a05000200000000000000010000000c000100706f737465726e000b00020077305f
        616e7900001800038014000180100001800c000100110000000c020000";
    assert_eq!(writer.finish(), here(expected));
}

#[test]
fn every_kind_of_key_is_in_its_set() {
    let remote = Ipv4Addr::new(198, 51, 100, 7);
    let any = [6, 0, 0, 0, 0, 80, 0, 0];
    let with = |address: [u8; 4]| [&address[..], &any].concat();
    let cases = [
        (Slot::Gate(TCP, 80), "w0_ext", any.to_vec()),
        (Slot::Forward(TCP, 80, None), "w0_any", any.to_vec()),
        (Slot::Forward(TCP, 80, Some(remote)), "w0_rh", with([198, 51, 100, 7])),
        (Slot::Held(TCP, 80, None), "w0_off", with([0; 4])),
        (Slot::Held(TCP, 80, Some(remote)), "w0_off", with([198, 51, 100, 7])),
        (Slot::Reverse(TCP, SocketAddrV4::new(remote, 80)), "w0_rev", with([198, 51, 100, 7])),
    ];
    for (slot, name, bytes) in cases {
        assert_eq!((set(&slot), key(&slot)), (name, bytes));
    }
}

#[test]
fn no_time_left_is_one_tick_and_too_much_is_what_the_kernel_takes() {
    assert_eq!(milliseconds(Duration::ZERO), 10);
    assert_eq!(milliseconds(Duration::from_micros(11_900)), 11);
    assert_eq!(milliseconds(Duration::from_secs(3600)), 3_600_000);
    assert_eq!(milliseconds(Duration::MAX), 4_294_967_295_000);
}

fn read_back(rule: &Rule, remaining: Option<Duration>, count: Count) -> Option<(Installed, Count)> {
    let bytes = written(|w| {
        add(w, rule, remaining, count);
    });
    let message = Messages(&bytes).nth(1)?;
    let item = items(&message).next()?;
    read(set(&rule.slot()), &item)
}

proptest! {
    #[test]
    fn what_is_written_is_what_is_read(
        tcp: bool,
        port in 1u16..,
        address: u32,
        internal_port in 1u16..,
        remote in proptest::option::of(1u32..),
        seconds in proptest::option::of(1u64..4_294_967_295),
        kind in 0..4,
        packets: u64,
    ) {
        let protocol = if tcp { TCP } else { UDP };
        let internal = SocketAddrV4::new(Ipv4Addr::from(address), internal_port);
        let remote = remote.map(Ipv4Addr::from);
        let note = note();
        let rule = match kind {
            0 => Rule::Gate { protocol, port },
            1 => Rule::Forward { protocol, port, remote, internal, note },
            2 => Rule::Held { protocol, port, remote, internal, note },
            _ => Rule::Reverse { protocol, port, internal },
        };
        let counts = matches!(rule, Rule::Forward { .. });
        let count = if counts { Count { packets, bytes: 7 } } else { Count::default() };
        let count = if count.packets == 0 { Count::default() } else { count };
        let remaining = seconds.map(Duration::from_secs);
        let installed = Installed { rule: rule.clone(), remaining, connections: count.packets };
        prop_assert_eq!(read_back(&rule, remaining, count), Some((installed, count)));
    }

    #[test]
    fn no_bytes_make_the_reader_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..120),
        place in 0usize..120,
        value: u8,
    ) {
        let item = Attributes(&bytes);
        let mut almost = written(|w| {
            add(w, &forward(None), HOUR, Count { packets: 1, bytes: 1 });
        });
        let length = almost.len();
        almost[20 + place % (length - 40)] = value;
        for set in SETS {
            let _ = read(set, &item);
            for message in Messages(&almost) {
                let _ = items(&message).filter_map(|item| read(set, &item)).count();
            }
        }
    }
}
