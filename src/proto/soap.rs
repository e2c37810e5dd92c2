//! SOAP control, UPnP Device Architecture 1.1 §3: requests in, responses and faults out.
//!
//! Total over arbitrary bytes: whatever is sent gives an [`Invocation`] or an [`Error`]. What is
//! read is bounded by [`xml`] and by the limits below.

use crate::proto::xml;
use roxmltree::Node;

/// Most arguments of one action; UPnP IGD has at most 8.
pub const ARGUMENTS_MAX: usize = 32;
/// Longest value of an argument, in bytes.
pub const VALUE_MAX: usize = 1024;
/// Service type of the query for a state variable (UDA 1.0 §3.3.1).
pub const CONTROL: &str = "urn:schemas-upnp-org:control-1-0";
/// Content type of every reply.
pub const CONTENT_TYPE: &str = "text/xml; charset=\"utf-8\"";

/// Namespace of the envelope, also the `MAN` of an `M-POST`.
const ENVELOPE: &str = "http://schemas.xmlsoap.org/soap/envelope/";
const BEGIN: &str = "<?xml version=\"1.0\"?>\r\n\
    <s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" \
    s:encodingStyle=\"http://schemas.xmlsoap.org/soap/encoding/\"><s:Body>";
const END: &str = "</s:Body></s:Envelope>\r\n";

/// What a `SOAPACTION` header names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    /// Service type with its version, or [`CONTROL`].
    pub service: &'a str,
    /// Action name.
    pub action: &'a str,
}

impl<'a> Target<'a> {
    /// Reads `"service#action"`, with or without the quotes.
    pub fn parse(header: &'a str) -> Option<Target<'a>> {
        let (service, action) = header.trim().trim_matches('"').split_once('#')?;
        let target = Target { service: service.trim(), action: action.trim() };
        (!target.service.is_empty() && is_name(target.action)).then_some(target)
    }
}

/// Whether this is an XML name as UPnP uses them: letters, digits, `_`, `-`, `.`.
fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

/// The name of the header that holds `SOAPACTION` in an `M-POST` (UDA 1.0 §3.2.1), from the value
/// of its `MAN` header: `"http://schemas.xmlsoap.org/soap/envelope/"; ns=01` gives
/// `01-SOAPACTION`.
pub fn m_post_header(man: &str) -> Option<String> {
    let (extension, parameter) = man.split_once(';')?;
    if extension.trim().trim_matches('"') != ENVELOPE {
        return None;
    }
    let (key, digits) = parameter.split_once('=')?;
    let digits = digits.trim();
    let two_digits = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit());
    (key.trim() == "ns" && two_digits).then(|| [digits, "-SOAPACTION"].concat())
}

/// The body of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// Action name, without its prefix.
    pub action: String,
    /// The action's namespace, `None` if the request declares none.
    pub service: Option<String>,
    /// Arguments in the order sent: name without prefix, value trimmed.
    pub arguments: Vec<(String, String)>,
}

/// Why a body is not an invocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// Not XML, over a limit, or no SOAP envelope with one action in it.
    Malformed,
    /// An argument is longer than [`VALUE_MAX`].
    TooLong,
}

impl Invocation {
    /// Reads a request body, whatever prefixes it uses.
    ///
    /// # Errors
    /// [`Error`].
    pub fn parse(body: &[u8]) -> Result<Invocation, Error> {
        xml::with_root(body, Invocation::from_envelope).map_err(|_| Error::Malformed)?
    }

    fn from_envelope(root: Node<'_, '_>) -> Result<Invocation, Error> {
        let action = Some(root)
            .filter(|root| root.tag_name().name() == "Envelope")
            .and_then(|root| elements(root).find(|e| e.tag_name().name() == "Body"))
            .and_then(|body| elements(body).next())
            .ok_or(Error::Malformed)?;
        let mut arguments = Vec::new();
        for argument in elements(action) {
            let value = xml::text(argument);
            let value = value.trim();
            if value.len() > VALUE_MAX {
                return Err(Error::TooLong);
            }
            if arguments.len() == ARGUMENTS_MAX {
                return Err(Error::Malformed);
            }
            arguments.push((argument.tag_name().name().into(), value.into()));
        }
        let service = action.tag_name().namespace().filter(|ns| *ns != xml::UNDECLARED);
        Ok(Invocation {
            action: action.tag_name().name().into(),
            service: service.map(Into::into),
            arguments,
        })
    }
}

fn elements<'a, 'i>(node: Node<'a, 'i>) -> impl Iterator<Item = Node<'a, 'i>> {
    node.children().filter(|child| child.is_element())
}

/// A response, written from front to back into one buffer (UDA 1.1 §3.2.2).
#[derive(Clone, Debug)]
pub struct Response<'a> {
    target: Target<'a>,
    out: String,
}

impl<'a> Response<'a> {
    /// The response to this request; it echoes the service type as it was asked.
    pub fn new(target: Target<'a>) -> Self {
        let mut out = String::from(BEGIN);
        for part in ["<u:", target.action, "Response xmlns:u=\""] {
            out.push_str(part);
        }
        xml::escape(&mut out, target.service);
        out.push_str("\">");
        Response { target, out }
    }

    /// Appends an out argument.
    pub fn argument(&mut self, name: &str, value: &str) {
        xml::element(&mut self.out, name, value);
    }

    /// Appends an out argument whose value `write` appends, escaped.
    pub fn argument_with(&mut self, name: &str, write: impl FnOnce(&mut String)) {
        xml::open(&mut self.out, name);
        write(&mut self.out);
        xml::close(&mut self.out, name);
    }

    /// The whole body.
    pub fn finish(mut self) -> Vec<u8> {
        for part in ["</u:", self.target.action, "Response>", END] {
            self.out.push_str(part);
        }
        self.out.into_bytes()
    }
}

/// The body that goes with HTTP status 500 (UDA 1.1 §3.2.5).
pub fn fault(code: u16, description: &str) -> Vec<u8> {
    let mut out = String::from(BEGIN);
    out.push_str(
        "<s:Fault><faultcode>s:Client</faultcode><faultstring>UPnPError</faultstring><detail>\
         <UPnPError xmlns=\"urn:schemas-upnp-org:control-1-0\">",
    );
    xml::element(&mut out, "errorCode", &code.to_string());
    xml::element(&mut out, "errorDescription", description);
    out.push_str("</UPnPError></detail></s:Fault>");
    out.push_str(END);
    out.into_bytes()
}

#[cfg(test)]
mod tests;
