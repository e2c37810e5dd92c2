//! What is written down of what a host says.

use super::{mapping, Target};
use crate::world::{Host, World};
use std::collections::BTreeSet;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn words_of_a_request_are_never_commands_nor_lines_of_a_file_267() {
    // CVE-2014-8361 (Realtek's SOAP service gave NewInternalClient to a shell) and its like.
    let world = World::new();
    let marker = world.dir.join("marker");
    let touch = format!("touch {}", marker.display());
    let lease6 = world.dir.join("leases6");
    let daemon = world
        .start_with(&world.config(&format!("\toption upnp_lease_file6 '{}'\n", lease6.display())));
    let target = Target::of(&world);
    let evil = [
        format!("; {touch} ;"),
        format!("$({touch})"),
        format!("`{touch}`"),
        format!("'; {touch}; '"),
        format!("\"; {touch}; \""),
        format!("a && {touch} || {touch} | {touch} & {touch}"),
        format!("x\n{touch}\n"),
        "x&#10;TCP:22:192.168.1.20:22:0:ssh&#13;&#10;".to_owned(),
        "x\nlease 99 TCP 22 - 192.168.1.20 22 - 1 upnp ssh\n".to_owned(),
        "\" } ; flush ruleset ; table inet x { comment \"".to_owned(),
        "} }\nadd rule inet fw4 input accept\n{ {".to_owned(),
        "x\" timeout 1s : 8.8.8.8 . 22 }".to_owned(),
        "%s%s%n%n%x".to_owned(),
        "one that ends in \\".to_owned(),
        "../../../../etc/passwd".to_owned(),
        "\\\" \\' \\\\ \\n".to_owned(),
        "&lt;/NewPortMappingDescription&gt;&lt;script&gt;alert(1)&lt;/script&gt;".to_owned(),
    ];
    let escaped = |text: &str| {
        let raw = text.contains("&#") || text.contains("&lt;");
        if raw {
            text.to_owned()
        } else {
            text.replace('&', "&amp;")
        }
    };
    // Where only addresses, numbers and names belong, they are refused.
    let names = [
        "NewRemoteHost",
        "NewProtocol",
        "NewExternalPort",
        "NewInternalPort",
        "NewLeaseDuration",
        "NewEnabled",
    ];
    for (text, name) in evil.iter().zip(names.iter().cycle()) {
        for name in ["NewInternalClient", name] {
            let text = escaped(text);
            let answer = target.alice.call("AddPortMapping", &mapping(name, &text));
            let refused = matches!(answer, Err(402 | 601 | 605 | 606 | 715));
            assert!(refused, "{name} {text}: {answer:?}");
        }
    }
    target.unharmed();
    // As a description they are words.
    let comments = |table: &str| table.matches("comment \"").count();
    let before = comments(&world.table().unwrap());
    for (at, text) in evil.iter().enumerate() {
        let (external, text) = ((18000 + at).to_string(), escaped(text));
        let mut arguments = mapping("NewExternalPort", &external);
        arguments[6].1 = &text;
        assert_eq!(target.alice.call("AddPortMapping", &arguments), Ok(vec![]), "{text}");
    }
    let count = evil.len() + 1;
    let rows = world.rows();
    assert_eq!(rows.len(), count);
    assert!(rows.iter().all(|row| !row.contains(char::is_control)), "{rows:?}");
    // The list of the kernel's table is one that `nft` can read: no word has left its quotes.
    let table = world.table().unwrap();
    assert_eq!(comments(&table), before + evil.len(), "{table}");
    let copy = world.dir.join("copy.nft");
    fs::write(&copy, &table).unwrap();
    let mut check = world.command(Host::Internet, "nft");
    let out = check.arg("-f").arg(&copy).output().unwrap();
    assert!(out.status.success(), "{}\n{table}", String::from_utf8_lossy(&out.stderr));
    let mut tables = world.command(Host::Router, "nft");
    let tables =
        String::from_utf8(tables.args(["list", "tables"]).output().unwrap().stdout).unwrap();
    assert_eq!(
        tables.lines().collect::<BTreeSet<_>>(),
        ["table inet fw4", "table inet postern"].into()
    );
    // One line a mapping in the file that others read, and in our own.
    let peer = world.dir.join("leases");
    let end = Instant::now() + Duration::from_secs(5);
    let lines = loop {
        let text = fs::read_to_string(&peer).unwrap_or_default();
        if text.contains(":18016:") || Instant::now() > end {
            break text;
        }
        thread::sleep(Duration::from_millis(50));
    };
    assert_eq!(lines.lines().count(), count, "{lines}");
    for line in lines.lines() {
        assert!(line.starts_with("TCP:1") && line.contains(":192.168.1.10:70"), "{line}");
        assert!(line.split(':').count() >= 6, "{line}");
    }
    daemon.stop();
    let own = fs::read_to_string(world.state().join("leases")).unwrap();
    assert_eq!(own.lines().filter(|line| line.starts_with("lease ")).count(), count, "{own}");
    assert!(own.lines().all(|line| !line.starts_with("lease 99 ")), "{own}");
    let daemon = world.start();
    assert_eq!(world.rows(), rows, "read back from the file");
    let log = daemon.log();
    assert!(log.lines().all(|line| !line.starts_with("touch") && !line.starts_with("lease 99")));
    assert!(!marker.exists(), "a word was run");
}
