//! Leases that are refreshed, and that end: by the kernel, and by the daemon's own clock.

use super::{ask, is_left, sleep_until, Story, LEASE, SLACK};
use crate::control_point::{Ask, ControlPoint};
use crate::daemon::Daemon;
use crate::outcome::{ensure, same, wait_for, Because, Outcome, PATIENCE};
use crate::traffic::PORT;
use crate::world::HOST;
use std::time::{Duration, Instant};

/// A lease that ends while one waits, in seconds.
const SHORT_LEASE: u32 = 3;

impl Story<'_> {
    pub(super) fn refreshes_a_lease(&self, gateway: &ControlPoint<'_>) -> Outcome {
        const PORT_OF_LEASE: u16 = 17002;
        let ask = ask("UDP", PORT_OF_LEASE, "refreshed");
        gateway.add(&Ask { lease: SHORT_LEASE, ..ask })?;
        let end = Instant::now() + Duration::from_secs(SHORT_LEASE.into());
        let before = gateway.entry("UDP", PORT_OF_LEASE)?.left;
        ensure(before <= SHORT_LEASE.into(), || format!("{before} s left of {SHORT_LEASE}"))?;
        gateway.add(&ask)?;
        ensure(Instant::now() < end, || "too slow: the lease ends before it is refreshed".into())?;
        let after = gateway.entry("UDP", PORT_OF_LEASE)?.left;
        is_left(after, LEASE, PATIENCE)?;
        sleep_until(end + SLACK);
        self.program.is_reached_by_udp(&self.world, PORT_OF_LEASE)?;
        gateway.delete("UDP", PORT_OF_LEASE)?;
        self.program.is_not_reached_by_udp(&self.world, PORT_OF_LEASE)?;
        self.done(format!(
            "a lease of {SHORT_LEASE} s is refreshed: {before} s left, then {after} s, and packets \
             pass after its first end until it is deleted"
        ));
        Ok(())
    }

    pub(super) fn kernel_ends_a_lease_by_itself(
        &self,
        daemon: &Daemon<'_>,
        gateway: &ControlPoint<'_>,
    ) -> Outcome {
        const PORT_OF_LEASE: u16 = 17003;
        gateway.add(&Ask { lease: SHORT_LEASE, ..ask("UDP", PORT_OF_LEASE, "short") })?;
        let end = Instant::now() + Duration::from_secs(SHORT_LEASE.into());
        daemon.freeze()?;
        self.program.is_reached_by_udp(&self.world, PORT_OF_LEASE)?;
        sleep_until(end + SLACK);
        self.program.is_not_reached_by_udp(&self.world, PORT_OF_LEASE)?;
        self.both_pass()?;
        daemon.thaw()?;
        gateway.has_no_entry("UDP", PORT_OF_LEASE)?;
        self.done(format!(
            "the kernel alone ends a lease of {SHORT_LEASE} s while the daemon is stopped, and no \
             other; afterwards the daemon does not list it"
        ));
        Ok(())
    }

    /// The daemon says so in its log without having been asked for anything.
    pub(super) fn ends_a_lease_by_its_own_clock(&self, gateway: &ControlPoint<'_>) -> Outcome {
        const PORT_OF_LEASE: u16 = 17005;
        let line = format!("closed UDP {PORT_OF_LEASE} -> {HOST}:{PORT}: its time is up");
        gateway.add(&Ask { lease: SHORT_LEASE, ..ask("UDP", PORT_OF_LEASE, "short") })?;
        let begun = Instant::now();
        let before: u32 = gateway.variable("SystemUpdateID")?.parse().because("SystemUpdateID")?;
        wait_for("the daemon's own clock ends a lease", PATIENCE, || {
            Ok(self.home.log().contains(&line).then_some(()))
        })?;
        let took = begun.elapsed();
        let lease = Duration::from_secs(SHORT_LEASE.into());
        let wrong = || format!("a lease of {SHORT_LEASE} s ended after {} ms", took.as_millis());
        ensure(took + SLACK >= lease && took <= lease + SLACK * 2, wrong)?;
        same("SystemUpdateID", gateway.variable("SystemUpdateID")?, (before + 1).to_string())?;
        self.done(format!(
            "the daemon's own clock ends a lease of {SHORT_LEASE} s after {} ms; SystemUpdateID \
             goes on by one",
            took.as_millis()
        ));
        Ok(())
    }
}
