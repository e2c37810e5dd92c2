//! PCP's decoder: no bytes make it panic, errors are whole messages, and what was read can be
//! written and is then no request.

use postern::proto::pcp::{
    read, write_error, write_mapping, Body, Fault, Mapping, Options, Peer, MESSAGE_MAX,
};
use std::net::{IpAddr, Ipv6Addr};

pub fn run(bytes: &[u8]) {
    // Whoever the header says it is, so that the body is read.
    let field = bytes.get(8..24).and_then(|field| <[u8; 16]>::try_from(field).ok());
    let source = Ipv6Addr::from(field.unwrap_or_default()).to_canonical();
    for third_party in [false, true] {
        let request = match read(bytes, source, third_party) {
            Ok(request) => request,
            Err(Fault::Silent) => continue,
            Err(Fault::Answer(code)) => {
                let error = write_error(bytes, code, code.lifetime(), 7);
                assert!(error.len() % 4 == 0 && (24..=MESSAGE_MAX).contains(&error.len()));
                silent(&error, source);
                continue;
            }
        };
        match &request.body {
            Body::Announce => {}
            Body::Map(mapping, options) => written(bytes, mapping, None, options, source),
            Body::Peer(mapping, peer, options) => {
                written(bytes, mapping, Some(peer), options, source);
            }
        }
    }
}

fn written(
    bytes: &[u8],
    mapping: &Mapping,
    peer: Option<&Peer>,
    options: &Options<'_>,
    source: IpAddr,
) {
    let answer = write_mapping(mapping, peer, options, 60, 7);
    assert!(answer.len() <= bytes.len() && answer[24..37] == bytes[24..37]);
    silent(&answer, source);
}

fn silent(answer: &[u8], source: IpAddr) {
    assert_eq!(read(answer, source, true), Err(Fault::Silent));
}
