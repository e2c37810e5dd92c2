//! Messages made by hand; the driver's tests use the kernel's own.

use super::*;
use crate::netlink::wire::Messages;
use proptest::prelude::*;

fn told(net: &mut Net, fill: impl FnOnce(&mut Writer)) -> bool {
    let mut writer = Writer::new(1);
    fill(&mut writer);
    let bytes = writer.finish();
    let message = Messages(&bytes).next().unwrap();
    net.apply(&message)
}

fn link(net: &mut Net, kind: u16, index: u32, name: &str, flags: u32) -> bool {
    told(net, |w| {
        w.message(kind, 0);
        w.raw(&[0; 4]);
        w.raw(&index.to_ne_bytes());
        w.raw(&flags.to_ne_bytes());
        w.raw(&[0; 4]);
        w.text(LINK_NAME, name);
    })
}

const UP: u32 = FLAG_UP | FLAG_RUNNING;

fn address(net: &mut Net, kind: u16, index: u32, last: u8, flags: u32) -> bool {
    told(net, |w| {
        w.message(kind, 0);
        w.raw(&[IPV4, 24, flags as u8, SCOPE_GLOBAL]);
        w.raw(&index.to_ne_bytes());
        // The far end comes first, as the kernel writes it.
        w.bytes(ADDRESS_ADDRESS, &[203, 0, 113, 254]);
        w.bytes(ADDRESS_LOCAL, &[203, 0, 113, last]);
        w.bytes(ADDRESS_FLAGS, &flags.to_ne_bytes());
    })
}

fn route(net: &mut Net, kind: u16, flags: u16, index: u32, metric: u32) -> bool {
    route_of(IPV4, net, kind, flags, index, metric)
}

fn route_of(family: u8, net: &mut Net, kind: u16, flags: u16, index: u32, metric: u32) -> bool {
    told(net, |w| {
        w.message(kind, flags);
        w.raw(&[family, 0, 0, 0, 254, 0, 0, UNICAST, 0, 0, 0, 0]);
        w.bytes(ROUTE_METRIC, &metric.to_ne_bytes());
        w.bytes(ROUTE_DEVICE, &index.to_ne_bytes());
    })
}

fn local(last: u8) -> (Ipv4Addr, u8) {
    (Ipv4Addr::new(203, 0, 113, last), 24)
}

#[test]
fn the_device_is_that_of_the_lowest_metric_whose_link_is_up() {
    let mut net = Net::new();
    assert!(link(&mut net, NEW_LINK, 2, "wan", UP));
    assert!(link(&mut net, NEW_LINK, 3, "lte", UP));
    assert!(route(&mut net, NEW_ROUTE, 0, 3, 20));
    assert!(route(&mut net, NEW_ROUTE, 0, 2, 10));
    assert!(!route(&mut net, NEW_ROUTE, 0, 2, 10), "told again");
    assert_eq!(net.wan_device(None).as_deref(), Some("wan"));

    // The cable is out: no word of the route, but it does not count, and routes are asked for.
    assert!(!net.take_stale());
    assert!(link(&mut net, NEW_LINK, 2, "wan", FLAG_UP));
    assert_eq!(net.wan_device(None).as_deref(), Some("lte"));
    assert!(net.take_stale());
    assert!(!net.take_stale());
    net.begin(Part::Routes);
    route(&mut net, NEW_ROUTE, 0, 3, 20);
    assert!(net.finish(Part::Routes));
    link(&mut net, NEW_LINK, 2, "wan", UP);
    assert_eq!(net.wan_device(None).as_deref(), Some("lte"), "until the route is back");

    assert!(route(&mut net, DEL_ROUTE, 0, 3, 20));
    assert_eq!(net.wan_device(None), None);
}

