//! ubus: methods, events, and a ubusd that comes and goes.

use crate::clients::{ask, ControlPoint, IGD1, IGD2};
use crate::daemon::{assert_expires_in, row};
use crate::pinholes::FIREWALL;
use crate::traffic::{FROM_ALICE, FROM_PEER, FROM_PEER6};
use crate::ubusd::{Manners, Ubusd};
use crate::world::{Host, World, ALICE, ALICE6, EXTERNAL};
use rustix::process::Signal;
use serde_json::{json, Value};
use std::net::{SocketAddrV4, SocketAddrV6};

/// ubus's numbers of failures.
const INVALID_ARGUMENT: u32 = 2;
const METHOD_NOT_FOUND: u32 = 3;
const NOT_FOUND: u32 = 4;
const PERMISSION_DENIED: u32 = 6;

fn call(ubusd: &Ubusd, method: &str, arguments: Value) -> Value {
    let (answer, status) = ubusd.call("postern", method, arguments);
    assert_eq!(status, 0, "{method}: {answer}");
    answer
}

fn ids(answer: &Value) -> Vec<u64> {
    let rows = answer["mappings"].as_array().unwrap();
    rows.iter().map(|row| row["id"].as_u64().unwrap()).collect()
}

fn alice(world: &World) -> ControlPoint<'_> {
    world.control_point(FROM_ALICE, IGD1)
}

/// Alice's TCP port 8080 to her port 80, as the owner asks for it.
fn web() -> Value {
    json!({"protocol": "TCP", "external_port": 8080, "internal_address": ALICE.to_string(),
           "internal_port": 80, "description": "web"})
}

#[test]
fn the_objects_name_their_methods_and_arguments() {
    let world = World::new();
    let ubusd = world.ubusd();
    let _daemon = world.start_with(&world.ubus_config(""));
    ubusd.wait_for_daemon();
    let postern = json!({
        "status": {},
        "list": {"after": 5, "limit": 5},
        "delete": {"id": 5},
        "add": {"protocol": 3, "external_port": 5, "internal_address": 3, "internal_port": 5,
                "remote": 3, "lease": 5, "description": 3},
        "flush": {"host": 3},
    });
    let luci = json!({"get_status": {}, "delete_rule": {"token": 3}});
    assert_eq!(ubusd.objects(), [("postern".into(), postern), ("luci.upnp".into(), luci)]);
    for object in ["postern", "luci.upnp"] {
        let answer = ubusd.call(object, "reboot", json!({}));
        assert_eq!(answer, (Value::Null, METHOD_NOT_FOUND));
    }
}

#[test]
fn status_and_list_are_what_the_command_line_shows_as_json() {
    let world = World::new();
    let ubusd = world.ubusd();
    let _daemon = world.start_with(&world.ubus_config(""));
    ubusd.wait_for_daemon();
    alice(&world).add(&ask("TCP", 17000, 7000)).unwrap();
    let pinholes = world.control_point(FROM_ALICE, IGD2).service(FIREWALL);
    pinholes.pinhole(("2001:db8:ffff::2", 9), 7001, "17", 600).unwrap();
    let said = call(&ubusd, "status", json!({}));
    let mut shown = world.status();
    // Of two moments.
    for moving in ["uptime", "epoch"] {
        assert!(said[moving].is_u64());
        shown[moving] = said[moving].clone();
    }
    assert_eq!(said, shown);
    let said = call(&ubusd, "list", json!({}));
    let mut shown = json!({"mappings": world.list(), "more": false});
    for (at, row) in said["mappings"].as_array().unwrap().iter().enumerate() {
        if let Some(left) = row["expires_in"].as_u64() {
            assert_expires_in(row, if at == 0 { left } else { 600 });
        }
        shown["mappings"][at]["expires_in"] = row["expires_in"].clone();
    }
    assert_eq!(said, shown);
    assert_eq!(ids(&said).len(), 2);
}

#[test]
fn delete_closes_that_mapping_in_the_kernel_and_no_other() {
    let world = World::new();
    let ubusd = world.ubusd();
    let _daemon = world.start_with(&world.ubus_config(""));
    let _server = world.tcp_server(Host::Alice, (ALICE, 7000));
    ubusd.wait_for_daemon();
    let alice = alice(&world);
    alice.add(&ask("TCP", 17000, 7000)).unwrap();
    alice.add(&ask("TCP", 17001, 7000)).unwrap();
    let id = ids(&call(&ubusd, "list", json!({})))[0];
    assert_eq!(call(&ubusd, "delete", json!({"id": id})), Value::Null);
    assert!(world.tcp(FROM_PEER, SocketAddrV4::new(EXTERNAL, 17000)).is_err());
    assert!(world.tcp(FROM_PEER, SocketAddrV4::new(EXTERNAL, 17001)).is_ok());
    assert!(!world.table().unwrap().contains("17000"));
    let (answer, status) = ubusd.call("postern", "delete", json!({"id": id}));
    assert_eq!((answer, status), (json!({"error": "no such mapping"}), NOT_FOUND));
    for wrong in [json!({}), json!({"id": "2"}), json!({"id": -1}), json!({"id": true})] {
        let answer = ubusd.call("postern", "delete", wrong.clone());
        assert_eq!(answer, (Value::Null, INVALID_ARGUMENT), "{wrong}");
    }
    assert_eq!(world.list().len(), 1);
}

