//! The firewall that each design runs behind: the tests' fw4, as the packages complete it.

use super::clients::{external, internal};
use crate::world::{World, ALICE, FIREWALL};

/// What the tests' firewall has for Postern.
const SIGNAL: &str = "ct label 127 accept comment \"postern: mapped flows\"";
const DSTNAT: &str = "type nat hook prerouting priority dstnat; policy accept;";
const SRCNAT: &str = "oifname \"wan\" jump srcnat_wan";
const TABLE: &str = "table inet fw4 {";
/// A limit on new connections to the router that one busy client would run into.
const FLOOD: &str = "tcp flags & (fin | syn | rst | ack) == syn jump syn_flood";

/// Puts `new` where `old` is, which must be there once.
fn put(text: &str, old: &str, new: &str) -> String {
    assert_eq!(text.matches(old).count(), 1, "the tests' firewall has changed: {old}");
    text.replace(old, new)
}

fn load(world: &World, text: &str) {
    world.firewall_stop();
    world.nft(&put(text, FLOOD, ""));
}

/// Postern's: one static line in `forward`.
pub fn postern(world: &World) {
    load(world, FIREWALL);
}

/// miniupnpd's: three chains, and a jump to each at the end of a chain of fw4.
pub fn miniupnpd(world: &World) {
    let text = put(FIREWALL, SIGNAL, "jump upnp_forward");
    let text = put(&text, DSTNAT, &format!("{DSTNAT}\n\t\tjump upnp_prerouting"));
    let text = put(&text, SRCNAT, &format!("{SRCNAT}\n\t\tjump upnp_postrouting"));
    let chains =
        "\n\tchain upnp_forward {}\n\tchain upnp_prerouting {}\n\tchain upnp_postrouting {}";
    load(world, &put(&text, TABLE, &format!("{TABLE}{chains}")));
}

/// No daemon, one port forward as fw4 renders it: mapping 1.
pub fn one_redirect(world: &World) {
    let (from, to) = (external(1), internal(1));
    let redirect = format!(
        "\n\tchain dstnat_wan {{\n\t\tmeta nfproto ipv4 udp dport {from} counter dnat ip to \
         {ALICE}:{to}\n\t}}"
    );
    let text = put(FIREWALL, SIGNAL, "");
    let text = put(&text, DSTNAT, &format!("{DSTNAT}\n\t\tiifname \"wan\" jump dstnat_wan"));
    let text = put(
        &text,
        "oifname \"wan\" counter drop",
        "ct status dnat accept\n\t\toifname \"wan\" counter drop",
    );
    load(world, &put(&text, TABLE, &format!("{TABLE}{redirect}")));
}
