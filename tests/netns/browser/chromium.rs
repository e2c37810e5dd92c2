//! A real browser on Alice's host, with a page that tries all that a page can.

use crate::traffic::FROM_ALICE;
use crate::world::{Host, World, ALICE, BOB, PEER};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Time for the browser to start and for its page to be done.
const PATIENCE: Duration = Duration::from_secs(60);
const CONTROL: &str = "http://192.168.1.1:5000/igd2/wanip/control";

/// A headless Chromium; gone when dropped.
struct Browser(Child);

impl Browser {
    fn open(world: &World, url: &str) -> Browser {
        let mut command = world.command(Host::Alice, "chromium");
        command.args(["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"]);
        command.args(["--disable-dev-shm-usage", "--disable-background-networking"]);
        // What newer browsers add against this is not what is tested.
        command
            .arg("--disable-features=LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests");
        command.arg(format!("--host-resolver-rules=MAP evil.example {PEER}"));
        command.arg(format!("--user-data-dir={}", world.dir.join("browser").display()));
        command.env("HOME", world.dir.join("browser")).arg(url);
        Browser(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The next request to this server: its head and body.
fn next(listener: &TcpListener) -> (TcpStream, String) {
    let end = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < end, "the page does not come to its end");
        let Ok((mut stream, _)) = listener.accept() else {
            thread::sleep(Duration::from_millis(10));
            continue;
        };
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        let (mut text, mut bytes) = (String::new(), [0; 8192]);
        // A connection that the browser opens in advance says nothing.
        while let Ok(read @ 1..) = stream.read(&mut bytes) {
            text.push_str(&String::from_utf8_lossy(&bytes[..read]));
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let length = crate::clients::header(head, "Content-Length").parse().unwrap_or(0);
            if body.len() >= length {
                return (stream, text);
            }
        }
    }
}

fn answer(mut stream: TcpStream, page: &str) {
    let _ = write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nCache-Control: no-store\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{page}",
        page.len()
    );
}

