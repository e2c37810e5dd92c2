//! The configuration file: any bytes give sections within the limits, and every problem names a
//! line that is there.

use postern::config::uci::{
    parse, Section, ITEMS_MAX, OPTIONS_MAX, SECTIONS_MAX, TEXT_MAX, WORD_MAX,
};
use postern::config::{check, load, Problem, Severity, Uuid, PROBLEMS_MAX};

pub fn run(bytes: &[u8]) {
    let ends = bytes.iter().filter(|byte| **byte == b'\n').count();
    let lines = (ends + usize::from(!bytes.ends_with(b"\n"))) as u32;
    let (sections, problems) = parse(bytes);
    lines_exist(&problems, lines);
    assert!(sections.len() <= SECTIONS_MAX + 1);
    sections.iter().for_each(|section| within_limits(section, lines));
    if bytes.len() > TEXT_MAX || bytes.contains(&0) {
        assert!(!problems.is_empty() && sections.iter().any(|section| section.damaged));
    }

    let (config, problems) = load(bytes);
    lines_exist(&problems, lines);
    assert_eq!(load(bytes), (config, problems.clone()));
    let (said, good) = check("upnpd", bytes);
    assert_eq!(said.len(), problems.len());
    assert_eq!(good, problems.iter().all(|problem| problem.severity == Severity::Warning));
    assert!(said.iter().all(|line| line.starts_with("upnpd:") && !line.contains('\n')), "{said:?}");

    if let Ok(uuid) = String::from_utf8_lossy(bytes).parse::<Uuid>() {
        assert_eq!(uuid.to_string().parse(), Ok(uuid));
    }
}

fn lines_exist(problems: &[Problem], lines: u32) {
    assert!(problems.len() <= PROBLEMS_MAX + 1);
    assert!(problems.iter().all(|p| (1..=lines).contains(&p.line)), "{lines}: {problems:?}");
    assert!(problems.windows(2).all(|two| two[0].line <= two[1].line), "{problems:?}");
}

fn within_limits(section: &Section, lines: u32) {
    let is_name = |name: &str| {
        let bytes = || name.bytes();
        (1..=WORD_MAX).contains(&name.len())
            && bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    assert!(section.damaged || !section.kind.is_empty());
    assert!(section.name.as_deref().is_none_or(is_name));
    assert!((1..=lines).contains(&section.line) && section.options.len() <= OPTIONS_MAX);
    for entry in &section.options {
        assert!(is_name(&entry.name) && (1..=ITEMS_MAX).contains(&entry.items.len()));
        assert!(entry.list || (entry.items.len() == 1 && !entry.items[0].text.is_empty()));
        for item in &entry.items {
            assert!((1..=lines).contains(&item.line) && item.text.len() <= WORD_MAX);
            assert!(!item.text.contains(&0));
        }
    }
}
