//! The schema: every option's names and how its value is read.
//!
//! OpenWrt's `upnpd` schema with every option of today's package, Postern's additions, and the
//! names of the proposed new schema as aliases. Options that have lost their meaning are passed
//! over in silence; unknown ones are warned about once each. The defaults are
//! [`Config::default`]'s; a value that cannot be read leaves them.

use super::options::{NAMES_MAX, NOTIFY_INTERVAL_MAX, NOTIFY_INTERVAL_MIN};
use super::uci::{Entry, Section};
use super::value::{self, shown};
use super::{rules, Config, Device, LogOutput, Report};

/// Different unknown names that are warned about, once each. Further ones are not.
const UNKNOWN_MAX: usize = 32;

/// Why an option did not take the value as written.
enum Wrong {
    /// It has no effect.
    Error(String),
    /// It has an effect of which the owner should know.
    Warning(String),
}

impl From<String> for Wrong {
    fn from(text: String) -> Self {
        Wrong::Error(text)
    }
}

impl From<&str> for Wrong {
    fn from(text: &str) -> Self {
        Wrong::Error(text.into())
    }
}

/// How an option's value is read.
enum How {
    /// OpenWrt's `get_bool`.
    Flag(fn(&mut Config) -> &mut bool),
    /// Any text of one line.
    Text(fn(&mut Config) -> &mut Option<String>),
    /// An absolute path.
    Path(fn(&mut Config) -> &mut Option<String>),
    /// One word.
    One(fn(&mut Config, &str) -> Result<(), Wrong>),
    /// Words, in one value or a list; the first function forgets what was there.
    Each(fn(&mut Config), fn(&mut Config, &str) -> Result<(), Wrong>),
    /// Meant something once.
    Obsolete,
}

use How::{Each, Flag, Obsolete, One, Path, Text};

/// Every option by its names, the first of them ours.
#[rustfmt::skip]
const OPTIONS: &[(&[&str], How)] = &[
    (&["enabled"], Flag(|c| &mut c.enabled)),
    (&["enable_upnp"], Flag(|c| &mut c.enable_upnp)),
    (&["enable_natpmp"], Flag(|c| &mut c.enable_natpmp)),
    (&["enabled_protocols", "enable_protocols"], One(protocols)),
    (&["secure_mode"], Flag(|c| &mut c.secure_mode)),
    (&["allow_third_party_mapping"], One(third_party)),
    (&["log_output"], One(log_output)),
    (&["external_iface"], Text(|c| &mut c.external_iface)),
    (&["external_iface6"], Text(|c| &mut c.external_iface6)),
    (&["external_zone"], Text(|c| &mut c.external_zone)),
    (&["external_device"], One(|c, word| put(&mut c.external_device, device(word)?))),
    (&["external_device6"], One(|c, word| put(&mut c.external_device6, device(word)?))),
    (&["internal_iface"], Each(|c| c.internal_iface.clear(), internal_iface)),
    (&["internal_device"], Each(|c| c.internal_device.clear(), internal_device)),
    (&["external_ip"], One(|c, word| put(&mut c.external_ip, value::ipv4(word)?))),
    (&["port", "http_port"], One(|c, word| short(&mut c.port, word))),
    (&["download"], One(|c, word| rate(&mut c.download, word))),
    (&["upload"], One(|c, word| rate(&mut c.upload, word))),
    (&["download_kbps"], One(|c, word| rate_in_kbit(&mut c.download, word))),
    (&["upload_kbps"], One(|c, word| rate_in_kbit(&mut c.upload, word))),
    (&["upnp_lease_file"], Path(|c| &mut c.upnp_lease_file)),
    (&["upnp_lease_file6"], Path(|c| &mut c.upnp_lease_file6)),
    (&["lease_file"], One(lease_file)),
    (&["igdv1"], One(|c, word| put(&mut c.igdv1, flag(word)?))),
    (&["upnp_igd_compat"], One(igd_compat)),
    (&["use_stun"], One(use_stun)),
    (&["allow_cgnat"], One(allow_cgnat)),
    (&["stun_host"], Text(|c| &mut c.stun_host)),
    (&["stun_port"], One(|c, word| short(&mut c.stun_port, word))),
    (&["ext_allow_private_ipv4"], Flag(|c| &mut c.ext_allow_private_ipv4)),
    (&["ipv6_disable"], Flag(|c| &mut c.ipv6_disable)),
    (&["system_uptime"], Flag(|c| &mut c.system_uptime)),
    (&["presentation_url"], Text(|c| &mut c.presentation_url)),
    (&["serial_number"], Text(|c| &mut c.serial_number)),
    (&["model_number"], Text(|c| &mut c.model_number)),
    (&["friendly_name"], Text(|c| &mut c.friendly_name)),
    (&["notify_interval"], One(notify_interval)),
    (&["uuid"], One(uuid)),
    // What only the init script reads: this one and the last.
    (&["config_file"], One(config_file)),
    (&["ct_mark"], One(|c, word| put(&mut c.ct_mark, value::mask(word)?))),
    (&["max_mappings"], One(|c, word| short(&mut c.max_mappings, word))),
    (&["max_mappings_per_host"], One(|c, word| short(&mut c.max_mappings_per_host, word))),
    (&["max_new_mappings"], One(|c, word| set(&mut c.max_new_mappings, value::short(word, 0)?))),
    (&["min_lifetime"], One(|c, word| set(&mut c.min_lifetime, seconds(word)?))),
    (&["max_lifetime"], One(|c, word| set(&mut c.max_lifetime, seconds(word)?))),
    (&["pcp_third_party"], Each(|c| c.pcp_third_party.clear(), pcp_third_party)),
    (&["revoke_flows"], Flag(|c| &mut c.revoke_flows)),
    (&["ubus_socket"], One(ubus_socket)),
    (&["user"], Text(|c| &mut c.user)),
    (&["seccomp"], Flag(|c| &mut c.seccomp)),
    (&["http_names"], Each(|c| c.http_names.clear(), http_name)),
    (&["clean_ruleset_threshold", "clean_ruleset_interval"], Obsolete),
    (&["jail"], Obsolete),
];

