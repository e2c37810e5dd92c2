//! How the words of an option's value are read. An `Err` says what is wrong and what to do.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

/// Longest text taken over into descriptions and file names, in bytes.
pub(super) const TEXT_MAX: usize = 255;

/// Most of a wrong value that is shown, in characters.
const SHOWN_MAX: usize = 40;

/// A wrong value as it is shown: quoted, cut, without control characters.
pub(super) fn shown(value: &str) -> String {
    let visible = value.chars().map(|c| if c.is_control() { '?' } else { c });
    let mut out = String::from("'");
    out.extend(visible.take(SHOWN_MAX));
    out.push_str(if value.chars().nth(SHOWN_MAX).is_some() { "…'" } else { "'" });
    out
}

/// The words of OpenWrt's `get_bool`; `None` for any other.
pub(super) fn flag(word: &str) -> Option<bool> {
    match word {
        "1" | "on" | "true" | "yes" | "enabled" => Some(true),
        "0" | "off" | "false" | "no" | "disabled" => Some(false),
        _ => None,
    }
}

/// A decimal number of `range`.
pub(super) fn number(word: &str, range: RangeInclusive<u32>) -> Result<u32, String> {
    let number = word.parse::<u32>().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| {
        let (from, to) = (range.start().to_string(), range.end().to_string());
        [&shown(word), " is not a number from ", &from, " to ", &to, ": mend it"].concat()
    })
}

/// A decimal number from `least` to 65535.
pub(super) fn short(word: &str, least: u16) -> Result<u16, String> {
    let number = number(word, u32::from(least)..=u32::from(u16::MAX))?;
    Ok(u16::try_from(number).unwrap_or(u16::MAX))
}

/// Up to 32 bits, not 0: decimal that begins with no 0, or `0x` and up to eight digits. No other
/// spelling, because the script that puts the firewall's line in place must read the same.
pub(super) fn mask(word: &str) -> Result<u32, String> {
    let digits = word.strip_prefix("0x").or_else(|| word.strip_prefix("0X"));
    let mask = match digits {
        Some(digits) if digits.len() <= 8 && !digits.starts_with('+') => {
            u32::from_str_radix(digits, 16).ok()
        }
        None if !word.starts_with(['0', '+']) => word.parse().ok(),
        _ => None,
    };
    match mask {
        Some(mask) if mask != 0 => Ok(mask),
        _ => Err([&shown(word), " is no mark: write one like 0x40000000, not 0"].concat()),
    }
}

/// A literal IPv4 address.
pub(super) fn ipv4(word: &str) -> Result<Ipv4Addr, String> {
    word.parse().map_err(|_| [&shown(word), " is no IPv4 address: write it as 192.0.2.1"].concat())
}

/// `x`, `x-y` or `x:y`, each 0 to 65535, `x` not above `y`.
pub(super) fn ports(word: &str) -> Result<RangeInclusive<u16>, String> {
    let (from, to) = word.split_once(['-', ':']).unwrap_or((word, word));
    match (from.parse::<u16>(), to.parse::<u16>()) {
        (Ok(from), Ok(to)) if from <= to => Ok(from..=to),
        _ => {
            Err([&shown(word), " is no port or range of ports: write 1024 or 1024-65535"].concat())
        }
    }
}

/// `address`, `address/length` or, for IPv4, `address/mask` as network address and prefix length.
pub(super) fn network(word: &str) -> Result<(IpAddr, u8), String> {
    let (address, length) = word.split_once('/').map_or((word, None), |(a, l)| (a, Some(l)));
    let network = match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => length.map_or(Some(32), prefix_len).map(|length| {
            let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
            (Ipv4Addr::from(u32::from(address) & mask).into(), length)
        }),
        Ok(IpAddr::V6(address)) => {
            let length = length.map_or(Some(128), |word| word.parse().ok());
            length.filter(|&length| length <= 128).map(|length| {
                let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
                (Ipv6Addr::from(u128::from(address) & mask).into(), length)
            })
        }
        Err(_) => None,
    };
    network.ok_or_else(|| {
        let text = " is no network: write it as 192.168.1.0/24 or 2001:db8:1::/64";
        [&shown(word), text].concat()
    })
}

/// 0 to 32, or a mask of that many leading ones.
fn prefix_len(word: &str) -> Option<u8> {
    if let Ok(mask) = word.parse::<Ipv4Addr>() {
        let ones = u32::from(mask).leading_ones();
        return (u32::from(mask).count_ones() == ones).then_some(ones as u8);
    }
    word.parse().ok().filter(|&length| length <= 32)
}

