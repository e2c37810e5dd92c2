//! RFC 6886.

use super::*;

const ADDRESS: &[u8] = &[0, 0];

#[test]
fn s3_2_the_external_address_is_told_with_the_epoch_169() {
    let mut lab = Lab::new();
    let answer = [0, 128, 0, 0, 1, 2, 3, 4, 203, 0, 113, 1];
    assert_eq!(lab.ask(ALICE, ADDRESS).as_deref(), Some(&answer[..]));
    lab.wan(&[]);
    let failure = [0, 128, 0, 3, 1, 2, 3, 4, 0, 0, 0, 0];
    assert_eq!(lab.ask(ALICE, ADDRESS).as_deref(), Some(&failure[..]));
    lab.wan(&[Ipv4Addr::new(100, 64, 0, 9)]);
    assert_eq!(lab.ask(ALICE, ADDRESS).as_deref(), Some(&failure[..]), "nobody reaches that");
}

#[test]
fn s3_3_a_mapping_is_made_to_the_packets_source_and_of_one_protocol_170_171_174_176() {
    let mut lab = Lab::new();
    assert_eq!(lab.natpmp(ALICE, 1, (7000, 17000), 7200), [0, 7000, 17000, 7200]);
    assert_eq!(lab.rows(), ["UDP 17000 -> 192.168.1.10:7000 7200 natpmp"]);
    assert_eq!(lab.natpmp(ALICE, 2, (7001, 17001), 3), [0, 7001, 17001, 3], "no minimum");
    assert_eq!(lab.rows()[1], "TCP 17001 -> 192.168.1.10:7001 3 natpmp");
    assert_eq!(lab.natpmp(ALICE, 2, (7002, 17002), 90_000), [0, 7002, 17002, 86_400]);
}

#[test]
fn s3_3_the_same_internal_port_has_one_mapping_whatever_is_suggested_172() {
    let mut lab = Lab::new();
    lab.natpmp(ALICE, 1, (7000, 17000), 7200);
    lab.wait(100);
    assert_eq!(lab.natpmp(ALICE, 1, (7000, 18000), 600), [0, 7000, 17000, 600]);
    assert_eq!(lab.natpmp(ALICE, 1, (7000, 0), 700), [0, 7000, 17000, 700]);
    assert_eq!(lab.rows(), ["UDP 17000 -> 192.168.1.10:7000 700 natpmp"]);
}

#[test]
fn s3_3_a_port_that_is_taken_or_none_means_another_173() {
    let mut lab = Lab::new();
    lab.natpmp(ALICE, 1, (7000, 17000), 7200);
    let [code, _, port, _] = lab.natpmp(BOB, 1, (7000, 17000), 7200);
    assert!(code == 0 && port != 17000 && port >= 1024, "{code} {port}");
    let [code, _, port, _] = lab.natpmp(BOB, 1, (7001, 0), 7200);
    assert!(code == 0 && port >= 1024);
    let [code, _, port, _] = lab.natpmp(BOB, 1, (7002, 5351), 7200);
    assert!(code == 0 && port != 5351);
}

#[test]
fn s3_3_the_companion_port_is_its_hosts_175() {
    let mut lab = Lab::new();
    lab.natpmp(ALICE, 1, (7000, 17000), 7200);
    let [code, _, port, _] = lab.natpmp(BOB, 2, (7000, 17000), 7200);
    assert!(code == 0 && port != 17000);
    assert_eq!(lab.natpmp(ALICE, 2, (7000, 17000), 7200), [0, 7000, 17000, 7200]);
}

#[test]
fn s3_4_a_lifetime_of_0_ends_a_mapping_and_again_177() {
    let mut lab = Lab::new();
    lab.natpmp(ALICE, 1, (7000, 17000), 7200);
    lab.natpmp(ALICE, 2, (7000, 17000), 7200);
    for _ in 0..2 {
        assert_eq!(lab.natpmp(ALICE, 1, (7000, 17000), 0), [0, 7000, 0, 0]);
        assert_eq!(lab.rows(), ["TCP 17000 -> 192.168.1.10:7000 7200 natpmp"]);
    }
    assert_eq!(lab.natpmp(BOB, 2, (7000, 17000), 0), [0, 7000, 0, 0], "none of his");
    assert_eq!(lab.rows().len(), 1);
}

#[test]
fn s3_4_all_of_a_host_and_protocol_end_at_once_178() {
    let mut lab = Lab::new();
    for port in [1, 7000, 65535] {
        lab.natpmp(ALICE, 1, (port, 0), 7200);
    }
    lab.natpmp(ALICE, 2, (7000, 17000), 7200);
    lab.natpmp(BOB, 1, (7000, 18000), 7200);
    lab.upnp(ALICE, 19000, 9000).unwrap();
    assert_eq!(lab.natpmp(ALICE, 1, (0, 0), 0), [0, 0, 0, 0]);
    let left = [
        "TCP 17000 -> 192.168.1.10:7000 7200 natpmp",
        "UDP 18000 -> 192.168.1.20:7000 7200 natpmp",
    ];
    assert_eq!(lab.rows(), left);
}