/// Reads all sections.
pub(super) fn read(sections: &[Section], report: &mut Report) -> Config {
    let mut config = Config::default();
    let mut unknown = Unknown::default();
    let mut found = false;
    for section in sections {
        let name = section.name.as_deref();
        match (section.kind.as_str(), name) {
            ("", _) => rules::lost(section.line, &mut config.perm_rules, report),
            ("perm_rule" | "acl_entry", _) => {
                rules::read(section, &mut config.perm_rules, report, &mut |report, entry| {
                    unknown.option(report, entry);
                });
            }
            ("upnpd", Some("config" | "settings")) => {
                found = true;
                settings(&mut config, section, &mut unknown, report);
            }
            ("upnpd", _) => {
                let text = "this section is not read: name it, `config upnpd 'config'`";
                report.error(section.line, text);
            }
            // The init script reads it.
            ("internal_network", _) => {}
            (kind, _) => unknown.section(report, section.line, kind),
        }
    }
    if !found {
        report.warning(
            1,
            "there is no section `config upnpd 'config'`, so every option has its default: add it",
        );
    }
    config
}

/// Reads the options of the main section.
fn settings(config: &mut Config, section: &Section, unknown: &mut Unknown, report: &mut Report) {
    let mut lost = None;
    for entry in &section.options {
        let line = entry.items[0].line;
        let known = OPTIONS.iter().find(|(names, _)| names.contains(&entry.name.as_str()));
        match known {
            Some((_, how)) => take(config, entry, how, report),
            None if rules::restricts(&entry.name) => {
                lost.get_or_insert(line);
                let text = " is an option of a rule: put `config perm_rule` above it";
                report.error(line, [&entry.name, text].concat());
            }
            None => unknown.option(report, entry),
        }
    }
    if let Some(line) = lost {
        rules::lost(line, &mut config.perm_rules, report);
    }
}

/// Reads one option. A value that is wrong leaves the default.
fn take(config: &mut Config, entry: &Entry, how: &How, report: &mut Report) {
    if let Each(clear, add) = how {
        let mut first = true;
        for item in &entry.items {
            let words = value::text(&item.text).map_err(Wrong::from);
            let outcome = words.and_then(|words| {
                words.split_ascii_whitespace().try_for_each(|word| {
                    if std::mem::take(&mut first) {
                        clear(config);
                    }
                    add(config, word)
                })
            });
            tell(report, item.line, &entry.name, outcome);
        }
        return;
    }
    if matches!(how, Obsolete) {
        return;
    }
    let [item] = entry.items.as_slice() else {
        let line = entry.items[entry.items.len() - 1].line;
        let wrong = "this takes one value: write it once, with option";
        return tell(report, line, &entry.name, Err(wrong.into()));
    };
    let outcome =
        value::text(&item.text).map_err(Wrong::from).and_then(|text| match (text.trim(), how) {
            ("", _) => Ok(()),
            (word, Flag(field)) => set(field(config), flag(word)?),
            (_, Text(field)) => put(field(config), text.into()),
            (_, Path(field)) => put(field(config), path(text)?.into()),
            (word, One(read)) => read(config, word),
            (_, Each(..) | Obsolete) => Ok(()),
        });
    tell(report, item.line, &entry.name, outcome);
}

