use super::*;
use crate::config::load;

#[test]
fn an_empty_file_has_every_default_and_allows_what_no_rule_denies() {
    let (config, problems) = load(b"");
    assert_eq!(config, Config::default());
    assert_eq!(problems.len(), 1);
    assert_eq!(
        config.policy(),
        Policy {
            secure_mode: true,
            rules: vec![],
            reserved: vec![
                (Protocol::Tcp, 22),
                (Protocol::Tcp, 5000),
                (Protocol::Udp, 1900),
                (Protocol::Udp, 5350),
                (Protocol::Udp, 5351),
            ],
            limits: Limits::default(),
            allow_private_external: false,
            external_ip: None,
        }
    );
}

#[test]
fn the_router_s_own_ports_are_reserved_129_208() {
    let config = Config { port: 22, ..Config::default() };
    assert_eq!(config.policy().reserved, OWN_PORTS);
}

#[test]
fn the_limit_of_a_host_is_held_to_the_limit_of_all() {
    let config = Config { max_mappings: 10, ..Config::default() };
    assert_eq!(
        config.policy().limits,
        Limits { mappings: 10, mappings_per_host: 10, ..Limits::default() }
    );
}

/// What is missing of a configuration with these options.
fn missing(options: &str) -> Vec<String> {
    load(format!("config upnpd config\n{options}").as_bytes()).0.unresolved()
}

#[test]
fn devices_are_enough_and_the_outside_is_found_by_itself() {
    assert_eq!(missing("list internal_device br-lan"), [""; 0]);
    assert_eq!(
        missing("o internal_device br-lan\no external_device wan0\no external_iface wan"),
        [""; 0]
    );
}

#[test]
fn logical_names_alone_are_reported_with_the_option_to_set() {
    assert_eq!(
        missing("option internal_iface 'lan guest'\noption external_iface wan"),
        [
            "internal_iface 'lan guest' is no device: set `list internal_device 'br-lan'` to the \
             device of the LAN, or start with --internal",
            "external_iface 'wan' is no device: set `option external_device 'wan0'` to the device \
             of the WAN, or start with --external",
        ]
    );
    assert_eq!(
        missing(""),
        ["internal_iface 'lan' is no device: set `list internal_device 'br-lan'` to the device of \
          the LAN, or start with --internal"]
    );
    assert_eq!(
        missing("list internal_device br-lan\noption external_zone wan"),
        ["external_zone 'wan' is no device: set `option external_device 'wan0'` to the device of \
          the WAN, or start with --external"]
    );
}
