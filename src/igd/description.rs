//! Device descriptions (UDA 1.1 §2.3).
//!
//! One line, no prefixes, no `URLBase`: some clients search it as text. WANCommonInterfaceConfig
//! comes before WANConnectionDevice, whose first service is WANIPConnection.

use super::identity::{cut, Face, Identity, MODEL_MAX, NAME_MAX, URL_MAX};
use super::tree::{Leaf, Service, DEVICES};
use crate::proto::xml::{close, element, open};

/// The description of a face.
pub fn write(id: &Identity, face: Face) -> String {
    let mut out = String::from(
        "<?xml version=\"1.0\"?>\r\n<root xmlns=\"urn:schemas-upnp-org:device-1-0\">\
         <specVersion><major>1</major><minor>",
    );
    // The minor number of the architecture each generation was written for.
    out.push_str(match face {
        Face::V1 => "0",
        Face::V2 => "1",
    });
    out.push_str("</minor></specVersion>");
    for (index, device) in (0u8..).zip(&DEVICES) {
        if index > 0 {
            open(&mut out, "deviceList");
        }
        open(&mut out, "device");
        element(&mut out, "deviceType", &device.urn(face));
        write_words(&mut out, id, if index == 0 { &id.friendly_name } else { device.kind });
        element(&mut out, "UDN", &id.udn(face, index));
        open(&mut out, "serviceList");
        for service in device.services(face, id) {
            write_service(&mut out, service, face);
        }
        close(&mut out, "serviceList");
    }
    for index in (0..DEVICES.len()).rev() {
        if index == 0 {
            optional(&mut out, "presentationURL", url(id.presentation_url.as_deref()));
        }
        close(&mut out, "device");
        if index > 0 {
            close(&mut out, "deviceList");
        }
    }
    out.push_str("</root>\r\n");
    out
}

fn write_words(out: &mut String, id: &Identity, friendly_name: &str) {
    element(out, "friendlyName", &cut(friendly_name, NAME_MAX));
    element(out, "manufacturer", &cut(&id.manufacturer, NAME_MAX));
    optional(out, "manufacturerURL", url(Some(&id.manufacturer_url)));
    optional(out, "modelDescription", &cut(&id.model_description, NAME_MAX));
    element(out, "modelName", &cut(&id.model_name, MODEL_MAX));
    optional(out, "modelNumber", &cut(&id.model_number, MODEL_MAX));
    optional(out, "modelURL", url(Some(&id.model_url)));
    optional(out, "serialNumber", &cut(&id.serial_number, NAME_MAX));
}

fn write_service(out: &mut String, service: Service, face: Face) {
    open(out, "service");
    element(out, "serviceType", &service.urn(face));
    element(out, "serviceId", &service.id());
    element(out, "SCPDURL", &service.path(face, Leaf::Scpd));
    element(out, "controlURL", &service.path(face, Leaf::Control));
    element(out, "eventSubURL", &service.path(face, Leaf::Event));
    close(out, "service");
}

fn url(url: Option<&str>) -> &str {
    url.map(str::trim).filter(|url| url.len() <= URL_MAX).unwrap_or_default()
}

fn optional(out: &mut String, name: &str, value: &str) {
    if !value.is_empty() {
        element(out, name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::xml;

    /// The text of every element of this name.
    fn all(description: &str, name: &str) -> Vec<String> {
        xml::with_root(description.as_bytes(), |root| {
            root.descendants().filter(|n| n.tag_name().name() == name).map(xml::text).collect()
        })
        .unwrap()
    }

    #[test]
    fn each_face_shows_its_tree_items_32_37_44_45_90_91() {
        let id = Identity {
            ipv6: false,
            presentation_url: Some("http://r/?a&b".into()),
            ..Identity::default()
        };
        for face in Face::ALL {
            let text = write(&id, face);
            let v = face.digit();
            assert!(text.len() <= 5 * 1024, "{}", text.len());
            let kinds = ["InternetGatewayDevice", "WANDevice", "WANConnectionDevice"];
            assert_eq!(
                all(&text, "deviceType"),
                kinds.map(|kind| format!("urn:schemas-upnp-org:device:{kind}:{v}"))
            );
            let with_ipv6 = write(&Identity { ipv6: true, ..id.clone() }, face);
            let last = all(&with_ipv6, "serviceType").pop();
            let firewall = "urn:schemas-upnp-org:service:WANIPv6FirewallControl:1";
            assert_eq!(last.as_deref() == Some(firewall), face == Face::V2);
            assert_eq!(
                all(&text, "serviceType"),
                [
                    "urn:schemas-upnp-org:service:Layer3Forwarding:1".to_owned(),
                    "urn:schemas-upnp-org:service:WANCommonInterfaceConfig:1".to_owned(),
                    format!("urn:schemas-upnp-org:service:WANIPConnection:{v}"),
                ]
            );
            assert_eq!(
                all(&text, "serviceId"),
                ["L3Forwarding1", "WANCommonIFC1", "WANIPConn1"]
                    .map(|id| format!("urn:upnp-org:serviceId:{id}"))
            );
            assert_eq!(all(&text, "UDN"), [0, 1, 2].map(|device| id.udn(face, device)));
            assert_eq!(all(&text, "eventSubURL")[2], format!("/igd{v}/wanip/event"));
            assert_eq!(all(&text, "major"), ["1"]);
            assert_eq!(all(&text, "presentationURL"), ["http://r/?a&b"]);
            assert!(!text.contains("URLBase") && !text.contains("<!"));
        }
    }

    #[test]
    fn words_are_cut_to_their_limits_and_escaped_item_35() {
        let id = Identity {
            friendly_name: "<é>".repeat(40),
            manufacturer: "m".repeat(100),
            model_name: "n".repeat(100),
            model_number: "&".repeat(100),
            serial_number: "s".repeat(100),
            model_url: "u".repeat(URL_MAX + 1),
            ..Identity::default()
        };
        let text = write(&id, Face::V1);
        assert_eq!(all(&text, "friendlyName")[0], "<é>".repeat(21));
        assert_eq!(all(&text, "manufacturer"), vec!["m".repeat(63); 3]);
        assert_eq!(all(&text, "modelName"), vec!["n".repeat(31); 3]);
        assert_eq!(all(&text, "modelNumber"), vec!["&".repeat(31); 3]);
        assert_eq!(all(&text, "serialNumber"), vec!["s".repeat(63); 3]);
        assert_eq!(all(&text, "modelURL"), Vec::<String>::new());
        assert_eq!(all(&text, "presentationURL"), Vec::<String>::new());
    }
}