#[test]
fn the_owner_s_own_mapping_is_bound_by_no_rule_and_out_of_the_hosts_reach() {
    let world = World::new();
    let ubusd = world.ubusd();
    let closed = "config perm_rule\n\toption action 'deny'\n\toption ext_ports '0-65535'\n\
                  \toption int_addr '0.0.0.0/0'\n\toption int_ports '0-65535'\n";
    let config = world.ubus_config("") + closed;
    let daemon = world.start_with(&config);
    let _server = world.tcp_server(Host::Alice, (ALICE, 80));
    ubusd.wait_for_daemon();
    let alice = alice(&world);
    assert_eq!(alice.add(&ask("TCP", 17000, 7000)), Err(606));
    let made = call(&ubusd, "add", web());
    assert_eq!(made["external_port"], 8080);
    assert!(world.tcp(FROM_PEER, SocketAddrV4::new(EXTERNAL, 8080)).is_ok());
    let rows =
        ["ipv4 TCP 11.22.33.1:8080 -> 192.168.1.10:80 remote=null 'web' manual enabled=true"];
    assert_eq!(world.rows(), rows);
    assert_eq!(world.list()[0]["expires_in"], Value::Null);
    assert_eq!(alice.delete("TCP", 8080), Err(606));
    assert_eq!(world.rows(), rows);
    // New rules and a new run leave it.
    daemon.signal(Signal::HUP);
    daemon.stop();
    let daemon = world.start_with(&config);
    ubusd.wait_for_joins(2);
    assert_eq!(world.rows(), rows);
    daemon.crash();
    let _daemon = world.start_with(&config);
    ubusd.wait_for_joins(3);
    assert_eq!(world.rows(), rows);
    assert!(world.tcp(FROM_PEER, SocketAddrV4::new(EXTERNAL, 8080)).is_ok());
}

#[test]
fn the_owner_opens_an_ipv6_host_by_a_pinhole_with_an_end() {
    let world = World::new();
    let ubusd = world.ubusd();
    let _daemon = world.start_with(&world.ubus_config(""));
    let _server = world.tcp_server(Host::Alice, (ALICE6, 443));
    ubusd.wait_for_daemon();
    let to = SocketAddrV6::new(ALICE6, 443, 0, 0);
    let pinhole = |lease: Value| {
        json!({"protocol": "tcp", "external_port": 443, "internal_address": ALICE6.to_string(),
               "lease": lease})
    };
    assert!(world.tcp(FROM_PEER6, to).is_err());
    let made = call(&ubusd, "add", pinhole(json!(60)));
    assert_eq!(made["external_port"], 443);
    assert!(world.tcp(FROM_PEER6, to).is_ok());
    assert_expires_in(&world.list()[0], 60);
    let again = call(&ubusd, "add", pinhole(json!(86400)));
    assert_eq!(again, made, "a refresh");
    for wrong in [json!(0), json!(86401), json!(-1)] {
        let answer = ubusd.call("postern", "add", pinhole(wrong));
        assert_eq!(answer, (Value::Null, INVALID_ARGUMENT));
    }
    let rows = world.list();
    assert_expires_in(&rows[0], 86_400);
    assert_eq!((rows.len(), &rows[0]["origin"]), (1, &json!("manual")));
}

