//! A small ubusd, with netifd and rpcd in it: what the daemon talks to on OpenWrt, as far as it
//! does.

use crate::world::World;
use postern::proto::blobmsg::{Attributes, Fields, Kind, Value as Blob, Writer};
use postern::proto::ubus::{self, Message, Status, Type, PREFIX};
use serde_json::{Map, Number, Value};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long an answer, or a return after a restart, may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Attribute numbers.
const PATH: u8 = 2;
const OBJECT: u8 = 3;
const SIGNATURE: u8 = 6;
const TARGET: u8 = 8;
/// Who calls.
const CALLER: u32 = 0x0a11_ce00;
/// The objects of others.
const NETIFD: u32 = 0x4e45_5401;

/// How it treats who connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manners {
    /// As it should.
    Good,
    /// Says nothing at all.
    Silent,
    /// Greets, then says this for ever.
    Noise(&'static [u8]),
}

/// An object that the daemon has made.
struct Object {
    id: u32,
    path: Option<String>,
    signature: Value,
}

#[derive(Default)]
struct State {
    /// To the daemon.
    stream: Option<UnixStream>,
    /// How often it has come.
    joined: u32,
    objects: Vec<Object>,
    /// Paths that somebody else has.
    taken: Vec<String>,
    patterns: Vec<(String, u32)>,
    subscribed: Option<u32>,
    events: Vec<Value>,
    /// Logical networks and their devices; an empty name is a network that is down.
    networks: Vec<(String, String)>,
    /// The networks that netifd is too busy to tell of.
    busy: Vec<String>,
    /// A network that moves to another device while netifd is asked for it.
    moving: Option<(String, String)>,
    /// What is said in answer to calls: number, data, status.
    answers: Vec<(u16, Option<Value>, Option<u32>)>,
    last: u16,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    over: AtomicBool,
    manners: Manners,
}

/// A running one. Dropped, it is gone with its socket.
pub struct Ubusd {
    shared: Arc<Shared>,
    socket: PathBuf,
    thread: Option<JoinHandle<()>>,
}

impl World {
    /// Where ubusd is or would be.
    pub fn ubus_socket(&self) -> PathBuf {
        self.dir.join("ubus.sock")
    }

    /// [`config`](World::config) with ubus.
    pub fn ubus_config(&self, more: &str) -> String {
        let socket = self.ubus_socket();
        self.config(&format!("\toption ubus_socket '{}'\n{more}", socket.display()))
    }

    /// Starts a ubusd.
    pub fn ubusd(&self) -> Ubusd {
        self.ubusd_with(Manners::Good, &[])
    }

    /// Starts one with these manners, where somebody else has these paths already.
    pub fn ubusd_with(&self, manners: Manners, taken: &[&str]) -> Ubusd {
        let socket = self.ubus_socket();
        let listener = UnixListener::bind(&socket).unwrap();
        listener.set_nonblocking(true).unwrap();
        let taken = taken.iter().map(|path| (*path).to_owned()).collect();
        let shared = Arc::new(Shared {
            state: Mutex::new(State { taken, ..State::default() }),
            changed: Condvar::new(),
            over: AtomicBool::new(false),
            manners,
        });
        let served = shared.clone();
        let thread = thread::spawn(move || serve(&served, &listener));
        Ubusd { shared, socket, thread: Some(thread) }
    }
}

impl Drop for Ubusd {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        if let Some(stream) = self.state().stream.take() {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
        let _ = self.thread.take().unwrap().join();
        let _ = fs::remove_file(&self.socket);
    }
}

