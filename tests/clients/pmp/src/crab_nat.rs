//! Opens ports by the crate crab_nat, which asks by PCP if it can. Arguments: what to do; the
//! gateway; its own address; internal port; external port; one more address.
//!
//! Says each step in one line, and goes on when a line comes in.

use crab_nat::pcp::{self, BaseMapRequest, DropMappingRange, Nonce};
use crab_nat::{GatewayAddress, InternetProtocol, PortMapping, PortMappingOptions};
use crab_nat::{MappingFailure, PortMappingType};
use std::env;
use std::error::Error;
use std::fmt::Debug;
use std::io::stdin;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;

type Done = Result<(), Box<dyn Error>>;

const TCP: InternetProtocol = InternetProtocol::Tcp;
const UDP: InternetProtocol = InternetProtocol::Udp;
/// Not the one of any mapping.
const ANOTHER_NONCE: Nonce = [1, 2, 3];

struct Client {
    gateway: GatewayAddress,
    own: IpAddr,
    internal: NonZeroU16,
    options: PortMappingOptions,
}

impl Client {
    /// As a program asks that leaves the choice between PCP and NAT-PMP, and the nonce, to the crate.
    async fn map(&self, protocol: InternetProtocol) -> Result<PortMapping, MappingFailure> {
        PortMapping::new(self.gateway, self.own, protocol, self.internal, self.options).await
    }

    fn base(&self, own: IpAddr) -> BaseMapRequest {
        BaseMapRequest::new(self.gateway, own, UDP, self.internal)
    }

    async fn maps(&self) -> Done {
        let mut mappings = [self.map(TCP).await?, self.map(UDP).await?];
        mappings.iter().for_each(|mapping| say("mapped", mapping));
        line()?;
        for mapping in &mut mappings {
            mapping.renew().await?;
            say("renewed", mapping);
        }
        line()?;
        for mapping in mappings {
            // Again, as after an answer that was lost.
            for mapping in [mapping.clone(), mapping] {
                let name = mapping.protocol();
                mapping.try_drop().await.map_err(|(e, _)| e)?;
                println!("unmapped {name}");
            }
        }
        Ok(())
    }

    /// Asks for what it cannot have, beside one mapping that it has. `other`: the address of another
    /// host.
    async fn is_refused(&self, other: IpAddr) -> Done {
        let mapping = self.map(UDP).await?;
        say("mapped", &mapping);
        let single = DropMappingRange::Single { protocol: UDP, internal_port: self.internal };
        let Client { gateway, own, .. } = *self;
        // Two hours.
        let longer = PortMappingOptions::default();
        // Each request has a nonce of its own.
        let again = PortMapping::new(gateway, own, UDP, self.internal, longer).await;
        refused("map", again);
        let dropped = pcp::try_drop_mapping(gateway, own, ANOTHER_NONCE, single, None).await;
        refused("unmap", dropped);
        let foreign = pcp::port_mapping(self.base(other), None, None, longer).await;
        refused("map for another host", foreign);
        let all = pcp::port_mapping_all_ports(gateway, own, None, None, None, Some(600), None);
        refused("map all", all.await);
        line()?;

        mapping.try_drop().await.map_err(|(e, _)| e)?;
        println!("unmapped");
        Ok(())
    }

    /// What PEER makes cannot be ended by PEER (RFC 6887 §12.1); the crate only tries.
    async fn peers(&self, remote: SocketAddr) -> Done {
        let asked = pcp::peer_mapping(self.base(self.own), None, None, remote, self.options);
        let mut mapping = asked.await?;
        let say = |done, mapping: &pcp::PeerMapping| {
            let (address, port) = (mapping.external_ip(), mapping.external_port());
            println!("{done} {address} {port} {remote} {}", mapping.lifetime_seconds());
        };
        say("mapped", &mapping);
        line()?;
        mapping.renew().await?;
        say("renewed", &mapping);
        Ok(())
    }
}

fn say(done: &str, mapping: &PortMapping) {
    let (name, port) = (mapping.protocol(), mapping.external_port());
    match mapping.mapping_type() {
        PortMappingType::Pcp { external_ip, .. } => {
            println!("{done} PCP {name} {external_ip} {port} {}", mapping.lifetime());
        }
        PortMappingType::NatPmp => println!("{done} NAT-PMP {name} {port}"),
    }
}

fn refused<T: Debug, E: Debug>(what: &str, outcome: Result<T, E>) {
    match outcome {
        Ok(made) => println!("{what}: {made:?}"),
        Err(e) => println!("{what}: {e:?}"),
    }
}

fn line() -> Done {
    stdin().read_line(&mut String::new())?;
    Ok(())
}

async fn run() -> Done {
    let args: Vec<String> = env::args().skip(1).collect();
    let client = Client {
        gateway: args[1].parse::<IpAddr>()?.into(),
        own: args[2].parse()?,
        internal: args[3].parse()?,
        options: PortMappingOptions {
            external_port: Some(args[4].parse()?),
            lifetime_seconds: Some(600),
            timeout_config: None,
        },
    };
    match &args[0][..] {
        "map" => client.maps().await,
        "refused" => client.is_refused(args[5].parse()?).await,
        "peer" => client.peers(args[5].parse()?).await,
        other => Err(other.into()),
    }
}

fn main() -> Done {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(run())
}
