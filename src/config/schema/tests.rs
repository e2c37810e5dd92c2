use super::*;
use crate::config::{load, Severity, Uuid};
use proptest::prelude::*;
use std::net::Ipv4Addr;

/// The configuration with these options, and what is said of them without the line.
fn with(options: &str) -> (Config, Vec<(Severity, String)>) {
    let (config, problems) = load(format!("config upnpd 'config'\n{options}\n").as_bytes());
    (config, problems.into_iter().map(|p| (p.severity, p.text)).collect())
}

/// The configuration with these options, which must be without fault.
fn good(options: &str) -> Config {
    let (config, problems) = with(options);
    assert_eq!(problems, [], "{options}");
    config
}

fn default() -> Config {
    Config::default()
}

#[test]
fn every_option_of_today_s_package_is_read_302() {
    let text = "
        option enabled 0
        option enable_upnp 0
        option enable_natpmp no
        option secure_mode off
        option log_output 1
        option external_iface wan
        option external_iface6 wan6
        option external_zone wan
        option external_ip 203.0.113.1
        option internal_iface 'lan guest'
        option port 5555
        option download 1024
        option upload 512
        option upnp_lease_file /var/run/miniupnpd.leases
        option upnp_lease_file6 /var/run/miniupnpd.leases6
        option igdv1 1
        option stun_host stun.example.org
        option stun_port 3479
        option ext_allow_private_ipv4 1
        option ipv6_disable true
        option system_uptime disabled
        option presentation_url 'http://192.168.1.1/'
        option serial_number 12345678
        option model_number 1
        option notify_interval 60
        option uuid 00000000-0000-0000-0000-0000000000ff
        option clean_ruleset_threshold 20
        option clean_ruleset_interval 600
        option friendly_name 'Zoë'\\''s router'
        option external_device pppoe-wan
        option external_device6 6in4-wan6
        list internal_device br-lan
        list internal_device br-guest
        option ct_mark 0x10
        option max_mappings 100
        option revoke_flows 0
        option min_lifetime 60
        option max_lifetime 7200
        list pcp_third_party 192.168.1.2
        list pcp_third_party 2001:db8::2
        option max_mappings_per_host 10
        option max_new_mappings 0
        option ubus_socket /tmp/ubus.sock
        option user postern
        option seccomp 0
        list http_names Router.lan
        list http_names openwrt";
    let mut uuid = [0; 16];
    uuid[15] = 255;
    assert_eq!(
        good(&text.replace("\\\\", "\\")),
        Config {
            enabled: false,
            enable_upnp: false,
            enable_natpmp: false,
            secure_mode: false,
            log_output: LogOutput::Debug,
            external_iface: Some("wan".into()),
            external_iface6: Some("wan6".into()),
            external_zone: Some("wan".into()),
            external_device: Device::new("pppoe-wan"),
            external_device6: Device::new("6in4-wan6"),
            internal_iface: vec!["lan".into(), "guest".into()],
            internal_device: ["br-lan", "br-guest"].iter().filter_map(|n| Device::new(n)).collect(),
            external_ip: Some(Ipv4Addr::new(203, 0, 113, 1)),
            port: 5555,
            download: Some(1024),
            upload: Some(512),
            upnp_lease_file: Some("/var/run/miniupnpd.leases".into()),
            upnp_lease_file6: Some("/var/run/miniupnpd.leases6".into()),
            igdv1: Some(true),
            use_stun: false,
            stun_host: Some("stun.example.org".into()),
            stun_port: 3479,
            ext_allow_private_ipv4: true,
            ipv6_disable: true,
            system_uptime: false,
            presentation_url: Some("http://192.168.1.1/".into()),
            serial_number: Some("12345678".into()),
            model_number: Some("1".into()),
            friendly_name: Some("Zoë's router".into()),
            notify_interval: 60,
            uuid: Some(Uuid(uuid)),
            ct_mark: Some(0x10),
            max_mappings: 100,
            revoke_flows: false,
            min_lifetime: 60,
            max_lifetime: 7200,
            pcp_third_party: vec!["192.168.1.2".parse().unwrap(), "2001:db8::2".parse().unwrap()],
            max_mappings_per_host: 10,
            max_new_mappings: 0,
            ubus_socket: Some("/tmp/ubus.sock".into()),
            user: Some("postern".into()),
            seccomp: false,
            http_names: vec!["router.lan".into(), "openwrt".into()],
            perm_rules: vec![],
        }
    );
}

