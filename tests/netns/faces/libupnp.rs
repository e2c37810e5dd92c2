//! A control point of our own on Debian's libupnp.

use super::{assert_open, installed, row, Script};
use crate::world::{Host, World, ALICE};

const DESCRIPTION: &str = "libupnp & <co>";

fn control_point(world: &World, family: &str, version: &str) -> Script {
    let program = installed("clients-c/libupnp");
    let args = [family, version, "192.168.1.10", "7001", "17001"];
    Script::program(world, program.to_str().unwrap(), &args)
}

fn found(client: &mut Script, authority: &str, version: &str) {
    client.says([
        format!("found http://{authority}/igd{version}/desc.xml"),
        format!("description urn:schemas-upnp-org:device:InternetGatewayDevice:{version}"),
        "external address 11.22.33.1".to_owned(),
    ]);
}

#[test]
fn libupnp_finds_subscribes_is_told_and_opens_a_port_in_either_tree() {
    // Conformance 1, 29, 72, 74, 79, 80, 85, 109, 111, 139.
    let world = World::new();
    let _daemon = world.start();
    let _server = world.tcp_server(Host::Alice, (ALICE, 7001));
    let first = "event 0 PossibleConnectionTypes=IP_Routed ConnectionStatus=Connected \
                 ExternalIPAddress=11.22.33.1 PortMappingNumberOfEntries=0";
    // The second one comes to a table that has changed twice.
    let none = ["", "", ""];
    let ids = [" SystemUpdateID=2", " SystemUpdateID=3", " SystemUpdateID=4"];
    for (version, ids) in [("1", none), ("2", ids)] {
        let mut client = control_point(&world, "4", version);
        found(&mut client, "192.168.1.1:5000", version);
        client.says(["subscribed for 1800 s"]);
        client.says([format!("{first}{}", ids[0])]);
        client.says(["mapped"]);
        client.says([format!("event 1 PortMappingNumberOfEntries=1{}", ids[1])]);
        assert_eq!(world.rows(), [row("TCP", 17001, 7001, DESCRIPTION)]);
        assert_open(&world, "TCP", 17001, true);
        assert_eq!(world.status()["subscriptions"], 1);
        client.go_on();
        client.says(["renewed for 1800 s", "unmapped"]);
        client.says([format!("event 2 PortMappingNumberOfEntries=0{}", ids[2])]);
        assert_eq!(world.rows(), [""; 0]);
        assert_open(&world, "TCP", 17001, false);
        client.says(["unsubscribed"]);
        assert_eq!(world.status()["subscriptions"], 0);
    }
}

#[test]
fn libupnp_maps_its_ipv4_address_over_ipv6_as_amule_does() {
    // Conformance 27, 134, 282.
    let world = World::new();
    let _daemon = world.start();
    let _server = world.tcp_server(Host::Alice, (ALICE, 7001));
    for version in ["1", "2"] {
        let mut client = control_point(&world, "6", version);
        found(&mut client, "[2001:db8:1::1]:5000", version);
        client.says(["mapped"]);
        assert_eq!(world.rows(), [row("TCP", 17001, 7001, DESCRIPTION)]);
        assert_open(&world, "TCP", 17001, true);
        client.go_on();
        client.says(["unmapped"]);
        assert_eq!(world.rows(), [""; 0]);
        assert_open(&world, "TCP", 17001, false);
    }
}
