//! The event loop: smol's `LocalExecutor` over one epoll instance and one deadline, one thread.
//!
//! This is the only file that names the crates of the loop. `async-io` is not used: it starts a
//! helper thread and its timers never fire on 32-bit MIPS musl (figures in ARCHITECTURE.md). The
//! earliest deadline becomes epoll's timeout in whole milliseconds.

use crate::sys::{Epoll, Interest};
use async_executor::LocalExecutor;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::os::fd::AsRawFd;
use std::pin::{pin, Pin};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

pub use async_executor::Task;
pub use futures_lite::future::{or, poll_fn, yield_now};

/// Most tasks run between two looks at the kernel, so that no burst of ready tasks hides events.
const TASKS_PER_TURN: usize = 16;

/// Longest sleep: epoll counts milliseconds in an `i32`.
const SLEEP_MAX: Duration = Duration::from_secs(24 * 3600);

/// Who waits for one descriptor.
#[derive(Default)]
struct Source {
    used: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

struct Inner {
    epoll: Epoll,
    sources: RefCell<Vec<Source>>,
    timers: RefCell<BTreeMap<(Instant, u32), Waker>>,
    last_timer: Cell<u32>,
    executor: LocalExecutor<'static>,
}

/// The loop's handle, cheap to clone.
#[derive(Clone)]
pub struct Runtime(Rc<Inner>);

/// Wakes the loop itself: set while its main future wants to be polled.
struct MainWaker(AtomicBool);

impl Wake for MainWaker {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

impl Runtime {
    /// A loop with nothing to do.
    pub fn new() -> io::Result<Runtime> {
        Ok(Runtime(Rc::new(Inner {
            epoll: Epoll::new()?,
            sources: RefCell::default(),
            timers: RefCell::default(),
            last_timer: Cell::default(),
            executor: LocalExecutor::new(),
        })))
    }

    /// Runs `future` beside everything else, until it ends or the handle returned is dropped.
    pub fn spawn<T: 'static>(&self, future: impl Future<Output = T> + 'static) -> Task<T> {
        self.0.executor.spawn(future)
    }

    /// Runs the loop until `future` has ended.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> io::Result<T> {
        let main = Arc::new(MainWaker(AtomicBool::new(true)));
        let waker = Waker::from(main.clone());
        let mut future = pin!(future);
        loop {
            if main.0.swap(false, Ordering::AcqRel) {
                if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                    return Ok(value);
                }
            }
            let busy = (0..TASKS_PER_TURN).all(|_| self.0.executor.try_tick());
            let wait = if busy || main.0.load(Ordering::Acquire) {
                0
            } else {
                self.milliseconds_to_sleep(Instant::now())
            };
            self.turn(wait)?;
        }
    }

    /// Time until the earliest timer, rounded up; -1 without one.
    fn milliseconds_to_sleep(&self, now: Instant) -> i32 {
        let timers = self.0.timers.borrow();
        let Some(((at, _), _)) = timers.first_key_value() else { return -1 };
        let left = at.saturating_duration_since(now).min(SLEEP_MAX);
        left.as_nanos().div_ceil(1_000_000) as i32
    }

    /// Asks the kernel once and wakes who waited.
    fn turn(&self, milliseconds: i32) -> io::Result<()> {
        let mut sources = self.0.sources.borrow_mut();
        self.0.epoll.wait(milliseconds, |token, ready| {
            let Some(source) = sources.get_mut(token as usize) else { return };
            let reader = source.reader.take_if(|_| ready.read);
            let writer = source.writer.take_if(|_| ready.write);
            reader.into_iter().chain(writer).for_each(Waker::wake);
        })?;
        let now = Instant::now();
        let mut timers = self.0.timers.borrow_mut();
        while let Some(first) = timers.first_entry() {
            if first.key().0 > now {
                break;
            }
            first.remove().wake();
        }
        Ok(())
    }

    /// Ends at `at`.
    pub fn sleep_until(&self, at: Instant) -> Sleep {
        Sleep { runtime: self.clone(), at, id: None }
    }

    /// Runs `future` until `at`; `None` if it had not ended by then.
    pub async fn until<T>(&self, at: Instant, future: impl Future<Output = T>) -> Option<T> {
        let slept = async {
            self.sleep_until(at).await;
            None
        };
        or(async { Some(future.await) }, slept).await
    }

    /// Lets the loop watch `inner`, which must be non-blocking.
    pub fn watch<T: AsRawFd>(&self, inner: T, interest: Interest) -> io::Result<Io<T>> {
        let mut sources = self.0.sources.borrow_mut();
        let free = sources.iter().position(|s| !s.used);
        let token = free.unwrap_or(sources.len());
        self.0.epoll.add(inner.as_raw_fd(), token as u32, interest)?;
        if free.is_none() {
            sources.push(Source::default());
        }
        if let Some(source) = sources.get_mut(token) {
            source.used = true;
        }
        Ok(Io { runtime: self.clone(), inner, token })
    }
}

/// A point in time to wait for. Dropped early, it is forgotten.
pub struct Sleep {
    runtime: Runtime,
    at: Instant,
    id: Option<u32>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if Instant::now() >= self.at {
            return Poll::Ready(());
        }
        let runtime = self.runtime.clone();
        let id = *self.id.get_or_insert_with(|| {
            runtime.0.last_timer.set(runtime.0.last_timer.get().wrapping_add(1));
            runtime.0.last_timer.get()
        });
        runtime.0.timers.borrow_mut().insert((self.at, id), cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.runtime.0.timers.borrow_mut().remove(&(self.at, id));
        }
    }
}

