//! How a check says that something is not as it should be: in a sentence.
//!
//! Programs built for routers print nothing when they panic, so no check relies on that.

use std::fmt::Display;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// What came out, or why nothing did.
pub type Outcome<T = ()> = Result<T, String>;

/// How long anything may take that should happen soon. An emulated router is slow.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// Turns errors into sentences.
pub trait Because<T> {
    /// Says what was being done.
    fn because(self, what: impl Display) -> Outcome<T>;
}

impl<T, E: Display> Because<T> for Result<T, E> {
    fn because(self, what: impl Display) -> Outcome<T> {
        self.map_err(|e| format!("{what}: {e}"))
    }
}

/// Says `why` unless it holds.
pub fn ensure(holds: bool, why: impl FnOnce() -> String) -> Outcome {
    match holds {
        true => Ok(()),
        false => Err(why()),
    }
}

/// Says what differs unless both are the same.
pub fn same<T, U>(what: impl Display, got: T, want: U) -> Outcome
where
    T: Display + PartialEq<U>,
    U: Display,
{
    ensure(got == want, || format!("{what}: `{got}` where `{want}` should be"))
}

/// Looks again and again until there is something to see.
pub fn wait_for<T>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> Outcome<Option<T>>,
) -> Outcome<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(seen) = look()? {
            return Ok(seen);
        }
        ensure(Instant::now() < end, || format!("{what}: not within {} s", limit.as_secs()))?;
        sleep(PAUSE);
    }
}
