//! NAT-PMP and PCP over the gateway and a kernel in memory: hosts send anything, time passes, the
//! kernel refuses, the WAN comes and goes. At each step an error has changed nothing; at the end
//! the kernel holds what the table wants, and within the limits.

use postern::gateway::policy::{Limits, Policy};
use postern::gateway::{Gateway, Lan, Wan, FILTERS_MAX};
use postern::netfilter::memory::Memory;
use postern::netfilter::Slot;
use postern::pcp::{answer, Packet, Settings};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

const MAPPINGS: u16 = 40;

pub fn run(mut bytes: &[u8]) {
    let mut now = Instant::now();
    let limits = Limits { mappings: MAPPINGS, mappings_per_host: 24, new_per_minute: 0 };
    let policy = Policy { limits, ..Policy::default() };
    let mut gateway = Gateway::new(Memory::new(), policy, 42);
    let lan = |address: IpAddr, prefix_len| Lan { device: "br-lan".into(), address, prefix_len };
    let v6 = |last| Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, last);
    let lans = vec![lan(Ipv4Addr::new(192, 168, 1, 1).into(), 24), lan(v6(1).into(), 64)];
    gateway.set_lans(lans, now);
    set_wan(&mut gateway, true);
    let hosts: [IpAddr; 4] = [
        Ipv4Addr::new(192, 168, 1, 10).into(),
        Ipv4Addr::new(192, 168, 1, 20).into(),
        v6(0x10).into(),
        v6(0x20).into(),
    ];
    let settings =
        Settings { min_lifetime: 120, max_lifetime: 7200, third_party: vec![hosts[1], hosts[3]] };

    while let [what, length, rest @ ..] = bytes {
        let (datagram, after) = rest.split_at(usize::from(*length).min(rest.len()));
        bytes = after;
        let host = hosts[usize::from(what & 3)];
        match what >> 2 & 7 {
            0 => now += Duration::from_secs(u64::from(*length) * 10),
            1 => gateway.backend().fail_next(1),
            2 => set_wan(&mut gateway, *length & 1 == 0),
            _ => {
                let mut datagram = datagram.to_vec();
                // The right address, so that the body is read.
                if let (true, Some(field)) = (what & 0x80 != 0, datagram.get_mut(8..24)) {
                    field.copy_from_slice(&match host {
                        IpAddr::V4(host) => host.to_ipv6_mapped().octets(),
                        IpAddr::V6(host) => host.octets(),
                    });
                }
                gateway.handle_timeout(now);
                let before =
                    (gateway.len(), gateway.pinholes().count(), gateway.system_update_id());
                let source = SocketAddr::new(host, 4000);
                let packet = Packet { bytes: &datagram, source, epoch: 7, now };
                let out = answer(&mut gateway, &settings, &packet);
                let refused = match out.as_deref() {
                    None => true,
                    Some([2, _, _, code, ..]) => *code != 0,
                    Some(_) => false,
                };
                let after = (gateway.len(), gateway.pinholes().count(), gateway.system_update_id());
                assert!(!refused || before == after, "{datagram:?}: {out:?}");
            }
        }
        gateway.backend().set_now(now);
        while gateway.next_event().is_some() {}
    }

    gateway.backend().heal();
    gateway.handle_timeout(now);
    let behind = gateway.needs_resync();
    let before = gateway.backend().changes();
    gateway.resync(now).unwrap();
    assert!(behind || gateway.backend().changes() == before, "the kernel was not in step");
    let slots: Vec<Slot> = gateway.backend().elements().keys().copied().collect();
    let of = |is: fn(&&Slot) -> bool| slots.iter().filter(is).count();
    assert!(gateway.len() <= usize::from(MAPPINGS));
    assert!(of(|slot| matches!(slot, Slot::Filtered(..))) <= FILTERS_MAX);
    assert!(of(|slot| matches!(slot, Slot::Filtered6(..))) <= FILTERS_MAX);
}

fn set_wan(gateway: &mut Gateway<Memory>, up: bool) {
    let addresses = if up { vec![Ipv4Addr::new(203, 0, 113, 1)] } else { vec![] };
    let _ = gateway.set_wan(Wan { device: Some("wan0".into()), device6: None, addresses });
}
