//! Whether a request is meant for this router: the guard against DNS rebinding, where a browser is
//! led to send a page's requests to a LAN address under the page's own name.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Whether `host` (see [`Request::host`](super::Request::host)) is the address the connection came
/// in on, or one of `names`; with a port, it is the right one.
///
/// `None` does not pass. HTTP/1.0 may do without, and the caller may let it: no browser speaks that.
pub fn host_allowed(host: Option<&str>, local: SocketAddr, names: &[&str]) -> bool {
    let Some(host) = host else { return false };
    let Some((name, port)) = split(host) else {
        return false;
    };
    if port.is_some_and(|port| port != local.port()) {
        return false;
    }
    match literal(name) {
        Some(address) => address == local.ip().to_canonical(),
        None => names.iter().any(|known| known.eq_ignore_ascii_case(name)),
    }
}

/// `name`, `name:port`, `[v6]` or `[v6]:port`, the brackets kept. `None` for a bad port.
fn split(host: &str) -> Option<(&str, Option<u16>)> {
    let after_brackets = host.find(']').map_or(0, |at| at + 1);
    let colon = host.get(after_brackets..)?.find(':').map(|at| at + after_brackets);
    let Some(colon) = colon else {
        return Some((host, None));
    };
    let port = host.get(colon + 1..)?;
    // u16's own parser would take a sign.
    if !port.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some((host.get(..colon)?, Some(port.parse().ok()?)))
}

/// The address, if it is one. A zone (RFC 6874) says nothing about which host is meant.
fn literal(name: &str) -> Option<IpAddr> {
    let Some(inner) = name.strip_prefix('[') else {
        return name.parse().ok();
    };
    let inner = inner.strip_suffix(']')?;
    let address = inner.split('%').next()?.parse::<Ipv6Addr>().ok()?;
    Some(IpAddr::V6(address).to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn item_259_only_our_own_names_are_answered() {
        let v4: SocketAddr = "192.168.1.1:5000".parse().unwrap();
        let v6: SocketAddr = "[fe80::1]:5000".parse().unwrap();
        let mapped: SocketAddr = "[::ffff:192.168.1.1]:5000".parse().unwrap();
        let names = ["OpenWrt.lan"];
        for (local, host) in [
            (v4, "192.168.1.1:5000"),
            (v4, "192.168.1.1"),
            (v4, "192.168.1.1:05000"),
            (v4, "openwrt.LAN:5000"),
            (v4, "openwrt.lan"),
            (v6, "[FE80::1]:5000"),
            (v6, "[fe80:0::1%25eth0]"),
            (mapped, "192.168.1.1:5000"),
            (v4, "[::ffff:192.168.1.1]:5000"),
        ] {
            assert!(host_allowed(Some(host), local, &names), "{host}");
        }
        for (local, host) in [
            (v4, "9.9.9.9:5000"),
            (v4, "192.168.1.1:80"),
            (v4, "192.168.1.1:"),
            (v4, "192.168.1.1:+5000"),
            (v4, "192.168.1.1:5000:5000"),
            (v4, "a@192.168.1.1:5000"),
            (v4, "192.168.001.1:5000"),
            (v4, "evil.example:5000"),
            (v4, "openwrt.lan:80"),
            (v4, ""),
            (v6, "fe80::1"),
            (v6, "[fe80::1"),
            (v6, "[fe80::1]x"),
            (v6, "[fe80::2]:5000"),
        ] {
            assert!(!host_allowed(Some(host), local, &names), "{host}");
        }
        assert!(!host_allowed(None, v4, &names));
    }

    proptest! {
        #[test]
        fn no_host_makes_the_check_panic(host in ".{0,20}") {
            host_allowed(Some(&host), "[::1]:1".parse().unwrap(), &["a"]);
        }
    }
}
