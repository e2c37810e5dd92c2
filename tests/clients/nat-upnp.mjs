// Opens ports by npm's nat-upnp, which knows WANIPConnection:1 alone.
// Arguments: internal port, external port. Opens it for TCP and UDP, refreshes both when a line
// comes in, and closes them after another.
import nat from 'nat-upnp';
import { once } from 'node:events';

const [internal, external] = process.argv.slice(-2).map(Number);
const client = nat.createClient();
// It has a new search for every call; a machine that is busy answers some of them late.
client.timeout = 10_000;
const call = (name, ...args) => new Promise((done, failed) =>
  client[name](...args, (error, value) => (error ? failed(error) : done(value))));
const line = () => once(process.stdin, 'data');
const map = (protocol, ttl) =>
  call('portMapping', { public: external, private: internal, protocol, ttl });

console.log('external address', await call('externalIp'));
for (const protocol of ['TCP', 'UDP']) {
  await map(protocol, 600);
  console.log('mapped', protocol, external);
}
for (const mapping of await call('getMappings', { local: true })) {
  console.log('listed', mapping.protocol, mapping.public.port, mapping.private.host,
    mapping.private.port, mapping.enabled, mapping.description);
}
await line();
await map('TCP', 1200);
await map('UDP', 1200);
console.log('refreshed');
await line();
for (const protocol of ['TCP', 'UDP']) {
  await call('portUnmapping', { public: external, protocol });
}
console.log('unmapped');
client.close();
process.exit();
