// A program of the LAN that opens a TCP port with any description, run in the LAN's namespace. The
// external port is 10000 above. It fails unless the router says yes.
//
//   node client.mjs HOST PORT LEASE DESCRIPTION

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

const [, , ...args] = process.argv;
await upnp(...args);
