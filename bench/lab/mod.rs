//! What the measurements are made with: the daemons, the firewall they run behind, their clients,
//! and what counts.

pub mod callgrind;
pub mod clients;
pub mod firewall;
pub mod flood;
pub mod flows;
pub mod gateway;
pub mod launch;
pub mod processor;
pub mod procfs;
pub mod rules;
pub mod stats;
pub mod strace;
