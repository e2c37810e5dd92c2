//! Making and refreshing: what is refused.

use super::*;
use crate::gateway::ExternalState;
use crate::netfilter::memory::Kept;
use crate::netfilter::BackendError;

#[test]
fn another_clients_port_is_a_conflict_whatever_the_remote_host_and_origin_113_238() {
    let mut lab = Lab::new();
    lab.open(&ask(ALICE, 3000));
    for origin in Origin::ALL {
        for remote in [None, Some(REMOTE)] {
            let request = Request { origin, remote, ..ask(BOB, 3000) };
            assert_eq!(lab.add(&request), Err(Refusal::Conflict));
        }
    }
    assert_eq!(lab.gateway.len(), 1);
}

#[test]
fn in_secure_mode_a_host_maps_to_itself_only_131_257() {
    let mut lab = Lab::new();
    let request = Request { internal: SocketAddrV4::new(BOB, 3000), ..ask(ALICE, 3000) };
    assert_eq!(lab.add(&request), Err(Refusal::NotOwner));

    let mut lab = Lab::with(Policy { secure_mode: false, ..Policy::default() });
    lab.open(&request);
    // No bridge to another network (300).
    let across = Request { internal: SocketAddrV4::new(GUEST, 3001), ..ask(ALICE, 3001) };
    assert_eq!(lab.add(&across), Err(Refusal::InvalidTarget));
}

#[test]
fn only_hosts_of_the_lan_can_be_targets_133() {
    let mut lab = Lab::with(Policy { secure_mode: false, ..Policy::default() });
    let targets = [
        "192.168.1.1",
        "192.168.2.1",
        "192.168.1.0",
        "192.168.1.255",
        "127.0.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "203.0.113.1",
        "8.8.8.8",
        "192.168.3.1",
    ];
    for target in targets {
        let internal = SocketAddrV4::new(target.parse().unwrap(), 3000);
        let request = Request { internal, ..ask(ALICE, 3000) };
        assert_eq!(lab.add(&request), Err(Refusal::InvalidTarget), "{target}");
    }
    let request = Request { internal: SocketAddrV4::new(ALICE, 0), ..ask(ALICE, 3000) };
    assert_eq!(lab.add(&request), Err(Refusal::InvalidTarget));
    lab.open(&ask(GUEST, 3000));
}

#[test]
fn who_is_on_no_lan_gets_nothing_256() {
    let mut lab = Lab::new();
    for client in [PUBLIC, Ipv4Addr::LOCALHOST, Ipv4Addr::new(10, 8, 0, 2)] {
        assert_eq!(lab.add(&ask(client, 3000)), Err(Refusal::Denied));
    }
}

#[test]
fn the_owners_rules_decide_by_the_first_match_273() {
    let rules = vec![rule(true, 5000..=5010), rule(false, 0..=65535)];
    let mut lab = Lab::with(Policy { rules, ..Policy::default() });
    lab.open(&ask(ALICE, 5010));
    assert_eq!(lab.add(&ask(ALICE, 5011)), Err(Refusal::Denied));
    let zero = Request { port: Port::Exactly(0), ..ask(ALICE, 3000) };
    assert_eq!(lab.add(&zero), Err(Refusal::Denied));
    let granted = lab.add(&any(ALICE, 9000, 4000)).unwrap();
    assert!((5000..5010).contains(&granted.port));
}

#[test]
fn low_ports_need_a_rule_that_allows_them_when_the_protocol_says_so_132() {
    let mut lab = Lab::new();
    let high = |request| Request { high_ports_only: true, ..request };
    lab.open(&ask(ALICE, 443));
    assert_eq!(lab.add(&high(ask(ALICE, 80))), Err(Refusal::Denied));
    let to_low = Request { internal: SocketAddrV4::new(ALICE, 80), ..high(ask(ALICE, 8080)) };
    assert_eq!(lab.add(&to_low), Err(Refusal::Denied));
    let rules = vec![rule(true, 80..=8080)];
    lab.gateway.set_policy(Policy { rules, ..Policy::default() }, lab.now).unwrap();
    lab.open(&high(ask(ALICE, 80)));
    lab.open(&to_low);
}

