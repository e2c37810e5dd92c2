// Opens ports by npm's @achingbrain/nat-port-mapper (js-libp2p), by NAT-PMP.
// Arguments: this host's address; the port, internal and external.
// Opens it for TCP and UDP, refreshes both when a line comes in, and closes them after another.
import { pmpNat } from '@achingbrain/nat-port-mapper';
import { once } from 'node:events';

const host = process.argv.at(-2);
const port = Number(process.argv.at(-1));
const line = () => once(process.stdin, 'data');
const protocols = ['tcp', 'udp'];
const autoRefresh = false;

// It hears on the port of announcements, and may take PCP's for an answer.
const insist = (ask) => ask().catch((error) => {
  if (!error.message.startsWith('"vers" must be 0')) throw error;
  return ask();
});

const gateway = pmpNat('192.168.1.1');
console.log('external address', await insist(() => gateway.externalIp()));
for (const done of ['mapped', 'refreshed']) {
  for (const protocol of protocols) {
    const mapping = await insist(() => gateway.map(port, host, { protocol, autoRefresh }));
    console.log(done, mapping.protocol, `${mapping.externalHost}:${mapping.externalPort}`);
  }
  await line();
}
for (const protocol of protocols) {
  await gateway.unmap(port, { protocol, autoRefresh });
}
console.log('unmapped');
process.exit();
