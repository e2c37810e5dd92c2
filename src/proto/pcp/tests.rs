use super::*;
use proptest::prelude::*;
use std::net::Ipv4Addr;

const ALICE: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 10);
const NONCE: [u8; 12] = *b"abcdefghijkl";

/// A request's header from Alice.
fn head(opcode: u8, lifetime: u32) -> Vec<u8> {
    let mut out = vec![2, opcode, 0, 0];
    out.extend(lifetime.to_be_bytes());
    out.extend(ALICE.to_ipv6_mapped().octets());
    out
}

fn map(lifetime: u32, external_port: u16) -> Vec<u8> {
    let mut out = head(1, lifetime);
    out.extend(NONCE);
    out.extend([17, 9, 9, 9, 0x1b, 0x58]);
    out.extend(external_port.to_be_bytes());
    out.extend(Ipv4Addr::new(11, 22, 33, 1).to_ipv6_mapped().octets());
    out
}

fn peer() -> Vec<u8> {
    let mut out = map(60, 0);
    out[1] = 2;
    out.extend([0x23, 0x28, 9, 9]);
    out.extend(Ipv4Addr::new(203, 0, 113, 2).to_ipv6_mapped().octets());
    out
}

fn with(mut request: Vec<u8>, options: &[&[u8]]) -> Vec<u8> {
    options.iter().for_each(|option| request.extend_from_slice(option));
    request
}

fn filter(prefix_len: u8, port: u16, host: &str) -> Vec<u8> {
    let host: IpAddr = host.parse().unwrap();
    let [high, low] = port.to_be_bytes();
    [&[3, 0, 0, 20, 0, prefix_len, high, low][..], &octets(host)].concat()
}

fn fault(bytes: &[u8]) -> Option<Fault> {
    read(bytes, ALICE.into(), false).err()
}

fn code(bytes: &[u8]) -> Option<Code> {
    match fault(bytes) {
        Some(Fault::Answer(code)) => Some(code),
        Some(Fault::Silent) => panic!("nothing is answered"),
        None => None,
    }
}

#[test]
fn requests_are_read_as_11_1_and_12_1_draw_them() {
    let mapping = Mapping {
        nonce: NONCE,
        protocol: 17,
        internal_port: 7000,
        external_port: 17000,
        external: Ipv4Addr::new(11, 22, 33, 1).into(),
    };
    let (bytes, to_peer, announce) = (map(7200, 17000), peer(), head(0, 0));
    let read = |bytes| super::read(bytes, ALICE.into(), false).unwrap();
    let body = Body::Map(mapping, Options::default());
    assert_eq!(read(&bytes), Request { body, lifetime: 7200 });
    let remote = Peer { port: 9000, address: Ipv4Addr::new(203, 0, 113, 2).into() };
    let body = Body::Peer(Mapping { external_port: 0, ..mapping }, remote, Options::default());
    assert_eq!(read(&to_peer), Request { body, lifetime: 60 });
    assert_eq!(read(&announce), Request { body: Body::Announce, lifetime: 0 });
}

#[test]
fn the_requests_of_real_clients_are_read() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/captures/pcp");
    let mut kinds = [0; 5];
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        if path.extension().is_none_or(|extension| extension != "bin") {
            continue;
        }
        let kind = match bytes[0] {
            0 => match crate::proto::natpmp::read(&bytes) {
                Some(crate::proto::natpmp::Request::Address) => 0,
                Some(crate::proto::natpmp::Request::Map { .. }) => 1,
                other => panic!("{path:?}: {other:?}"),
            },
            _ => match read(&bytes, address(&bytes[8..24]).unwrap(), false).map(|r| r.body) {
                Ok(Body::Announce) => 2,
                Ok(Body::Map(..)) => 3,
                Ok(Body::Peer(..)) => 4,
                Err(fault) => panic!("{path:?}: {fault:?}"),
            },
        };
        kinds[kind] += 1;
    }
    assert!(kinds[0] >= 1 && kinds[1] >= 4 && kinds[3] >= 6 && kinds[4] >= 3, "{kinds:?}");
}

