use super::*;
use proptest::prelude::*;

/// The document as `name[namespace](text)` of every element, in order.
fn seen(body: &[u8]) -> Result<String, Error> {
    with_root(body, |root| {
        let mut out = String::new();
        for e in root.descendants().filter(|n| n.is_element()) {
            out.push_str(e.tag_name().name());
            if let Some(ns) = e.tag_name().namespace() {
                out.push_str(&format!("[{ns}]"));
            }
            out.push_str(&format!("({})", text(e)));
        }
        out
    })
}

#[test]
fn what_is_escaped_comes_back_item_66() {
    let text = "a<b>&\"c' é€😀 &amp;\r\n";
    let mut out = String::new();
    element(&mut out, "x", text);
    assert_eq!(out, "<x>a&lt;b&gt;&amp;&quot;c&apos; é€😀 &amp;amp;&#13;\n</x>");
    assert_eq!(with_root(out.as_bytes(), super::text).unwrap(), text);
    out.clear();
    escape(&mut out, "\0a\u{1}\u{ffff}b");
    assert_eq!(out, "ab");
}

#[test]
fn any_prefix_declaration_line_end_and_comment_is_read_item_65() {
    for body in [
        "<a xmlns=\"n\"><b>1</b></a>",
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\r\n<SOAP-ENV:a xmlns:SOAP-ENV='n'>\r<SOAP-ENV:b>1</SOAP-ENV:b></SOAP-ENV:a>",
        "\u{feff}<?xml version=\"1.0\"?><x:a xmlns:x=\"n\"><!-- <c> --><x:b><!-- 2 -->1</x:b></x:a>\n",
        "<a xmlns='n'><b><![CDATA[1]]></b></a>",
    ] {
        let seen = seen(body.as_bytes()).unwrap();
        assert_eq!(seen.replace('\n', ""), "a[n]()b[n](1)", "{body}");
    }
}

#[test]
fn malformed_bytes_of_real_clients_are_read_item_66a() {
    let cases: [(&[u8], &str); 15] = [
        (b"\r\n<?xml version=\"1.0\"?><a>1</a>", "a(1)"),
        (b"<a>1</a>\0", "a(1)"),
        (b"<a>1</a>\0\0 \r\n\r\n", "a(1)"),
        (b" \xef\xbb\xbf<?xml version=\"1.0\"?><a>1</a>", "a(1)"),
        (b"<a>x & y</a>", "a(x & y)"),
        (b"<a>x && &amp; &#65; &#x42; &nosuch; &#0; y</a>", "a(x && & A B &nosuch; &#0; y)"),
        (b"<a>1 < 2</a>", "a(1 < 2)"),
        (b"<a>a]]>b</a>", "a(a]]>b)"),
        (b"<u:a><b>1</b></u:a>", "a[urn:undeclared]()b(1)"),
        (b"<a><u:b xsi:type=\"t\">1</u:b></a>", "a()b[urn:undeclared](1)"),
        (b"<s:a xmlns:s=\"n\" s:x='y'><u:b>1</u:b></s:a>", "a[n]()b[urn:undeclared](1)"),
        (
            b"<a><NewPortMappingDescription>I <3 <b>you</b> & me</NewPortMappingDescription><c>2</c></a>",
            "a()NewPortMappingDescription(I <3 <b>you</b> & me)c(2)",
        ),
        (b"<a><NewPortMappingDescription/><c>&</c></a>", "a()NewPortMappingDescription()c(&)"),
        (
            b"<a><NewPortMappingDescription><![CDATA[<x>]]></NewPortMappingDescription><u:c>2</u:c></a>",
            "a()NewPortMappingDescription(<x>)c[urn:undeclared](2)",
        ),
        (b"<a>caf\xe9 \x01</a>", "a(caf\u{fffd} )"),
    ];
    for (body, expected) in cases {
        assert_eq!(seen(body).as_deref(), Ok(expected), "{}", String::from_utf8_lossy(body));
    }
}

