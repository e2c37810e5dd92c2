//! The device trees: which devices and services there are, where they are found, and what SSDP
//! says of them (IGD:1 §2.2, IGD:2 §2.3; UDA 1.1 §1.2.2, §1.3.3).

use super::identity::{Face, Identity};
use crate::proto::ssdp::{Advert, Target};

/// Prefix of every device type.
const DEVICE_TYPE: &str = "urn:schemas-upnp-org:device:";
/// Prefix of every service type.
const SERVICE_TYPE: &str = "urn:schemas-upnp-org:service:";
/// Prefix of every service id.
const SERVICE_ID: &str = "urn:upnp-org:serviceId:";
/// The other name of the connection service: many clients try it too, with the same actions, so
/// searches for it and requests by it are answered by the first face's WANIPConnection. It is
/// never announced and no description lists it, because the WAN need not be PPP.
const PPP_ALIAS: &str = "WANPPPConnection";

/// A device of the tree; its place in [`DEVICES`] gives its UDN.
#[derive(Debug)]
pub struct Device {
    /// Type without prefix and version.
    pub kind: &'static str,
    /// Its services, in the order of the description, as far as they are
    /// [shown](Service::is_shown).
    services: &'static [Service],
}

/// A service: one file each says what it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Layer3Forwarding:1.
    Layer3Forwarding,
    /// WANCommonInterfaceConfig:1.
    WanCommon,
    /// WANIPConnection:1 or :2, by face.
    WanIp,
    /// WANIPv6FirewallControl:1, of the second face.
    WanIpv6Firewall,
}

/// Each device holds the next; both faces have the same three.
pub const DEVICES: [Device; 3] = [
    Device { kind: "InternetGatewayDevice", services: &[Service::Layer3Forwarding] },
    Device { kind: "WANDevice", services: &[Service::WanCommon] },
    Device { kind: CONNECTION_DEVICE, services: &[Service::WanIp, Service::WanIpv6Firewall] },
];
/// The innermost device, which Layer3Forwarding names.
pub const CONNECTION_DEVICE: &str = "WANConnectionDevice";
/// Its place in [`DEVICES`].
pub const CONNECTION_DEVICE_INDEX: u8 = 2;

/// What lies under a service's URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaf {
    /// `SCPDURL`.
    Scpd,
    /// `controlURL`.
    Control,
    /// `eventSubURL`.
    Event,
}

impl Leaf {
    const ALL: [Leaf; 3] = [Leaf::Scpd, Leaf::Control, Leaf::Event];

    const fn name(self) -> &'static str {
        match self {
            Leaf::Scpd => "scpd.xml",
            Leaf::Control => "control",
            Leaf::Event => "event",
        }
    }
}

/// What a URL names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The description of a face.
    Description(Face),
    /// Something of a service.
    Service(Face, Service, Leaf),
}

const DESCRIPTION: &str = "desc.xml";

impl Service {
    /// Every service.
    pub const ALL: [Service; 4] =
        [Service::Layer3Forwarding, Service::WanCommon, Service::WanIp, Service::WanIpv6Firewall];

    /// Whether the tree of this face has it (IGD:2 §2.3).
    pub fn is_shown(self, face: Face, id: &Identity) -> bool {
        self != Service::WanIpv6Firewall || (face == Face::V2 && id.ipv6)
    }

    /// Type without prefix and version.
    pub const fn kind(self) -> &'static str {
        match self {
            Service::Layer3Forwarding => "Layer3Forwarding",
            Service::WanCommon => "WANCommonInterfaceConfig",
            Service::WanIp => "WANIPConnection",
            Service::WanIpv6Firewall => "WANIPv6FirewallControl",
        }
    }

    const fn short_id(self) -> &'static str {
        match self {
            Service::Layer3Forwarding => "L3Forwarding1",
            Service::WanCommon => "WANCommonIFC1",
            Service::WanIp => "WANIPConn1",
            Service::WanIpv6Firewall => "WANIPv6Firewall1",
        }
    }

    const fn folder(self) -> &'static str {
        match self {
            Service::Layer3Forwarding => "l3f",
            Service::WanCommon => "wancommon",
            Service::WanIp => "wanip",
            Service::WanIpv6Firewall => "ipv6firewall",
        }
    }

    /// Newest version on this face.
    pub const fn version(self, face: Face) -> Face {
        match self {
            Service::WanIp => face,
            Service::Layer3Forwarding | Service::WanCommon | Service::WanIpv6Firewall => Face::V1,
        }
    }

    /// `serviceType`, as the description of this face has it.
    pub fn urn(self, face: Face) -> String {
        [SERVICE_TYPE, self.kind(), ":", self.version(face).digit()].concat()
    }

    /// `serviceId`.
    pub fn id(self) -> String {
        [SERVICE_ID, self.short_id()].concat()
    }

    /// Path of a URL of this service.
    pub fn path(self, face: Face, leaf: Leaf) -> String {
        ["/igd", face.digit(), "/", self.folder(), "/", leaf.name()].concat()
    }

    /// The version a request means that names this service type at this service's URL: any version
    /// up to the face's own. `None`: it is another service's type.
    pub fn asked(self, face: Face, urn: &str) -> Option<Face> {
        let (kind, version) = urn.strip_prefix(SERVICE_TYPE)?.rsplit_once(':')?;
        let known = kind == self.kind()
            || (self == Service::WanIp && kind == PPP_ALIAS && version == Face::V1.digit());
        let newest = self.version(face);
        Face::ALL.into_iter().find(|v| known && *v <= newest && v.digit() == version)
    }
}

