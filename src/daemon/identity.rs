//! What this router says it is, and what of that must stay the same over restarts.

use super::system;
use crate::config::options::Config;
use crate::igd::{Face, Identity};

/// Sixteen bytes that name this router: from the configuration, from an earlier run, from the
/// first LAN device's MAC address, or random.
pub fn uuid(config: &Config, saved: Option<[u8; 16]>) -> [u8; 16] {
    let from_mac = || {
        let mac = system::mac(config.internal_device.first()?.as_str())?;
        Some(as_uuid(fnv128(mac.as_bytes())))
    };
    config
        .uuid
        .as_ref()
        .map(|uuid| uuid.0)
        .or(saved)
        .or_else(from_mac)
        .unwrap_or_else(|| as_uuid(system::random()))
}

/// Marks bytes as an RFC 9562 version 8 (custom) UUID.
fn as_uuid(mut bytes: [u8; 16]) -> [u8; 16] {
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    bytes
}

/// FNV-1a, 128 bits: no secret, only spread evenly.
fn fnv128(bytes: &[u8]) -> [u8; 16] {
    let mut hash = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128;
    for &byte in bytes {
        hash = (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
    }
    hash.to_be_bytes()
}

/// The description's words.
pub fn identity(config: &Config, uuid: [u8; 16]) -> Identity {
    let or = |value: &Option<String>, default: &str| value.as_deref().unwrap_or(default).to_owned();
    Identity {
        uuid,
        friendly_name: or(&config.friendly_name, "Postern router"),
        model_number: or(&config.model_number, env!("CARGO_PKG_VERSION")),
        serial_number: or(&config.serial_number, "1"),
        presentation_url: config.presentation_url.clone(),
        // Old consoles and Windows stop at a description they do not know (conformance 276):
        // only an explicit 0 shows the newer face to those who did not ask for a version.
        undecided: if config.igdv1 == Some(false) { Face::V2 } else { Face::V1 },
        ipv6: !config.ipv6_disable,
        ..Identity::default()
    }
}

/// CONFIGID.UPNP.ORG: changes whenever what is described changes. 0..=16777215 (UDA 1.1 §1.2.2).
pub fn config_id(description: &[u8]) -> u32 {
    let hash = fnv128(description);
    u32::from_be_bytes([0, hash[13], hash[14], hash[15]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configured_uuid_wins_over_a_saved_one() {
        let mut config = Config::default();
        assert_eq!(uuid(&config, Some([7; 16])), [7; 16]);
        config.uuid = Some(crate::config::options::Uuid([9; 16]));
        assert_eq!(uuid(&config, Some([7; 16])), [9; 16]);
    }

    #[test]
    fn the_hash_is_fnv_1a_and_the_config_id_fits_24_bits() {
        let want = 0xd228_cb69_6f1a_8caf_7891_2b70_4e4a_8964_u128;
        assert_eq!(fnv128(b"a"), want.to_be_bytes());
        assert!(config_id(b"a") < 1 << 24);
        assert_ne!(config_id(b"a"), config_id(b"b"));
        assert_eq!(as_uuid([0xff; 16])[6..9], [0x8f, 0xff, 0xbf]);
    }
}
