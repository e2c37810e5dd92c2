// A program of the LAN that opens a port, run in the LAN's namespace:
//
//   node client.mjs upnp HOST PORT LEASE DESCRIPTION
//   node client.mjs natpmp PORT LEASE
//   node client.mjs pcp HOST PORT LEASE
//
// External port 10000 above, and no question asked that the answer does not answer with yes.
import { randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';

const ROUTER = '192.168.1.1';
const SERVICE = 'urn:schemas-upnp-org:service:WANIPConnection:1';

function escape(text) {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

async function upnp(host, port, lease, description) {
  const body = `<?xml version="1.0"?>
<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" s:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/">
<s:Body><u:AddPortMapping xmlns:u="${SERVICE}"><NewRemoteHost></NewRemoteHost>
<NewExternalPort>${Number(port) + 10000}</NewExternalPort><NewProtocol>TCP</NewProtocol>
<NewInternalPort>${port}</NewInternalPort><NewInternalClient>${host}</NewInternalClient>
<NewEnabled>1</NewEnabled><NewPortMappingDescription>${escape(description)}</NewPortMappingDescription>
<NewLeaseDuration>${lease}</NewLeaseDuration></u:AddPortMapping></s:Body></s:Envelope>`;
  const answer = await fetch(`http://${ROUTER}:5000/igd1/wanip/control`, {
    method: 'POST',
    headers: { 'Content-Type': 'text/xml; charset="utf-8"', SOAPAction: `"${SERVICE}#AddPortMapping"` },
    body,
  });
  if (!answer.ok) throw new Error(await answer.text());
}

/** Sends a request to NAT-PMP's and PCP's port and gives the result code of the answer. */
function ask(request, codeAt) {
  return new Promise((resolve, reject) => {
    const socket = createSocket('udp4');
    const again = setInterval(() => socket.send(request, 5351, ROUTER), 250);
    const end = setTimeout(() => reject(new Error('no answer')), 5000);
    socket.on('message', (answer) => {
      clearInterval(again);
      clearTimeout(end);
      socket.close();
      const code = codeAt(answer);
      if (code === 0) resolve();
      else reject(new Error(`result code ${code}`));
    });
    socket.send(request, 5351, ROUTER);
  });
}

function natpmp(port, lease) {
  const request = Buffer.alloc(12);
  request.writeUInt8(1, 1);
  request.writeUInt16BE(Number(port), 4);
  request.writeUInt16BE(Number(port) + 10000, 6);
  request.writeUInt32BE(Number(lease), 8);
  return ask(request, (answer) => answer.readUInt16BE(2));
}

function pcp(host, port, lease) {
  const mapped = Buffer.from([...Array(10).fill(0), 0xff, 0xff, ...host.split('.').map(Number)]);
  const request = Buffer.alloc(60);
  request.writeUInt8(2, 0);
  request.writeUInt8(1, 1);
  request.writeUInt32BE(Number(lease), 4);
  mapped.copy(request, 8);
  randomBytes(12).copy(request, 24);
  request.writeUInt8(17, 36);
  request.writeUInt16BE(Number(port), 40);
  request.writeUInt16BE(Number(port) + 10000, 42);
  Buffer.from([...Array(10).fill(0), 0xff, 0xff, 0, 0, 0, 0]).copy(request, 44);
  return ask(request, (answer) => answer.readUInt8(3));
}

const [, , what, ...args] = process.argv;
await { upnp, natpmp, pcp }[what](...args);