#[test]
fn s3_4_what_is_not_the_hosts_to_end_stays_and_is_told_178_179_242() {
    let mut lab = Lab::new();
    manual(&mut lab, 17000, 7000);
    lab.pcp(&Pcp { internal: 7001, external: 17001, ..map() });
    lab.natpmp(ALICE, 1, (7002, 17002), 7200);
    assert_eq!(lab.natpmp(ALICE, 1, (7000, 0), 0), [2, 7000, 0, 0], "the owner's");
    assert_eq!(lab.natpmp(ALICE, 1, (7001, 0), 0), [2, 7001, 0, 0], "guarded by a nonce");
    assert_eq!(lab.rows().len(), 3);
    assert_eq!(lab.natpmp(ALICE, 1, (0, 0), 0), [2, 0, 0, 0]);
    let left =
        ["UDP 17000 -> 192.168.1.10:7000 ever manual", "UDP 17001 -> 192.168.1.10:7001 7200 pcp"];
    assert_eq!(lab.rows(), left);
}

#[test]
fn s3_3_no_more_time_is_told_than_the_owner_s_own_has_176() {
    let mut lab = Lab::new();
    manual_for(&mut lab, 17000, 7000, Some(Duration::from_secs(60)));
    assert_eq!(lab.natpmp(ALICE, 1, (7000, 0), 7200), [0, 7000, 17000, 60]);
    lab.wait(45);
    assert_eq!(lab.natpmp(ALICE, 1, (7000, 0), 7200), [0, 7000, 17000, 15]);
    assert_eq!(lab.natpmp(ALICE, 1, (7000, 0), 10), [0, 7000, 17000, 10]);
    manual(&mut lab, 17001, 7001);
    assert_eq!(lab.natpmp(ALICE, 1, (7001, 0), 7200), [0, 7001, 17001, 7200]);
}

/// A mapping that the owner has made for Alice.
pub fn manual(lab: &mut Lab, external: u16, internal: u16) {
    manual_for(lab, external, internal, None);
}

fn manual_for(lab: &mut Lab, external: u16, internal: u16, lease: Option<Duration>) {
    let request = Request {
        client: ALICE,
        origin: Origin::Manual,
        protocol: Protocol::Udp,
        port: Port::Exactly(external),
        remote: None,
        internal: SocketAddrV4::new(ALICE, internal),
        lease,
        enabled: true,
        description: "",
        high_ports_only: false,
    };
    lab.gateway.add(&request, lab.now).unwrap();
}

#[test]
fn s3_5_a_refusal_names_its_kind_and_changes_nothing_180_182() {
    let limits = Limits { mappings: 2, mappings_per_host: 1, ..Limits::default() };
    let rule = PermRule {
        allow: false,
        external: 0..=65535,
        internal: (BOB.into(), 32),
        internal_ports: 0..=65535,
    };
    let mut lab = Lab::with(Policy { limits, rules: vec![rule], ..Policy::default() });
    lab.natpmp(ALICE, 1, (7000, 17000), 7200);
    let before = lab.state();
    assert_eq!(lab.natpmp(BOB, 1, (7000, 0), 7200), [2, 7000, 0, 0], "the rules");
    assert_eq!(lab.natpmp(ALICE, 1, (7001, 17001), 7200), [4, 7001, 0, 0], "the quota");
    assert_eq!(lab.natpmp(ALICE, 1, (0, 17001), 7200), [2, 0, 0, 0], "no port");
    assert_eq!(lab.natpmp(Ipv4Addr::new(10, 0, 0, 1), 1, (7, 7), 60), [2, 7, 0, 0], "no host");
    assert_eq!(lab.state().0, before.0);
    lab.wan(&[]);
    assert_eq!(lab.natpmp(ALICE, 2, (7001, 17001), 7200), [3, 7001, 0, 0]);
    assert_eq!(lab.natpmp(ALICE, 1, (7000, 0), 7200)[0], 0, "what is there outlives the WAN");
    lab.wan(&[EXTERNAL]);
    lab.natpmp(ALICE, 1, (7000, 0), 0);
    lab.gateway.backend().fail_next(2);
    assert_eq!(lab.natpmp(ALICE, 1, (7001, 0), 7200), [4, 7001, 0, 0], "the kernel");
}

#[test]
fn s3_5_opcodes_that_are_unknown_are_told_and_answers_are_not_answered_181() {
    let mut lab = Lab::new();
    let answer = lab.ask(ALICE, &[0, 3, 0, 0, 9, 9]);
    assert_eq!(answer.as_deref(), Some(&[0, 131, 0, 5, 9, 9][..]));
    assert_eq!(lab.ask(ALICE, &[0, 128, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4]), None);
    assert_eq!(lab.ask(ALICE, &[0, 1, 0, 0]), None, "too short");
}

#[test]
fn over_ipv6_there_is_no_natpmp_190() {
    let mut lab = Lab::new();
    let answer = lab.ask(ALICE6, ADDRESS).unwrap();
    assert_eq!(answer[..4], [2, 128, 0, 1], "PCP is spoken here");
}

#[test]
fn s3_9_a_mapped_endpoint_leaves_from_its_external_port_186() {
    use crate::netfilter::{Rule, Slot};
    let mut lab = Lab::new();
    lab.natpmp(ALICE, 1, (7000, 17000), 7200);
    let slot = Slot::Reverse(Protocol::Udp, SocketAddrV4::new(ALICE, 7000));
    let kept = &lab.gateway.backend().elements()[&slot];
    assert!(matches!(kept.element.rule, Rule::Reverse { port: 17000, .. }));
}
