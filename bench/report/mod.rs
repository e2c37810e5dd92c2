//! What has been found: printed as it is found, then written as Markdown with a plot beside it.

mod svg;

use crate::lab::stats::{figure, ratio};
use std::fs;
use std::io;
use std::path::Path;

pub use svg::{Line, Plot};

/// Everything found.
#[derive(Default)]
pub struct Report {
    text: String,
    plots: Vec<Plot>,
    targets: Vec<Target>,
}

/// Rows of words under a title.
pub struct Table {
    title: String,
    head: Vec<String>,
    rows: Vec<Vec<String>>,
    notes: Vec<String>,
}

impl Table {
    /// An empty one.
    pub fn new(title: &str, head: &[&str]) -> Table {
        let head = head.iter().map(|word| (*word).to_owned()).collect();
        Table { title: title.into(), head, rows: vec![], notes: vec![] }
    }

    /// One more row.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        assert_eq!(N, self.head.len(), "{}", self.title);
        self.rows.push(cells.into());
    }

    /// How it was measured.
    pub fn note(&mut self, text: String) {
        self.notes.push(text);
    }

    /// Markdown that is as easy to read as it is.
    fn text(&self) -> String {
        let width = |column: usize| {
            let cells = self.rows.iter().chain([&self.head]);
            cells.map(|row| row[column].chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.head.len()).map(width).collect();
        let line = |cells: &[String]| {
            let padded = cells.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
                let blank = " ".repeat(width - cell.chars().count());
                if column == 0 {
                    format!("{cell}{blank}")
                } else {
                    format!("{blank}{cell}")
                }
            });
            format!("| {} |\n", padded.collect::<Vec<_>>().join(" | "))
        };
        let rule = widths.iter().enumerate().map(|(column, width)| {
            let dashes = "-".repeat(*width);
            if column == 0 {
                format!("|-{dashes}-")
            } else {
                format!("|-{dashes}:")
            }
        });
        let mut out =
            format!("## {}\n\n{}{}|\n", self.title, line(&self.head), rule.collect::<String>());
        out.extend(self.rows.iter().map(|row| line(row)));
        for note in self.notes.iter().filter(|note| !note.is_empty()) {
            out += &format!("\n{note}\n");
        }
        out + "\n"
    }
}

/// Something that shall be, and whether it is.
pub struct Target {
    what: String,
    found: Option<f64>,
    limit: f64,
    /// Whether more is better.
    floor: bool,
    unit: &'static str,
    /// Above this the run fails.
    fatal: Option<f64>,
}

impl Target {
    /// `value` is at most `limit` times `base`.
    pub fn at_most(what: &str, value: Option<f64>, base: Option<f64>, limit: f64) -> Target {
        Target {
            what: what.into(),
            found: ratio(value, base),
            limit,
            floor: false,
            unit: " ×",
            fatal: None,
        }
    }

    /// `value` is at least `limit` times `base`.
    pub fn at_least(what: &str, value: Option<f64>, base: Option<f64>, limit: f64) -> Target {
        Target {
            what: what.into(),
            found: ratio(value, base),
            limit,
            floor: true,
            unit: " ×",
            fatal: None,
        }
    }

    /// A number that is at most `limit`.
    pub fn value(what: &str, found: Option<f64>, limit: f64) -> Target {
        Target { what: what.into(), found, limit, floor: false, unit: "", fatal: None }
    }

    /// The run fails if it is more than this: what is timed may miss its limit by chance, but not by
    /// far.
    pub fn or_fail_above(self, fatal: f64) -> Target {
        Target { fatal: Some(fatal), ..self }
    }

    fn met(&self) -> bool {
        self.found.is_some_and(
            |found| {
                if self.floor {
                    found >= self.limit
                } else {
                    found <= self.limit
                }
            },
        )
    }
}

impl Report {
    /// Adds a table and prints it.
    pub fn table(&mut self, table: Table) {
        self.say(&table.text());
    }

    /// Adds a paragraph and prints it.
    pub fn say(&mut self, text: &str) {
        println!("{text}");
        self.text += text;
    }

    /// Adds a plot.
    pub fn plot(&mut self, plot: Plot) {
        self.plots.push(plot);
    }

    /// Adds a target.
    pub fn target(&mut self, target: Target) {
        self.targets.push(target);
    }

    /// What must not be and is.
    pub fn failures(&self) -> Vec<&str> {
        let fails = |target: &&Target| {
            target.fatal.is_some_and(|fatal| target.found.is_none_or(|found| found > fatal))
        };
        self.targets.iter().filter(fails).map(|target| target.what.as_str()).collect()
    }

    /// Adds what has become of the targets.
    pub fn judge(&mut self) {
        let mut table = Table::new("Targets", &["", "found", "wanted", ""]);
        for target in &self.targets {
            let sign = if target.floor { "≥" } else { "≤" };
            table.row([
                target.what.clone(),
                format!("{}{}", figure(target.found), target.unit),
                format!("{sign} {}{}", figure(Some(target.limit)), target.unit),
                if target.met() { "met".into() } else { "missed".into() },
            ]);
        }
        self.table(table);
    }

    /// Writes `results.md` and `results.svg` into a folder.
    pub fn write(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)?;
        fs::write(dir.join("results.svg"), svg::draw(&self.plots))?;
        fs::write(dir.join("results.md"), self.text.trim_end().to_owned() + "\n")
    }
}
