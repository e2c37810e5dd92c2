use super::*;
use crate::config::Severity;
use proptest::prelude::*;

/// A readable form of sections: `type name!` for a damaged one, `option=value`, `list=[a][b]`.
fn told(sections: &[Section]) -> Vec<String> {
    let mut out = Vec::new();
    for section in sections {
        let name = section.name.as_deref().unwrap_or("-");
        let damaged = if section.damaged { "!" } else { "" };
        out.push(format!("{} {name}{damaged}", section.kind));
        for entry in &section.options {
            let texts = entry.items.iter().map(|item| String::from_utf8_lossy(&item.text));
            let texts = match entry.list {
                true => texts.map(|text| format!("[{text}]")).collect(),
                false => texts.collect::<String>(),
            };
            out.push(format!("{}={texts}", entry.name));
        }
    }
    out
}

/// What a file that must be without problems says.
fn good(text: &str) -> Vec<String> {
    let (sections, problems) = parse(text.as_bytes());
    assert_eq!(problems, []);
    told(&sections)
}

/// What a file says, and its faults with their lines.
fn bad(text: &str) -> (Vec<String>, Vec<(u32, &'static str)>) {
    let (sections, problems) = parse(text.as_bytes());
    let faults = problems.iter().map(|problem| {
        assert_eq!(problem.severity, Severity::Error, "{}", problem.text);
        (problem.line, ALL.iter().find(|fault| fault.advice() == problem.text).unwrap().advice())
    });
    (told(&sections), faults.collect())
}

const ALL: [Fault; 16] = [
    Fault::BadName,
    Fault::BadType,
    Fault::Missing,
    Fault::Nul,
    Fault::OtherType,
    Fault::Orphan,
    Fault::Semicolon,
    Fault::TooManyItems,
    Fault::TooManyOptions,
    Fault::TooManySections,
    Fault::TooManyWords,
    Fault::TextTooLong,
    Fault::Unknown,
    Fault::UnknownOption,
    Fault::Unterminated,
    Fault::WordTooLong,
];

/// The value of `option x` written so.
fn value(written: &str) -> String {
    let told = good(&format!("config a\noption x {written}\n"));
    told.get(1).map_or(String::new(), |entry| entry["x=".len()..].to_string())
}

#[test]
fn statements_have_long_and_one_letter_forms() {
    assert_eq!(
        good("package upnpd\nconfig a b\n\toption c d\n\tlist e f\np upnp-d\nc g\no h i\nl j k\nl j l\n"),
        ["a b", "c=d", "e=[f]", "g -", "h=i", "j=[k][l]"]
    );
}

#[test]
fn lines_are_numbered_where_their_statement_begins() {
    let (sections, _) =
        parse(b"\n# c\nconfig a\n\n option x 'two\nlines'\n list y \\\n1\n list y 2\n");
    let item = |line, text: &str| Item { line, text: text.into() };
    assert_eq!(
        sections,
        [Section {
            line: 3,
            kind: "a".into(),
            name: None,
            damaged: false,
            options: vec![
                Entry { name: "x".into(), list: false, items: vec![item(5, "two\nlines")] },
                Entry { name: "y".into(), list: true, items: vec![item(7, "1"), item(9, "2")] },
            ],
        }]
    );
}

#[test]
fn bare_words_take_escapes_and_end_at_space_or_comment() {
    assert_eq!(value("word"), "word");
    assert_eq!(value("word # comment"), "word");
    assert_eq!(value("word#comment"), "word");
    assert_eq!(value(r"a\ b\\c\'d\#e\;f\n"), r"a b\c'd#e;fn");
    assert_eq!(value("\t  w\u{b}\u{c}\r"), "w");
}

#[test]
fn single_quotes_know_no_escape_and_double_quotes_do() {
    assert_eq!(value(r#"'a\n"b # ; c'"#), r#"a\n"b # ; c"#);
    assert_eq!(value(r#""a\n'\"\\b # ; c""#), r#"an'"\b # ; c"#);
    assert_eq!(value(r"'it'\''s'"), "it's");
}

#[test]
fn adjacent_pieces_are_one_word() {
    assert_eq!(value(r#"multi"part 'x' "str'ing'"#), "multipart 'x' string");
}

#[test]
fn quotes_span_lines_and_a_backslash_joins_them() {
    assert_eq!(value("'a\nb\n'"), "a\nb\n");
    assert_eq!(value("\"a\r\nb\""), "a\r\nb");
    assert_eq!(value("\"a\\\nb\\\r\nc\""), "abc");
    assert_eq!(value("a\\\nb\\\r\nc"), "abc");
    assert_eq!(value("a\\"), "a");
}

#[test]
fn files_with_dos_line_ends_read_the_same() {
    assert_eq!(
        good("# c\r\n\r\nconfig a 'b'\r\n\toption c d\r\n\tlist e 'f'\r\n"),
        ["a b", "c=d", "e=[f]"]
    );
}

#[test]
fn the_last_line_needs_no_end() {
    assert_eq!(good("config a\n option x 1"), ["a -", "x=1"]);
}

#[test]
fn the_last_option_wins_and_keeps_its_place() {
    assert_eq!(good("config a\no x 1\no y 2\no x 3"), ["a -", "x=3", "y=2"]);
}

#[test]
fn an_empty_or_missing_value_changes_nothing_in_an_option_and_counts_in_a_list() {
    assert_eq!(good("config a\no x 1\no x ''\no x\no y\n"), ["a -", "x=1"]);
    assert_eq!(good("config a\nl x ''\nl x\nl x 1\n"), ["a -", "x=[][][1]"]);
}

#[test]
fn a_list_takes_in_the_option_before_it_and_an_option_replaces_the_list() {
    assert_eq!(good("config a\no x 1\nl x 2\nl x 2"), ["a -", "x=[1][2][2]"]);
    assert_eq!(good("config a\nl x 1\nl x 2\no x 3"), ["a -", "x=3"]);
}

#[test]
fn sections_of_one_name_are_one_section() {
    assert_eq!(
        good("config a n\no x 1\no y 1\nconfig a\no x 5\nconfig a n\no y 2\nconfig a ''\n"),
        ["a n", "x=1", "y=2", "a -", "x=5", "a -"]
    );
}

#[test]
fn a_semicolon_apart_from_the_word_begins_a_new_statement() {
    assert_eq!(good("config a\no x 1 ; o y '2'; l z 3"), ["a -", "x=1", "y=2", "z=[3]"]);
}

#[test]
fn what_follows_a_semicolon_at_a_bare_word_is_not_read_and_warned_about() {
    let (sections, problems) = parse(b"config a\no x 1; o y 2\no z 3;\no u 4; # c\n");
    assert_eq!(told(&sections), ["a -", "x=1", "z=3", "u=4"]);
    assert_eq!(
        problems,
        [Problem {
            line: 2,
            severity: Severity::Warning,
            text: "uci does not read what follows ';' here: put it on a line of its own".into(),
        }]
    );
}

#[test]
fn each_bad_line_is_left_out_and_reported_and_its_section_is_damaged() {
    for (line, fault) in [
        ("opton y 1", Fault::UnknownOption),
        ("option", Fault::UnknownOption),
        ("lst y 1", Fault::UnknownOption),
        ("option ", Fault::Missing),
        ("option ''", Fault::Missing),
        ("o # y", Fault::Missing),
        ("Option y 1", Fault::UnknownOption),
        ("option y-z 1", Fault::BadName),
        ("option y\u{e4} 1", Fault::BadName),
        ("option y 1 2", Fault::TooManyWords),
        ("list y 'it's mine'", Fault::Unterminated),
        ("list y 'it's' mine", Fault::Unterminated),
        ("package a b", Fault::TooManyWords),
        ("package a.b", Fault::BadName),
        ("option x 1 ;", Fault::Semicolon),
        ("option y \"1", Fault::Unterminated),
        ("option y '1", Fault::Unterminated),
        ("option y 1\\\n 2", Fault::TooManyWords),
    ] {
        assert_eq!(
            bad(&format!("config a n\no x 1\n{line}\no z 2\n")),
            (vec!["a n!".into(), "x=1".into(), "z=2".into()], vec![(3, fault.advice())]),
            "{line}"
        );
    }
}

#[test]
fn what_may_have_been_a_config_line_is_noted_as_a_section_of_its_own() {
    for line in ["confg perm_rule", "Config a", "'option' y 1", "package", "<<<<<<< HEAD", "x"] {
        assert_eq!(
            bad(&format!("config a n\no x 1\n{line}\no z 2\nmore\nconfig a\no u 3\n")),
            (
                vec![
                    "a n!".into(),
                    "x=1".into(),
                    "z=2".into(),
                    " -!".into(),
                    "a -".into(),
                    "u=3".into()
                ],
                vec![(3, Fault::Unknown.advice()), (5, Fault::Unknown.advice())]
            ),
            "{line}"
        );
    }
    let full = ["config a\n".repeat(SECTIONS_MAX).as_str(), "x\nconfig b\n"].concat();
    let (sections, problems) = parse(full.as_bytes());
    assert_eq!(sections.len(), SECTIONS_MAX + 1);
    assert!(sections[SECTIONS_MAX].damaged);
    let told: Vec<&str> = problems.iter().map(|problem| problem.text.as_str()).collect();
    assert_eq!(told, [Fault::Unknown.advice(), Fault::TooManySections.advice()]);
}

#[test]
fn a_bad_config_line_begins_a_section_of_its_own() {
    for (line, section, fault) in [
        ("config ", " -!", Fault::Missing),
        ("config ''", " -!", Fault::Missing),
        ("config 'b c'", " -!", Fault::BadType),
        ("config b\u{e4}", " -!", Fault::BadType),
        ("config b c-d", "b -!", Fault::BadName),
        ("config b c d", "b c!", Fault::TooManyWords),
        ("config b n", "b -!", Fault::OtherType),
    ] {
        assert_eq!(
            bad(&format!("config a n\no x 1\n{line}\no x 2\n")),
            (
                vec!["a n".into(), "x=1".into(), section.into(), "x=2".into()],
                vec![(3, fault.advice())]
            ),
            "{line}"
        );
    }
}

#[test]
fn what_stands_before_the_first_section_begins_one_of_which_nothing_is_known() {
    assert_eq!(
        bad("o x 1\nl y 2\nconfig b\n"),
        (vec![" -!".into(), "y=[2]".into(), "b -".into()], vec![(1, Fault::Orphan.advice())])
    );
    assert_eq!(
        bad("confg a\no x 1\nconfig b\n"),
        (vec![" -!".into(), "x=1".into(), "b -".into()], vec![(1, Fault::Unknown.advice())])
    );
}

#[test]
fn a_quote_that_never_closes_costs_one_line() {
    assert_eq!(
        bad("config a\no x 'open\no y 2\nconfig b\n"),
        (vec!["a -!".into(), "y=2".into(), "b -".into()], vec![(2, Fault::Unterminated.advice())])
    );
}

#[test]
fn a_nul_byte_ends_the_file_and_stands_for_what_is_lost() {
    assert_eq!(
        bad("config a\no x 1\no y\0 2\nconfig b\n"),
        (vec!["a -!".into(), "x=1".into(), " -!".into()], vec![(3, Fault::Nul.advice())])
    );
}

#[test]
fn a_file_too_long_is_read_up_to_its_last_whole_line_within_the_limit() {
    let line = "# 4567890123456\n";
    let full = line.repeat(TEXT_MAX / line.len());
    assert_eq!(full.len(), TEXT_MAX);
    assert_eq!(good(&full), [""; 0]);
    assert_eq!(
        bad(&format!("{full}#")),
        (vec![" -!".into()], vec![(4097, Fault::TextTooLong.advice())])
    );
}

#[test]
fn every_limit_is_reached_without_harm_and_one_more_is_a_fault() {
    let word = "x".repeat(WORD_MAX);
    assert_eq!(value(&word), word);
    let many = |count, line: fn(usize) -> String| {
        let lines: String = (0..count).map(line).collect();
        bad(&format!("config a\n{lines}"))
    };
    let last = |count: usize, fault: Fault| vec![(count as u32 + 1, fault.advice())];

    assert_eq!(
        bad(&format!("config a\no x {word}x\n")),
        (vec!["a -!".into()], last(1, Fault::WordTooLong))
    );

    let (told, faults) = many(OPTIONS_MAX, |n| format!("o x{n} 1\n"));
    assert_eq!((told.len(), faults), (OPTIONS_MAX + 1, vec![]));
    let (told, faults) = many(OPTIONS_MAX + 1, |n| format!("o x{n} 1\n"));
    assert_eq!(
        (told.len(), faults),
        (OPTIONS_MAX + 1, last(OPTIONS_MAX + 1, Fault::TooManyOptions))
    );

    let (told, faults) = many(ITEMS_MAX + 1, |_| "l x 1\n".into());
    assert_eq!(told[1], format!("x={}", "[1]".repeat(ITEMS_MAX)));
    assert_eq!(faults, last(ITEMS_MAX + 1, Fault::TooManyItems));

    let (told, faults) = many(SECTIONS_MAX - 1, |_| "c b\n".into());
    assert_eq!((told.len(), faults), (SECTIONS_MAX, vec![]));
    let (told, faults) = many(SECTIONS_MAX + 9, |_| "c b\n".into());
    assert_eq!((told.len(), told[SECTIONS_MAX].as_str()), (SECTIONS_MAX + 1, " -!"));
    assert_eq!(faults, last(SECTIONS_MAX, Fault::TooManySections));
}

#[test]
fn advice_names_the_limits_as_they_are() {
    for (fault, limit) in [
        (Fault::TooManyItems, ITEMS_MAX),
        (Fault::TooManyOptions, OPTIONS_MAX),
        (Fault::TooManySections, SECTIONS_MAX),
        (Fault::TextTooLong, TEXT_MAX),
        (Fault::WordTooLong, WORD_MAX),
    ] {
        assert!(fault.advice().contains(&limit.to_string()), "{}", fault.advice());
    }
}

/// As `uci export` writes it.
fn export(sections: &[Section]) -> Vec<u8> {
    let mut out = Vec::new();
    let quoted = |out: &mut Vec<u8>, text: &[u8]| {
        out.push(b'\'');
        for &byte in text {
            match byte {
                b'\'' => out.extend(br"'\''"),
                _ => out.push(byte),
            }
        }
        out.extend(b"'");
    };
    for section in sections {
        out.extend(format!("config {} ", section.kind).bytes());
        quoted(&mut out, section.name.as_deref().unwrap_or_default().as_bytes());
        out.push(b'\n');
        for entry in &section.options {
            for item in &entry.items {
                let keyword = if entry.list { "list" } else { "option" };
                out.extend(format!("\t{keyword} {} ", entry.name).bytes());
                quoted(&mut out, &item.text);
                out.push(b'\n');
            }
        }
    }
    out
}

fn any_entry() -> impl Strategy<Value = (String, bool, Vec<Vec<u8>>)> {
    let text = prop::collection::vec(1..=255_u8, 1..12);
    ("[a-z_0-9]{1,3}", any::<bool>(), prop::collection::vec(text, 1..4))
}

proptest! {
    #[test]
    fn what_is_exported_is_read_back(
        written in prop::collection::vec(
            ("[!-&(-~&&[^#;\"\\\\]]{1,8}", prop::option::of("[a-z]{1,2}"), prop::collection::vec(any_entry(), 0..5)),
            0..6,
        ),
    ) {
        let mut sections: Vec<Section> = Vec::new();
        for (kind, name, entries) in written {
            let name = name.filter(|name| sections.iter().all(|s| s.name.as_ref() != Some(name)));
            let mut section = Section { line: 0, kind, name, damaged: false, options: vec![] };
            for (name, list, texts) in entries {
                for text in texts {
                    section.set(name.clone(), list, Item { line: 0, text }).unwrap();
                }
            }
            sections.push(section);
        }
        let (mut read, problems) = parse(&export(&sections));
        prop_assert_eq!(problems, vec![]);
        for section in &mut read {
            section.line = 0;
            section.options.iter_mut().flat_map(|e| &mut e.items).for_each(|item| item.line = 0);
        }
        prop_assert_eq!(read, sections);
    }

    #[test]
    fn no_bytes_panic_and_lines_are_those_of_the_file(
        text in prop::collection::vec(any::<u8>(), 0..500),
    ) {
        let (sections, problems) = parse(&text);
        let lines = text.split(|&byte| byte == b'\n').count() as u32;
        prop_assert!(problems.iter().all(|problem| (1..=lines).contains(&problem.line)));
        prop_assert!(sections.iter().all(|section| (1..=lines).contains(&section.line)));
        prop_assert!(sections.iter().flat_map(|s| &s.options).all(|entry| !entry.items.is_empty()));
    }

    #[test]
    fn no_statements_panic(text in r#"((config|option|list|[colp]|[a-z'"\\;#\r\n ]{0,4})[ \n]){0,60}"#) {
        parse(text.as_bytes());
    }
}