#[test]
fn what_is_no_request_is_not_answered_191_193() {
    for bytes in [&[][..], &[2], &[2, 0x81], &[2, 1, 0], &map(60, 0)[..23]] {
        assert_eq!(fault(bytes), Some(Fault::Silent), "{bytes:?}");
    }
    let mut answer = map(60, 0);
    answer[1] |= 0x80;
    assert_eq!(fault(&answer), Some(Fault::Silent));
    answer[0] = 9;
    assert_eq!(fault(&answer), Some(Fault::Silent), "whatever its version");
}

#[test]
fn another_version_is_told_before_anything_else_192() {
    assert_eq!(code(&[1, 1]), Some(Code::UnsuppVersion));
    assert_eq!(code(&[3, 99, 0]), Some(Code::UnsuppVersion));
    assert_eq!(write_error(&[1, 1], Code::UnsuppVersion, 1800, 7)[..4], [2, 0x81, 0, 1]);
}

#[test]
fn a_length_that_cannot_be_is_malformed_194() {
    assert_eq!(code(&[map(60, 0), vec![0]].concat()), Some(Code::MalformedRequest));
    assert_eq!(code(&map(60, 0)[..56]), Some(Code::MalformedRequest));
    assert_eq!(code(&peer()[..76]), Some(Code::MalformedRequest));
    let long = with(map(60, 0), &[&[0x80, 0, 4, 52 - 16], &[0; 1060]]);
    assert!(long.len() > MESSAGE_MAX && long.len() % 4 == 0);
    assert_eq!(code(&long), Some(Code::MalformedRequest));
    assert_eq!(write_error(&long, Code::MalformedRequest, 1800, 7).len(), MESSAGE_MAX);
    let longest = with(map(60, 0), &[&[0x80, 0, 4, 12], &[0; 1036]]);
    assert_eq!((longest.len(), code(&longest)), (MESSAGE_MAX, None));
}

#[test]
fn a_request_that_passed_a_nat_is_refused_195() {
    let other = IpAddr::V4(Ipv4Addr::new(192, 168, 1, 11));
    let mismatch = Err(Fault::Answer(Code::AddressMismatch));
    assert_eq!(read(&map(60, 0), other, false), mismatch);
    assert_eq!(read(&head(0, 0), other, false), mismatch);
    assert_eq!(read(&head(0, 0), "2001:db8::10".parse().unwrap(), false), mismatch);
}

#[test]
fn an_opcode_that_is_unknown_is_told_196_235() {
    for opcode in [3, 4, 96, 127] {
        assert_eq!(code(&with(head(opcode, 60), &[&[1, 2, 3, 4]])), Some(Code::UnsuppOpcode));
    }
}

#[test]
fn unknown_options_must_be_understood_or_not_222() {
    let read = |bytes| super::read(bytes, ALICE.into(), false);
    assert_eq!(code(&with(map(60, 0), &[&[4, 0, 0, 0]])), Some(Code::UnsuppOption));
    assert_eq!(code(&with(map(60, 0), &[&[127, 0, 0, 1, 0, 0, 0, 0]])), Some(Code::UnsuppOption));
    let ignored = with(map(60, 0), &[&[128, 0, 0, 5, 1, 2, 3, 4, 5, 0, 0, 0], &[255, 0, 0, 0]]);
    let Ok(Request { body: Body::Map(mapping, options), .. }) = read(&ignored) else { panic!() };
    assert_eq!(options, Options::default());
    assert_eq!(write_mapping(&mapping, None, &options, 60, 7).len(), 60, "none is given back");
    assert_eq!(code(&with(head(0, 0), &[&[2, 0, 0, 0]])), Some(Code::UnsuppOption));
    assert_eq!(code(&with(head(0, 0), &[&[200, 0, 0, 0]])), None);
}