#[test]
fn what_the_router_listens_on_is_its_own_129_252() {
    let mut lab = Lab::new();
    lab.open(&ask(ALICE, 3001));
    for port in [3000, 3001] {
        lab.gateway.backend().add_listener(TCP, port);
    }
    assert_eq!(lab.add(&ask(ALICE, 3000)), Err(Refusal::Reserved));
    assert!(lab.add(&ask(ALICE, 3001)).is_ok(), "what is there already stays");
    let any = Request { port: Port::Preferably(3000), ..ask(ALICE, 3000) };
    let other = lab.open(&any);
    assert!(other.port != 3000);
    // Asked for again, it is what there is.
    assert_eq!(lab.add(&any), Ok(Granted { new: false, ..other }));
    assert!(lab.add(&Request { protocol: UDP, ..ask(ALICE, 3000) }).is_ok());
}

#[test]
fn the_routers_own_ports_are_reserved_129() {
    let mut lab = Lab::with(Policy { reserved: vec![(TCP, 5000)], ..Policy::default() });
    assert_eq!(lab.add(&ask(ALICE, 5000)), Err(Refusal::Reserved));
    lab.open(&Request { protocol: UDP, ..ask(ALICE, 5000) });
    assert_ne!(lab.open(&any(ALICE, 5000, 3000)).port, 5000);
}

#[test]
fn when_no_port_is_left_that_is_said_137() {
    let rules = vec![rule(true, 5000..=5002), rule(false, 0..=65535)];
    let reserved = vec![(TCP, 5001)];
    let mut lab = Lab::with(Policy { rules, reserved, ..Policy::default() });
    lab.open(&any(ALICE, 0, 3000));
    lab.open(&any(BOB, 0, 3000));
    assert_eq!(lab.add(&any(ALICE, 0, 3001)), Err(Refusal::NoFreePort));
    // However many are the router's own, the one that is not is found.
    let rules = vec![rule(true, 6000..=6015), rule(false, 0..=65535)];
    for seed in 0..50 {
        let mut lab = Lab::with(Policy { rules: rules.clone(), ..Policy::default() });
        (6000..6016).filter(|port| *port != 6000 + seed % 16).for_each(|port| {
            lab.gateway.backend().add_listener(TCP, port);
        });
        assert_eq!(lab.open(&any(ALICE, 0, 3000)).port, 6000 + seed % 16);
    }
    let shut = Policy { rules: vec![rule(false, 0..=65535)], ..Policy::default() };
    assert_eq!(Lab::with(shut).add(&any(ALICE, 0, 3000)), Err(Refusal::Denied));
}

#[test]
fn quotas_hold_for_new_mappings_and_never_for_a_refresh_127_266() {
    let mut lab = Lab::with(limits(3, 2));
    lab.open(&ask(ALICE, 3000));
    lab.open(&ask(ALICE, 3001));
    assert_eq!(lab.add(&ask(ALICE, 3002)), Err(Refusal::QuotaExceeded));
    lab.open(&ask(BOB, 4000));
    assert_eq!(lab.add(&ask(BOB, 4001)), Err(Refusal::TableFull));
    assert!(!lab.add(&ask(ALICE, 3001)).unwrap().new);
    assert!(!lab.add(&any(ALICE, 3001, 3001)).unwrap().new);
    // What has ended does not count, even if nobody has noticed yet.
    lab.now += secs(3600);
    lab.open(&ask(ALICE, 3002));
    assert_eq!(lab.ports(), [3002]);
}

#[test]
fn without_a_useful_external_address_only_refreshes_pass_110_274() {
    let mut lab = Lab::new();
    lab.open(&ask(ALICE, 3000));
    let private = Ipv4Addr::new(100, 64, 0, 1);
    let cases = [
        (vec![], ExternalState::None, Refusal::NoExternalAddress),
        (vec![private], ExternalState::Private(private), Refusal::PrivateExternalAddress),
    ];
    for (addresses, state, refusal) in cases {
        lab.gateway.set_wan(wan(&addresses)).unwrap();
        assert_eq!(lab.gateway.external(), state);
        assert_eq!(lab.add(&ask(ALICE, 3001)), Err(refusal));
        assert_eq!(lab.add(&any(ALICE, 0, 3001)), Err(refusal));
        assert!(!lab.add(&ask(ALICE, 3000)).unwrap().new);
    }
    let good = Policy { allow_private_external: true, ..Policy::default() };
    lab.gateway.set_policy(good, lab.now).unwrap();
    assert_eq!(lab.gateway.external(), ExternalState::Active(private));
    lab.open(&ask(ALICE, 3001));
}

