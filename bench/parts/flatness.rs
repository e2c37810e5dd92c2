//! Does the cost of a request grow with the number of mappings?
//!
//! Counts what can be counted exactly, so that the machine's speed does not matter: system calls
//! and netlink bytes with `strace`, instructions with `valgrind --tool=callgrind`. Without the look
//! through the connection table and the lease file, which are put off and then done at once for many
//! requests: what they cost is measured with the requests, in time.

use crate::lab::callgrind::Counted;
use crate::lab::gateway::{Gateway, Kind};
use crate::lab::stats::{by_form, figure, times};
use crate::lab::strace;
use crate::report::{Report, Table, Target};
use std::thread::sleep;
use std::time::Duration;

/// Mappings there before the requests that are counted.
const FEW: u16 = 10;
/// Requests counted.
const COUNTED: u16 = 200;
/// Numbers of the mappings made by them.
const FIRST: u16 = 20_000;
/// What "flat" allows.
const TOLERANCE: f64 = 1.05;
/// For what the requests before have left to do.
const SETTLE: Duration = Duration::from_secs(1);

/// Measures it. The run fails when an AddPortMapping among many costs over 5 % more than among few,
/// or an entry of a long list over 5 % more than one of a short list.
pub fn measure(report: &mut Report) {
    let most = by_form(400, 4000);
    let few = Costs::at(FEW);
    let many = Costs::at(most);
    let (among_few, among_many) = (format!("among {FEW}"), format!("among {most}"));
    let mut table = Table::new(
        "Postern alone: an AddPortMapping, one connection each, counted exactly",
        &["", &among_few, &among_many, "ratio"],
    );
    let rows = [
        ("system calls", few.syscalls, many.syscalls),
        ("netlink bytes", few.netlink, many.netlink),
        ("instructions", few.add, many.add),
    ];
    for (what, few, many) in rows {
        row(report, &mut table, what, few, many);
    }
    let (short, long) = (many.walks[0], *many.walks.last().unwrap());
    let what = format!("instructions an entry, walking {} / {} by index", short.0, long.0);
    row(report, &mut table, &what, short.1, long.1);
    table.note(format!(
        "n = {COUNTED} requests, with `option revoke_flows 0` and without lease file. Every ratio must \
         be at most {TOLERANCE}."
    ));
    report.table(table);
}

fn row(report: &mut Report, table: &mut Table, what: &str, few: f64, many: f64) {
    let (few, many) = (Some(few), Some(many));
    table.row([what.into(), figure(few), figure(many), times(many, few)]);
    let target = Target::at_most(&format!("counted, {what}"), many, few, TOLERANCE);
    report.target(target.or_fail_above(TOLERANCE));
}

/// What one AddPortMapping costs.
struct Costs {
    syscalls: f64,
    netlink: f64,
    add: f64,
    /// How many entries, and the instructions for each.
    walks: Vec<(u16, f64)>,
}

impl Costs {
    fn at(existing: u16) -> Costs {
        let control = Kind::Bare.control();
        let adds = || (FIRST..FIRST + COUNTED).for_each(|number| control.add(number));

        let gateway = Gateway::start_with(Kind::Bare, existing);
        sleep(SETTLE);
        let asked = strace::count(gateway.pid, COUNTED, || gateway.inside(adds));
        drop(gateway);

        let mut counted = Counted::start();
        let mut walks = Vec::new();
        for size in [existing / 4, existing] {
            counted.gateway.fill(size);
            sleep(SETTLE);
            if existing > FEW {
                let walk = counted.instructions(|| assert_eq!(control.enumerate(), size));
                walks.push((size, walk / f64::from(size)));
            }
        }
        let add = counted.instructions(adds) / f64::from(COUNTED);
        Costs { syscalls: asked.syscalls, netlink: asked.netlink, add, walks }
    }
}
