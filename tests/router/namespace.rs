//! A network namespace without a name: it is the one of a thread, and gone with the program.
//!
//! Nobody else enters it: what shall happen inside is handed to the thread. That way there is no
//! need of setns(2), for which rustix asks the dynamic linker on MIPS, and a static program has
//! none.

use crate::outcome::{Because, Outcome};
use rustix::thread::UnshareFlags;
use std::fs::File;
use std::sync::mpsc::{channel, Receiver, Sender};
use std::thread;

type Job = Box<dyn FnOnce() + Send>;

/// A network namespace.
pub struct Namespace(Sender<Job>);

impl Namespace {
    /// Makes one.
    pub fn new() -> Outcome<Namespace> {
        let (jobs, received) = channel();
        thread::spawn(move || live(received));
        let namespace = Namespace(jobs);
        namespace.inside(|| {
            // The safe name of a call that is dangerous only with another flag than this.
            #[allow(deprecated)]
            rustix::thread::unshare(UnshareFlags::NEWNET)
                .because("a network namespace cannot be made")
        })?;
        Ok(namespace)
    }

    /// Runs `job` inside. Sockets and processes made there stay there.
    pub fn inside<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> Outcome<T> + Send + 'static,
    ) -> Outcome<T> {
        let (answer, answered) = channel();
        let work = Box::new(move || drop(answer.send(job())));
        self.0.send(work).because("a namespace's thread has ended")?;
        answered.recv().because("a namespace's thread has ended")?
    }

    /// What names it to the kernel.
    pub fn file(&self) -> Outcome<File> {
        self.inside(|| File::open("/proc/thread-self/ns/net").because("/proc/thread-self/ns/net"))
    }
}

fn live(jobs: Receiver<Job>) {
    for job in jobs {
        job();
    }
}