#[test]
fn names_of_the_proposed_schema_are_aliases_302() {
    let (config, problems) = load(
        b"config upnpd settings\no enabled_protocols pcp+nat-pmp\no upnp_igd_compat igdv2\n\
          o allow_third_party_mapping 1\no log_output info\no lease_file /tmp/l\n\
          o download_kbps 8192\no upload_kbps 1\no http_port 5001\n\
          o allow_cgnat report-private-ipv4\n",
    );
    assert_eq!(problems, []);
    assert_eq!(
        config,
        Config {
            enable_upnp: false,
            igdv1: Some(false),
            secure_mode: false,
            log_output: LogOutput::Info,
            upnp_lease_file: Some("/tmp/l".into()),
            upnp_lease_file6: Some("/tmp/l-ipv6".into()),
            download: Some(1000),
            upload: Some(1),
            port: 5001,
            ext_allow_private_ipv4: true,
            ..default()
        }
    );
    for (options, want) in [
        ("o enable_protocols all", default()),
        ("o enable_protocols upnp-igd", Config { enable_natpmp: false, ..default() }),
        ("o upnp_igd_compat igdv1", Config { igdv1: Some(true), ..default() }),
        ("o allow_third_party_mapping 0", default()),
        ("o allow_third_party_mapping upnp-igd", Config { secure_mode: false, ..default() }),
        ("o allow_cgnat 0", default()),
        ("o log_output default", default()),
        ("o log_output debug", Config { log_output: LogOutput::Debug, ..default() }),
    ] {
        assert_eq!(good(options), want, "{options}");
    }
}

#[test]
fn a_wrong_value_leaves_the_default_and_says_what_to_write() {
    for (option, severity, text) in [
        ("enabled 2", Severity::Warning, "enabled: '2' is neither 1 nor 0, so the default stands: write 1 or 0"),
        ("igdv1 IGDv1", Severity::Warning, "igdv1: 'IGDv1' is neither 1 nor 0, so the default stands: write 1 or 0"),
        ("port 0", Severity::Error, "port: '0' is not a number from 1 to 65535: mend it"),
        ("port 65536", Severity::Error, "port: '65536' is not a number from 1 to 65535: mend it"),
        ("max_lifetime 0", Severity::Error, "max_lifetime: '0' is not a number from 1 to 604800: mend it"),
        ("pcp_third_party 192.168.1.0/24", Severity::Error, "pcp_third_party: '192.168.1.0/24' is no host: write its address"),
        ("max_mappings 0", Severity::Error, "max_mappings: '0' is not a number from 1 to 65535: mend it"),
        ("download fast", Severity::Error, "download: 'fast' is not a number from 0 to 4294967295: mend it"),
        ("external_ip wan.example.org", Severity::Error, "external_ip: 'wan.example.org' is no IPv4 address: write it as 192.0.2.1"),
        ("external_device eth0/1", Severity::Error, "external_device: 'eth0/1' is no name of a device: write one of those that `ip link` lists"),
        ("upnp_lease_file leases", Severity::Error, "upnp_lease_file: 'leases' is no absolute path: begin it with /"),
        ("ct_mark 0", Severity::Error, "ct_mark: '0' is no mark: write one like 0x40000000, not 0"),
        ("uuid me", Severity::Error, "uuid: 'me' is no UUID: remove it, and one is made"),
        ("http_names http://router/", Severity::Error, "http_names: 'http://router/' is no host name: write it without port or slash"),
        ("enabled_protocols none", Severity::Error, "enabled_protocols: 'none': write all, upnp-igd or pcp+nat-pmp"),
        ("upnp_igd_compat 1", Severity::Error, "upnp_igd_compat: '1': write igdv1 or igdv2"),
        ("allow_third_party_mapping pcp", Severity::Error, "allow_third_party_mapping: 'pcp' is not for all: name in pcp_third_party the hosts that may map for others"),
        ("friendly_name 'a\nb'", Severity::Error, "friendly_name: 'a?b' has a control character or line end: remove it"),
    ] {
        assert_eq!(with(&format!("option {option}")), (default(), vec![(severity, text.into())]));
    }
}