/// A socket the loop watches: one task may wait to read it and one to write it.
pub struct Io<T: AsRawFd> {
    runtime: Runtime,
    inner: T,
    token: usize,
}

impl<T: AsRawFd> Io<T> {
    /// The socket itself.
    pub fn get(&self) -> &T {
        &self.inner
    }

    /// The socket itself.
    pub fn get_mut(&mut self) -> &mut T {
        &mut self.inner
    }

    /// Calls `attempt` until it no longer would block, waiting for something to read in between.
    pub async fn read_with<R>(
        &self,
        mut attempt: impl FnMut(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        poll_fn(|cx| self.poll(cx, |source| &mut source.reader, &mut attempt)).await
    }

    /// The same, waiting for room to write.
    pub async fn write_with<R>(
        &self,
        mut attempt: impl FnMut(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        poll_fn(|cx| self.poll(cx, |source| &mut source.writer, &mut attempt)).await
    }

    /// Waits until there may be something to read. The caller then reads until it would block:
    /// an event comes only once.
    pub async fn readable(&self) {
        let mut first = true;
        poll_fn(|cx| {
            if !std::mem::take(&mut first) {
                return Poll::Ready(());
            }
            self.register(cx, |source| &mut source.reader);
            Poll::Pending
        })
        .await;
    }

    fn poll<R>(
        &self,
        cx: &mut Context<'_>,
        side: impl FnOnce(&mut Source) -> &mut Option<Waker>,
        attempt: &mut impl FnMut(&T) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        match attempt(&self.inner) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                self.register(cx, side);
                Poll::Pending
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            result => Poll::Ready(result),
        }
    }

    fn register(&self, cx: &mut Context<'_>, side: impl FnOnce(&mut Source) -> &mut Option<Waker>) {
        if let Some(source) = self.runtime.0.sources.borrow_mut().get_mut(self.token) {
            *side(source) = Some(cx.waker().clone());
        }
    }
}

impl<T: AsRawFd> Drop for Io<T> {
    fn drop(&mut self) {
        // `inner` is closed right after this, which ends epoll's interest in it.
        if let Some(source) = self.runtime.0.sources.borrow_mut().get_mut(self.token) {
            *source = Source::default();
        }
    }
}

/// A flag that one task waits for and others set; several settings before the wait count as one.
#[derive(Clone, Default)]
pub struct Signal(Rc<SignalInner>);

#[derive(Default)]
struct SignalInner {
    set: Cell<bool>,
    waiter: RefCell<Option<Waker>>,
}

impl Signal {
    /// Sets the flag.
    pub fn set(&self) {
        self.0.set.set(true);
        if let Some(waiter) = self.0.waiter.borrow_mut().take() {
            waiter.wake();
        }
    }

    /// Waits until the flag is set, and clears it.
    pub async fn wait(&self) {
        poll_fn(|cx| {
            if self.0.set.replace(false) {
                return Poll::Ready(());
            }
            *self.0.waiter.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_sleep_ends_on_time_and_not_before() {
        let runtime = Runtime::new().unwrap();
        let start = Instant::now();
        runtime.block_on(runtime.sleep_until(start + Duration::from_millis(30))).unwrap();
        assert!(start.elapsed() >= Duration::from_millis(30));
        assert!(runtime.0.timers.borrow().is_empty());
    }

    #[test]
    fn tasks_talk_over_a_socket_pair_on_one_thread() {
        let runtime = Runtime::new().unwrap();
        let (a, b) = UnixStream::pair().unwrap();
        a.set_nonblocking(true).unwrap();
        b.set_nonblocking(true).unwrap();
        let a = runtime.watch(a, Interest::Both).unwrap();
        let b = runtime.watch(b, Interest::Read).unwrap();
        let r = runtime.clone();
        let echo = runtime.spawn(async move {
            let mut buffer = [0; 8];
            let n = b.read_with(|mut s| s.read(&mut buffer)).await.unwrap();
            buffer[..n].to_vec()
        });
        let said = runtime
            .block_on(async {
                r.sleep_until(Instant::now() + Duration::from_millis(5)).await;
                a.write_with(|mut s| s.write(b"hello")).await.unwrap();
                echo.await
            })
            .unwrap();
        assert_eq!(said, b"hello");
        assert!(!runtime.0.sources.borrow()[1].used);
    }

    #[test]
    fn what_takes_too_long_is_dropped() {
        let runtime = Runtime::new().unwrap();
        let soon = Instant::now() + Duration::from_millis(5);
        let never = std::future::pending::<()>();
        assert_eq!(runtime.block_on(runtime.until(soon, never)).unwrap(), None);
        assert_eq!(runtime.block_on(runtime.until(soon, async { 7 })).unwrap(), Some(7));
    }

    #[test]
    fn a_signal_set_before_the_wait_is_not_lost() {
        let runtime = Runtime::new().unwrap();
        let signal = Signal::default();
        signal.set();
        signal.set();
        runtime.block_on(signal.wait()).unwrap();
        assert!(!signal.0.set.get());
    }
}