#[test]
fn what_cannot_be_added_is_refused_with_its_reason() {
    let world = World::new();
    let ubusd = world.ubusd();
    let _daemon = world.start_with(&world.ubus_config(""));
    ubusd.wait_for_daemon();
    alice(&world).add(&ask("TCP", 17000, 7000)).unwrap();
    let with = |name: &str, value: Value| {
        let mut arguments = web();
        arguments[name] = value;
        arguments
    };
    let wrong: [(&str, Value); 12] = [
        ("protocol", json!("ICMP")),
        ("protocol", json!(6)),
        ("external_port", json!(0)),
        ("external_port", json!(65536)),
        ("external_port", json!("8080")),
        ("internal_port", json!(0)),
        ("internal_address", json!("alice")),
        ("internal_address", json!("")),
        ("internal_address", json!(ALICE6.to_string())),
        ("remote", json!("example.org")),
        ("remote", json!("2001:db8::1")),
        ("lease", json!(-1)),
    ];
    for (name, value) in wrong {
        let answer = ubusd.call("postern", "add", with(name, value.clone()));
        assert_eq!(answer, (Value::Null, INVALID_ARGUMENT), "{name} {value}");
    }
    let refused = [
        (
            "internal_address",
            json!("192.168.1.1"),
            INVALID_ARGUMENT,
            "the internal address is not a host of this LAN",
        ),
        (
            "internal_address",
            json!("10.9.9.9"),
            INVALID_ARGUMENT,
            "the internal address is not a host of this LAN",
        ),
        ("external_port", json!(5000), PERMISSION_DENIED, "the router uses this port itself"),
        ("external_port", json!(17000), PERMISSION_DENIED, "the port belongs to another host"),
    ];
    for (name, value, status, reason) in refused {
        let answer = ubusd.call("postern", "add", with(name, value.clone()));
        assert_eq!(answer, (json!({"error": reason}), status), "{name} {value}");
    }
    assert_eq!(world.list().len(), 1);
}

#[test]
fn flush_closes_everything_and_listeners_are_told_to_read_anew_when_that_is_much() {
    let world = World::new();
    let ubusd = world.ubusd();
    let _daemon = world.start_with(&world.ubus_config(""));
    ubusd.wait_for_daemon();
    for port in 10_000..10_200 {
        let mut arguments = web();
        arguments["external_port"] = json!(port);
        call(&ubusd, "add", arguments);
    }
    let added = ubusd.events(200);
    assert!(added.iter().all(|event| event["action"] == "add"), "{added:?}");

    // The list comes in pieces, of so many at most.
    let first = call(&ubusd, "list", json!({}));
    assert_eq!((ids(&first).len(), &first["more"]), (128, &json!(true)));
    let after = *ids(&first).last().unwrap();
    let rest = call(&ubusd, "list", json!({"after": after, "limit": 1000}));
    assert_eq!((ids(&rest).len(), &rest["more"]), (72, &json!(false)));
    let all: Vec<u64> = [ids(&first), ids(&rest)].concat();
    let listed: Vec<u64> = world.list().iter().map(|row| row["id"].as_u64().unwrap()).collect();
    assert_eq!(all, listed);
    let two = call(&ubusd, "list", json!({"after": after, "limit": 2}));
    assert_eq!((ids(&two), &two["more"]), (all[128..130].to_vec(), &json!(true)));
    for wrong in [json!({"limit": 0}), json!({"after": -1}), json!({"limit": "1"})] {
        let answer = ubusd.call("postern", "list", wrong);
        assert_eq!(answer, (Value::Null, INVALID_ARGUMENT));
    }

    for wrong in [json!({"host": ""}), json!({"host": 5})] {
        assert_eq!(ubusd.call("postern", "flush", wrong).1, INVALID_ARGUMENT);
    }
    let host = json!({"host": ALICE.to_string()});
    assert_eq!(call(&ubusd, "flush", host), json!({"deleted": 0}), "the owner's stay");
    assert_eq!(call(&ubusd, "flush", json!({})), json!({"deleted": 200}));
    assert_eq!(world.rows(), [""; 0]);
    assert_eq!(ubusd.events(201)[200..], [json!({"action": "resync"})]);
    assert_eq!(call(&ubusd, "flush", json!({})), json!({"deleted": 0}));
}

#[test]
fn every_change_of_the_table_is_an_event() {
    let world = World::new();
    let ubusd = world.ubusd();
    let _daemon = world.start_with(&world.ubus_config(""));
    ubusd.wait_for_daemon();
    let alice = alice(&world);
    alice.add(&ask("TCP", 17000, 7000)).unwrap();
    alice.add(&ask("TCP", 17000, 7000)).unwrap();
    alice.delete("TCP", 17000).unwrap();
    let mut short = web();
    short["lease"] = json!(1);
    let id = call(&ubusd, "add", short)["id"].clone();
    let events = ubusd.events(5);
    let told: Vec<String> = events
        .iter()
        .map(|event| format!("{} {}", event["action"].as_str().unwrap(), row(event)))
        .collect();
    let host = "ipv4 TCP 11.22.33.1:17000 -> 192.168.1.10:7000 remote=null 'a test' upnp";
    let owner = "ipv4 TCP 11.22.33.1:8080 -> 192.168.1.10:80 remote=null 'web' manual";
    assert_eq!(
        told,
        [
            format!("add {host} enabled=true"),
            format!("refresh {host} enabled=true"),
            format!("delete {host} enabled=true"),
            format!("add {owner} enabled=true"),
            format!("expire {owner} enabled=true"),
        ]
    );
    assert_eq!(events[3]["id"], id);
    assert_eq!((&events[3]["connections"], &events[4]["connections"]), (&json!(0), &Value::Null));
    assert_eq!(events[4]["expires_in"], 0);
}

