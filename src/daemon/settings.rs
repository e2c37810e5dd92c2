//! What the daemon is started with: the command line over the configuration file.

use super::ubus::interfaces::Networks;
use crate::config::options::{Config, Device, LogOutput, INTERNAL_IFACE};
use crate::config::{self, Severity};
use std::path::PathBuf;
use std::{fmt, io};

/// What the command line says.
#[derive(Clone, Debug)]
pub struct Options {
    /// Configuration file.
    pub config: PathBuf,
    /// WAN device, over the configuration's.
    pub external: Option<String>,
    /// LAN devices, over the configuration's.
    pub internal: Vec<String>,
    /// State directory.
    pub state: PathBuf,
    /// Log every request.
    pub verbose: bool,
}

/// Why the daemon does not run.
#[derive(Debug)]
pub enum Failure {
    /// The configuration must be mended first.
    Config(String),
    /// The system does not give what is needed.
    System(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Config(why) | Failure::System(why) => f.write_str(why),
        }
    }
}

/// Says what could not be had, for a system error.
pub(super) fn need<T>(result: io::Result<T>, what: impl fmt::Display) -> Result<T, Failure> {
    result.map_err(|e| Failure::System(format!("{what}: {e}")))
}

/// How much is logged.
pub(super) fn level(options: &Options, config: &Config) -> log::LevelFilter {
    match options.verbose || config.log_output == LogOutput::Debug {
        true => log::LevelFilter::Debug,
        false => log::LevelFilter::Info,
    }
}

/// Reads the configuration and applies the command line. Problems are logged.
pub(super) fn read(options: &Options) -> Result<Config, Failure> {
    let name = options.config.display();
    let text = std::fs::read(&options.config)
        .map_err(|e| Failure::Config(format!("{name}: cannot be read: {e}")))?;
    let (mut config, problems) = config::load(&text);
    for problem in problems {
        let level = match problem.severity {
            Severity::Error => log::Level::Error,
            Severity::Warning => log::Level::Warn,
        };
        log::log!(level, "{name}:{}: {}", problem.line, problem.text);
    }
    let device = |name: &String| {
        Device::new(name).ok_or_else(|| Failure::Config(format!("{name}: not a device name")))
    };
    if let Some(external) = &options.external {
        config.external_device = Some(device(external)?);
        config.external_device6 = None;
    }
    if !options.internal.is_empty() {
        config.internal_device = options.internal.iter().map(device).collect::<Result<_, _>>()?;
    }
    if config.internal_iface.is_empty() && config.internal_device.is_empty() {
        config.internal_iface.push(INTERNAL_IFACE.to_owned());
    }
    Ok(config)
}

/// Applies what netifd has told. A network that it knows needs no device yet.
///
/// # Errors
/// What leaves nothing to serve.
pub(super) fn resolve(
    config: &mut Config,
    options: &Options,
    networks: &Networks,
) -> Result<(), Failure> {
    let name = options.config.display();
    networks.place(config, options);
    if let Some(both) =
        config.internal_device.iter().find(|d| config.external_device == Some((*d).clone()))
    {
        return Err(Failure::Config(format!(
            "{name}: {both} cannot be the WAN and a LAN: set internal_device to LAN devices only"
        )));
    }
    let internal = config.unresolved_internal();
    let internal = internal.filter(|_| !networks.know_internal(config));
    let external = config.unresolved_external();
    let external = external.filter(|_| !networks.know_external(config));
    match internal.or(external) {
        Some(what) => Err(Failure::Config(format!("{name}: {what}"))),
        None => Ok(()),
    }
}
