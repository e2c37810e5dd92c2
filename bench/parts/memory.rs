//! Memory: idle, among many mappings, and after very many have come and gone.

use crate::lab::clients::{add_arguments, delete_arguments, ControlPoint, Datagrams};
use crate::lab::gateway::{Gateway, Kind};
use crate::lab::launch::static_program;
use crate::lab::procfs::{memory, Memory};
use crate::lab::stats::{by_form, figure, times};
use crate::report::{Report, Table, Target};
use crate::world::ROUTER;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::Duration;

/// Number of the first mapping that comes and goes.
const FIRST: u16 = 20_000;

/// Measures it.
pub fn measure(report: &mut Report) {
    let (some, many) = by_form((100, 400), (1000, 4000));
    let us = stages(Kind::Postern, some, many);
    let peer = stages(Kind::Miniupnpd, some, many);
    let lone = static_program().map(|_| stages(Kind::Static, some, many));
    let mut table = Table::new(
        "Memory: KiB, resident / proportional (PSS) / private and written",
        &["", "postern", "static", "miniupnpd", "resident: ratio", "static, ratio"],
    );
    let names = ["idle".into(), format!("{some} mappings"), format!("{many} mappings")];
    for (place, name) in names.into_iter().enumerate() {
        let (us, peer) = (us.0[place], peer.0[place]);
        let lone = lone.as_ref().map(|stages| stages.0[place]);
        let rss = |memory: Memory| Some(memory.rss);
        table.row([
            name,
            shown(us),
            lone.map_or("–".into(), shown),
            shown(peer),
            times(rss(peer), rss(us)),
            times(rss(peer), lone.and_then(rss)),
        ]);
    }
    let each = us.each(many);
    let peers_each = peer.each(many);
    let lones_each = lone.as_ref().map(|stages| stages.each(many));
    table.row([
        "bytes written a mapping".into(),
        figure(Some(each)),
        figure(lones_each),
        figure(Some(peers_each)),
        times(Some(peers_each), Some(each)),
        times(Some(peers_each), lones_each),
    ]);
    let cycles = by_form(2000, 100_000);
    let grown = growth(cycles);
    table.note(
        "Each of one process, read once at rest, after a walk through its list. Static is postern as \
         on a router, if `make cross` has built it; the others have Debian's C library."
            .into(),
    );
    table.note(format!(
        "postern, after {}, {} and {cycles} mappings made and ended, half by UPnP, half by NAT-PMP: {}.",
        cycles / 10,
        cycles / 2,
        grown.map(shown).join(", ")
    ));
    report.table(table);
    for (name, stages) in [("postern", Some(&us)), ("static postern", lone.as_ref())] {
        let Some(stages) = stages else { continue };
        report.target(Target::at_least(
            &format!("memory resident idle, miniupnpd to {name}"),
            Some(peer.0[0].rss),
            Some(stages.0[0].rss),
            3.0,
        ));
    }
    report.target(Target::value("bytes of memory a mapping of postern", Some(each), 300.0));
    report.target(Target::value(
        &format!("KiB that postern grows by the second half of {cycles} mappings made and ended"),
        Some(grown[2].private_dirty - grown[1].private_dirty),
        8.0,
    ));
}

/// Idle, with some mappings and with many.
struct Stages([Memory; 3]);

impl Stages {
    /// Bytes that each of so many mappings has added.
    fn each(&self, mappings: u16) -> f64 {
        (self.0[2].private_dirty - self.0[0].private_dirty) * 1024.0 / f64::from(mappings)
    }
}

fn stages(kind: Kind, some: u16, many: u16) -> Stages {
    Stages([0, some, many].map(|count| {
        let gateway = Gateway::start_with(kind, count);
        // It looks at what there is, if it has not yet.
        gateway.inside(|| gateway.kind.control().enumerate());
        sleep(Duration::from_millis(500));
        gateway.settled();
        memory(gateway.pid)
    }))
}

fn shown(memory: Memory) -> String {
    let [rss, pss, private] =
        [memory.rss, memory.pss, memory.private_dirty].map(|kib| figure(Some(kib)));
    format!("{rss} / {pss} / {private}")
}

/// Postern's memory after a tenth, a half and all of so many mappings have come and gone. What it
/// keeps of those given up is bounded, and is there soon.
fn growth(cycles: u32) -> [Memory; 3] {
    let gateway = Gateway::start(Kind::Postern);
    let control = gateway.kind.control();
    let mut done = 0;
    [cycles / 10, cycles / 2, cycles].map(|until| {
        let more = until - done;
        gateway.inside(|| {
            kept_alive(control, more / 2);
            let socket = Datagrams::to(5351);
            for number in numbers(more - more / 2) {
                socket.natpmp(number, 3600);
                socket.natpmp(number, 0);
            }
        });
        done = until;
        gateway.settled();
        memory(gateway.pid)
    })
}

/// Numbers of mappings, from a thousand.
fn numbers(cycles: u32) -> impl Iterator<Item = u16> {
    (0..cycles).map(|cycle| FIRST + u16::try_from(cycle % 1000).unwrap())
}

/// Adds and deletes by UPnP, a hundred requests on a connection.
fn kept_alive(control: ControlPoint, cycles: u32) {
    let mut numbers = numbers(cycles).peekable();
    while numbers.peek().is_some() {
        let mut stream = BufReader::new(TcpStream::connect((ROUTER, 5000)).unwrap());
        for number in numbers.by_ref().take(50) {
            for (action, arguments) in [
                ("AddPortMapping", add_arguments("TCP", number)),
                ("DeletePortMapping", delete_arguments("TCP", number)),
            ] {
                let request = control.request(action, &arguments, "keep-alive");
                stream.get_mut().write_all(&request).unwrap();
                read_answer(&mut stream);
            }
        }
    }
}

/// One answer, which must be good.
fn read_answer(stream: &mut BufReader<TcpStream>) {
    let mut length = 0;
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    assert!(line.starts_with("HTTP/1.1 200"), "{line}");
    loop {
        line.clear();
        stream.read_line(&mut line).unwrap();
        let Some((name, value)) = line.split_once(':') else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().unwrap();
        }
    }
    std::io::copy(&mut stream.take(length), &mut std::io::sink()).unwrap();
}
