//! Opens a TCP and a UDP port by the crate natpmp, which finds the gateway by the default route.
//! Arguments: internal port; external port; another external port, which it suggests when it renews.
//!
//! Says each step in one line, renews when a line comes in and closes everything after another.

use natpmp::{Error, Natpmp, Protocol, Response};
use std::io::stdin;
use std::time::Duration;
use std::{env, thread};

type Done = Result<(), Box<dyn std::error::Error>>;

/// The answer to what was asked last.
fn answer(client: &mut Natpmp) -> Result<Response, Error> {
    loop {
        match client.read_response_or_retry() {
            Err(Error::NATPMP_TRYAGAIN) => thread::sleep(Duration::from_millis(10)),
            answer => return answer,
        }
    }
}

fn map(client: &mut Natpmp, done: &str, internal: u16, external: u16, lifetime: u32) -> Done {
    for protocol in [Protocol::TCP, Protocol::UDP] {
        client.send_port_mapping_request(protocol, internal, external, lifetime)?;
        let (name, mapped) = match answer(client)? {
            Response::TCP(mapped) => ("TCP", mapped),
            Response::UDP(mapped) => ("UDP", mapped),
            other => return Err(format!("{other:?}").into()),
        };
        let (from, to) = (mapped.public_port(), mapped.private_port());
        println!("{done} {name} {from} {to} {}", mapped.lifetime().as_secs());
    }
    Ok(())
}

fn line() -> Done {
    stdin().read_line(&mut String::new())?;
    Ok(())
}

fn main() -> Done {
    let args: Vec<String> = env::args().skip(1).collect();
    let (internal, external, other) = (args[0].parse()?, args[1].parse()?, args[2].parse()?);

    let mut client = Natpmp::new()?;
    println!("found {}", client.gateway());
    client.send_public_address_request()?;
    match answer(&mut client)? {
        Response::Gateway(gateway) => println!("external address {}", gateway.public_address()),
        other => return Err(format!("{other:?}").into()),
    }
    map(&mut client, "mapped", internal, external, 600)?;
    line()?;

    map(&mut client, "renewed", internal, other, 1200)?;
    line()?;

    map(&mut client, "unmapped", internal, 0, 0)?;
    // Again, as after an answer that was lost.
    map(&mut client, "unmapped", internal, 0, 0)
}