#[test]
fn luci_s_own_object_is_served_where_nobody_else_does() {
    let world = World::new();
    let ubusd = world.ubusd();
    let _daemon = world.start_with(&world.ubus_config(""));
    ubusd.wait_for_daemon();
    let alice = alice(&world);
    alice.add(&ask("TCP", 18080, 8080)).unwrap();
    let made = call(&ubusd, "add", web());
    let (answer, status) = ubusd.call("luci.upnp", "get_status", json!({}));
    let listed = world.list();
    let left = &answer["rules"][0]["expires"];
    let rules = json!({"rules": [
        {"num": listed[0]["id"].to_string(), "proto": "TCP", "extport": 18080,
         "intaddr": "192.168.1.10", "intport": 8080, "descr": "a test", "expires": left,
         "host_hint": null},
        {"num": made["id"].to_string(), "proto": "TCP", "extport": 8080,
         "intaddr": "192.168.1.10", "intport": 80, "descr": "web", "host_hint": null},
    ]});
    assert_eq!((answer.clone(), status), (rules, 0));
    assert!(left.as_u64().is_some_and(|left| left > 3500), "{left}");
    let token = answer["rules"][0]["num"].clone();
    let delete = |token: &Value| ubusd.call("luci.upnp", "delete_rule", json!({"token": token}));
    assert_eq!(delete(&token), (json!({"result": "OK"}), 0));
    for wrong in [&token, &json!("x"), &json!(1), &Value::Null] {
        assert_eq!(delete(wrong), (json!({"result": "Bad request"}), 0), "{wrong}");
    }
    assert_eq!(ids(&call(&ubusd, "list", json!({}))), [made["id"].as_u64().unwrap()]);
}

#[test]
fn where_luci_s_plugin_is_installed_its_name_is_left_to_it() {
    let world = World::new();
    let ubusd = world.ubusd_with(Manners::Good, &["luci.upnp"]);
    let _daemon = world.start_with(&world.ubus_config(""));
    ubusd.wait_for_daemon();
    let paths: Vec<String> = ubusd.objects().into_iter().map(|(path, _)| path).collect();
    assert_eq!(paths, ["postern"]);
    assert_eq!(call(&ubusd, "flush", json!({})), json!({"deleted": 0}));
}

#[test]
fn a_ubusd_that_is_absent_late_or_restarted_is_joined_when_it_is_there() {
    let world = World::new();
    let daemon = world.start_with(&world.ubus_config(""));
    alice(&world).add(&ask("TCP", 17000, 7000)).unwrap();
    assert!(!daemon.log().contains("WARN: ubus"), "absent is no error: {}", daemon.log());
    for _ in 0..2 {
        let ubusd = world.ubusd();
        ubusd.wait_for_daemon();
        assert_eq!(ids(&call(&ubusd, "list", json!({}))).len(), 1);
        drop(ubusd);
        assert_eq!(world.list().len(), 1);
    }
    assert!(daemon.log().contains("WARN: ubus"), "{}", daemon.log());
}

#[test]
fn a_ubusd_that_is_silent_or_talks_nonsense_is_left_and_keeps_nobody_waiting() {
    let world = World::new();
    let noises: [&[u8]; 4] = [
        &[0xff; 64],
        &[0; 64],
        b"\0\x05\0\x01\0\0\0\0\0\x0f\xff\xff",
        b"\0\x05\0\x01\0\0\0\0\0\x10\0\x10",
    ];
    let mut manners = vec![Manners::Silent];
    manners.extend(noises.map(Manners::Noise));
    for manners in manners {
        let ubusd = world.ubusd_with(manners, &[]);
        let daemon = world.start_with(&world.ubus_config(""));
        ubusd.wait_for_joins(1);
        let alice = alice(&world);
        for _ in 0..10 {
            assert_eq!(alice.add(&ask("TCP", 17000, 7000)), Ok(()), "{manners:?}");
        }
        if manners != Manners::Silent {
            // It leaves by itself, and looks again.
            ubusd.wait_for_joins(2);
        }
        drop(ubusd);
        let ubusd = world.ubusd();
        ubusd.wait_for_daemon();
        daemon.stop();
    }
}

#[test]
fn a_question_too_long_to_read_is_passed_over() {
    let world = World::new();
    let ubusd = world.ubusd();
    let _daemon = world.start_with(&world.ubus_config(""));
    ubusd.wait_for_daemon();
    let mut long = b"\0\x05\0\x01\0\0\0\x09\0\x02\0\0".to_vec();
    long.resize(8 + 0x2_0000, 0);
    ubusd.babble(&long);
    assert_eq!(call(&ubusd, "flush", json!({})), json!({"deleted": 0}));
    ubusd.wait_for_joins(1);
}
