//! Which processor things run on.

use rustix::thread::{sched_getaffinity, sched_setaffinity, CpuSet};

/// Until it is dropped, this thread and everything that it starts have one processor among them. A
/// daemon and its client then never wait for another processor to wake, which in a virtual machine
/// costs more than a request, and are told apart by the scheduler's own clock.
pub struct OnOne(CpuSet);

impl OnOne {
    /// Takes the last one: the first has most interrupts.
    pub fn new() -> OnOne {
        let all = sched_getaffinity(None).unwrap();
        let last = (0..CpuSet::MAX_CPU).rev().find(|cpu| all.is_set(*cpu)).unwrap();
        let mut one = CpuSet::new();
        one.set(last);
        sched_setaffinity(None, &one).unwrap();
        OnOne(all)
    }
}

impl Drop for OnOne {
    fn drop(&mut self) {
        let _ = sched_setaffinity(None, &self.0);
    }
}
