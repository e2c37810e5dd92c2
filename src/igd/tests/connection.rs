//! Layer3Forwarding, WANCommonInterfaceConfig, and the connection half of WANIPConnection.

use super::*;

#[test]
fn the_default_connection_is_named_by_the_face_item_96_97() {
    let mut world = world();
    for face in Face::ALL {
        let path = format!("/igd{}/l3f/control", face.digit());
        let at = (&path[..], "Layer3Forwarding:1");
        let udn = world.identity.udn(face, 2);
        let own =
            format!("{udn}:WANConnectionDevice:{},urn:upnp-org:serviceId:WANIPConn1", face.digit());
        assert_eq!(
            world.ask(at, "GetDefaultConnectionService", &[]),
            format!("200 NewDefaultConnectionService={own}")
        );
        let mut set = |value: &str| {
            world.ask(at, "SetDefaultConnectionService", &[("NewDefaultConnectionService", value)])
        };
        assert_eq!(set(&own), "200");
        assert_eq!(set(""), "402");
        assert_eq!(set(&own.replace("uuid:0", "uuid:1")), "720");
        assert_eq!(set(&own.replace("WANIPConn1", "WANIPConn2")), "721");
        assert_eq!(set(&own.replace("WANIPConn1", "WANCommonIFC1")), "723");
        assert_eq!(set(&own.replace("WANConnectionDevice", "WANDevice")), "723");
    }
}

#[test]
fn the_link_is_told_and_never_with_rate_0_items_98_102() {
    let mut world = world();
    assert_eq!(
        world.ask(COMMON, "GetCommonLinkProperties", &[]),
        "200 NewWANAccessType=Ethernet NewLayer1UpstreamMaxBitRate=5 \
         NewLayer1DownstreamMaxBitRate=100000000 NewPhysicalLinkStatus=Up"
    );
    world.link.up = false;
    assert!(world
        .ask(COMMON, "GetCommonLinkProperties", &[])
        .ends_with("NewPhysicalLinkStatus=Down"));
}

#[test]
fn counters_wrap_at_32_bits_item_99() {
    let mut world = world();
    world.counters = Counters {
        bytes_sent: 1 << 32,
        bytes_received: (5 << 32) + 7,
        packets_sent: u64::MAX,
        packets_received: 4_000_000_000,
    };
    for (name, value) in [
        ("TotalBytesSent", "0"),
        ("TotalBytesReceived", "7"),
        ("TotalPacketsSent", "4294967295"),
        ("TotalPacketsReceived", "4000000000"),
    ] {
        let answer = world.ask(COMMON, &format!("Get{name}"), &[]);
        assert_eq!(answer, format!("200 New{name}={value}"));
    }
}

#[test]
fn the_rest_of_wan_common_items_100_101() {
    let mut world = world();
    assert_eq!(world.ask(COMMON, "GetEnabledForInternet", &[]), "200 NewEnabledForInternet=1");
    let set = |value| [("NewEnabledForInternet", value)];
    assert_eq!(world.ask(COMMON, "SetEnabledForInternet", &set("0")), "606");
    assert_eq!(world.ask(COMMON, "SetEnabledForInternet", &set("maybe")), "402");
    assert_eq!(
        world.ask(COMMON, "GetMaximumActiveConnections", &[]),
        "200 NewMaximumActiveConnections=1"
    );
    assert_eq!(world.ask(COMMON, "GetWANAccessProvider", &[]), "200 NewWANAccessProvider=");
    let udn = world.identity.udn(Face::V1, 2);
    let index = |value| [("NewActiveConnectionIndex", value)];
    // The second name is that of the service's XML.
    for name in ["GetActiveConnections", "GetActiveConnection"] {
        assert_eq!(
            world.ask(COMMON, name, &index("0")),
            format!(
                "200 NewActiveConnDeviceContainer={udn}:WANConnectionDevice:1 \
                 NewActiveConnectionServiceID=urn:upnp-org:serviceId:WANIPConn1"
            )
        );
    }
    assert_eq!(world.ask(COMMON, "GetActiveConnections", &index("1")), "713");
    assert_eq!(world.ask(COMMON, "X_GetICSStatistics", &[]), "401");
}

