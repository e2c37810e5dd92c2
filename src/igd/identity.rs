//! What the router says it is, and the limits of those words (UDA 1.1 §2.3).

/// One of the two device trees that are served side by side, because no single one suits every
/// client: some stop at an IGD:2 description, others accept nothing else. Also the version of a
/// service type, which decides the rules and codes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Face {
    /// InternetGatewayDevice:1 with WANIPConnection:1.
    V1,
    /// InternetGatewayDevice:2 with WANIPConnection:2.
    V2,
}

impl Face {
    /// Both.
    pub const ALL: [Face; 2] = [Face::V1, Face::V2];

    /// The version as it ends a type: `1` or `2`.
    pub const fn digit(self) -> &'static str {
        match self {
            Face::V1 => "1",
            Face::V2 => "2",
        }
    }
}

/// Longest `friendlyName`, `manufacturer` and `serialNumber`, in characters.
pub const NAME_MAX: usize = 63;
/// Longest `modelName` and `modelNumber`, in characters.
pub const MODEL_MAX: usize = 31;
/// Longest URL in a description, in bytes. A longer one is left out: a part of it is of no use.
pub const URL_MAX: usize = 256;

/// The words of the description. Any string is right here: what is too long is cut, and what is
/// empty and optional is left out, when the description is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Seed of every UDN; itself the UDN of the first face's root device.
    pub uuid: [u8; 16],
    /// What a person sees.
    pub friendly_name: String,
    /// Who made it.
    pub manufacturer: String,
    /// Where they are to be found.
    pub manufacturer_url: String,
    /// One sentence on the model.
    pub model_description: String,
    /// Name of the model.
    pub model_name: String,
    /// Its version.
    pub model_number: String,
    /// Where more is said about it.
    pub model_url: String,
    /// Serial number.
    pub serial_number: String,
    /// The router's own pages.
    pub presentation_url: Option<String>,
    /// The face shown to a search that names no version (`ssdp:all`, `upnp:rootdevice`).
    pub undecided: Face,
    /// IPv6 is served: the second face has WANIPv6FirewallControl.
    pub ipv6: bool,
    /// `product/version`, for `SERVER` headers.
    pub product: String,
}

impl Default for Identity {
    fn default() -> Self {
        Identity {
            uuid: [0; 16],
            friendly_name: "Postern router".into(),
            manufacturer: "Postern".into(),
            manufacturer_url: String::new(),
            model_description: "Internet gateway".into(),
            model_name: "Postern".into(),
            model_number: env!("CARGO_PKG_VERSION").into(),
            model_url: String::new(),
            serial_number: String::new(),
            presentation_url: None,
            undecided: Face::V1,
            ipv6: true,
            product: concat!("Postern/", env!("CARGO_PKG_VERSION")).into(),
        }
    }
}

impl Identity {
    /// The `UDN` of one device: `uuid:` and RFC 9562 text.
    ///
    /// Six devices, one seed: the last byte grows by `device` (0 the root, 1, 2, wrapping), and
    /// the second face has every bit of the last but one inverted.
    pub fn udn(&self, face: Face, device: u8) -> String {
        let mut bytes = self.uuid;
        bytes[15] = bytes[15].wrapping_add(device);
        if face == Face::V2 {
            bytes[14] = !bytes[14];
        }
        uuid_text(bytes)
    }
}

/// `uuid:` and RFC 9562 text.
pub(super) fn uuid_text(bytes: [u8; 16]) -> String {
    let mut out = String::from("uuid:");
    for (at, byte) in bytes.into_iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            out.push('-');
        }
        for nibble in [byte >> 4, byte & 15] {
            out.extend(char::from_digit(nibble.into(), 16));
        }
    }
    out
}

/// `text` without surrounding space, cut to `max` characters.
pub(super) fn cut(text: &str, max: usize) -> String {
    text.trim().chars().take(max).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_udns_are_distinct_and_stable_item_33() {
        let mut seed = [0x11; 16];
        seed[15] = 0xff;
        let identity = Identity { uuid: seed, ..Identity::default() };
        let udns: Vec<String> = Face::ALL
            .into_iter()
            .flat_map(|face| (0..3).map(move |device| (face, device)))
            .map(|(face, device)| identity.udn(face, device))
            .collect();
        assert_eq!(
            udns,
            [
                "uuid:11111111-1111-1111-1111-1111111111ff",
                "uuid:11111111-1111-1111-1111-111111111100",
                "uuid:11111111-1111-1111-1111-111111111101",
                "uuid:11111111-1111-1111-1111-11111111eeff",
                "uuid:11111111-1111-1111-1111-11111111ee00",
                "uuid:11111111-1111-1111-1111-11111111ee01",
            ]
        );
    }
}