impl Place {
    /// Whether there is such a place in this router's trees.
    pub fn is_shown(self, id: &Identity) -> bool {
        match self {
            Place::Description(_) => true,
            Place::Service(face, service, _) => service.is_shown(face, id),
        }
    }
}

impl Device {
    /// Its services on this face, in the order of the description.
    pub fn services<'a>(&self, face: Face, id: &'a Identity) -> impl Iterator<Item = Service> + 'a {
        self.services.iter().copied().filter(move |service| service.is_shown(face, id))
    }

    /// `deviceType` on this face.
    pub fn urn(&self, face: Face) -> String {
        [DEVICE_TYPE, self.kind, ":", face.digit()].concat()
    }
}

/// Path of a face's description.
pub fn description_path(face: Face) -> String {
    ["/igd", face.digit(), "/", DESCRIPTION].concat()
}

/// What a path names. Doubled slashes, a missing first one and a query are overlooked.
pub fn find(path: &str) -> Option<Place> {
    let path = path.split(['?', '#']).next()?;
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    let digit = parts.next()?.strip_prefix("igd")?;
    let face = Face::ALL.into_iter().find(|f| f.digit() == digit)?;
    let folder = parts.next()?;
    let place = match parts.next() {
        None if folder == DESCRIPTION => Place::Description(face),
        None => return None,
        Some(leaf) => Place::Service(
            face,
            Service::ALL.into_iter().find(|s| s.folder() == folder)?,
            Leaf::ALL.into_iter().find(|l| l.name() == leaf)?,
        ),
    };
    parts.next().is_none().then_some(place)
}

/// Everything a face announces: 3 for the root device, 2 for each device in it, 1 for each
/// service (UDA 1.1 tables 1-1 to 1-3). `base` is `http://address:port`, without a slash.
pub fn adverts(face: Face, id: &Identity, base: &str) -> Vec<Advert> {
    let mut out = vec![advert(face, id, base, 0, "upnp:rootdevice".into())];
    for (index, device) in (0u8..).zip(&DEVICES) {
        out.push(advert(face, id, base, index, id.udn(face, index)));
        out.push(advert(face, id, base, index, device.urn(face)));
        for service in device.services(face, id) {
            out.push(advert(face, id, base, index, service.urn(face)));
        }
    }
    out
}

/// The answers to a search (UDA 1.1 §1.3.3).
///
/// - `ssdp:all` and `upnp:rootdevice`: from the face shown to the undecided.
/// - a UDN: from the face that has it.
/// - a type: from the first face that has it. The first also answers for
///   `WANPPPConnection:1`, whose actions its connection service takes.
/// - anything else: none.
pub fn answers(target: &Target<'_>, id: &Identity, base: &str) -> Vec<Advert> {
    let all_of = |face| adverts(face, id, base).into_iter();
    match *target {
        Target::All => all_of(id.undecided).collect(),
        Target::RootDevice => all_of(id.undecided).take(1).collect(),
        // ST is the target as it was searched, USN the device's own spelling.
        Target::Uuid(uuid) => Face::ALL
            .into_iter()
            .flat_map(all_of)
            .filter(|a| a.kind.eq_ignore_ascii_case(uuid))
            .map(|a| Advert { kind: uuid.to_owned(), ..a })
            .collect(),
        Target::Type(urn) => {
            let alias = [SERVICE_TYPE, PPP_ALIAS, ":", Face::V1.digit()].concat();
            if urn == alias {
                return vec![advert(Face::V1, id, base, CONNECTION_DEVICE_INDEX, alias)];
            }
            let of = |face| all_of(face).find(|advert| advert.kind == urn);
            Face::ALL.into_iter().find_map(of).into_iter().collect()
        }
    }
}

fn advert(face: Face, id: &Identity, base: &str, device: u8, kind: String) -> Advert {
    let udn = id.udn(face, device);
    let usn = if kind == udn { udn } else { [&udn, "::", &kind].concat() };
    Advert { kind, usn, location: [base, &description_path(face)].concat() }
}

#[cfg(test)]
mod tests;
