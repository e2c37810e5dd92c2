use super::*;
use proptest::prelude::*;

/// Decodes in pieces of `size` bytes.
fn dechunk(bytes: &[u8], size: usize) -> Result<(Vec<u8>, usize, bool), Error> {
    let (mut decoder, mut out, mut used) = (Chunked::new(), Vec::new(), 0);
    for piece in bytes.chunks(size) {
        let progress = decoder.decode(piece, &mut out)?;
        used += progress.consumed;
        if progress.done {
            return Ok((out, used, true));
        }
    }
    Ok((out, used, false))
}

#[test]
fn a_chunked_body_is_the_same_in_any_pieces() {
    let body = b"4;a=\"b\"\r\nWiki\r\n0A \r\npedia in \n\r\n03\nabc\n000\r\nX: y\r\nZ\r\n\r\nnext";
    let data = b"Wikipedia in \nabc".to_vec();
    for size in 1..=body.len() {
        assert_eq!(dechunk(body, size), Ok((data.clone(), body.len() - 4, true)), "{size}");
    }
    assert!(!dechunk(&body[..body.len() - 5], 7).unwrap().2);
}

#[test]
fn what_is_no_chunked_body_is_refused() {
    for body in
        ["\r\n", "x\r\n", "-1\r\n", "+1\r\n", ";a\r\n", "1 2\rx", "1\r\nab", "1\r\na\rx", "1x\r\n"]
    {
        assert_eq!(dechunk(body.as_bytes(), 3), Err(Error::Malformed), "{body:?}");
    }
}

#[test]
fn a_chunked_body_has_the_limits_of_any_other() {
    let exact = format!("4000\r\n{}\r\n0\r\n\r\n", "a".repeat(BODY_MAX));
    assert_eq!(dechunk(exact.as_bytes(), 1000).unwrap().0.len(), BODY_MAX);
    for over in ["4001\r\n", "ffffffffffffffffffffffff\r\n", "1\r\na\r\n4000\r\n"] {
        assert_eq!(dechunk(over.as_bytes(), 100), Err(Error::BodyTooLarge), "{over}");
    }
    for endless in ["0\r\n", "1;"] {
        let body = endless.to_owned() + &"a".repeat(FRAMING_MAX);
        assert_eq!(dechunk(body.as_bytes(), 100), Err(Error::Malformed), "{endless}");
    }
    assert_eq!(
        dechunk("1\r\na\r\n".repeat(FRAMING_MAX / 5 + 1).as_bytes(), 100),
        Err(Error::Malformed)
    );
}

/// Bytes that are often nearly a chunked body.
fn chunkish() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..6),
        proptest::sample::select(vec![
            "1\r\n", "a\r\n", "0\r\n", ";", " ", "\r\n", "\n", "f", "fff"
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_bytes_make_the_decoder_panic_or_read_on(bytes in chunkish(), size in 1usize..9) {
        let whole = dechunk(&bytes, bytes.len().max(1));
        prop_assert_eq!(dechunk(&bytes, size), whole);
    }

    #[test]
    fn a_body_cut_into_chunks_comes_back(
        chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..300), 0..20),
        size in 1usize..99,
    ) {
        let mut wire = Vec::new();
        for chunk in &chunks {
            wire.extend(format!("{:x}\r\n", chunk.len()).bytes());
            wire.extend(chunk);
            wire.extend(b"\r\n");
        }
        wire.extend(b"0\r\n\r\n");
        prop_assert_eq!(dechunk(&wire, size), Ok((chunks.concat(), wire.len(), true)));
    }
}
