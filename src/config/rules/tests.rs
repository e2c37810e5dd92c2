use super::*;
use crate::config::{load, Severity};
use proptest::prelude::*;
use std::net::SocketAddrV4;

const ANY: (IpAddr, u8) = (IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// The rules of a file and what is said of it.
fn read(rules: &str) -> (Vec<PermRule>, Vec<(u32, Severity, String)>) {
    let (config, problems) = load(format!("{rules}config upnpd config\n").as_bytes());
    (config.perm_rules, problems.into_iter().map(|p| (p.line, p.severity, p.text)).collect())
}

#[test]
fn a_rule_is_read_with_every_part_273() {
    assert_eq!(
        read(
            "config perm_rule\n\toption action 'allow'\n\toption ext_ports '1024-65535'\n\
             \toption int_addr '192.168.1.0/24'\n\toption int_ports '1024:2048'\n\
             \toption comment 'High ports'\n"
        ),
        (
            vec![PermRule {
                allow: true,
                external: 1024..=65535,
                internal: (Ipv4Addr::new(192, 168, 1, 0).into(), 24),
                internal_ports: 1024..=2048,
            }],
            vec![]
        )
    );
}

#[test]
fn a_rule_without_options_denies_everything_273() {
    assert_eq!(read("config perm_rule\n"), (vec![DENY_ALL], vec![]));
}

#[test]
fn rules_keep_their_order_and_a_bare_address_is_one_host_273() {
    let host = (Ipv4Addr::new(10, 0, 0, 9).into(), 32);
    let one = |allow, internal| PermRule { allow, internal, ..DENY_ALL };
    assert_eq!(
        read(
            "config perm_rule\no action deny\no int_addr 10.0.0.9\n\
             config perm_rule\no action allow\n"
        ),
        (vec![one(false, host), one(true, ANY)], vec![])
    );
}

#[test]
fn the_words_of_the_proposed_schema_mean_the_same_302() {
    assert_eq!(
        read(
            "config acl_entry\no action accept\no ext_port 1-2\no int_port 3\n\
             config acl_entry\no action reject\nconfig acl_entry\no action ignore\n"
        ),
        (
            vec![
                PermRule { allow: true, external: 1..=2, internal: ANY, internal_ports: 3..=3 },
                DENY_ALL,
                DENY_ALL
            ],
            vec![]
        )
    );
}

#[test]
fn a_rule_may_be_for_an_ipv6_prefix_157() {
    let prefix = ("fd00::".parse().unwrap(), 8);
    assert_eq!(
        read("config perm_rule\no action allow\no int_addr fd00::1/8\n"),
        (vec![PermRule { allow: true, internal: prefix, ..DENY_ALL }], vec![])
    );
}

#[test]
fn a_bad_allow_rule_is_left_out() {
    assert_eq!(
        read("\nconfig perm_rule\no action allow\no ext_ports 1024-x\n"),
        (
            vec![],
            vec![
                (
                    2,
                    Severity::Error,
                    "what is here cannot be read, and allows nothing until it is mended".into()
                ),
                (
                    4,
                    Severity::Error,
                    "ext_ports: '1024-x' is no port or range of ports: write 1024 or 1024-65535"
                        .into()
                ),
            ]
        )
    );
}

#[test]
fn a_bad_rule_that_may_deny_denies_everything_in_its_place() {
    let told = "what is here cannot be read, and denies everything until it is mended";
    for (bad, line, text) in [
        ("o int_addr 10.0.0/8", 2, "int_addr: '10.0.0/8' is no network: write it as 192.168.1.0/24 or 2001:db8:1::/64"),
        ("o action refuse", 2, "action: 'refuse' is neither allow nor deny: write one of them"),
        ("l int_ports 1\nl int_ports 2", 2, "int_ports: a rule has one: use option"),
        ("o int_ports \"\u{7}\"", 2, "int_ports: '?' has a control character or line end: remove it"),
        (
            "o descr_filter game",
            2,
            "descr_filter: descriptions cannot be filtered, whoever asks may write any: remove this",
        ),
        ("o action allow\no ext_ports 1 2", 3, "there are words after the value: put quotes around all of it"),
    ] {
        assert_eq!(
            read(&format!("config perm_rule\n{bad}\nconfig perm_rule\no action allow\n")),
            (
                vec![DENY_ALL, PermRule { allow: true, ..DENY_ALL }],
                vec![
                    (1, Severity::Error, told.into()),
                    (line, Severity::Error, text.into()),
                ]
            ),
            "{bad}"
        );
    }
}

#[test]
fn a_section_that_may_have_been_a_rule_denies_everything() {
    for lost in ["config \n", "confg perm_rule\n", "config perm_rule a-b\n"] {
        let (rules, problems) = read(lost);
        assert_eq!(rules, [DENY_ALL], "{lost}");
        assert_eq!((problems[0].0, problems[0].1), (1, Severity::Error), "{lost}");
        let behind = format!("config upnpd config\no port 5001\n{lost}o comment 'deny the rest'\n");
        let (config, problems) = load(behind.as_bytes());
        assert_eq!((config.port, &config.perm_rules[..]), (5001, &[DENY_ALL][..]), "{lost}");
        assert_eq!((problems[0].line, problems[0].severity), (3, Severity::Error), "{lost}");
    }
}

#[test]
fn options_of_a_rule_in_the_main_section_deny_everything() {
    let (config, problems) = load(b"config upnpd config\no port 5001\no action deny\n");
    assert_eq!((config.perm_rules, config.port), (vec![DENY_ALL], 5001));
    assert_eq!(problems[0].text, "action is an option of a rule: put `config perm_rule` above it");
}

#[test]
fn an_unknown_option_of_a_rule_is_warned_about_and_the_rule_stands() {
    assert_eq!(
        read("config perm_rule\no action allow\no colour blue\n"),
        (
            vec![PermRule { allow: true, ..DENY_ALL }],
            vec![(
                3,
                Severity::Warning,
                "colour: nothing is known of this option: mend its name or remove it".into()
            )]
        )
    );
}

/// Whether `rules` let a mapping be made, first match deciding, none allowing.
fn allows(rules: &[PermRule], external: u16, internal: SocketAddrV4) -> bool {
    let matches = |rule: &&PermRule| {
        let (IpAddr::V4(network), length) = rule.internal else { return false };
        let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
        rule.external.contains(&external)
            && rule.internal_ports.contains(&internal.port())
            && u32::from(*internal.ip()) & mask == u32::from(network)
    };
    rules.iter().find(matches).is_none_or(|rule| rule.allow)
}

fn any_rule() -> impl Strategy<Value = String> {
    ("allow|deny", "[0-7]", "[0-7]", "[1-3]|0/0|1/30").prop_map(|(action, from, more, host)| {
        let from: u16 = from.parse().unwrap();
        let to = from + more.parse::<u16>().unwrap();
        let host = if host == "0/0" { "0.0.0.0/0".into() } else { format!("10.0.0.{host}") };
        format!(
            "config perm_rule\n\toption action '{action}'\n\toption ext_ports '{from}-{to}'\n\
             \toption int_addr '{host}'\n"
        )
    })
}

proptest! {
    #[test]
    fn damage_to_any_line_never_allows_what_was_denied(
        rules in prop::collection::vec(any_rule(), 1..5),
        at in any::<prop::sample::Index>(),
        damage in prop::sample::select(vec![
            "x", "config", "config ''", "config perm_rule a-b", "config 'a b'", "config perm_rule a b",
            "confg perm_rule", "option", "option ''", "option int_addr '1", "option action allow deny",
            "\0", "VALUE x", "VALUE 300.0.0.1", "VALUE 2-1", "VALUE 10.0.0.1 10.0.0.2", "VALUE 'a",
        ]),
    ) {
        let whole = rules.concat();
        let mut lines: Vec<String> = whole.lines().map(String::from).collect();
        let line = &mut lines[at.index(rules.len() * 4)];
        *line = match damage.strip_prefix("VALUE") {
            Some(value) => line.split('\'').next().unwrap_or_default().to_string() + value,
            // That would be one rule cut in two, of which each half is whole.
            None if damage.starts_with("config") && !line.starts_with("config") => "x".into(),
            None => damage.into(),
        };
        let (before, _) = read(&whole);
        let (after, _) = read(&(lines.join("\n") + "\n"));
        for external in 0..16 {
            for host in 0..5 {
                let internal = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, host), 80);
                prop_assert!(
                    !allows(&after, external, internal) || allows(&before, external, internal),
                );
            }
        }
    }
}