#[test]
fn options_that_cannot_be_are_malformed_223_224_225() {
    let malformed = Some(Code::MalformedOption);
    let prefer: &[u8] = &[2, 0, 0, 0];
    assert_eq!(code(&with(map(60, 0), &[&[200, 0, 0, 1]])), malformed, "longer than the packet");
    assert_eq!(code(&with(map(60, 1), &[&[2, 0, 255, 255]])), malformed);
    assert_eq!(code(&with(map(60, 1), &[&[4, 0, 0, 0, 2, 0, 255, 255]])), malformed, "all of it");
    assert_eq!(code(&with(map(60, 1), &[prefer])), None);
    assert_eq!(code(&with(map(60, 1), &[prefer, prefer])), malformed, "twice");
    assert_eq!(code(&with(map(60, 1), &[&[2, 0, 0, 4, 0, 0, 0, 0]])), malformed);
    assert_eq!(code(&with(map(60, 0), &[prefer])), malformed, "no port is suggested");
    assert_eq!(code(&with(map(0, 1), &[prefer])), malformed, "nothing to provide");
    let any = filter(96, 0, "0.0.0.0");
    assert_eq!(code(&with(map(0, 0), &[&any])), malformed, "nothing to filter");
    assert_eq!(code(&with(map(0, 0), &[&filter(0, 0, "::")])), malformed);
    assert_eq!(code(&with(peer(), &[prefer])), Some(Code::MalformedRequest));
    assert_eq!(code(&with(peer(), &[&any])), malformed);
}

#[test]
fn a_filter_is_for_peers_of_the_clients_family_227() {
    let filters = |options: &[&[u8]]| {
        let request = with(map(60, 0), options);
        match read(&request, ALICE.into(), false).map(|request| request.body) {
            Ok(Body::Map(_, options)) => Ok((options.filters, options.clears_filters)),
            other => Err(format!("{other:?}")),
        }
    };
    let made = |len, port, host: &str| Filter::new(host.parse().unwrap(), len, port).unwrap();
    let (one, net) = (filter(128, 53, "203.0.113.2"), filter(120, 0, "198.51.100.9"));
    let both = vec![made(32, 53, "203.0.113.2"), made(24, 0, "198.51.100.0")];
    assert_eq!(filters(&[&one, &net]), Ok((both, false)));
    let none = filter(0, 0, "::");
    assert_eq!(filters(&[&one, &none, &net]), Ok((vec![made(24, 0, "198.51.100.0")], true)));
    assert_eq!(filters(&[&filter(96, 0, "0.0.0.0")]), Ok((vec![made(0, 0, "0.0.0.0")], false)));
    for wrong in
        [filter(95, 0, "203.0.113.2"), filter(129, 0, "203.0.113.2"), filter(64, 0, "2001:db8::")]
    {
        assert_eq!(code(&with(map(60, 0), &[&wrong])), Some(Code::MalformedOption));
    }
    let short = &filter(128, 0, "203.0.113.2")[..20];
    let short = [&[3, 0, 0, 16][..], &short[4..]].concat();
    assert_eq!(code(&with(map(60, 0), &[&short])), Some(Code::MalformedOption));
}

#[test]
fn another_host_is_named_only_by_who_may_226() {
    let of = |host: [u8; 4]| [&[1, 0, 0, 16][..], &octets(IpAddr::from(host))].concat();
    let bob = with(map(60, 0), &[&of([192, 168, 1, 11])]);
    assert_eq!(code(&bob), Some(Code::UnsuppOption), "off");
    let trusted = |bytes: &[u8]| match read(bytes, ALICE.into(), true).map(|r| r.body) {
        Ok(Body::Map(_, options) | Body::Peer(_, _, options)) => Ok(options.third_party),
        Ok(Body::Announce) => unreachable!(),
        Err(fault) => Err(fault),
    };
    let host = Some(IpAddr::from([192, 168, 1, 11]));
    assert_eq!(trusted(&bob), Ok(host));
    assert_eq!(trusted(&with(peer(), &[&of([192, 168, 1, 11])])), Ok(host));
    let own = with(map(60, 0), &[&of(ALICE.octets())]);
    assert_eq!(trusted(&own), Err(Fault::Answer(Code::MalformedRequest)));
    let twice = with(bob, &[&of([192, 168, 1, 12])]);
    assert_eq!(trusted(&twice), Err(Fault::Answer(Code::MalformedOption)));
    let short = with(map(60, 0), &[&[1, 0, 0, 4, 192, 168, 1, 11]]);
    assert_eq!(trusted(&short), Err(Fault::Answer(Code::MalformedOption)));
}