#[test]
fn the_device_of_ipv6_is_that_of_its_own_routes_and_no_lan() {
    let mut net = Net::new();
    for (index, name) in [(2, "wan"), (3, "6in4"), (4, "br-lan")] {
        assert!(link(&mut net, NEW_LINK, index, name, UP));
    }
    assert!(route(&mut net, NEW_ROUTE, 0, 2, 10));
    let device6 = |net: &Net| net.wan_device6(|name| name != "br-lan");
    assert_eq!(device6(&net), None);
    assert!(route_of(IPV6, &mut net, NEW_ROUTE, 0, 3, 10));
    assert!(route_of(IPV6, &mut net, NEW_ROUTE, 0, 4, 1));
    assert_eq!(device6(&net).as_deref(), Some("6in4"));
    assert_eq!(net.wan_device(None).as_deref(), Some("wan"));
    assert!(route_of(IPV6, &mut net, DEL_ROUTE, 0, 3, 10));
    assert_eq!(device6(&net), None);
    assert_eq!(net.wan_device(None).as_deref(), Some("wan"));
}

#[test]
fn a_replaced_route_makes_us_ask() {
    let mut net = Net::new();
    route(&mut net, NEW_ROUTE, 0, 2, 0);
    assert!(!net.take_stale());
    route(&mut net, NEW_ROUTE, REPLACE, 3, 0);
    assert!(net.take_stale());
}

#[test]
fn a_renewal_changes_nothing_and_a_secondary_address_comes_last() {
    let mut net = Net::new();
    link(&mut net, NEW_LINK, 2, "wan", UP);
    assert!(address(&mut net, NEW_ADDRESS, 2, 5, SECONDARY));
    assert!(address(&mut net, NEW_ADDRESS, 2, 1, 0));
    assert!(!address(&mut net, NEW_ADDRESS, 2, 1, 0));
    assert_eq!(net.addresses_v4("wan"), [local(1), local(5)]);
    assert!(address(&mut net, NEW_ADDRESS, 2, 1, DEPRECATED));
    assert_eq!(net.addresses_v4("wan"), [local(5)]);
    assert!(address(&mut net, DEL_ADDRESS, 2, 5, SECONDARY));
    assert!(!address(&mut net, DEL_ADDRESS, 2, 5, SECONDARY));
    assert_eq!(net.addresses_v4("wan"), []);
    assert_eq!(net.addresses_v4("nothing"), []);
}

#[test]
fn a_redial_keeps_the_name_and_nothing_else() {
    let mut net = Net::new();
    link(&mut net, NEW_LINK, 2, "ppp0", UP);
    address(&mut net, NEW_ADDRESS, 2, 1, 0);
    assert!(link(&mut net, DEL_LINK, 2, "ppp0", 0));
    assert!(!net.is_up("ppp0"));
    link(&mut net, NEW_LINK, 3, "ppp0", UP);
    assert_eq!((net.index("ppp0"), net.addresses_v4("ppp0")), (Some(3), vec![]));
    link(&mut net, NEW_LINK, 3, "wan", UP);
    assert_eq!((net.index("ppp0"), net.index("wan")), (None, Some(3)));
}

#[test]
fn what_is_kept_is_limited() {
    let mut net = Net::new();
    for index in 0..2 * LINKS_MAX as u32 {
        link(&mut net, NEW_LINK, index, "x", UP);
        route(&mut net, NEW_ROUTE, 0, index, 0);
    }
    for index in 0..2 * ADDRESSES_MAX as u32 {
        address(&mut net, NEW_ADDRESS, index, 1, 0);
    }
    let kept = (net.links.len(), net.addresses.len(), net.routes.len());
    assert_eq!(kept, (LINKS_MAX, ADDRESSES_MAX, ROUTES_MAX));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(
        kind in 16u16..27,
        flags: u16,
        family in prop_oneof![Just(0u8), Just(IPV4), Just(IPV6)],
        bytes in proptest::collection::vec(any::<u8>(), 0..80),
        nested in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut net = Net::new();
        told(&mut net, |w| {
            w.message(kind, flags);
            w.raw(&[family, 0]);
            w.raw(&bytes);
        });
        told(&mut net, |w| {
            w.message(NEW_ROUTE, flags);
            w.raw(&[IPV4, 0, 0, 0, 254, 0, 0, UNICAST, 0, 0, 0, 0]);
            w.bytes(ROUTE_MULTIPATH, &nested);
        });
    }
}