#[test]
fn what_the_kernel_refuses_does_not_exist() {
    let mut lab = Lab::new();
    lab.open(&ask(ALICE, 3000));
    let before = (lab.rows(), lab.kernel(), lab.gateway.system_update_id(), vec![]);
    lab.events();
    let refresh = Request { internal: SocketAddrV4::new(ALICE, 1), ..ask(ALICE, 3000) };
    for request in [ask(ALICE, 3001), any(BOB, 0, 1), refresh] {
        lab.gateway.backend().fail_next(1);
        assert_eq!(lab.add(&request), Err(Refusal::Backend));
        assert_eq!(lab.state(), before);
    }
    assert!(!lab.gateway.needs_resync());
}

#[test]
fn a_kernel_that_stays_out_of_step_is_a_refusal() {
    let mut lab = Lab::new();
    let out = || BackendError::OutOfStep("told".into());
    lab.gateway.backend().fail_with(out());
    lab.open(&ask(ALICE, 3000));
    lab.gateway.backend().fail_with(out());
    lab.gateway.backend().fail_with(out());
    assert_eq!(lab.add(&ask(ALICE, 3001)), Err(Refusal::Backend));
    assert!(lab.gateway.needs_resync());
    lab.open(&ask(ALICE, 3001));
    assert!(!lab.gateway.needs_resync());
}

#[test]
fn a_change_whose_answer_is_lost_is_looked_into() {
    let mut lab = Lab::new();
    lab.open(&ask(ALICE, 3000));
    let good = lab.kernel();
    let lost = || BackendError::Unanswered("told".into());
    lab.gateway.backend().fail_with(lost());
    assert_eq!(lab.add(&ask(ALICE, 3001)), Err(Refusal::Backend));
    assert!(lab.gateway.needs_resync());
    // The kernel had made it.
    let rule = Rule::Gate { protocol: TCP, port: 3001 };
    let kept = Kept {
        element: Element { rule: rule.clone(), expires: None },
        connections: 0,
        fresh: true,
    };
    lab.gateway.backend().elements_mut().insert(rule.slot(), kept);
    lab.gateway.resync(lab.now).unwrap();
    assert_eq!((lab.kernel(), lab.gateway.needs_resync()), (good, false));

    lab.gateway.backend().fail_with(lost());
    assert_eq!(lab.delete(Asker::Owner, TCP, 3000), Err(Refusal::Backend));
    assert_eq!((lab.ports(), lab.gateway.needs_resync()), (vec![3000], true));
}

#[test]
fn one_external_port_has_a_bounded_number_of_remote_hosts_266() {
    let mut lab = Lab::new();
    let remote = |n: usize| Some(Ipv4Addr::from_bits(REMOTE.to_bits() + n as u32));
    for n in 0..REMOTES_MAX {
        lab.open(&Request { remote: remote(n), ..ask(ALICE, 3000) });
    }
    let one_more = Request { remote: remote(REMOTES_MAX), ..ask(ALICE, 3000) };
    assert_eq!(lab.add(&one_more), Err(Refusal::QuotaExceeded));
    let again = lab.add(&Request { remote: remote(5), ..ask(ALICE, 3000) }).unwrap();
    assert!(!again.new, "a refresh needs no room");
    lab.open(&ask(ALICE, 3001));
}

#[test]
fn who_makes_too_many_in_a_minute_waits_for_the_next_266() {
    let limits = Limits { new_per_minute: 3, ..Limits::default() };
    let mut lab = Lab::with(Policy { limits, ..Policy::default() });
    for port in 3000..3003 {
        lab.open(&ask(ALICE, port));
    }
    lab.events();
    let before = lab.state();
    assert_eq!(lab.add(&ask(ALICE, 3003)), Err(Refusal::QuotaExceeded));
    assert_eq!(lab.add(&any(ALICE, 3003, 3003)), Err(Refusal::QuotaExceeded));
    assert_eq!(lab.state(), before);
    lab.add(&ask(ALICE, 3000)).expect("a refresh makes nothing anew");
    lab.open(&ask(BOB, 4000));
    let owners = Request { origin: Origin::Manual, ..ask(ALICE, 3003) };
    lab.open(&owners);
    lab.delete(Asker::Owner, TCP, 3000).unwrap();
    assert_eq!(lab.add(&ask(ALICE, 3000)), Err(Refusal::QuotaExceeded), "made and ended counts");
    lab.wait(61);
    lab.open(&ask(ALICE, 3000));
}
