//! `config perm_rule` sections: who may map what; the first rule that matches decides.
//!
//! A rule that cannot be read fails safe. **A bad `allow` rule is left out. A bad rule that denies,
//! or of which not even that is known, denies everything in its place.** So a mistake can close
//! ports that were meant to be open, never the reverse: leaving out an `allow` rule can only hand
//! its ports to a later rule or to no rule at all, neither of which permits more than it did, and
//! denying everything is at least what any `deny` rule does.

use super::uci::{Entry, Section};
use super::value::{self, shown};
use super::Report;
use crate::gateway::policy::PermRule;
use std::net::{IpAddr, Ipv4Addr};

/// What stands in place of a rule that may have denied something.
const DENY_ALL: PermRule = PermRule {
    allow: false,
    external: 0..=u16::MAX,
    internal: (IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
    internal_ports: 0..=u16::MAX,
};

/// Where a value of a rule goes.
#[derive(Clone, Copy)]
enum Part {
    Action,
    External,
    Internal,
    InternalPorts,
    Comment,
    Filter,
}

/// Today's names, and those of the proposed new schema.
const PARTS: [(&str, Part); 8] = [
    ("action", Part::Action),
    ("ext_ports", Part::External),
    ("ext_port", Part::External),
    ("int_addr", Part::Internal),
    ("int_ports", Part::InternalPorts),
    ("int_port", Part::InternalPorts),
    ("comment", Part::Comment),
    ("descr_filter", Part::Filter),
];

fn part(name: &str) -> Option<Part> {
    PARTS.iter().find(|(known, _)| *known == name).map(|&(_, part)| part)
}

/// Whether an option of this name restricts something, so that losing it may open a port.
pub(super) fn restricts(name: &str) -> bool {
    !matches!(part(name), None | Some(Part::Comment))
}

/// Something at `line` that may have been a rule and cannot be read: everything is denied in its
/// place.
pub(super) fn lost(line: u32, rules: &mut Vec<PermRule>, report: &mut Report) {
    report.error(line, "what is here cannot be read, and denies everything until it is mended");
    rules.push(DENY_ALL);
}

/// Reads one section and appends its rule, if it makes one. `unknown` is told of options that no
/// rule has.
pub(super) fn read(
    section: &Section,
    rules: &mut Vec<PermRule>,
    report: &mut Report,
    unknown: &mut dyn FnMut(&mut Report, &Entry),
) {
    let mut rule = DENY_ALL;
    let mut bad = false;
    for entry in &section.options {
        let Some(part) = part(&entry.name) else {
            unknown(report, entry);
            continue;
        };
        let [item] = entry.items.as_slice() else {
            report
                .error(entry.items[0].line, format!("{}: a rule has one: use option", entry.name));
            bad = true;
            continue;
        };
        match set(&mut rule, part, &item.text) {
            Ok(()) => {}
            Err(text) => {
                bad = true;
                report.error(item.line, format!("{}: {text}", entry.name));
            }
        }
    }
    if section.damaged || (bad && !rule.allow) {
        lost(section.line, rules, report);
    } else if bad {
        let text = "what is here cannot be read, and allows nothing until it is mended";
        report.error(section.line, text);
    } else {
        rules.push(rule);
    }
}

fn set(rule: &mut PermRule, part: Part, bytes: &[u8]) -> Result<(), String> {
    // A list can hold an empty value, which says nothing.
    if matches!(part, Part::Comment) || bytes.is_empty() {
        return Ok(());
    }
    let word = value::text(bytes)?.trim();
    match part {
        Part::Action => rule.allow = action(word)?,
        Part::External => rule.external = value::ports(word)?,
        Part::InternalPorts => rule.internal_ports = value::ports(word)?,
        Part::Internal => rule.internal = value::network(word)?,
        Part::Filter => {
            let text = "descriptions cannot be filtered, whoever asks may write any: remove this";
            return Err(text.into());
        }
        Part::Comment => {}
    }
    Ok(())
}

fn action(word: &str) -> Result<bool, String> {
    match word {
        "allow" | "accept" => Ok(true),
        "deny" | "reject" | "ignore" => Ok(false),
        _ => Err([&shown(word), " is neither allow nor deny: write one of them"].concat()),
    }
}

#[cfg(test)]
mod tests;
