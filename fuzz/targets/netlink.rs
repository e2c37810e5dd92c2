//! The kernel's answers: any bytes are read to their end, and elements and notes are the same when
//! they are written and read again.

use postern::netfilter::conntrack;
use postern::netfilter::element::{self, SETS};
use postern::netfilter::forwards::rule;
use postern::netfilter::nft::{hook, Signal};
use postern::netfilter::userdata::{
    read_note, read_stamp, read_unique_id, write_pinhole_note, write_stamp, USERDATA_MAX,
};
use postern::netfilter::Installed;
use postern::netlink::route::{Net, Part, ADDRESSES_MAX};
use postern::netlink::wire::{text, Attributes, Message, Messages, Writer, HEADER_LEN};
use postern::netlink::{diag, neighbour, nfnl};
use std::time::Duration;

pub fn run(bytes: &[u8]) {
    let mut net = Net::new();
    let mut count = 0;
    Part::ALL.iter().for_each(|part| net.begin(*part));
    for message in Messages(bytes) {
        count += 1;
        read(&message, &mut net);
    }
    assert!(count <= bytes.len() / HEADER_LEN);
    // One whose header is right whatever the bytes are.
    if let [low, high, payload @ ..] = bytes {
        let kind = u16::from_le_bytes([*low, *high]);
        read(&Message { kind, flags: 0, sequence: 1, port: 0, payload }, &mut net);
    }
    Part::ALL.iter().for_each(|part| {
        net.finish(*part);
    });
    ask(&mut net);
    userdata(bytes);
    let _ = text(bytes);
}

fn read(message: &Message<'_>, net: &mut Net) {
    let _ = message.errno();
    assert!(message.attributes(0).count() <= message.payload.len() / 4);
    net.apply(message);
    assert!(!net.apply(message), "told twice, nothing is another any more");
    assert!(neighbour::read(message).is_none_or(|a| a.len() <= neighbour::ADDRESS_MAX));
    assert!(diag::read(message).is_none_or(|listener| listener.port != 0));
    let _ = (hook::drops_forward(message), hook::accepts_signal(message, Signal::CtMark(4)));
    let _ = rule::read(message);
    let _ = conntrack::read(message);
    if let Some(entry) = conntrack::Entry::read(message) {
        let _ = (entry.has(Signal::CtLabel), entry.has(Signal::CtMark(4)));
        let mut writer = Writer::new(1);
        entry.delete(&mut writer);
        // Its tuple names the flow in the same way.
        let ended = writer.finish();
        let ended = Messages(&ended).next().unwrap();
        let tuple = |message: &Message<'_>| {
            message.attributes(nfnl::HEADER_LEN).find(1).map(<[u8]>::to_vec)
        };
        assert_eq!(tuple(&ended), tuple(message));
    }
    assert!(element::unused(message).count() <= element::items(message).count());
    for item in element::items(message) {
        for set in SETS {
            if let Some((installed, count)) = element::read(set, &item) {
                assert_eq!(element::set(&installed.rule.slot()), set);
                element_again(set, installed, count);
            }
        }
    }
}

/// What an element was read as is what is written for it.
fn element_again(set: &str, installed: Installed, count: element::Count) {
    let mut writer = Writer::new(1);
    element::add(&mut writer, &installed.rule, installed.remaining, count);
    let bytes = writer.finish();
    let message = Messages(&bytes).next().unwrap();
    let items: Vec<Attributes<'_>> = element::items(&message).collect();
    let (again, counted) = element::read(set, &items[0]).unwrap();
    let time = |left: Duration| Duration::from_millis(element::milliseconds(left));
    assert_eq!(again, Installed { remaining: installed.remaining.map(time), ..installed });
    assert_eq!(counted, count);
}

fn userdata(bytes: &[u8]) {
    if let Some(note) = read_note(bytes) {
        let unique_id = read_unique_id(bytes).unwrap_or(1);
        let written = write_pinhole_note(&note, unique_id);
        assert!(written.len() <= USERDATA_MAX);
        assert_eq!(read_note(&written), Some(note));
        assert_eq!(read_unique_id(&written), Some(unique_id));
    }
    if let Some(stamp) = read_stamp(bytes) {
        assert_eq!(read_stamp(&write_stamp(&stamp)), Some(stamp));
    }
}

fn ask(net: &mut Net) {
    let device = net.wan_device(None);
    for device in device.into_iter().chain(net.wan_device6(|_| true)) {
        assert!(net.is_up(&device) && net.index(&device).is_some());
        assert!(net.addresses_v4(&device).len() + net.addresses_v6(&device).len() <= ADDRESSES_MAX);
    }
    net.take_stale();
    assert!(!net.take_stale());
}
