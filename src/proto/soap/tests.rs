use super::*;
use proptest::prelude::*;

const SERVICE: &str = "urn:schemas-upnp-org:service:WANIPConnection:1";

fn invocation(arguments: &[(&str, &str)]) -> Result<Invocation, Error> {
    Ok(Invocation {
        action: "AddPortMapping".into(),
        service: Some(SERVICE.into()),
        arguments: arguments.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect(),
    })
}

#[test]
fn a_soapaction_is_read_with_and_without_quotes_item_48() {
    let target = Some(Target { service: SERVICE, action: "AddPortMapping" });
    assert_eq!(Target::parse(&format!("\"{SERVICE}#AddPortMapping\"")), target);
    assert_eq!(Target::parse(&format!("  {SERVICE}#AddPortMapping ")), target);
    assert_eq!(Target::parse(&format!("\" {SERVICE} # AddPortMapping \"")), target);
}

#[test]
fn a_soapaction_without_service_or_action_is_none_item_49() {
    for header in ["", "\"\"", "#", "a#", "#b", "AddPortMapping", "a#b c", "a#<b", "a#b#c", "a#1"] {
        assert_eq!(Target::parse(header), None, "{header}");
    }
}

#[test]
fn an_m_post_names_its_header_item_51() {
    let man = "\"http://schemas.xmlsoap.org/soap/envelope/\"; ns=01";
    assert_eq!(m_post_header(man).as_deref(), Some("01-SOAPACTION"));
    for man in ["", "\"other\"; ns=01", "\"http://schemas.xmlsoap.org/soap/envelope/\"; ns=1é"] {
        assert_eq!(m_post_header(man), None, "{man}");
    }
}

#[test]
fn any_envelope_prefix_gives_the_same_invocation_item_65() {
    for p in ["s:", "SOAP-ENV:", "soap:", ""] {
        let ns = if p.is_empty() { "xmlns".into() } else { format!("xmlns:{}", &p[..p.len() - 1]) };
        for (q, action_ns) in [("u:", "xmlns:u"), ("m:", "xmlns:m"), ("", "xmlns")] {
            let body = format!(
                "<{p}Envelope {ns}=\"{ENVELOPE}\"><{p}Header/>\r\n<{p}Body><{q}AddPortMapping {action_ns}=\"{SERVICE}\">\
                 <NewRemoteHost></NewRemoteHost><NewProtocol> TCP\n</NewProtocol><X/></{q}AddPortMapping></{p}Body></{p}Envelope>\r\n"
            );
            let expected = invocation(&[("NewRemoteHost", ""), ("NewProtocol", "TCP"), ("X", "")]);
            assert_eq!(Invocation::parse(body.as_bytes()), expected, "{body}");
        }
    }
}

#[test]
fn a_raw_less_than_in_a_description_still_gives_every_argument_item_66a() {
    let body = format!(
        "<s:Envelope xmlns:s=\"x\"><s:Body><u:AddPortMapping xmlns:u=\"{SERVICE}\">\
         <NewPortMappingDescription>R&D <3</NewPortMappingDescription><NewProtocol>UDP</NewProtocol>\
         </u:AddPortMapping></s:Body></s:Envelope>"
    );
    let expected = invocation(&[("NewPortMappingDescription", "R&D <3"), ("NewProtocol", "UDP")]);
    assert_eq!(Invocation::parse(body.as_bytes()), expected);
}

#[test]
fn an_undeclared_action_prefix_has_no_service() {
    let body = b"<s:Envelope><s:Body><u:Get/></s:Body></s:Envelope>";
    let expected = Invocation { action: "Get".into(), service: None, arguments: Vec::new() };
    assert_eq!(Invocation::parse(body), Ok(expected));
}

#[test]
fn what_holds_no_action_is_malformed_item_49() {
    for body in [
        "",
        "<a/>",
        "<Envelope/>",
        "<Envelope><Body/></Envelope>",
        "<Envelope><Body>x</Body></Envelope>",
    ] {
        assert_eq!(Invocation::parse(body.as_bytes()), Err(Error::Malformed), "{body}");
    }
}

#[test]
fn limits_are_reached_and_not_passed() {
    let with = |inside: &str| {
        Invocation::parse(format!("<Envelope><Body><a>{inside}</a></Body></Envelope>").as_bytes())
    };
    assert_eq!(with(&"<b/>".repeat(ARGUMENTS_MAX)).unwrap().arguments.len(), ARGUMENTS_MAX);
    assert_eq!(with(&"<b/>".repeat(ARGUMENTS_MAX + 1)), Err(Error::Malformed));
    let value = |n| format!("<b>{}</b>", "x".repeat(n));
    assert_eq!(with(&value(VALUE_MAX)).unwrap().arguments[0].1.len(), VALUE_MAX);
    assert_eq!(with(&value(VALUE_MAX + 1)), Err(Error::TooLong));
}

#[test]
fn a_response_echoes_the_service_type_and_escapes_values_items_52_53_66() {
    let mut response = Response::new(Target { service: SERVICE, action: "GetThing" });
    response.argument("NewA", "1 < 2 & \"3\"");
    response.argument_with("NewB", |out| out.push_str("&lt;"));
    let expected = "<?xml version=\"1.0\"?>\r\n\
        <s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" s:encodingStyle=\"http://schemas.xmlsoap.org/soap/encoding/\">\
        <s:Body><u:GetThingResponse xmlns:u=\"urn:schemas-upnp-org:service:WANIPConnection:1\">\
        <NewA>1 &lt; 2 &amp; &quot;3&quot;</NewA><NewB>&lt;</NewB></u:GetThingResponse></s:Body></s:Envelope>\r\n";
    let body = response.finish();
    assert_eq!(String::from_utf8_lossy(&body), expected);
    let read = Invocation::parse(&body).unwrap();
    assert_eq!(read.action, "GetThingResponse");
    assert_eq!(read.arguments[0], ("NewA".into(), "1 < 2 & \"3\"".into()));
}

#[test]
fn a_fault_carries_code_and_description_item_55() {
    let expected = "<?xml version=\"1.0\"?>\r\n\
        <s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" s:encodingStyle=\"http://schemas.xmlsoap.org/soap/encoding/\">\
        <s:Body><s:Fault><faultcode>s:Client</faultcode><faultstring>UPnPError</faultstring><detail>\
        <UPnPError xmlns=\"urn:schemas-upnp-org:control-1-0\"><errorCode>718</errorCode>\
        <errorDescription>ConflictInMappingEntry</errorDescription></UPnPError></detail></s:Fault></s:Body></s:Envelope>\r\n";
    assert_eq!(String::from_utf8(fault(718, "ConflictInMappingEntry")).unwrap(), expected);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(body in proptest::collection::vec(any::<u8>(), 0..512), header in ".{0,80}") {
        let _ = Invocation::parse(&body);
        let _ = Target::parse(&header);
        let _ = m_post_header(&header);
    }
}
