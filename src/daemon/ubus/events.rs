//! The event `postern.mapping`: what has changed in the table, for who listens on ubus.

use super::interfaces::Names;
use crate::daemon::report::{external_address, Row};
use crate::daemon::State;
use crate::gateway::{Event, Reason};
use crate::proto::blobmsg::{Kind, Writer};
use crate::proto::ubus;
use std::time::Instant;

/// Most events that wait to be sent. One more, and all of them give way to one that tells
/// listeners to read the list anew.
pub const EVENTS_MAX: usize = 64;

/// The event's name.
const NAME: &str = "postern.mapping";
/// The number of every message with an event: whether ubusd says yes is not asked.
const NUMBER: u16 = 0;

/// What waits for the task that talks to ubusd.
#[derive(Default)]
pub(super) struct Events {
    /// Messages, one after the other.
    messages: Vec<u8>,
    count: usize,
    /// There were too many.
    lost: bool,
    /// ubusd is there; else there is nobody to tell.
    pub(super) open: bool,
    /// The configuration is another one.
    pub(super) reloaded: bool,
    /// A configuration waits for what netifd says of these networks.
    pub(super) wanted: Option<Names>,
}

impl Events {
    /// Takes an event up: `fill` writes what it tells. `false` when there is nobody to tell.
    pub(super) fn push(&mut self, fill: &mut dyn FnMut(&mut Writer)) -> bool {
        if self.open && self.count == EVENTS_MAX {
            self.messages = Vec::new();
            self.lost = true;
        }
        if self.open && !self.lost {
            self.count += 1;
            self.messages.extend(message(fill));
        }
        self.open
    }

    /// The messages that are to be sent.
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.count = 0;
        match std::mem::take(&mut self.lost) {
            true => message(&mut |out| out.text("action", "resync")),
            false => std::mem::take(&mut self.messages),
        }
    }
}

fn message(fill: &mut dyn FnMut(&mut Writer)) -> Vec<u8> {
    let mut out = ubus::invoke(NUMBER, ubus::EVENTS, "send");
    out.text("id", NAME);
    out.begin(Kind::Table, "data");
    fill(&mut out);
    out.finish()
}

/// What is told of an event that is of a mapping or pinhole.
pub(super) fn fill(state: &State, event: &Event, out: &mut Writer) {
    let (action, is_new) = match event {
        Event::Added { new: true, .. } | Event::PinholeAdded { new: true, .. } => ("add", true),
        Event::Added { .. } | Event::PinholeAdded { .. } => ("refresh", false),
        Event::Removed { reason: Reason::Expired, .. }
        | Event::PinholeRemoved { reason: Reason::Expired, .. } => ("expire", false),
        _ => ("delete", false),
    };
    out.text("action", action);
    // What the others have counted only the kernel knows, which is not asked at every change.
    let counted = is_new.then_some(0);
    let now = Instant::now();
    match event {
        Event::Added { mapping, .. } | Event::Removed { mapping, .. } => {
            let external = external_address(state.gateway.external());
            Row::of(mapping, external, counted, now).fill(out);
        }
        Event::PinholeAdded { pinhole, .. } | Event::PinholeRemoved { pinhole, .. } => {
            Row::of_pinhole(pinhole, counted, now).fill(out);
        }
        Event::External(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::blobmsg::{Fields, Value};

    /// The ids of what is sent, 0 for a resync.
    fn sent(events: &mut Events) -> Vec<i64> {
        let bytes = events.take();
        let mut rest = &bytes[..];
        let mut ids = Vec::new();
        while let Ok(Some(length)) = ubus::length(rest) {
            let message = ubus::read(&rest[..length]).unwrap();
            assert_eq!((message.object, message.method), (Some(ubus::EVENTS), Some("send")));
            let fields = Fields::new(message.data.unwrap());
            assert_eq!(fields.text("id"), Some("postern.mapping"));
            let Some(Value::Table(data)) = fields.get("data") else { panic!("{fields:?}") };
            ids.push(match (data.get("id"), data.text("action")) {
                (Some(Value::Number(id)), None) => id,
                (None, Some("resync")) => 0,
                other => panic!("{other:?}"),
            });
            rest = &rest[length..];
        }
        assert_eq!(rest, b"");
        ids
    }

    fn push(events: &mut Events, id: i64) -> bool {
        events.push(&mut |out| out.number("id", id as u64))
    }

    #[test]
    fn too_many_events_become_one_that_says_so() {
        let mut events = Events { open: true, ..Events::default() };
        let full: Vec<i64> = (1..=EVENTS_MAX as i64).collect();
        assert!(full.iter().all(|id| push(&mut events, *id)));
        assert_eq!(sent(&mut events), full);
        assert!(full.iter().all(|id| push(&mut events, *id)));
        assert!((100..200).all(|id| push(&mut events, id)));
        assert_eq!(events.messages.capacity(), 0, "what was lost takes no room");
        assert_eq!(sent(&mut events), [0]);
        assert!(push(&mut events, 7));
        assert_eq!(sent(&mut events), [7]);
        assert_eq!(sent(&mut events), [0; 0]);
    }

    #[test]
    fn nothing_waits_for_a_ubusd_that_is_not_there() {
        let mut events = Events::default();
        assert!(!push(&mut events, 1));
        events.open = true;
        assert_eq!(sent(&mut events), [0; 0]);
    }
}