/// Serves one page at this place and hears what it reports to Bob; `then` is done in between.
fn run(world: &World, at: (Host, Ipv4Addr, u16), page: &str, then: impl FnOnce()) -> String {
    let listen = |host, address: Ipv4Addr, port: u16| {
        let listener = world.inside(host, || TcpListener::bind((address, port)).unwrap());
        listener.set_nonblocking(true).unwrap();
        listener
    };
    let report = listen(Host::Bob, BOB, 8001);
    let server = listen(at.0, at.1, at.2);
    let name = if at.0 == Host::Bob { at.1.to_string() } else { "evil.example".to_owned() };
    let _browser = Browser::open(world, &format!("http://{name}:{}/", at.2));
    answer(next(&server).0, page);
    drop(server);
    then();
    let (stream, said) = next(&report);
    answer(stream, "");
    said.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// What all pages have: a way to report, and one to note how a request went for the page.
const SCRIPT: &str = "
  const log = [];
  const note = async (name, promise) => {
    try { const r = await promise; log.push(name + '=' + r.type + ':' + r.status); }
    catch (e) { log.push(name + '=blocked'); }
  };
  const done = () => fetch('http://192.168.1.20:8001/', {method: 'POST', mode: 'no-cors', body: log.join('\\n')});
  const pause = ms => new Promise(go => setTimeout(go, ms));
";

#[test]
fn a_page_in_chromium_maps_nothing_reads_nothing_and_subscribes_to_nothing_260() {
    let world = World::new();
    let daemon = world.start();
    let body = super::wanted();
    let page = format!(
        "<!DOCTYPE html><iframe name=f></iframe>
        <form id=form target=f method=post enctype=text/plain action='{CONTROL}'><input name=x></form>
        <form id=url target=f method=post action='{CONTROL}'><input name=x value=y></form>
        <script>{SCRIPT}
        const to = '{CONTROL}', body = {body:?};
        const event = to.replace('control', 'event'), desc = 'http://192.168.1.1:5000/igd1/desc.xml';
        const soap = {{'Content-Type': 'text/xml', 'SOAPACTION':
          '\"urn:schemas-upnp-org:service:WANIPConnection:2#AddPortMapping\"'}};
        const post = more => fetch(to, {{method: 'POST', body, ...more}});
        (async () => {{
          await note('simple', post({{mode: 'no-cors'}}));
          await note('blob', post({{mode: 'no-cors', body: new Blob([body])}}));
          await note('xml', post({{mode: 'no-cors', headers: soap}}));
          await note('readable', post({{}}));
          await note('control', post({{headers: soap}}));
          await note('events', fetch(event, {{method: 'SUBSCRIBE',
            headers: {{CALLBACK: '<http://{ALICE}:9/>', NT: 'upnp:event'}}}}));
          await note('read', fetch(desc));
          await note('opaque', fetch(desc, {{mode: 'no-cors'}}));
          navigator.sendBeacon(to, body);
          for (const id of ['form', 'url']) {{
            const loaded = new Promise(go => document.querySelector('iframe').onload = go);
            document.getElementById(id).submit();
            await loaded;
          }}
          await done();
        }})();
        </script>"
    );
    let said = run(&world, (Host::Bob, BOB, 8000), &page, || ());
    assert_eq!(
        said.lines().collect::<Vec<_>>(),
        [
            "simple=opaque:0",
            "blob=opaque:0",
            "xml=opaque:0",
            "readable=blocked",
            "control=blocked",
            "events=blocked",
            "read=blocked",
            "opaque=opaque:0"
        ]
    );
    assert_eq!(world.rows(), [""; 0]);
    assert_eq!(world.status()["subscriptions"], 0);
    // They did come: fetches, a beacon and forms, and two preflights.
    let of = |what: &str| daemon.log().matches(&format!("{ALICE}: {what}")).count();
    world.wait_for(|_| of("POST /igd2/wanip/control -> 403") >= 7);
    assert_eq!(of("POST /igd2/wanip/control -> 403"), 7);
    assert_eq!(of("? /igd2/wanip/control -> 403"), 1);
    assert_eq!(of("? /igd2/wanip/event -> 403"), 1);
    assert_eq!(of("POST /igd2/wanip/control -> 200"), 0);
}

#[test]
fn a_page_in_chromium_that_rebinds_its_name_to_the_router_is_refused_259() {
    // CVE-2021-29462. The name stays, and what it leads to is another host afterwards.
    let world = World::new();
    let daemon = world.start();
    let body = super::wanted();
    let page = format!(
        "<!DOCTYPE html><script>{SCRIPT}
        const body = {body:?}, to = '/igd2/wanip/control';
        const soap = {{'Content-Type': 'text/xml', 'SOAPACTION':
          '\"urn:schemas-upnp-org:service:WANIPConnection:2#AddPortMapping\"'}};
        (async () => {{
          await pause(1000);
          await note('read', fetch('/igd1/desc.xml'));
          await note('control', fetch(to, {{method: 'POST', body, headers: soap}}));
          await note('events', fetch('/igd2/wanip/event', {{method: 'SUBSCRIBE',
            headers: {{CALLBACK: '<http://{ALICE}:9/>', NT: 'upnp:event'}}}}));
          await done();
        }})();
        </script>"
    );
    let rebind = || {
        let mut nft = world.command(Host::Alice, "nft");
        let table = format!(
            "add table ip rebind; add chain ip rebind out {{ type nat hook output priority -100; }}; \
             add rule ip rebind out ip daddr {PEER} tcp dport 5000 dnat to 192.168.1.1"
        );
        assert!(nft.arg(table).status().unwrap().success());
    };
    let said = run(&world, (Host::Internet, PEER, 5000), &page, rebind);
    assert_eq!(
        said.lines().collect::<Vec<_>>(),
        ["read=basic:403", "control=basic:403", "events=basic:403"]
    );
    assert_eq!(world.rows(), [""; 0]);
    assert_eq!(world.status()["subscriptions"], 0);
    let log = daemon.log();
    for request in ["GET /igd1/desc.xml", "POST /igd2/wanip/control", "SUBSCRIBE /igd2/wanip/event"]
    {
        assert!(log.contains(&format!("{ALICE}: {request} -> 403")), "{request}");
    }
    assert_eq!(world.get(FROM_ALICE, "/igd1/desc.xml").status, 200);
}
