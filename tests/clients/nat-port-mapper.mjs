// Opens ports by npm's @achingbrain/nat-port-mapper (js-libp2p), which takes WANIPConnection:2
// alone and finds the gateway over IPv4 and over IPv6, whichever comes first.
// Arguments: this host's address, whose family decides; the port, internal and external.
// Opens it for TCP and UDP, refreshes both when a line comes in, and closes them after another.
import { upnpNat } from '@achingbrain/nat-port-mapper';
import { once } from 'node:events';

const host = process.argv.at(-2);
const port = Number(process.argv.at(-1));
const family = host.includes(':') ? 'IPv6' : 'IPv4';
const line = () => once(process.stdin, 'data');
const autoRefresh = false;

const signal = AbortSignal.timeout(20_000);
for await (const gateway of upnpNat().findGateways({ signal })) {
  if (gateway.family !== family) continue;
  console.log('found', gateway.host);
  console.log('external address', await gateway.externalIp());
  for (const protocol of ['tcp', 'udp']) {
    const mapping = await gateway.map(port, host, { protocol, autoRefresh });
    console.log('mapped', mapping.protocol, mapping.externalPort);
  }
  await line();
  await gateway.refreshPort(port, { autoRefresh });
  console.log('refreshed');
  await line();
  await gateway.unmap(port);
  console.log('unmapped');
  process.exit();
}
