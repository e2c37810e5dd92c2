//! Opens ports by the crate igd-next. It takes no gateway whose LOCATION names another host than the
//! one that answers. Arguments: 4 or 6, the family it searches over; internal IPv4 address; internal
//! port; external port; with 6 also its own IPv6 address, for a pinhole.
//!
//! Says each step in one line, refreshes when a line comes in and closes everything after another.

use igd_next::{search_gateway, search_ipv6_firewall_gateway, PortMappingProtocol, SearchOptions};
use std::error::Error;
use std::io::stdin;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::{env, fs};

const TCP: PortMappingProtocol = PortMappingProtocol::TCP;
const UDP: PortMappingProtocol = PortMappingProtocol::UDP;
const DESCRIPTION: &str = "igd-next <&>";

fn options(family: &str) -> Result<SearchOptions, Box<dyn Error>> {
    if family == "4" {
        return Ok(SearchOptions::default());
    }
    let index = fs::read_to_string("/sys/class/net/eth0/ifindex")?;
    Ok(SearchOptions::ipv6(index.trim().parse()?))
}

fn line() -> Result<(), Box<dyn Error>> {
    stdin().read_line(&mut String::new())?;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    let (family, port, external) = (&args[0], args[2].parse()?, args[3].parse()?);
    let local = SocketAddr::V4(SocketAddrV4::new(args[1].parse()?, port));

    let gateway = search_gateway(options(family)?)?;
    println!("found {}{}", gateway.addr, gateway.root_url);
    println!("external address {}", gateway.get_external_ip()?);
    gateway.add_port(TCP, external, local, 600, DESCRIPTION)?;
    println!("mapped TCP {external}");
    let any = gateway.add_any_port(UDP, local, 600, DESCRIPTION)?;
    println!("mapped UDP {any}");
    let entry = gateway.get_generic_port_mapping_entry(0)?;
    println!(
        "listed {} {} {}:{} {} {}",
        entry.protocol,
        entry.external_port,
        entry.internal_client,
        entry.internal_port,
        entry.enabled,
        entry.port_mapping_description
    );
    let mut pinhole = None;
    if let Some(own) = args.get(4) {
        let firewall = search_ipv6_firewall_gateway(options(family)?)?;
        println!("found firewall {}{}", firewall.addr, firewall.root_url);
        let status = firewall.get_firewall_status()?;
        println!("firewall {} {}", status.firewall_enabled, status.inbound_pinhole_allowed);
        let own = SocketAddrV6::new(own.parse::<Ipv6Addr>()?, port, 0, 0);
        let id = firewall.add_pinhole(TCP, own, 600)?;
        println!("pinhole {id}");
        pinhole = Some((firewall, id));
    }
    line()?;

    gateway.add_port(TCP, external, local, 1200, DESCRIPTION)?;
    if let Some((firewall, id)) = &pinhole {
        firewall.update_pinhole(*id, 1200)?;
    }
    println!("refreshed");
    line()?;

    gateway.remove_port(TCP, external)?;
    gateway.remove_port(UDP, any)?;
    if let Some((firewall, id)) = &pinhole {
        firewall.remove_pinhole(*id)?;
    }
    println!("unmapped");
    Ok(())
}
