// Opens a TCP port by npm's @achingbrain/nat-port-mapper, which takes WANIPConnection:2 alone.
// Argument: the port, internal and external. Closes it when a line comes in.
import { upnpNat } from '@achingbrain/nat-port-mapper';
import { once } from 'node:events';

const port = Number(process.argv.at(-1));
const signal = AbortSignal.timeout(10_000);
for await (const gateway of upnpNat().findGateways({ signal })) {
  console.log('external address', await gateway.externalIp());
  const mapping = await gateway.map(port, '192.168.1.10', { protocol: 'tcp', autoRefresh: false });
  console.log('mapped', mapping.externalPort);
  await once(process.stdin, 'data');
  await gateway.unmap(port);
  console.log('unmapped');
  process.exit();
}