#[test]
fn an_error_is_the_whole_request_with_its_code_197_198() {
    let request = with(map(60, 1), &[&[200, 0, 0, 0]]);
    let mut want = request.clone();
    want[1] = 0x81;
    want[2..4].copy_from_slice(&[0, 11]);
    want[4..8].copy_from_slice(&[0, 0, 0, 30]);
    want[8..24].copy_from_slice(&[1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let code = Code::CannotProvideExternal;
    assert_eq!(write_error(&request, code, code.lifetime(), 0x01020304), want);
    assert_eq!(write_error(&request[..62], code, 1, 2).len(), 64, "to a multiple of four");
    let long = [1, 2, 3, 4, 5, 6, 9, 12, 13].map(|number| (number, 1800));
    let short = [7, 8, 10, 11].map(|number| (number, 30));
    let all = [
        Code::UnsuppVersion,
        Code::NotAuthorized,
        Code::MalformedRequest,
        Code::UnsuppOpcode,
        Code::UnsuppOption,
        Code::MalformedOption,
        Code::UnsuppProtocol,
        Code::AddressMismatch,
        Code::ExcessiveRemotePeers,
        Code::NetworkFailure,
        Code::NoResources,
        Code::UserExQuota,
        Code::CannotProvideExternal,
    ];
    let told: Vec<(u8, u32)> = all.map(|code| (code as u8, code.lifetime())).to_vec();
    assert_eq!(told, [&long[..], &short].concat());
}

#[test]
fn an_answer_gives_back_what_was_asked_and_the_options_it_obeyed_197_203_229() {
    let prefer: &[u8] = &[2, 0, 0, 0];
    let request = with(map(60, 17000), &[&[200, 0, 0, 0], prefer, &filter(128, 0, "203.0.113.2")]);
    let read = read(&request, ALICE.into(), false).unwrap();
    let Body::Map(mapping, options) = read.body else { panic!() };
    let out = write_mapping(&mapping, None, &options, 7200, 5);
    let mut want = map(7200, 17000);
    want[1] = 0x81;
    want[8..24].copy_from_slice(&[0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    want[37..40].copy_from_slice(&[0; 3]);
    assert_eq!(out, with(want.clone(), &[prefer, &filter(128, 0, "203.0.113.2")]));
    let mut update = write_mapping(&mapping, None, &Options::default(), 7200, 5);
    write_filters(&mut update, &options.filters);
    assert_eq!(update, with(want, &[&filter(128, 0, "203.0.113.2")]));

    let request = peer();
    let Ok(Request { body: Body::Peer(mapping, remote, options), .. }) =
        super::read(&request, ALICE.into(), false)
    else {
        panic!()
    };
    let out = write_mapping(&mapping, Some(&remote), &options, 60, 5);
    assert_eq!((out[1], out.len()), (0x82, 80));
    assert_eq!(out[24..36], request[24..36]);
    assert_eq!(out[60..62], request[60..62]);
    assert_eq!(out[64..], request[64..]);
    assert_eq!(write_announce(7)[..12], [2, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]);
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..160),
        opcode in 0u8..4,
        third_party: bool,
    ) {
        let _ = read(&bytes, ALICE.into(), third_party);
        let ours = [head(opcode, 60), bytes].concat();
        if let Err(Fault::Answer(code)) = read(&ours, ALICE.into(), third_party) {
            let error = write_error(&ours, code, code.lifetime(), 0);
            prop_assert!(error.len() % 4 == 0 && error.len() <= MESSAGE_MAX);
        }
    }

    #[test]
    fn what_is_read_is_written_again(
        nonce: [u8; 12], protocol: u8, internal_port: u16, external_port: u16, external: u32,
    ) {
        let external = IpAddr::V4(Ipv4Addr::from_bits(external));
        let mapping = Mapping { nonce, protocol, internal_port, external_port, external };
        let mut bytes = write_mapping(&mapping, None, &Options::default(), 9, 0);
        bytes[..24].copy_from_slice(&head(1, 9));
        let read = read(&bytes, ALICE.into(), false);
        prop_assert_eq!(read, Ok(Request { body: Body::Map(mapping, Options::default()), lifetime: 9 }));
    }
}