impl Ubusd {
    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap()
    }

    /// Waits until something is so.
    fn wait<T>(&self, what: &str, mut so: impl FnMut(&mut State) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.state();
        loop {
            if let Some(found) = so(&mut state) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "ubusd still waits for {what}");
            state = self.shared.changed.wait_timeout(state, left).unwrap().0;
        }
    }

    /// Waits until the daemon has made the object `postern` and registered for events.
    pub fn wait_for_daemon(&self) {
        self.wait("the daemon", |state| (state.patterns.len() == 2).then_some(()));
    }

    /// Waits until the daemon has come so often.
    pub fn wait_for_joins(&self, count: u32) {
        self.wait("the daemon to come again", |state| (state.joined >= count).then_some(()));
    }

    /// The paths of the daemon's objects with their methods.
    pub fn objects(&self) -> Vec<(String, Value)> {
        let state = self.state();
        let named = state
            .objects
            .iter()
            .filter_map(|object| object.path.clone().map(|path| (path, object.signature.clone())));
        named.collect()
    }

    /// Calls a method with these arguments; the data of the answer, `Null` for none, and its
    /// status.
    pub fn call(&self, path: &str, method: &str, arguments: Value) -> (Value, u32) {
        let number = {
            let mut state = self.state();
            state.last += 1;
            let number = state.last;
            let of_path = |object: &&Object| object.path.as_deref() == Some(path);
            let id = state.objects.iter().find(of_path).unwrap_or_else(|| panic!("no {path}")).id;
            let mut out = ubus::begin(Type::Invoke, number, CALLER);
            out.word(OBJECT, id);
            out.string(4, method);
            out.string(12, "root");
            out.string(13, "root");
            out.nest(7);
            for (name, value) in arguments.as_object().unwrap() {
                write(&mut out, name, value);
            }
            state.stream.as_mut().unwrap().write_all(&out.finish()).unwrap();
            number
        };
        self.wait("an answer", |state| {
            let of_call = |answer: &&(u16, _, _)| answer.0 == number;
            let status = state.answers.iter().filter(of_call).find_map(|answer| answer.2)?;
            let data = state.answers.iter().filter(of_call).find_map(|answer| answer.1.clone());
            Some((data.unwrap_or(Value::Null), status))
        })
    }

    /// The events that the daemon has sent so far, once there are so many.
    pub fn events(&self, count: usize) -> Vec<Value> {
        self.wait("events", |state| (state.events.len() >= count).then(|| state.events.clone()))
    }

    /// What netifd says of a network from now on: its device, or an empty name while it is down.
    pub fn network(&self, name: &str, device: &str) {
        self.forget_network(name);
        self.state().networks.push((name.to_owned(), device.to_owned()));
    }

    /// netifd knows a network no more.
    pub fn forget_network(&self, name: &str) {
        self.state().networks.retain(|(known, _)| known != name);
    }

    /// netifd is too busy to tell of these networks.
    pub fn busy(&self, networks: &[&str]) {
        self.state().busy = networks.iter().map(|name| (*name).to_owned()).collect();
    }

    /// When netifd is asked for this network next, it moves to another device, which is notified before
    /// the answer that still tells the old one.
    pub fn moves_while_asked(&self, name: &str, device: &str) {
        self.state().moving = Some((name.to_owned(), device.to_owned()));
    }

    /// Sends an event to whoever of the daemon's objects has registered for it.
    pub fn event(&self, name: &str, fields: Value) {
        let mut state = self.state();
        let found = state.patterns.iter().find(|(pattern, _)| pattern == name);
        let listener = found.unwrap_or_else(|| panic!("nobody listens to {name}")).1;
        state.say(listener, name, &fields, false);
    }

    /// Notifies who subscribes to netifd's object.
    pub fn notify(&self, name: &str, fields: Value) {
        let listener = self.wait("a subscription", |state| state.subscribed);
        self.state().say(listener, name, &fields, true);
    }

    /// Says bytes that make no sense.
    pub fn babble(&self, bytes: &[u8]) {
        self.state().stream.as_mut().unwrap().write_all(bytes).unwrap();
    }
}

impl State {
    fn say(&mut self, listener: u32, name: &str, fields: &Value, no_reply: bool) {
        self.last += 1;
        let mut out = ubus::begin(Type::Invoke, self.last, if no_reply { NETIFD } else { 0 });
        out.word(OBJECT, listener);
        if no_reply {
            out.attribute(10, &[1]);
        }
        out.string(4, name);
        out.nest(7);
        for (name, value) in fields.as_object().unwrap() {
            write(&mut out, name, value);
        }
        self.stream.as_mut().unwrap().write_all(&out.finish()).unwrap();
    }
}

