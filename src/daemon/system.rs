//! What the kernel tells in files: clocks, device counters and speeds.

use super::leases::Clocks;
use crate::gateway::mapping::Protocol;
use crate::igd::Counters;
use std::fs;
use std::path::Path;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Reads a small file of numbers or words.
fn word(path: impl AsRef<Path>) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}

/// A WAN or LAN device's file below `/sys/class/net`.
fn device_file(device: &str, name: &str) -> Option<String> {
    word(format!("/sys/class/net/{device}/{name}"))
}

/// What has gone through the WAN device since it exists; 0 where nothing is known.
pub fn counters(device: Option<&str>) -> Counters {
    let count = |name: &str| -> u64 {
        device
            .and_then(|device| device_file(device, &format!("statistics/{name}")))
            .and_then(|text| text.parse().ok())
            .unwrap_or(0)
    };
    Counters {
        bytes_sent: count("tx_bytes"),
        bytes_received: count("rx_bytes"),
        packets_sent: count("tx_packets"),
        packets_received: count("rx_packets"),
    }
}

/// Seconds that connection tracking keeps a connection without traffic; for UDP, one that has not
/// been answered.
pub fn timeout(protocol: Protocol) -> Option<u32> {
    let name = match protocol {
        Protocol::Tcp => "tcp_timeout_established",
        Protocol::Udp => "udp_timeout",
    };
    word(format!("/proc/sys/net/netfilter/nf_conntrack_{name}"))?.parse().ok()
}

/// How many connections the kernel tracks.
pub fn flows() -> Option<u32> {
    word("/proc/sys/net/netfilter/nf_conntrack_count")?.parse().ok()
}

/// Whether packets between the ports of a bridge pass the rules of IPv4, too.
pub fn filters_bridges() -> bool {
    word("/proc/sys/net/bridge/bridge-nf-call-iptables").is_some_and(|value| value == "1")
}

/// The device's speed in Mbit/s, if it has one.
pub fn speed(device: &str) -> Option<u32> {
    device_file(device, "speed")?.parse().ok().filter(|&mbit| mbit > 0)
}

/// The device's MAC address as text, if it has one.
pub fn mac(device: &str) -> Option<String> {
    device_file(device, "address").filter(|mac| mac.bytes().any(|b| !matches!(b, b'0' | b':')))
}

/// Seconds since boot, sleep included.
pub fn uptime() -> u64 {
    let text = word("/proc/uptime").unwrap_or_default();
    text.split(['.', ' ']).next().and_then(|seconds| seconds.parse().ok()).unwrap_or(0)
}

/// Seconds since 1970, as far as the router knows.
pub fn unix_time() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

/// All clocks at this moment.
pub fn clocks() -> Clocks {
    Clocks {
        now: Instant::now(),
        boot: word("/proc/sys/kernel/random/boot_id").unwrap_or_default(),
        uptime: uptime(),
        unix: unix_time(),
    }
}

/// Sixteen random bytes, or, without a random device, bytes made of the clocks.
pub fn random() -> [u8; 16] {
    use std::io::Read;
    let mut bytes = [0; 16];
    let read = fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    if read.is_err() {
        bytes[..8].copy_from_slice(&unix_time().to_be_bytes());
        bytes[8..].copy_from_slice(&(u64::from(std::process::id()) ^ uptime()).to_be_bytes());
    }
    bytes
}
