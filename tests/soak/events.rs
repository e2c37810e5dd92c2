//! A subscriber that hears, and others that do not.

use crate::clients::{header, ControlPoint};
use crate::traffic::End;
use crate::world::World;
use fastrand::Rng;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Most subscriptions it has; the limit of a host is [16](../../src/igd/subscriptions.rs).
const MOST: usize = 12;
/// Counts when what is described may begin to be another and when that is over: odd in between.
/// Subscriptions end with it.
pub static DESCRIBED: AtomicU32 = AtomicU32::new(0);
/// Where nobody listens.
const NOBODY: u16 = 9;

/// Subscriptions of one host, and its place for events.
pub struct Subscriber<'w> {
    world: &'w World,
    from: End,
    port: u16,
    /// Each with what [`DESCRIBED`] was before.
    sids: Vec<(String, u32)>,
    /// Takes connections and never answers.
    deaf: Option<TcpListener>,
    heard: Arc<AtomicU32>,
    stop: Arc<AtomicBool>,
    ear: Option<JoinHandle<()>>,
}

/// Reads an event and answers it; whether it was whole.
fn hear(mut stream: TcpStream) -> bool {
    let _ = stream.set_nonblocking(false);
    let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
    let (mut text, mut bytes) = (Vec::new(), [0; 4096]);
    while !text.ends_with(b"</e:propertyset>\r\n") {
        match stream.read(&mut bytes) {
            Ok(0) | Err(_) => return false,
            Ok(read) => text.extend_from_slice(&bytes[..read]),
        }
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").is_ok()
}

/// Asks about a subscription; whether it was there, as it must be but for [`DESCRIBED`].
fn finds(control: &ControlPoint<'_>, method: &str, (sid, described): &(String, u32)) -> bool {
    let answer = control.event_request(method, &format!("SID: {sid}\r\n"));
    let may_be_gone = described % 2 == 1 || DESCRIBED.load(Ordering::SeqCst) != *described;
    assert!(answer.status == 200 || answer.status == 412 && may_be_gone, "{method}: {answer:?}");
    answer.status == 200
}

impl<'w> Subscriber<'w> {
    /// One without subscriptions.
    pub fn new(world: &'w World, from: End) -> Subscriber<'w> {
        let listener = world.inside(from.host, || TcpListener::bind(from.source).unwrap());
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (heard, stop) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, end) = (heard.clone(), stop.clone());
        let ear = thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((stream, _)) => {
                        count.fetch_add(hear(stream).into(), Ordering::Relaxed);
                    }
                    Err(_) => thread::sleep(Duration::from_millis(20)),
                }
            }
        });
        Subscriber { world, from, port, sids: Vec::new(), deaf: None, heard, stop, ear: Some(ear) }
    }

    /// How many events have come whole.
    pub fn heard(&self) -> u32 {
        self.heard.load(Ordering::Relaxed)
    }

    /// Subscribes, renews or leaves.
    pub fn turn(&mut self, random: &mut Rng, control: &ControlPoint<'_>) -> &'static str {
        if self.sids.len() < MOST && random.u8(..2) == 0 || self.sids.is_empty() {
            let port = match random.u8(..4) {
                // A control point that has gone without a word.
                0 => NOBODY,
                1 => {
                    let listen = || TcpListener::bind((self.from.source.ip(), 0)).unwrap();
                    let deaf =
                        self.deaf.get_or_insert_with(|| self.world.inside(self.from.host, listen));
                    deaf.local_addr().unwrap().port()
                }
                _ => self.port,
            };
            let described = DESCRIBED.load(Ordering::SeqCst);
            let callback = format!("<http://{}:{port}/e>", self.from.source.ip());
            let headers = format!("CALLBACK: {callback}\r\nNT: upnp:event\r\n");
            let answer = control.event_request("SUBSCRIBE", &headers);
            assert_eq!(answer.status, 200, "{answer:?}");
            self.sids.push((header(&answer.head, "SID").to_owned(), described));
            return "SUBSCRIBE";
        }
        let place = random.usize(..self.sids.len());
        let renews = random.bool();
        let method = if renews { "SUBSCRIBE" } else { "UNSUBSCRIBE" };
        let is_there = finds(control, method, &self.sids[place]);
        if !renews || !is_there {
            self.sids.swap_remove(place);
        }
        match (is_there, renews) {
            (false, _) => "subscription that is gone",
            (true, true) => "renewal",
            (true, false) => "UNSUBSCRIBE",
        }
    }

    /// Unsubscribes from everything, and hangs up on who still wants to tell something.
    pub fn leave(&mut self, control: &ControlPoint<'_>) {
        for sid in self.sids.drain(..) {
            finds(control, "UNSUBSCRIBE", &sid);
        }
        self.deaf = None;
    }
}

impl Drop for Subscriber<'_> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.ear.take().map(JoinHandle::join);
    }
}