#[test]
fn values_that_are_not_utf8_are_refused() {
    let (config, problems) = load(b"config upnpd config\no friendly_name \xff\n");
    assert_eq!(config, default());
    assert_eq!(problems[0].text, "friendly_name: this is not UTF-8: write it anew");
}

#[test]
fn stun_is_not_offered_and_the_warning_names_the_way_out() {
    let text = "STUN is not offered: set external_ip to the public address";
    for (option, name) in
        [("use_stun 1", "use_stun"), ("allow_cgnat allow-filtered", "allow_cgnat")]
    {
        assert_eq!(
            with(&format!("option {option}")),
            (
                Config { use_stun: true, ..default() },
                vec![(Severity::Warning, format!("{name}: {text}"))]
            )
        );
    }
    assert_eq!(good("option use_stun 0"), default());
}

#[test]
fn the_notify_interval_is_held_to_its_range_with_a_warning() {
    for (written, used) in [(59, 60), (0, 60), (43_201, 43_200)] {
        assert_eq!(
            with(&format!("option notify_interval {written}")),
            (
                Config { notify_interval: used, ..default() },
                vec![(
                    Severity::Warning,
                    format!(
                        "notify_interval: '{written}' s is out of range, so it is {used}: write 60 \
                         to 43200"
                    )
                )]
            )
        );
    }
    assert_eq!(good("option notify_interval 43200").notify_interval, 43_200);
}

#[test]
fn what_only_the_init_script_reads_is_no_mistake() {
    let (config, problems) = with("option config_file /etc/upnpd\noption jail 1");
    assert_eq!(config, default());
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].0, Severity::Warning);
    let (_, problems) = with("config internal_network\n\toption interface lan");
    assert_eq!(problems, []);
}

#[test]
fn nocli_and_rates_of_0_are_as_if_not_written() {
    assert_eq!(good("o uuid nocli\no download 0\no upload_kbps 0"), default());
}

#[test]
fn empty_values_are_as_if_not_written() {
    assert_eq!(good("o port ''\no uuid\no internal_iface ' '\nl internal_device ''"), default());
}

#[test]
fn a_ubus_socket_is_a_path_or_none_at_all() {
    assert_eq!(good("o ubus_socket none"), Config { ubus_socket: None, ..default() });
    assert_eq!(good("o ubus_socket ''"), default());
    assert_eq!(default().ubus_socket.as_deref(), Some("/var/run/ubus/ubus.sock"));
    let (config, problems) = with("o ubus_socket ubus.sock");
    assert_eq!(config, default());
    let text = "ubus_socket: 'ubus.sock' is no absolute path: begin it with /";
    assert_eq!(problems, [(Severity::Error, text.to_owned())]);
}

#[test]
fn a_list_where_one_value_is_taken_is_an_error() {
    assert_eq!(good("list port 5001").port, 5001);
    assert_eq!(
        with("list port 5001\nlist port 5002"),
        (
            default(),
            vec![(
                Severity::Error,
                "port: this takes one value: write it once, with option".into()
            )]
        )
    );
}

#[test]
fn names_come_in_one_value_or_a_list_without_repetition_up_to_the_limit() {
    for written in ["o internal_device 'a b'", "l internal_device a\nl internal_device 'b a'"] {
        let names: Vec<_> = good(written).internal_device.iter().map(|d| d.to_string()).collect();
        assert_eq!(names, ["a", "b"]);
    }
    let names: String = (0..=NAMES_MAX).map(|n| format!(" d{n}")).collect();
    let (config, problems) = with(&format!("o internal_device '{names}'"));
    assert_eq!(config.internal_device.len(), NAMES_MAX);
    let text = "internal_device: more than 16 are written: remove some";
    assert_eq!(problems, [(Severity::Error, text.into())]);
}