#[test]
fn the_connection_follows_link_and_address_items_105_106_108_110() {
    let mut world = world();
    let connected =
        "200 NewConnectionStatus=Connected NewLastConnectionError=ERROR_NONE NewUptime=65";
    let status = |world: &mut World| world.ask(V1, "GetStatusInfo", &[]);
    let external = |world: &mut World| world.ask(V2, "GetExternalIPAddress", &[]);
    assert_eq!(status(&mut world), connected);
    assert_eq!(external(&mut world), "200 NewExternalIPAddress=8.8.4.4");
    assert_eq!(world.ask(V1, "RequestConnection", &[]), "200");
    assert_eq!(world.ask(V1, "ForceTermination", &[]), "606");

    let private = Wan {
        device: Some("wan0".into()),
        device6: None,
        addresses: vec![Ipv4Addr::new(100, 64, 0, 1)],
    };
    world.gateway.set_wan(private).unwrap();
    assert_eq!(status(&mut world), connected);
    assert_eq!(external(&mut world), "200 NewExternalIPAddress=");
    assert_eq!(world.ask(V1, "AddPortMapping", &mapping(&[])), "501");

    world.gateway.set_wan(Wan::default()).unwrap();
    assert_eq!(
        status(&mut world),
        "200 NewConnectionStatus=Disconnected NewLastConnectionError=ERROR_IP_CONFIGURATION NewUptime=0"
    );
    assert_eq!(external(&mut world), "200 NewExternalIPAddress=");
    assert_eq!(world.ask(V1, "RequestConnection", &[]), "704");
    assert_eq!(world.ask(V1, "ForceTermination", &[]), "711");
    assert_eq!(world.ask(V2, "AddPortMapping", &mapping(&[])), "501");

    world.link.up = false;
    assert!(status(&mut world).contains("ERROR_NO_CARRIER"));
}

#[test]
fn constants_of_the_connection_items_40_103_104_107_109() {
    let mut world = world();
    for at in [V1, V2, V1_AT_2] {
        assert_eq!(
            world.ask(at, "GetConnectionTypeInfo", &[]),
            "200 NewConnectionType=IP_Routed NewPossibleConnectionTypes=IP_Routed"
        );
        assert_eq!(
            world.ask(at, "GetNATRSIPStatus", &[]),
            "200 NewRSIPAvailable=0 NewNATEnabled=1"
        );
        for optional in ["RequestTermination", "SetIdleDisconnectTime", "GetAutoDisconnectTime"] {
            assert_eq!(world.ask(at, optional, &[]), "401");
        }
        assert_eq!(world.ask(at, "SetConnectionType", &[]), "402");
    }
    let set = [("NewConnectionType", "IP_Bridged")];
    assert_eq!(world.ask(V2, "SetConnectionType", &set), "731");
    assert_eq!(world.ask(V1, "SetConnectionType", &set), "703");
    world.link.up = false;
    assert_eq!(world.ask(V1, "SetConnectionType", &set), "501");
}

#[test]
fn variables_with_a_value_are_answered_and_others_unknown_items_58_59_293() {
    let mut world = world();
    assert_eq!(world.ask(V1, "AddPortMapping", &mapping(&[])), "200");
    let mut query = |path: &str, name: &str| {
        let urn = "urn:schemas-upnp-org:control-1-0";
        let bytes = envelope(path, urn, "QueryStateVariable", &[("varName", name)]);
        short(&world.raw(&bytes))
    };
    let (ip1, ip2, common) = (V1.0, V2.0, COMMON.0);
    for (path, name, value) in [
        (ip1, "ConnectionStatus", "Connected"),
        (ip1, "ExternalIPAddress", "8.8.4.4"),
        (ip1, "PortMappingNumberOfEntries", "1"),
        (ip2, "PortMappingNumberOfEntries", "1"),
        (ip2, "SystemUpdateID", "1"),
        (ip1, "Uptime", "65"),
        (ip1, "NATEnabled", "1"),
        (common, "PhysicalLinkStatus", "Up"),
        (common, "EnabledForInternet", "1"),
        (common, "TotalBytesSent", "0"),
    ] {
        assert_eq!(query(path, name), format!("200 return={value}"), "{name}");
    }
    for (path, name) in
        [(ip1, "SystemUpdateID"), (ip1, "RemoteHost"), (ip1, "X"), (ip1, ""), (common, "Uptime")]
    {
        assert_eq!(query(path, name), "404", "{name}");
    }
}
