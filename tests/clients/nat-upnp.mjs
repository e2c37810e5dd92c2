// Opens a TCP port by npm's nat-upnp, which knows WANIPConnection:1 alone.
// Arguments: internal port, external port. Closes it when a line comes in.
import nat from 'nat-upnp';
import { once } from 'node:events';

const [internal, external] = process.argv.slice(-2).map(Number);
const client = nat.createClient();
const call = (name, ...args) => new Promise((done, failed) =>
  client[name](...args, (error, value) => (error ? failed(error) : done(value))));

console.log('external address', await call('externalIp'));
await call('portMapping', { public: external, private: internal, ttl: 600 });
console.log('mapped', external);
await once(process.stdin, 'data');
await call('portUnmapping', { public: external });
console.log('unmapped');
client.close();
process.exit();