#[test]
fn one_bad_name_in_a_list_costs_only_its_line() {
    let (config, problems) =
        load(b"config upnpd config\nl internal_device br-lan\nl internal_device a/b\nl internal_device br2\n");
    assert_eq!(config.internal_device.len(), 2);
    assert_eq!((problems.len(), problems[0].line), (1, 3));
}

#[test]
fn an_unknown_name_is_warned_about_once() {
    let text = "config upnpd config\no colour 1\no shape 1\nconfig perm_rule\no colour 2\n\
                config paint\no colour 3\nconfig paint\n";
    let (_, problems) = load(text.as_bytes());
    let told: Vec<_> = problems.into_iter().map(|p| (p.line, p.severity, p.text)).collect();
    let option =
        |name| format!("{name}: nothing is known of this option: mend its name or remove it");
    assert_eq!(
        told,
        [
            (2, Severity::Warning, option("colour")),
            (3, Severity::Warning, option("shape")),
            (6, Severity::Warning, "nothing is known of sections 'paint': remove them".into()),
        ]
    );
}

#[test]
fn unknown_names_are_warned_about_up_to_the_limit() {
    let options: String = (0..UNKNOWN_MAX + 9).map(|n| format!("o x{n} 1\n")).collect();
    assert_eq!(with(&options).1.len(), UNKNOWN_MAX);
}

#[test]
fn a_main_section_of_another_name_is_an_error() {
    for section in ["config upnpd\n", "config upnpd main\n"] {
        let (config, problems) =
            load(format!("{section}o port 1\nconfig upnpd config\n").as_bytes());
        assert_eq!(config, default());
        assert_eq!(problems[0].text, "this section is not read: name it, `config upnpd 'config'`");
    }
}

#[test]
fn no_name_is_in_the_schema_twice() {
    let mut names: Vec<_> = OPTIONS.iter().flat_map(|(names, _)| names.iter()).collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all);
    assert!(names.iter().all(|name| !rules::restricts(name)));
}

proptest! {
    #[test]
    fn no_value_of_any_option_panics_and_what_is_read_is_in_range(
        option in any::<prop::sample::Index>(),
        value in "[^'\0]{0,40}|[0-9]{1,11}|0x[0-9a-f]{1,9}",
    ) {
        let (config, _) = with(&format!("option {} '{value}'", OPTIONS[option.index(OPTIONS.len())].0[0]));
        prop_assert!(config.port > 0 && config.ct_mark != Some(0) && config.stun_port > 0);
        prop_assert!((NOTIFY_INTERVAL_MIN..=NOTIFY_INTERVAL_MAX).contains(&config.notify_interval));
        prop_assert!(config.max_mappings > 0 && config.max_mappings_per_host > 0);
    }
}

#[test]
fn the_documentation_has_every_option_with_its_names_and_no_other() {
    let text = include_str!("../../../docs/uci.md");
    let row = |line: &str| {
        let cells: Vec<_> = line.strip_prefix("| `")?.split('|').map(str::trim).collect();
        let names = [cells[0].trim_end_matches('`'), cells[4].trim_matches('`')];
        Some((names.map(str::to_owned), cells[2].to_owned()))
    };
    let rows: Vec<_> = text.lines().filter_map(row).collect();
    let told: Vec<_> = rows.iter().map(|(names, _)| names.join(" ").trim().to_owned()).collect();
    let known: Vec<_> = OPTIONS.iter().map(|(names, _)| names.join(" ")).collect();
    assert_eq!(told, known);

    // The defaults as written are those in force.
    for ([name, _], value) in rows.iter().filter(|(_, value)| !value.is_empty()) {
        if name == "igdv1" {
            continue; // Told apart from 1 inside, not outside.
        }
        assert_eq!(good(&format!("option {name} '{value}'")), default(), "{name}");
    }
}
