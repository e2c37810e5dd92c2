//! The daemon's own life: small, killed, started again, announced, stopped.

use super::{ask, sleep_until, Story, SLACK, TCP, UDP};
use crate::announcements::Kind;
use crate::control_point::ControlPoint;
use crate::daemon::{Daemon, Memory, NOTIFY_INTERVAL};
use crate::firewall;
use crate::outcome::{ensure, same, wait_for, Outcome, PATIENCE};
use postern::netfilter::ruleset::{Signal, MARK_DEFAULT};
use std::time::{Duration, Instant};

/// First of the external ports of [`MANY`] mappings.
const FIRST_OF_MANY: u16 = 20000;
/// So many that memory must not show it much.
const MANY: u16 = 500;
/// Most memory in KiB that a router's daemon may keep, idle and with that many mappings: two pages
/// over what was seen.
const IDLE_KIB: u64 = 776;
const MANY_KIB: u64 = 908;

impl Story<'_> {
    pub(super) fn is_small_when_idle(&self, daemon: &Daemon<'_>) -> Outcome {
        let state = daemon.status_of("state")?;
        same("the daemon's state", state, "active")?;
        let memory = daemon.memory_at_rest()?;
        self.is_to_be_within(IDLE_KIB, "idle", &memory);
        same("the daemon's threads", daemon.threads()?, 1)?;
        // CAP_NET_ADMIN alone, nothing to gain, and a filter of system calls.
        same("the daemon's powers", daemon.powers()?, "0000000000001000 1 2")?;
        self.done(format!("idle: one thread, confined, {memory}"));
        Ok(())
    }

    /// Leaves a daemon behind, and when it was started.
    pub(super) fn survives_a_crash<'a>(
        &'a self,
        daemon: Daemon<'_>,
        gateway: &ControlPoint<'_>,
    ) -> Outcome<(Daemon<'a>, Instant)> {
        const PORT_OF_LEASE: u16 = 17004;
        const DOWN: Duration = Duration::from_secs(3);
        gateway.add(&ask("UDP", PORT_OF_LEASE, "kept over a crash"))?;
        let (before, since) = (gateway.list()?, Instant::now());
        same("the list before", before.len(), 3)?;
        let left = gateway.entry("UDP", PORT_OF_LEASE)?.left;
        daemon.crash()?;
        let end = Instant::now() + DOWN;
        self.both_pass()?;
        self.program.is_reached_by_udp(&self.world, PORT_OF_LEASE)?;
        sleep_until(end);
        self.done("killed: mapped ports go on passing");

        let started = Instant::now();
        let daemon = self.start("")?;
        let ready = started.elapsed().as_millis();
        same("the list", gateway.list()?.join("; "), before.join("; "))?;
        let again = gateway.entry("UDP", PORT_OF_LEASE)?.left;
        let passed = since.elapsed().as_secs();
        ensure(again + passed <= left + 1 && left <= again + passed + 1, || {
            format!("{left} s were left, {again} s are after {passed} s")
        })?;
        gateway.delete("UDP", PORT_OF_LEASE)?;
        gateway.has_no_entry("UDP", PORT_OF_LEASE)?;
        self.program.is_not_reached_by_udp(&self.world, PORT_OF_LEASE)?;
        self.both_pass()?;
        self.done(format!(
            "started again in {ready} ms: lists all {} with descriptions and time left ({left} s, \
             then {again} s); delete works and stops the packets",
            before.len()
        ));
        Ok((daemon, started))
    }

    pub(super) fn announces_itself_again(&self, started: Instant) -> Outcome {
        let most = Duration::from_secs(NOTIFY_INTERVAL);
        // The sets at a start come one right after the other.
        let pause = wait_for("an announcement long after the first", most + PATIENCE, || {
            Ok(self.announcements.pause(started, most / 6))
        })?;
        let wrong = || format!("{} ms between announcements", pause.as_millis());
        ensure(pause + SLACK >= most / 2 && pause <= most + SLACK, wrong)?;
        let count = self.announcements.count(Kind::Alive, started);
        self.done(format!(
            "announced again after {:.1} s (notify_interval {NOTIFY_INTERVAL}), {count} sets in all",
            pause.as_secs_f32()
        ));
        Ok(())
    }

    pub(super) fn holds_many_mappings(
        &self,
        daemon: &Daemon<'_>,
        gateway: &ControlPoint<'_>,
    ) -> Outcome {
        let begun = Instant::now();
        for port in FIRST_OF_MANY..FIRST_OF_MANY + MANY {
            gateway.add(&ask("UDP", port, "one of many"))?;
        }
        let each = begun.elapsed().as_micros() / u128::from(MANY);
        let count = gateway.variable("PortMappingNumberOfEntries")?;
        same("mappings", count, (MANY + 2).to_string())?;
        let memory = daemon.memory_at_rest()?;
        self.is_to_be_within(MANY_KIB, &format!("with {MANY} mappings"), &memory);
        same("the daemon's threads", daemon.threads()?, 1)?;
        self.program.is_reached_by_udp(&self.world, FIRST_OF_MANY + MANY - 1)?;
        self.done(format!("{MANY} more mappings in {each} µs each: one thread, {memory}"));
        Ok(())
    }

    pub(super) fn closes_everything_at_its_end(&self, daemon: Daemon<'_>) -> Outcome {
        let begun = Instant::now();
        daemon.stop()?;
        let time = begun.elapsed().as_millis();
        wait_for("byebye", PATIENCE, || {
            Ok((self.announcements.count(Kind::Byebye, begun) > 0).then_some(()))
        })?;
        self.program.is_not_reached_by_udp(&self.world, UDP)?;
        self.program.is_not_reached_by_tcp(&self.world, TCP)?;
        self.done(format!("SIGTERM: byebye, ports silent, exit code 0, {time} ms"));
        Ok(())
    }

    /// And, where the signal was a label, does the same by the mark, whose bytes are others.
    pub(super) fn opens_everything_at_its_next_start(&self, signal: Signal) -> Outcome {
        let mark = Signal::CtMark(MARK_DEFAULT);
        let daemon = self.start(&format!("\toption ct_mark '{MARK_DEFAULT:#x}'\n"))?;
        if signal != mark {
            same("the firewall's line", daemon.status_of("forward_hook")?, "missing")?;
            self.program.is_not_reached_by_udp(&self.world, UDP)?;
            self.world.router.inside(move || firewall::load(mark))?;
        }
        same("the firewall's line", daemon.status_of("forward_hook")?, "ok")?;
        self.both_pass()?;
        self.program.is_reached_by_udp(&self.world, FIRST_OF_MANY)?;
        let memory = daemon.memory_at_rest()?;
        daemon.stop()?;
        self.done(format!(
            "the next start opens all again, signal {}: packets pass; {memory}",
            mark.name()
        ));
        Ok(())
    }

    fn is_to_be_within(&self, limit: u64, what: &str, memory: &Memory) {
        if self.strict && memory.resident > limit {
            let why = format!("{what}: {memory}, which is over {limit} KiB");
            self.too_large.borrow_mut().get_or_insert(why);
        }
    }
}
