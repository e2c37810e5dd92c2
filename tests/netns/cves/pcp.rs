//! NAT-PMP and PCP.

use super::Target;
use crate::pcp_client::{filter, map, natpmp, third_party, Pcp, PREFER_FAILURE};
use crate::traffic::{FROM_ALICE, FROM_ALICE6};
use crate::world::{Host, World, ALICE, ALICE6, BOB, PEER, ROUTER};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

#[test]
fn options_of_pcp_with_a_wrong_size_are_6_and_map_nothing_196_269() {
    // miniupnpd 2.3.11 (sizes of PCP options), CVE-2019-12111 (an address that is not there).
    let world = World::new();
    let _daemon = world.start_with(&world.config(&format!("\tlist pcp_third_party '{ALICE}'\n")));
    let target = Target::of(&world);
    // Code, length as said, bytes that are there.
    let option = |code: u8, said: u16, there: usize| {
        let [high, low] = said.to_be_bytes();
        let mut bytes = vec![code, 0, high, low];
        bytes.resize(4 + there, 0x7f);
        bytes
    };
    let mut wrong = Vec::new();
    for (code, right) in [(1, 16), (2, 0), (3, 20)] {
        for said in [0, 1, 3, 4, 15, 16, 17, 19, 20, 21, 24, 64, 255, 256, 1000] {
            if said != right {
                wrong.push(option(code, said, usize::from(said).next_multiple_of(4)));
            }
            // What is said is not there.
            if said > 0 {
                wrong.push(option(code, said, 0));
            }
        }
        for said in [1040, 0x7fff, 0x8000, 0xfffc, 0xffff] {
            wrong.push(option(code, said, 16));
        }
    }
    wrong.push([&PREFER_FAILURE[..], &PREFER_FAILURE].concat());
    wrong.push([third_party(BOB), third_party(BOB)].concat());
    wrong.push(filter(PEER, 255, 0));
    wrong.push(filter(PEER, 129, 0));
    wrong.push(filter(PEER, 95, 0));
    wrong.push(filter(ALICE6, 128, 0));
    for options in wrong {
        for peer in [None, Some(SocketAddr::from((PEER, 9)))] {
            let asked = Pcp { options: options.clone(), peer, ..map(FROM_ALICE, 7001, 17001) };
            let bytes = asked.bytes();
            let code = world.ask_pmp(FROM_ALICE, &bytes).unwrap()[3];
            // What PEER does not know, or has a meaning of its own for, is 3 or 5.
            let fits = if peer.is_some() { matches!(code, 3 | 5 | 6) } else { code == 6 };
            let too_long = bytes.len() > 1100 && code == 3;
            assert!(fits || too_long, "{code}: {options:?}");
        }
    }
    for cut in [1, 2, 3] {
        let bytes = [map(FROM_ALICE, 7001, 17001).bytes(), vec![3; cut]].concat();
        assert_eq!(world.ask_pmp(FROM_ALICE, &bytes).unwrap()[3], 3, "{cut} bytes of an option");
    }
    // Every byte of an address 0 or 1, with and without options, over IPv6.
    let zero = Ipv6Addr::UNSPECIFIED;
    for options in [
        vec![],
        PREFER_FAILURE.to_vec(),
        third_party(zero),
        third_party(ALICE6),
        third_party(ALICE),
        filter(zero, 128, 0),
    ] {
        for peer in [
            None,
            Some(SocketAddr::from((zero, 0))),
            Some(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))),
        ] {
            for fill in [0, 255] {
                let mut bytes =
                    Pcp { options: options.clone(), peer, ..map(FROM_ALICE6, 0, 0) }.bytes();
                bytes[44..60].fill(fill);
                let code = world.ask_pmp(FROM_ALICE6, &bytes).unwrap()[3];
                assert_ne!(code, 0, "{bytes:?}");
            }
        }
    }
    target.unharmed();
}

#[test]
fn natpmp_of_any_length_maps_nothing_and_never_for_others_180_269() {
    // VU#184540; that nothing is heard from the WAN is in `hostile`.
    let world = World::new();
    let _daemon = world.start();
    let target = Target::of(&world);
    let good = natpmp(1, 7001, 17001, 600);
    let socket = world.inside(Host::Alice, || UdpSocket::bind((ALICE, 0)).unwrap());
    for length in 0..good.len() {
        if length != 2 {
            socket.send_to(&good[..length], (ROUTER, 5351)).unwrap();
        }
    }
    for request in [
        vec![0; 1500],
        vec![0x80; 12],
        vec![255; 60_000],
        vec![0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        vec![1; 12],
    ] {
        socket.send_to(&request, (ROUTER, 5351)).unwrap();
    }
    socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut bytes = [0; 2048];
    while let Ok((length, from)) = socket.recv_from(&mut bytes) {
        assert_eq!(from, (ROUTER, 5351).into());
        // Version 0 with a result that is no success, or PCP's unknown version; or the address.
        let refused = bytes[3] != 0 || bytes[2] != 0;
        assert!(refused || bytes[..2] == [0, 128], "{:?}", &bytes[..length]);
    }
    target.unharmed();
}
