//! A control request from header to reply (UDA 1.1 §3.2; UDA 1.0 §3.2.1 M-POST, §3.3 query).

use super::action::{check, Action, Arg, Call, Reply};
use super::codes::Code;
use super::identity::Face;
use super::tree::Service;
use super::{actions, wan_ip, Context};
use crate::netfilter::Backend;
use crate::proto::http;
use crate::proto::soap::{self, Invocation, Target};

/// The one action that every service has.
const QUERY: &str = "QueryStateVariable";

/// Actions with the other name that some have them by: WANCommonInterfaceConfig:1 names this one in
/// the singular where it describes it in XML.
const ALSO: [(&str, &str); 1] = [("GetActiveConnections", "GetActiveConnection")];

/// Answers a POST or M-POST to a service's control URL.
///
/// 400 without a readable SOAPACTION or body; 415 without SOAPACTION where a web page could have
/// sent it; 500 with a fault for what the service refuses.
pub(super) fn respond<B: Backend + 'static>(
    ctx: &mut Context<'_, B>,
    face: Face,
    service: Service,
    request: &http::Request<'_>,
    body: &[u8],
) -> http::Response {
    let header = match request.method {
        http::Method::MPost => request
            .header("man")
            .and_then(soap::m_post_header)
            .and_then(|name| request.header(&name)),
        // A browser sends SOAPACTION for a page only where the server has said that it may. So what
        // has one is read whatever its type: not all control points name theirs.
        _ if request.header_count("soapaction") == 0 && request.has_type_of_form() => {
            return http::Response::new(415);
        }
        _ => request.header("soapaction"),
    };
    let Some(target) = header.and_then(Target::parse) else {
        return http::Response::new(400);
    };
    let result = match Invocation::parse(body) {
        Ok(invocation) => invoke(ctx, face, service, target, &invocation),
        Err(soap::Error::TooLong) => Err(Code::TooLong),
        Err(soap::Error::Malformed) => return http::Response::new(400),
    };
    let (status, mut body) = match result {
        Ok(body) => (200, body),
        Err(code) => (500, soap::fault(code.number(), code.text())),
    };
    if let Some(listing) = &mut ctx.listing {
        listing.cut(&mut body);
    }
    let mut response = http::Response::new(status).header("EXT", "").body(soap::CONTENT_TYPE, body);
    response.goes_on = ctx.listing.is_some();
    response
}

fn invoke<B: Backend + 'static>(
    ctx: &mut Context<'_, B>,
    face: Face,
    service: Service,
    target: Target<'_>,
    invocation: &Invocation,
) -> Result<Vec<u8>, Code> {
    let declared = invocation.service.as_deref().unwrap_or(target.service);
    if invocation.action != target.action || declared != target.service {
        return Err(Code::InvalidAction);
    }
    // What has ended but is still to be dropped must not be seen.
    ctx.gateway.handle_timeout(ctx.now);
    let arguments = &invocation.arguments;
    if target == (Target { service: soap::CONTROL, action: QUERY }) {
        return query(ctx, face, service, target, arguments);
    }
    let asked = service.asked(face, target.service).ok_or(Code::InvalidAction)?;
    let named = |action: &&Action<B>| {
        action.name == target.action || ALSO.contains(&(action.name, target.action))
    };
    // Clients that take the first gateway they find use the newer actions under the older name,
    // `upnpc -n` for one, without a look at what the description lists: those follow the rules of
    // the version that has them.
    let own = Face::ALL
        .into_iter()
        .filter(|version| *version >= asked)
        .find_map(|version| Some((version, actions::<B>(service, version).find(named)?)));
    // js-libp2p sends what is for the firewall to the connection beside it.
    let firewall = Service::WanIpv6Firewall;
    let beside = || {
        let has_it = service == Service::WanIp && firewall.is_shown(face, ctx.identity);
        let mut pinholes = actions::<B>(firewall, Face::V1).filter(|_| has_it);
        Some((Face::V1, pinholes.find(named)?))
    };
    let (version, action) = own.or_else(beside).ok_or(Code::InvalidAction)?;
    check(action.args, arguments)?;
    run(action, target, Call { ctx, face, version, arguments })
}

fn run<B: Backend + 'static>(
    action: &Action<B>,
    target: Target<'_>,
    mut call: Call<'_, '_, B>,
) -> Result<Vec<u8>, Code> {
    let mut reply = Reply::new(target, action.args);
    (action.run)(&mut call, &mut reply)?;
    Ok(reply.finish())
}

/// QueryStateVariable: variables that have one value of their own. `InvalidVar` for the others,
/// which only describe arguments or the entries of the mapping table.
fn query<B: Backend + 'static>(
    ctx: &mut Context<'_, B>,
    face: Face,
    service: Service,
    target: Target<'_>,
    arguments: &[(String, String)],
) -> Result<Vec<u8>, Code> {
    const ARGS: &[Arg] = &[Arg::In("varName", ""), Arg::Out("return", "")];
    check(ARGS, arguments)?;
    let version = service.version(face);
    let mut call = Call { ctx, face, version, arguments };
    let name = call.text("varName");
    let value = value(&mut call, service, name)?;
    let mut reply = Reply::new(target, ARGS);
    reply.text(&value);
    Ok(reply.finish())
}

/// The value of a state variable that has one of its own.
///
/// # Errors
/// `InvalidVar`, and what the action says that reads the variable.
pub(super) fn value<B: Backend + 'static>(
    call: &mut Call<'_, '_, B>,
    service: Service,
    name: &str,
) -> Result<String, Code> {
    if let Some(number) = wan_ip::count(call, service, name) {
        return Ok(number.to_string());
    }
    // Any other variable is what an action without `in` arguments reads out.
    for action in actions::<B>(service, call.version) {
        let argument = action.args.iter().find_map(|arg| match *arg {
            Arg::Out(argument, related) if related == name => Some(argument),
            _ => None,
        });
        let needs_nothing = action.args.iter().all(|arg| matches!(arg, Arg::Out(..)));
        if let (Some(argument), true) = (argument, needs_nothing) {
            let target = Target { service: "", action: action.name };
            let mut read = Reply::new(target, action.args);
            (action.run)(call, &mut read)?;
            let read = Invocation::parse(&read.finish()).map_err(|_| Code::ActionFailed)?;
            let value = read.arguments.into_iter().find(|(name, _)| name == argument);
            return Ok(value.map_or_else(String::new, |(_, value)| value));
        }
    }
    Err(Code::InvalidVar)
}