fn serve(shared: &Shared, listener: &UnixListener) {
    while !shared.over.load(Ordering::SeqCst) {
        match listener.accept() {
            Ok((stream, _)) => converse(shared, stream),
            Err(_) => thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// Talks to the daemon until either goes away.
fn converse(shared: &Shared, mut stream: UnixStream) {
    stream.set_nonblocking(false).unwrap();
    {
        let mut state = shared.state.lock().unwrap();
        state.joined += 1;
        state.stream = Some(stream.try_clone().unwrap());
        if shared.over.load(Ordering::SeqCst) {
            return;
        }
        shared.changed.notify_all();
    }
    match shared.manners {
        Manners::Good => {}
        Manners::Silent => {
            let _ = stream.read(&mut [0; 64]);
            return;
        }
        Manners::Noise(noise) => {
            let _ = stream.write_all(&[0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 4]);
            while stream.write_all(noise).is_ok() {}
            return;
        }
    }
    let _ = stream.write_all(&ubus::begin(Type::Hello, 0, 0x00d0_0d00).finish());
    let mut inbox = Vec::new();
    let mut bytes = [0; 4096];
    loop {
        while let Ok(Some(length)) = ubus::length(&inbox) {
            if inbox.len() < length {
                break;
            }
            let message: Vec<u8> = inbox.drain(..length).collect();
            let mut state = shared.state.lock().unwrap();
            let answer = state.take(&message);
            if stream.write_all(&answer).is_err() {
                break;
            }
            shared.changed.notify_all();
        }
        match stream.read(&mut bytes) {
            Ok(0) | Err(_) => break,
            Ok(read) => inbox.extend_from_slice(&bytes[..read]),
        }
    }
    let mut state = shared.state.lock().unwrap();
    state.stream = None;
    state.objects.clear();
    state.patterns.clear();
    state.subscribed = None;
}

impl State {
    /// What a message of the daemon is answered with.
    fn take(&mut self, bytes: &[u8]) -> Vec<u8> {
        let message = ubus::read(bytes).unwrap();
        let attribute = |id| Attributes(&bytes[PREFIX..]).find(|a| a.id == id).map(|a| a.data);
        let text = |id| attribute(id).map(|data| string(data).to_owned());
        let kind = message.kind;
        let data = message.data.map(|data| table(Fields::new(data)));
        if kind == Type::Data as u8 {
            assert_eq!(message.peer, CALLER);
            self.answers.push((message.sequence, Some(data.unwrap()), None));
            return Vec::new();
        }
        if kind == Type::Status as u8 {
            self.answers.push((message.sequence, None, message.status));
            return Vec::new();
        }
        if kind == Type::AddObject as u8 {
            let path = text(PATH);
            if path.as_ref().is_some_and(|path| self.taken.contains(path)) {
                return end(&message, Status::InvalidArgument as u32);
            }
            let signature = attribute(SIGNATURE).map(|data| table(Fields::new(data)));
            let id = 0x00be_ef00 + self.objects.len() as u32;
            self.objects.push(Object { id, path, signature: signature.unwrap_or(Value::Null) });
            let mut out = ubus::begin(Type::Data, message.sequence, message.peer);
            out.word(OBJECT, id);
            return [out.finish(), end(&message, 0)].concat();
        }
        if kind == Type::Lookup as u8 {
            let id = match text(PATH).unwrap().as_str() {
                "network.interface" if !self.networks.is_empty() => NETIFD,
                _ => return end(&message, Status::NotFound as u32),
            };
            let mut out = ubus::begin(Type::Data, message.sequence, message.peer);
            out.word(OBJECT, id);
            return [out.finish(), end(&message, 0)].concat();
        }
        if kind == Type::Subscribe as u8 {
            let target = u32::from_be_bytes(attribute(TARGET).unwrap().try_into().unwrap());
            assert_eq!(target, NETIFD);
            assert_eq!(self.subscribed, None, "twice is heard twice");
            self.subscribed = message.object;
            return end(&message, 0);
        }
        assert_eq!(kind, Type::Invoke as u8, "{message:?}");
        let data = data.unwrap();
        match (message.object.unwrap(), message.method.unwrap()) {
            (ubus::EVENTS, "register") => {
                let object = data["object"].as_u64().unwrap() as u32;
                assert!(self.objects.iter().any(|known| known.id == object));
                self.patterns.push((data["pattern"].as_str().unwrap().to_owned(), object));
                end(&message, 0)
            }
            (ubus::EVENTS, "send") => {
                assert_eq!(data["id"], "postern.mapping");
                self.events.push(data["data"].clone());
                end(&message, 0)
            }
            (NETIFD, "status") => {
                let name = data["interface"].as_str().unwrap();
                if self.busy.iter().any(|busy| busy == name) {
                    return Vec::new();
                }
                let Some(at) = self.networks.iter().position(|(known, _)| known == name) else {
                    return end(&message, Status::NotFound as u32);
                };
                let mut device = self.networks[at].1.clone();
                if let Some((_, next)) = self.moving.take_if(|(moving, _)| moving == name) {
                    device = std::mem::replace(&mut self.networks[at].1, next);
                    let listener = self.subscribed.unwrap();
                    let fields = serde_json::json!({"interface": name});
                    self.say(listener, "interface.update", &fields, true);
                }
                let mut out = reply(&message, NETIFD);
                out.flag("up", !device.is_empty());
                if !device.is_empty() {
                    out.text("l3_device", &device);
                }
                out.begin(Kind::Array, "ipv4-address");
                out.close();
                [out.finish(), end(&message, 0)].concat()
            }
            other => panic!("{other:?}: {data}"),
        }
    }
}

fn reply(message: &Message<'_>, object: u32) -> Writer {
    ubus::reply(message, object)
}

fn end(message: &Message<'_>, status: u32) -> Vec<u8> {
    let mut out = ubus::begin(Type::Status, message.sequence, message.peer);
    out.word(1, status);
    out.finish()
}

fn string(data: &[u8]) -> &str {
    std::str::from_utf8(data.strip_suffix(b"\0").unwrap()).unwrap()
}

/// A blobmsg table as JSON, as `ubus call` shows it.
fn table(fields: Fields<'_>) -> Value {
    Value::Object(fields.map(|(name, value)| (name.to_owned(), json(value))).collect::<Map<_, _>>())
}

fn json(value: Blob<'_>) -> Value {
    match value {
        Blob::Text(text) => Value::String(text.to_owned()),
        Blob::Number(number) => Value::Number(Number::from(number)),
        Blob::Flag(flag) => Value::Bool(flag),
        Blob::Table(fields) => table(fields),
        Blob::Array(fields) => Value::Array(fields.map(|(_, value)| json(value)).collect()),
        Blob::Other => Value::Null,
    }
}

/// JSON as a blobmsg field, as `ubus call` sends it.
fn write(out: &mut Writer, name: &str, value: &Value) {
    match value {
        Value::Null => out.null(name),
        Value::Bool(flag) => out.flag(name, *flag),
        Value::String(text) => out.text(name, text),
        Value::Number(number) => match number.as_u64() {
            Some(number) => out.number(name, number),
            None => {
                out.begin(Kind::Int32, name);
                out.raw(&(number.as_i64().unwrap() as i32).to_be_bytes());
                out.close();
            }
        },
        Value::Object(fields) => {
            out.begin(Kind::Table, name);
            fields.iter().for_each(|(name, value)| write(out, name, value));
            out.close();
        }
        Value::Array(values) => {
            out.begin(Kind::Array, name);
            values.iter().for_each(|value| write(out, "", value));
            out.close();
        }
    }
}
