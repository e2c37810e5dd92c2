//! The command line.

use argh::FromArgs;
use std::net::IpAddr;

/// A UPnP Internet Gateway Device for Linux netfilter.
#[derive(FromArgs)]
pub struct Args {
    /// print the version and exit
    #[argh(switch, short = 'V')]
    pub version: bool,

    #[argh(subcommand)]
    pub command: Option<Command>,
}

/// What to do.
#[derive(FromArgs)]
#[argh(subcommand)]
pub enum Command {
    Run(Run),
    Check(Check),
    Status(Status),
    List(List),
    Delete(Delete),
}

/// Serve in the foreground until SIGTERM.
#[derive(FromArgs)]
#[argh(subcommand, name = "run")]
pub struct Run {
    /// configuration in UCI syntax (default /etc/config/upnpd)
    #[argh(option, default = "DEFAULT_CONFIG.into()")]
    pub config: String,

    /// the WAN device, over option external_device
    #[argh(option)]
    pub external: Option<String>,

    /// a LAN device, over list internal_device; may be given several times
    #[argh(option)]
    pub internal: Vec<String>,

    /// state directory (default /var/run/postern)
    #[argh(option, default = "DEFAULT_STATE.into()")]
    pub state: String,

    /// log every request
    #[argh(switch)]
    pub verbose: bool,
}

/// Say what is wrong with a configuration, line by line.
#[derive(FromArgs)]
#[argh(subcommand, name = "check")]
pub struct Check {
    /// configuration in UCI syntax (default /etc/config/upnpd)
    #[argh(positional, default = "DEFAULT_CONFIG.into()")]
    pub config: String,
}

/// Show how the daemon is.
#[derive(FromArgs)]
#[argh(subcommand, name = "status")]
pub struct Status {
    /// as JSON
    #[argh(switch)]
    pub json: bool,

    /// state directory of the daemon (default /var/run/postern)
    #[argh(option, default = "DEFAULT_STATE.into()")]
    pub state: String,
}

/// Show every mapping.
#[derive(FromArgs)]
#[argh(subcommand, name = "list")]
pub struct List {
    /// as JSON
    #[argh(switch)]
    pub json: bool,

    /// state directory of the daemon (default /var/run/postern)
    #[argh(option, default = "DEFAULT_STATE.into()")]
    pub state: String,
}

/// Close a mapping.
#[derive(FromArgs)]
#[argh(subcommand, name = "delete")]
pub struct Delete {
    /// the id shown by list
    #[argh(positional)]
    pub id: Option<u64>,

    /// close every mapping
    #[argh(switch)]
    pub all: bool,

    /// close what the host of this address has asked for
    #[argh(option)]
    pub host: Option<IpAddr>,

    /// state directory of the daemon (default /var/run/postern)
    #[argh(option, default = "DEFAULT_STATE.into()")]
    pub state: String,
}

/// Where OpenWrt keeps the configuration.
const DEFAULT_CONFIG: &str = "/etc/config/upnpd";

/// Where the daemon keeps its control socket and leases: memory, not flash, on OpenWrt.
const DEFAULT_STATE: &str = "/var/run/postern";
