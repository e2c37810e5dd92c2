//! How what requests cost is told.

use super::{Add, Delete, Enumerate, Found, Get, ALL, BATCH, FILE_SIZE};
use crate::lab::gateway::Kind;
use crate::lab::stats::{figure, times};
use crate::lab::strace::Asked;
use crate::report::{Line, Plot, Report, Table, Target};

/// Everything.
pub fn write(found: &Found, report: &mut Report) {
    cpu(found, report);
    look(found, report);
    kernel_work(found, report);
    targets(found, report);
    let line = |name: &str, kind| {
        let sizes = found.sizes.iter().filter(|size| **size > 0);
        let points =
            sizes.filter_map(|size| Some((f64::from(*size), found.cost(kind, *size, Add)?)));
        Line { name: name.into(), points: points.collect() }
    };
    report.plot(Plot {
        title: "AddPortMapping".into(),
        x: "mappings".into(),
        y: "µs of CPU".into(),
        lines: vec![
            line("miniupnpd", Kind::Miniupnpd),
            line("postern", Kind::Postern),
            line("postern without its look", Kind::Lookless),
        ],
    });
}

fn cpu(found: &Found, report: &mut Report) {
    let mut table = Table::new(
        "Requests: CPU of the daemon, µs each",
        &[
            "request",
            "mappings",
            "postern",
            "without its look",
            "miniupnpd",
            "without its scan",
            "ratio",
            "ratio without",
        ],
    );
    for request in ALL {
        for &size in found.sizes.iter().filter(|size| **size > 0 || request != Enumerate) {
            let cost = |kind| found.cost(kind, size, request);
            let (us, lookless) = (cost(Kind::Postern), cost(Kind::Lookless));
            let (peer, scanless) = (cost(Kind::Miniupnpd), cost(Kind::Scanless));
            table.row([
                request.name().into(),
                size.to_string(),
                figure(us),
                figure(lookless),
                figure(peer),
                figure(scanless),
                times(peer, us),
                times(scanless.or(peer), lookless),
            ]);
        }
    }
    let rounds = |ours: bool| {
        let these = found.costs.iter().filter(|(key, _)| key.0.is_ours() == ours);
        let lens = these.map(|(_, costs)| costs[&Add].len());
        format!("{} to {}", lens.clone().min().unwrap_or(0), lens.max().unwrap_or(0))
    };
    table.note(format!(
        "Medians of rounds of {BATCH} requests: n = {} rounds of postern, {} of miniupnpd, as many \
         as there was time for. A whole list is one request an entry, all of them counted, three times \
         (miniupnpd's of 4,000 once).",
        rounds(true),
        rounds(false)
    ));
    table.note(
        "Before it maps a port, miniupnpd reads /proc/net/tcp or udp to see whether the port is in \
         use. That costs by the size of the kernel's socket tables, and so by the machine's memory: \
         more here than on a router. Without its scan: the same daemon, for whom these files are \
         empty. After a deletion through which something may have come in, and after a new mapping of \
         UDP, whose flows may leave from another port yet, postern looks through the kernel's \
         connection table for flows that have lost their leave: once for all that has changed in \
         20 ms, then not for nine times as long as it took. That costs by the table's size in the same \
         way. Without its look: `option revoke_flows 0`; miniupnpd lets such flows go on. The last \
         ratio is without either (at 4,000 with the scan). All mappings are of TCP where nothing else \
         is said."
            .into(),
    );
    table.note(format!(
        "miniupnpd appends to its lease file or rewrites it in each request. postern writes its own \
         anew at most every 2 s + 10 ms a mapping; with {FILE_SIZE} that takes {} µs, which are not \
         above.",
        figure(found.lease_file)
    ));
    table.note("The connection table is empty before each round.".into());
    report.table(table);
}

fn look(found: &Found, report: &mut Report) {
    let mut table = Table::new(
        "postern's look: an AddPortMapping of UDP alone, with the look after it",
        &["flows that the router knows", "µs of CPU"],
    );
    for (flows, cost) in &found.lone_adds {
        table.row([flows.to_string(), figure(Some(*cost))]);
    }
    let buckets = std::fs::read_to_string("/sys/module/nf_conntrack/parameters/hashsize");
    table.note(format!(
        "This kernel's connection table has {} buckets, and a look goes through them all.",
        buckets.unwrap_or_default().trim()
    ));
    report.table(table);
}

fn kernel_work(found: &Found, report: &mut Report) {
    let mut table = Table::new(
        "Requests: what they ask of the kernel",
        &[
            "request",
            "mappings",
            "calls: postern",
            "miniupnpd",
            "ratio",
            "netlink bytes: postern",
            "miniupnpd",
            "ratio",
        ],
    );
    for request in [Add, Delete, Get] {
        for &size in found.sizes {
            let asked = |kind| found.asked(kind, size, request);
            let (us, peer) = (asked(Kind::Postern), asked(Kind::Miniupnpd));
            let calls = |asked: Asked| asked.syscalls;
            let bytes = |asked: Asked| asked.netlink;
            table.row([
                request.name().into(),
                size.to_string(),
                figure(us.map(calls)),
                figure(peer.map(calls)),
                times(peer.map(calls), us.map(calls)),
                figure(us.map(bytes)),
                figure(peer.map(bytes)),
                times(peer.map(bytes), us.map(bytes)),
            ]);
        }
    }
    table.note(
        "Counted by strace over 20 requests of postern and 5 of miniupnpd (2 at 4,000).".into(),
    );
    report.table(table);
}

fn targets(found: &Found, report: &mut Report) {
    let limits = [(0, 4.0), (10, 4.0), (500, 20.0), (1000, 50.0)];
    for (size, limit) in limits.into_iter().filter(|(size, _)| found.sizes.contains(size)) {
        let pairs = [
            ("", Kind::Miniupnpd, Kind::Postern),
            (", without scan and look", Kind::Scanless, Kind::Lookless),
        ];
        for (how, peer, us) in pairs {
            report.target(Target::at_least(
                &format!("AddPortMapping at {size} mappings, miniupnpd to postern{how}"),
                found.cost(peer, size, Add),
                found.cost(us, size, Add),
                limit,
            ));
        }
    }
    let most = *found.sizes.last().unwrap();
    let few = if found.sizes.contains(&10) { 10 } else { 0 };
    report.target(
        Target::at_most(
            &format!("AddPortMapping of postern at {most} mappings, to that at {few}"),
            found.cost(Kind::Postern, most, Add),
            found.cost(Kind::Postern, few, Add),
            1.1,
        )
        .or_fail_above(1.5),
    );
    report.target(Target::at_least(
        &format!("a list of {most} by index, miniupnpd to postern"),
        found.cost(Kind::Miniupnpd, most, Enumerate),
        found.cost(Kind::Postern, most, Enumerate),
        20.0,
    ));
}
