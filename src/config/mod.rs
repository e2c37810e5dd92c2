//! The owner's configuration: OpenWrt's `/etc/config/upnpd`, read without I/O.
//!
//! ```text
//!  bytes ─ uci::parse ─▶ sections ─ schema::read ─▶ Config      (+ every problem with its line)
//! ```
//!
//! Nothing here stops at the first mistake: a bad line is left out, reported with what to do about
//! it, and the rest is read. No byte sequence panics. What a mistake makes unreadable never opens a
//! port (see [`rules`]).

pub mod device;
pub mod options;
pub mod rules;
mod schema;
pub mod uci;
pub mod uuid;
mod value;

pub use device::Device;
pub use options::{Config, LogOutput};
pub use uuid::Uuid;

/// Most problems reported for one file. One more says that there are others.
pub const PROBLEMS_MAX: usize = 200;

/// How bad a [`Problem`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Something the owner wrote has no effect: the file must be mended.
    Error,
    /// The file works; the owner should know.
    Warning,
}

impl Severity {
    /// `error` or `warning`.
    pub const fn name(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        }
    }
}

/// One thing to mend, shown as `FILE:LINE: what to do`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Line, from 1.
    pub line: u32,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong and what to do.
    pub text: String,
}

/// The problems found so far, at most [`PROBLEMS_MAX`] and one.
#[derive(Debug, Default)]
struct Report {
    problems: Vec<Problem>,
}

impl Report {
    fn add(&mut self, line: u32, severity: Severity, text: String) {
        match self.problems.len() {
            0..PROBLEMS_MAX => self.problems.push(Problem { line, severity, text }),
            PROBLEMS_MAX => self.problems.push(Problem {
                line,
                severity: Severity::Error,
                text: "there are more problems: mend those above, then check again".into(),
            }),
            _ => {}
        }
    }

    fn error(&mut self, line: u32, text: impl Into<String>) {
        self.add(line, Severity::Error, text.into());
    }

    fn warning(&mut self, line: u32, text: impl Into<String>) {
        self.add(line, Severity::Warning, text.into());
    }
}

/// Reads a configuration. What cannot be read keeps its default and is among the problems, which
/// are in the order of their lines.
pub fn load(text: &[u8]) -> (Config, Vec<Problem>) {
    let (sections, problems) = uci::parse(text);
    let mut report = Report { problems };
    let config = schema::read(&sections, &mut report);
    report.problems.sort_by_key(|problem| problem.line);
    (config, report.problems)
}

/// What `postern check` says of the configuration `text` in the file `name`: a line without line
/// end for each problem, `FILE:LINE: error: …` or `FILE:LINE: warning: …`, and whether the file is
/// good, that is without an error.
pub fn check(name: &str, text: &[u8]) -> (Vec<String>, bool) {
    let (_, problems) = load(text);
    let good = problems.iter().all(|problem| problem.severity != Severity::Error);
    let line = |p: &Problem| {
        [name, ":", &p.line.to_string(), ": ", p.severity.name(), ": ", &p.text].concat()
    };
    (problems.iter().map(line).collect(), good)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn problems_are_rendered_as_file_line_severity_and_what_to_do() {
        let text = b"config upnpd config\n\toption enabled maybe\n\toption port many\n";
        assert_eq!(
            check("upnpd", text),
            (
                vec![
                    "upnpd:2: warning: enabled: 'maybe' is neither 1 nor 0, so the default stands: \
                     write 1 or 0"
                        .into(),
                    "upnpd:3: error: port: 'many' is not a number from 1 to 65535: mend it".into(),
                ],
                false,
            )
        );
    }

    #[test]
    fn warnings_alone_are_no_failure() {
        let (lines, good) = check("upnpd", b"config upnpd config\n\toption colour blue\n");
        assert_eq!((lines.len(), good), (1, true));
    }

    #[test]
    fn a_file_of_mistakes_is_reported_up_to_the_limit_and_fails() {
        let (lines, good) = check("f", "mistake\n".repeat(5000).as_bytes());
        assert_eq!(lines.len(), PROBLEMS_MAX + 1);
        assert_eq!(
            lines[PROBLEMS_MAX],
            "f:201: error: there are more problems: mend those above, then check again"
        );
        assert!(!good);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(text in prop::collection::vec(any::<u8>(), 0..2000)) {
            check("f", &text);
        }

        #[test]
        fn no_text_of_the_grammar_s_own_characters_panics(
            text in r#"((config|option|list) (upnpd|perm_rule|config|port|uuid|[a-z'"\\;# \n]{0,9})[ \n]){0,40}"#,
        ) {
            check("f", text.as_bytes());
        }
    }
}
