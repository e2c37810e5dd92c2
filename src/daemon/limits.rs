//! The README's table of what a LAN host could fill says what the code does.

use super::{http, lan, notify, ssdp, ubus};
use crate::gateway::{
    guard, holds, mapping, policy, PINHOLES_MAX, PINHOLES_PER_ADDRESS, REMOTES_MAX,
};
use crate::igd::{self, subscriptions as subs};
use crate::proto::{http as head, pcp, soap, ssdp as search, xml};
use std::time::Duration;

fn kib(bytes: usize) -> String {
    assert_eq!(bytes % 1024, 0);
    format!("{} KiB", bytes / 1024)
}

fn seconds(time: Duration) -> String {
    format!("{} s", time.as_secs())
}

/// The beginnings of rows: what is limited, and the limit.
fn rows() -> Vec<String> {
    let per_minute = policy::NEW_PER_MINUTE_DEFAULT;
    vec![
        format!(
            "mappings in all, of one host | {}, {} (options)",
            policy::MAPPINGS_DEFAULT,
            policy::MAPPINGS_PER_HOST_DEFAULT
        ),
        format!("pinholes in all, of one address | {PINHOLES_MAX}, {PINHOLES_PER_ADDRESS}"),
        format!("mappings and pinholes made anew by one host in a minute | {per_minute} (option)"),
        format!("PCP filters of one mapping, in all of a family | 16, {}", guard::FILTERS_MAX),
        format!(
            "ports given up that are kept for their hosts: in all, of one host | {}, {}; ",
            holds::HOLDS_MAX,
            holds::HOLDS_PER_HOST
        ),
        format!("PCP message | {} bytes", pcp::MESSAGE_MAX),
        format!(
            "subscriptions in all, over IPv6, of one host | {}, {}, {}",
            subs::SUBSCRIPTIONS_MAX,
            subs::SUBSCRIPTIONS_V6_MAX,
            subs::SUBSCRIPTIONS_PER_HOST
        ),
        format!("time for one event to be taken | {}; ", seconds(notify::NOTIFY_TIME)),
        format!("description | {} bytes", mapping::DESCRIPTION_MAX),
        format!(
            "connections in all, over IPv6, of one host | {}, {}, {}",
            http::CONNECTIONS_MAX,
            http::CONNECTIONS_V6_MAX,
            http::CONNECTIONS_PER_HOST
        ),
        format!(
            "bytes of requests and answers that all connections hold | {}",
            kib(http::HELD_MAX)
        ),
        format!(
            "request head, header lines, target, body | {}, {}, {}, {}",
            kib(head::HEAD_MAX),
            head::HEADERS_MAX,
            kib(head::TARGET_MAX),
            kib(head::BODY_MAX)
        ),
        format!(
            "time for a head, a request, an answer | {}, {}, {}",
            seconds(http::HEAD_TIME),
            seconds(http::REQUEST_TIME),
            seconds(http::ANSWER_TIME)
        ),
        format!("requests on one connection | {}", http::REQUESTS_PER_CONNECTION),
        format!("remote hosts of one external port | {REMOTES_MAX}"),
        format!(
            "XML depth, nodes, namespaces; SOAP arguments, length of one | {}, {}, {}; {}, {}",
            xml::DEPTH_MAX,
            xml::NODES_MAX,
            xml::DECLARATIONS_MAX,
            soap::ARGUMENTS_MAX,
            kib(soap::VALUE_MAX)
        ),
        format!("one piece of a list of mappings in memory | {}", kib(igd::PIECE_LEN)),
        format!(
            "SSDP answers per source, in all, over IPv6 of these | {} at once then {}/s, {} then {}/s, \
             {} then {}/s",
            search::SOURCE_BURST,
            search::SOURCE_PER_SECOND,
            search::TOTAL_BURST,
            search::TOTAL_PER_SECOND,
            search::TOTAL_V6_BURST,
            search::TOTAL_V6_PER_SECOND
        ),
        format!("SSDP answers waiting for their moment | {}", ssdp::ANSWERS_WAITING_MAX),
        format!("LAN addresses served, IPv4 first | {}", lan::LANS_MAX),
        format!(
            "events that wait for ubus; rows in one answer there | {}",
            ubus::events::EVENTS_MAX
        ),
    ]
}

#[test]
fn the_readme_states_the_limits_that_there_are() {
    let readme = include_str!("../../README.md");
    let missing: Vec<String> =
        rows().into_iter().filter(|row| !readme.contains(&format!("\n| {row}"))).collect();
    assert_eq!(missing, [""; 0], "the README's table says otherwise");
}
