//! The event loop: smol's `LocalExecutor` over one epoll instance and one deadline, one thread.
//!
//! This is the only file that names the crates of the loop. `async-io` is not used: it starts a
//! helper thread and its timers never fire on 32-bit MIPS musl (figures in ARCHITECTURE.md). The
//! earliest deadline becomes epoll's timeout in whole milliseconds.

use crate::sys::{Epoll, Interest};
use async_executor::LocalExecutor;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
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

struct Timer {
    at: Instant,
    id: u32,
    waker: Waker,
}

struct Inner {
    epoll: Epoll,
    sources: RefCell<Vec<Source>>,
    /// Latest first, so that the next to end is the last.
    timers: RefCell<Vec<Timer>>,
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
    ///
    /// Boxed, so that the executor's machinery is there once and not for every kind of task.
    pub fn spawn(&self, future: impl Future<Output = ()> + 'static) -> Task<()> {
        let future: Pin<Box<dyn Future<Output = ()>>> = Box::pin(future);
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
        let Some(next) = timers.last() else { return -1 };
        let left = next.at.saturating_duration_since(now).min(SLEEP_MAX);
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
        while timers.last().is_some_and(|timer| timer.at <= now) {
            timers.pop().into_iter().for_each(|timer| timer.waker.wake());
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
        let io = self.watch_later(inner, interest);
        io.watched.begin()?;
        Ok(io)
    }

    /// The same, but the kernel is only asked when `inner` must be waited for: for a connection
    /// whose request is mostly there when it is taken.
    pub fn watch_later<T: AsRawFd>(&self, inner: T, interest: Interest) -> Io<T> {
        let mut sources = self.0.sources.borrow_mut();
        let free = sources.iter().position(|s| !s.used);
        let token = free.unwrap_or(sources.len());
        if free.is_none() {
            sources.push(Source::default());
        }
        if let Some(source) = sources.get_mut(token) {
            source.used = true;
        }
        let wanted = Cell::new(Some((inner.as_raw_fd(), interest)));
        Io { watched: Watched { runtime: self.clone(), token, wanted }, inner }
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
        let timer = Timer { at: self.at, id, waker: cx.waker().clone() };
        let mut timers = runtime.0.timers.borrow_mut();
        let place = timers.partition_point(|other| (other.at, other.id) > (self.at, id));
        match timers.get_mut(place) {
            Some(same) if same.id == id => *same = timer,
            _ => timers.insert(place, timer),
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.runtime
                .0
                .timers
                .borrow_mut()
                .retain(|timer| (timer.at, timer.id) != (self.at, id));
        }
    }
}

/// A socket the loop watches: one task may wait to read it and one to write it.
pub struct Io<T> {
    // Dropped before `inner`, whose closing ends epoll's interest in it.
    watched: Watched,
    inner: T,
}

impl<T> Io<T> {
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
        poll_fn(|cx| self.watched.poll(cx, Side::Reader, attempt(&self.inner))).await
    }

    /// The same, waiting for room to write.
    pub async fn write_with<R>(
        &self,
        mut attempt: impl FnMut(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        poll_fn(|cx| self.watched.poll(cx, Side::Writer, attempt(&self.inner))).await
    }

    /// Waits until there may be something to read, of a socket [watched](Runtime::watch) from the
    /// start. The caller then reads until it would block: an event comes only once.
    pub async fn readable(&self) {
        let mut first = true;
        poll_fn(|cx| {
            if !std::mem::take(&mut first) {
                return Poll::Ready(());
            }
            self.watched.register(cx, Side::Reader);
            Poll::Pending
        })
        .await;
    }
}

#[derive(Clone, Copy)]
enum Side {
    Reader,
    Writer,
}

/// A descriptor's place among the sources.
struct Watched {
    runtime: Runtime,
    token: usize,
    /// What epoll has not been told yet.
    wanted: Cell<Option<(RawFd, Interest)>>,
}

impl Watched {
    /// Tells epoll. What is there by then is an event at once.
    fn begin(&self) -> io::Result<()> {
        match self.wanted.take() {
            Some((fd, interest)) => self.runtime.0.epoll.add(fd, self.token as u32, interest),
            None => Ok(()),
        }
    }

    /// What an attempt that ended with `result` means to the task that made it.
    fn poll<R>(
        &self,
        cx: &mut Context<'_>,
        side: Side,
        result: io::Result<R>,
    ) -> Poll<io::Result<R>> {
        match &result {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                self.register(cx, side);
                if let Err(e) = self.begin() {
                    return Poll::Ready(Err(e));
                }
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => cx.waker().wake_by_ref(),
            _ => return Poll::Ready(result),
        }
        Poll::Pending
    }

    fn register(&self, cx: &Context<'_>, side: Side) {
        if let Some(source) = self.runtime.0.sources.borrow_mut().get_mut(self.token) {
            let place = match side {
                Side::Reader => &mut source.reader,
                Side::Writer => &mut source.writer,
            };
            *place = Some(cx.waker().clone());
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
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
        let b = runtime.watch(b, Interest::Both).unwrap();
        let r = runtime.clone();
        let echo = runtime.spawn(async move {
            let mut buffer = [0; 8];
            let n = b.read_with(|mut s| s.read(&mut buffer)).await.unwrap();
            b.write_with(|mut s| s.write(&buffer[..n])).await.unwrap();
        });
        let mut said = [0; 5];
        runtime
            .block_on(async {
                r.sleep_until(Instant::now() + Duration::from_millis(5)).await;
                a.write_with(|mut s| s.write(b"hello")).await.unwrap();
                echo.await;
                a.read_with(|mut s| s.read(&mut said)).await.unwrap();
            })
            .unwrap();
        assert_eq!(said, *b"hello");
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