#[test]
fn what_is_no_document_is_refused() {
    for body in [
        "", " ", "abc", "<", ">", "<>", "<a", "<a>", "<a></b>", "</a>", "<a/><b/>", "<!--<a/>",
        "<?a>",
    ] {
        assert_eq!(seen(body.as_bytes()), Err(Error::Malformed), "{body}");
    }
}

#[test]
fn a_document_type_is_refused_item_264() {
    let bombs = [
        "<!DOCTYPE a><a>1</a>",
        "<?xml version=\"1.0\"?><!DOCTYPE a [<!ENTITY b \"bb\"><!ENTITY c \"&b;&b;\">]><a>&c;</a>",
    ];
    for body in bombs {
        assert_eq!(seen(body.as_bytes()), Err(Error::DocumentType), "{body}");
    }
    assert!(seen(b"\0<!DOCTYPE a [<!ENTITY b \"bb\">]><a>&b;</a>").is_err());
}

#[test]
fn limits_are_reached_and_not_passed_item_264() {
    let deep = |n: usize| format!("{}{}", "<a>".repeat(n), "x</a>".repeat(n));
    assert!(seen(deep(DEPTH_MAX).as_bytes()).is_ok());
    assert_eq!(seen(deep(DEPTH_MAX + 1).as_bytes()), Err(Error::TooLarge));
    assert_eq!(seen(deep(2000).as_bytes()), Err(Error::TooLarge));

    let wide = |n: usize| format!("<a>{}</a>", "<b/>".repeat(n));
    assert!(seen(wide(200).as_bytes()).is_ok());
    assert_eq!(seen(wide(NODES_MAX as usize).as_bytes()), Err(Error::TooLarge));

    let long = |n: usize| format!("<a>{}</a>", "x".repeat(n - 7));
    assert!(seen(long(DOCUMENT_MAX).as_bytes()).is_ok());
    assert_eq!(seen(long(DOCUMENT_MAX + 1).as_bytes()), Err(Error::TooLarge));

    let many: String = (0..EQUALS_MAX + 1).map(|n| format!(" a{n}=''")).collect();
    assert_eq!(seen(format!("<a{many}/>").as_bytes()), Err(Error::TooLarge));

    let nested = |n: usize| {
        let open: String = (0..n).map(|n| format!("<a xmlns:p{n}=\"u\">")).collect();
        let wide: String = (n..DECLARATIONS_MAX).map(|n| format!("<b xmlns:p{n}='u'/>")).collect();
        format!("{open}{wide}{}", "</a>".repeat(n))
    };
    assert!(seen(nested(DEPTH_MAX - 1).as_bytes()).is_ok());
    // One more than may be, in what the repair would have to mend.
    let more = format!("{}<", nested(DECLARATIONS_MAX + 1));
    assert_eq!(seen(more.as_bytes()), Err(Error::TooLarge));

    let prefixes: String = (0..40).map(|n| format!("<p{n}:b/>")).collect();
    assert_eq!(seen(format!("<a>{prefixes}</a>").as_bytes()), Err(Error::Malformed));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(body in proptest::collection::vec(any::<u8>(), 0..512)) {
        let _ = seen(&body);
    }

    #[test]
    fn no_markup_makes_it_panic(
        parts in proptest::collection::vec(
            prop::sample::select(vec![
                "<", ">", "/", "</", "/>", "<a>", "</a>", "<u:a ", "xmlns:u", "=", "\"", "'", "&",
                "&amp;", "&#", "x41;", "<!--", "-->", "<![CDATA[", "]]>", "<?", "?>", "<!DOCTYPE a",
                "<NewPortMappingDescription>", "</NewPortMappingDescription>", "é", "\0", " ", ":",
            ]),
            0..40,
        )
    ) {
        let _ = seen(parts.concat().as_bytes());
    }

    #[test]
    fn any_text_survives_a_round_trip(text in "[^\\x00-\\x1f\u{fffe}\u{ffff}]{0,40}") {
        let mut out = String::new();
        element(&mut out, "a", &text);
        prop_assert_eq!(with_root(out.as_bytes(), super::text), Ok(text));
    }
}
