//! A control point that subscribes is told what changes (GENA).

use super::{ask, Story};
use crate::control_point::ControlPoint;
use crate::outcome::{ensure, same, wait_for, Because, Outcome, PATIENCE};
use crate::traffic::{comes, hear_all};
use crate::world::HOST;
use std::io::Write;
use std::net::TcpListener;

/// Where the control point wants to be told.
const CALLBACK_PORT: u16 = 7001;
const PORT_OF_LEASE: u16 = 17006;

impl Story<'_> {
    pub(super) fn tells_what_changes(&self, gateway: &ControlPoint<'_>) -> Outcome {
        let listener = self
            .world
            .lan
            .inside(|| TcpListener::bind((HOST, CALLBACK_PORT)).because("callback"))?;
        let sid = gateway.subscribe(&format!("http://{HOST}:{CALLBACK_PORT}/"))?;
        let first = told(&listener)?;
        ensure(first.contains(&sid) && first.contains("SEQ: 0\r\n"), || first.clone())?;
        for name in ["ConnectionStatus", "ExternalIPAddress", "PortMappingNumberOfEntries"] {
            ensure(first.contains(&format!("<{name}>")), || format!("no {name}: {first}"))?;
        }
        let before = gateway.variable("PortMappingNumberOfEntries")?;
        gateway.add(&ask("UDP", PORT_OF_LEASE, "worth telling"))?;
        let now = gateway.variable("PortMappingNumberOfEntries")?;
        ensure(before != now, || "one more mapping, and the number is the same".into())?;
        let want = format!("<PortMappingNumberOfEntries>{now}</PortMappingNumberOfEntries>");
        wait_for("the event of a new mapping", PATIENCE, || {
            Ok(told(&listener)?.contains(&want).then_some(()))
        })?;
        gateway.delete("UDP", PORT_OF_LEASE)?;
        let want = format!("<PortMappingNumberOfEntries>{before}</PortMappingNumberOfEntries>");
        wait_for("the event of its end", PATIENCE, || {
            Ok(told(&listener)?.contains(&want).then_some(()))
        })?;
        same("UNSUBSCRIBE", gateway.unsubscribe(&sid)?, 200)?;
        self.done("events: all variables at first, then each change of the mapping table");
        Ok(())
    }
}

/// The next NOTIFY, which is answered.
fn told(listener: &TcpListener) -> Outcome<String> {
    ensure(comes(listener, PATIENCE)?, || "no NOTIFY comes".into())?;
    let (mut stream, _) = listener.accept().because("a NOTIFY")?;
    let text = hear_all(&mut stream, "</e:propertyset>")?;
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").because("answering it")?;
    Ok(text)
}