/// Text for people and machines: UTF-8 of at most [`TEXT_MAX`] bytes without control characters.
pub(super) fn text(bytes: &[u8]) -> Result<&str, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "this is not UTF-8: write it anew")?;
    if text.len() > TEXT_MAX {
        return Err("this is longer than 255 bytes: shorten it".into());
    }
    if text.contains(char::is_control) {
        return Err([&shown(text), " has a control character or line end: remove it"].concat());
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn booleans_are_those_of_openwrt_and_no_others() {
        for word in ["1", "on", "true", "yes", "enabled"] {
            assert_eq!(flag(word), Some(true));
        }
        for word in ["0", "off", "false", "no", "disabled"] {
            assert_eq!(flag(word), Some(false));
        }
        for word in ["", "2", "On", "TRUE", "y", "enable"] {
            assert_eq!(flag(word), None);
        }
    }

    #[test]
    fn ports_are_one_or_a_range_with_either_separator() {
        assert_eq!(ports("22"), Ok(22..=22));
        assert_eq!(ports("0-65535"), Ok(0..=65535));
        assert_eq!(ports("1024:2048"), Ok(1024..=2048));
        for word in ["", "-", "1-", "-1", "2-1", "65536", "1-2-3", "1, 2", "http"] {
            assert!(ports(word).is_err(), "{word}");
        }
    }

    #[test]
    fn a_network_is_an_address_with_length_or_mask_and_loses_its_host_bits() {
        let net = |a, b, c, d, length| Ok((Ipv4Addr::new(a, b, c, d).into(), length));
        assert_eq!(network("192.168.1.7"), net(192, 168, 1, 7, 32));
        assert_eq!(network("192.168.1.7/24"), net(192, 168, 1, 0, 24));
        assert_eq!(network("192.168.1.7/255.255.0.0"), net(192, 168, 0, 0, 16));
        assert_eq!(network("10.0.0.1/0"), net(0, 0, 0, 0, 0));
        let net6 = |text: &str, length| Ok((text.parse::<IpAddr>().unwrap(), length));
        assert_eq!(network("2001:db8:1::7"), net6("2001:db8:1::7", 128));
        assert_eq!(network("2001:db8:1::7/64"), net6("2001:db8:1::", 64));
        assert_eq!(network("2001:db8::/0"), net6("::", 0));
        for word in [
            "",
            "/",
            "10/8",
            "10.0.0.0/33",
            "10.0.0.0/255.0.255.0",
            "fd00::1/129",
            "fd00::/ffff::",
            "10.0.0.0/",
        ] {
            assert!(network(word).is_err(), "{word}");
        }
    }

    #[test]
    fn a_mark_is_decimal_or_hexadecimal_and_not_0() {
        assert_eq!(mask("0x40000000"), Ok(0x4000_0000));
        assert_eq!(mask("0XFF"), Ok(255));
        assert_eq!(mask("4294967295"), Ok(u32::MAX));
        let other = ["010", "+5", "0x+5", "0x000000010", "0x0000000001"];
        for word in
            ["", "0", "0x0", "0x", "0x100000000", "4294967296", "-1", "bit"].iter().chain(&other)
        {
            assert!(mask(word).is_err(), "{word}");
        }
    }

    #[test]
    fn numbers_out_of_range_are_refused_with_the_range() {
        assert_eq!(short("65535", 1), Ok(65535));
        assert_eq!(short("0", 1), Err("'0' is not a number from 1 to 65535: mend it".into()));
        assert!(short("65536", 0).is_err());
    }

    #[test]
    fn wrong_values_are_shown_short_and_on_one_line() {
        assert_eq!(shown("a\nb\u{1b}[1m"), "'a?b?[1m'");
        assert_eq!(shown(&"é".repeat(50)), format!("'{}…'", "é".repeat(40)));
        assert_eq!(shown(&"é".repeat(40)), format!("'{}'", "é".repeat(40)));
    }

    #[test]
    fn text_is_short_utf8_without_control_characters() {
        assert_eq!(text("Zoë's".as_bytes()), Ok("Zoë's"));
        assert!(text(b"\xff").is_err());
        assert!(text(b"a\nb").is_err());
        assert!(text(&[b'a'; TEXT_MAX + 1]).is_err());
    }

    proptest! {
        #[test]
        fn no_word_panics(word in "\\PC{0,60}|[-0-9./:x]{0,20}") {
            let _ = (number(&word, 1..=9), short(&word, 1), mask(&word), ipv4(&word));
            let _ = (ports(&word), network(&word), text(word.as_bytes()), shown(&word));
        }
    }
}