fn tell(report: &mut Report, line: u32, name: &str, outcome: Result<(), Wrong>) {
    match outcome {
        Ok(()) => {}
        Err(Wrong::Error(text)) => report.error(line, [name, ": ", &text].concat()),
        Err(Wrong::Warning(text)) => report.warning(line, [name, ": ", &text].concat()),
    }
}

/// Names met that nothing is known of: each is warned about once.
#[derive(Default)]
struct Unknown {
    names: Vec<String>,
}

impl Unknown {
    fn option(&mut self, report: &mut Report, entry: &Entry) {
        if self.is_new(&entry.name) {
            let text = ": nothing is known of this option: mend its name or remove it";
            report.warning(entry.items[0].line, [&entry.name, text].concat());
        }
    }

    fn section(&mut self, report: &mut Report, line: u32, kind: &str) {
        // A name has no space: no option is taken for a section.
        if self.is_new(&["config ", kind].concat()) {
            let text = ["nothing is known of sections ", &shown(kind), ": remove them"].concat();
            report.warning(line, text);
        }
    }

    fn is_new(&mut self, name: &str) -> bool {
        let new = self.names.len() < UNKNOWN_MAX && !self.names.iter().any(|known| known == name);
        if new {
            self.names.push(name.into());
        }
        new
    }
}

fn push<T: PartialEq>(list: &mut Vec<T>, value: T) -> Result<(), Wrong> {
    if list.contains(&value) {
        return Ok(());
    }
    if list.len() >= NAMES_MAX {
        return Err("more than 16 are written: remove some".into());
    }
    list.push(value);
    Ok(())
}

fn flag(word: &str) -> Result<bool, Wrong> {
    value::flag(word).ok_or_else(|| {
        let text = " is neither 1 nor 0, so the default stands: write 1 or 0";
        Wrong::Warning([&shown(word), text].concat())
    })
}

fn device(word: &str) -> Result<Device, Wrong> {
    Device::new(word).ok_or_else(|| {
        let text = " is no name of a device: write one of those that `ip link` lists";
        Wrong::Error([&shown(word), text].concat())
    })
}

fn path(text: &str) -> Result<&str, Wrong> {
    match text.starts_with('/') {
        true => Ok(text),
        false => Err([&shown(text), " is no absolute path: begin it with /"].concat().into()),
    }
}

/// A name as it can stand in a Host header, without a port, in lower case.
fn host_name(word: &str) -> Result<String, Wrong> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    match word.chars().all(good) {
        true => Ok(word.to_ascii_lowercase()),
        false => {
            Err([&shown(word), " is no host name: write it without port or slash"].concat().into())
        }
    }
}

fn set<T>(field: &mut T, value: T) -> Result<(), Wrong> {
    *field = value;
    Ok(())
}

/// For an option that is absent otherwise.
fn put<T>(field: &mut Option<T>, value: T) -> Result<(), Wrong> {
    set(field, Some(value))
}

/// 1 to 65535.
fn short(field: &mut u16, word: &str) -> Result<(), Wrong> {
    set(field, value::short(word, 1)?)
}

fn internal_iface(config: &mut Config, word: &str) -> Result<(), Wrong> {
    push(&mut config.internal_iface, word.into())
}

fn internal_device(config: &mut Config, word: &str) -> Result<(), Wrong> {
    push(&mut config.internal_device, device(word)?)
}

fn http_name(config: &mut Config, word: &str) -> Result<(), Wrong> {
    push(&mut config.http_names, host_name(word)?)
}

fn pcp_third_party(config: &mut Config, word: &str) -> Result<(), Wrong> {
    let (host, len) = value::network(word)?;
    match len == if host.is_ipv4() { 32 } else { 128 } {
        true => push(&mut config.pcp_third_party, host),
        false => Err([&shown(word), " is no host: write its address"].concat().into()),
    }
}

/// 1 s to a week.
fn seconds(word: &str) -> Result<u32, Wrong> {
    Ok(value::number(word, 1..=604_800)?)
}

fn rate(field: &mut Option<u32>, word: &str) -> Result<(), Wrong> {
    *field = Some(value::number(word, 0..=u32::MAX)?).filter(|&rate| rate != 0);
    Ok(())
}

/// kbit/s are 1000 bit/s, kByte/s are 8192.
fn rate_in_kbit(field: &mut Option<u32>, word: &str) -> Result<(), Wrong> {
    let kbit = u64::from(value::number(word, 0..=u32::MAX)?);
    let rate = (kbit * 1000).div_ceil(8192);
    *field = u32::try_from(rate).ok().filter(|&rate| rate != 0);
    Ok(())
}

fn protocols(config: &mut Config, word: &str) -> Result<(), Wrong> {
    (config.enable_upnp, config.enable_natpmp) = match word {
        "all" => (true, true),
        "upnp-igd" => (true, false),
        "pcp+nat-pmp" => (false, true),
        _ => return Err([&shown(word), ": write all, upnp-igd or pcp+nat-pmp"].concat().into()),
    };
    Ok(())
}

fn third_party(config: &mut Config, word: &str) -> Result<(), Wrong> {
    config.secure_mode =
        match word {
            "upnp-igd" => false,
            "pcp" => return Err(
                "'pcp' is not for all: name in pcp_third_party the hosts that may map for others"
                    .into(),
            ),
            _ => !flag(word)?,
        };
    Ok(())
}

fn log_output(config: &mut Config, word: &str) -> Result<(), Wrong> {
    config.log_output = match word {
        "default" => LogOutput::Default,
        "info" => LogOutput::Info,
        "debug" => LogOutput::Debug,
        _ if flag(word)? => LogOutput::Debug,
        _ => LogOutput::Default,
    };
    Ok(())
}

/// The new schema's one name stands for both files.
fn lease_file(config: &mut Config, word: &str) -> Result<(), Wrong> {
    let path = path(word)?;
    config.upnp_lease_file = Some(path.into());
    config.upnp_lease_file6 = Some([path, "-ipv6"].concat());
    Ok(())
}

/// UCI has no empty values.
fn ubus_socket(config: &mut Config, word: &str) -> Result<(), Wrong> {
    config.ubus_socket = match word {
        "none" => None,
        _ => Some(path(word)?.into()),
    };
    Ok(())
}

fn igd_compat(config: &mut Config, word: &str) -> Result<(), Wrong> {
    config.igdv1 = match word {
        "igdv1" => Some(true),
        "igdv2" => Some(false),
        _ => return Err([&shown(word), ": write igdv1 or igdv2"].concat().into()),
    };
    Ok(())
}

fn use_stun(config: &mut Config, word: &str) -> Result<(), Wrong> {
    config.use_stun = flag(word)?;
    match config.use_stun {
        true => {
            Err(Wrong::Warning("STUN is not offered: set external_ip to the public address".into()))
        }
        false => Ok(()),
    }
}

fn allow_cgnat(config: &mut Config, word: &str) -> Result<(), Wrong> {
    match word {
        "report-private-ipv4" => {
            config.ext_allow_private_ipv4 = true;
            Ok(())
        }
        "allow-filtered" => use_stun(config, "1"),
        _ => use_stun(config, word),
    }
}

fn notify_interval(config: &mut Config, word: &str) -> Result<(), Wrong> {
    let seconds = value::number(word, 0..=u32::MAX)?;
    config.notify_interval = seconds.clamp(NOTIFY_INTERVAL_MIN, NOTIFY_INTERVAL_MAX);
    if seconds == config.notify_interval {
        return Ok(());
    }
    let used = config.notify_interval.to_string();
    Err(Wrong::Warning(
        [&shown(word), " s is out of range, so it is ", &used, ": write 60 to 43200"].concat(),
    ))
}

fn uuid(config: &mut Config, word: &str) -> Result<(), Wrong> {
    config.uuid = match (word, word.parse()) {
        ("nocli", _) => None,
        (_, Ok(uuid)) => Some(uuid),
        _ => {
            let text = " is no UUID: remove it, and one is made";
            return Err([&shown(word), text].concat().into());
        }
    };
    Ok(())
}

fn config_file(_: &mut Config, word: &str) -> Result<(), Wrong> {
    path(word)?;
    Err(Wrong::Warning(
        "OpenWrt's init script has the file named here read instead of this one: it must be written \
         as this one is, not as miniupnpd's own"
            .into(),
    ))
}

#[cfg(test)]
mod tests;
