// The pages in a browser, before a Postern that runs: `run.sh` starts this in the router's
// namespace and says by the environment what is where.
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { openSync } from 'node:fs';
import { createRequire } from 'node:module';
import { after, afterEach, before, test } from 'node:test';
import { promisify } from 'node:util';
import { serve } from './server.mjs';

const { POSTERN, WORK, LAN, HOST, HOST6, EXTERNAL, BROWSER, SCREENSHOTS } = process.env;
const { chromium } = createRequire(`${BROWSER}/`)('playwright-core');
const run = promisify(execFile);

const STATE = `${WORK}/state`;
const CONFIG = `${WORK}/upnpd`;
const HOSTILE = '<img src=x onerror="window.__pwned=1">';
const PAGE = '/?view=view.postern.postern';
const OVERVIEW = '/?include=view.status.include.79_postern';
const WIDE = { width: 1280, height: 900 };
const PHONE = { width: 390, height: 844 };

/** What the owner had written before a page touched it. */
const WRITTEN = `config upnpd 'config'
	option enabled '1'
	option external_device 'wan'
	list internal_device 'br-lan'
	option internal_iface 'lan guest'
	option upnp_lease_file '${WORK}/leases'
	option friendly_name 'Anna'\\''s router'

config perm_rule
	option action 'allow'
	option ext_ports '1024:65535'
	option int_addr '192.168.1.0/255.255.255.0'
	option comment 'The LAN'
`;

let daemon;
let server;
let browser;
let page;
/** Errors that no page caught. */
let errors = [];

async function postern(...args) {
  return (await run(POSTERN, [...args, '--state', STATE])).stdout;
}

const list = async () => JSON.parse(await postern('list', '--json'));
const table = async () => (await run('nft', ['list', 'table', 'inet', 'postern'])).stdout;

/** Runs a program of the LAN. */
const client = (...args) =>
  run('ip', ['netns', 'exec', LAN, process.execPath, new URL('client.mjs', import.meta.url).pathname, ...args]);

const upnpc = (...args) => run('ip', ['netns', 'exec', LAN, 'upnpc', ...args]);

async function until(what, done, seconds = 10) {
  for (const end = Date.now() + seconds * 1000; !(await done()); ) {
    assert.ok(Date.now() < end, `in ${seconds} s it did not come about that ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function start() {
  const log = openSync(`${WORK}/log`, 'a');
  daemon = spawn(POSTERN, ['run', '--config', CONFIG, '--state', STATE], { stdio: ['ignore', log, log] });
  await until('the daemon answers', () => postern('status').then(() => true, () => false));
}

async function stop() {
  if (daemon.exitCode !== null) return;
  const ended = new Promise((resolve) => daemon.once('exit', resolve));
  daemon.kill('SIGTERM');
  await ended;
}

/** Has the daemon read its configuration anew. */
const reload = () => daemon.kill('SIGHUP');

async function open(path, { viewport = WIDE, readonly = false, poll = true } = {}) {
  await page?.close();
  page = await browser.newPage({ viewport });
  page.setDefaultTimeout(10_000);
  page.on('pageerror', (error) => errors.push(`${error}`));
  page.on('console', (message) => message.type() === 'error' && errors.push(message.text()));
  await page.addInitScript(
    ([readonly, poll]) => {
      window.readonlyView = readonly;
      window.noPoll = !poll;
    },
    [readonly, poll],
  );
  await page.goto(server.url + path);
  await page.waitForSelector('html[data-shown]');
  assert.equal(await page.getAttribute('html', 'data-shown'), 'yes', await page.textContent('#view'));
}

const shoot = (name) => page.screenshot({ path: `${SCREENSHOTS}/${name}.png`, fullPage: true });

/** The cells of every mapping shown, by their titles. */
const rows = () =>
  page.$$eval('#postern_mappings tr[data-id]', (rows) =>
    rows.map((row) =>
      Object.fromEntries([...row.querySelectorAll('td[data-title]')].map((td) => [td.dataset.title, td.textContent])),
    ),
  );

const row = (text) => page.locator('#postern_mappings tr[data-id]', { hasText: text });

/** Seconds in `1h 2m 3s`. */
function seconds(text) {
  const [, hours, minutes, rest] = /^(\d+)h (\d+)m (\d+)s$/.exec(text) ?? assert.fail(`no time: ${text}`);
  return Number(hours) * 3600 + Number(minutes) * 60 + Number(rest);
}

const alert = () => page.locator('.postern-box .alert-message');
const field = (option, section = 'config') => page.locator(`[id="widget.upnpd.${section}.${option}"]`);
const tab = (name) => page.locator('.cbi-tabmenu').getByText(name, { exact: true }).click();
const apply = async () => {
  const before = server.calls.length;
  await page.getByText('Save & Apply').click();
  await until('the page applied', () => server.calls.slice(before).some(([object, method]) => object === 'uci' && method === 'apply'));
  await until('the answer is there', () => page.locator('.cbi-button-apply').isEnabled());
};
const check = async () => (await run(POSTERN, ['check', CONFIG])).stdout;

before(async () => {
  await mkdir(SCREENSHOTS, { recursive: true });
  await writeFile(CONFIG, WRITTEN);
  await start();
  server = await serve({ program: POSTERN, state: STATE, config: CONFIG, applied: reload });
  server.hints = {
    '02:00:00:00:00:01': { name: 'laptop', ipaddrs: [HOST], ip6addrs: [HOST6] },
  };
  browser = await chromium.launch({
    executablePath: '/usr/bin/chromium',
    args: [
      '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
      '--disable-background-networking', '--disable-component-update', '--disable-sync',
    ],
  });
});

after(async () => {
  await browser?.close();
  await server?.close();
  if (daemon) await stop();
});

afterEach(() => {
  assert.deepEqual(errors.splice(0), [], 'errors that no page caught');
});

test('the stand-in takes a bare string for markup, as LuCI does', async () => {
  await open(PAGE);
  const found = await page.evaluate(() => [E('p', '<b>x</b>').innerHTML, E('p', [ '<b>x</b>' ]).innerHTML]);
  assert.deepEqual(found, ['<b>x</b>', '&lt;b&gt;x&lt;/b&gt;']);
});

test('nothing is open', async () => {
  await open(PAGE);
  assert.equal(await page.textContent('#postern_mappings .placeholder'), 'No ports are open.');
  assert.equal(await alert().count(), 0);
  assert.match(
    await page.textContent('.postern-box > p'),
    new RegExp(`^Internet side: ${EXTERNAL}(, 2001:db8:2::1)? on wan · Open: 0 of at most 1024 IPv4 ports, 0 IPv6 ports · Running for 0h 0m \\d+s · Postern \\d`),
  );
});

test('what programs open shows by itself, every column of it, as text', async () => {
  await open(PAGE);
  await client(HOST, '7000', '3600', HOSTILE);
  await client(HOST, '7001', '0', 'Spiel & Spaß');
  await upnpc('-e', 'of upnpc', '-a', HOST, '7002', '17002', 'UDP', '1800');
  await upnpc('-e', 'of upnpc', '-a', HOST, '7003', '17003', 'UDP', '1800');
  // Of itself it takes the first InternetGatewayDevice:1 it finds, which has no such service.
  await upnpc('-u', 'http://192.168.1.1:5000/igd2/desc.xml', '-A', '', '0', HOST6, '7004', 'TCP', '3600');
  await until('five rows show', async () => (await rows()).length === 5);

  const times = [];
  const shown = (await rows()).map(({ 'Remaining time': time, ...rest }) => (times.push(time), Object.values(rest)));
  const from = (description, origin, protocol, external, internal) => [
    'laptop', protocol, external, internal, 'anywhere', description, origin, protocol.includes('6') ? '0 packets' : '0',
  ];
  const stored = Object.fromEntries((await list()).map((mapping) => [mapping.internal_port, mapping]));
  assert.equal(stored[7000].description, HOSTILE);
  assert.deepEqual(shown, [
    from(HOSTILE, 'UPnP', 'TCP', '17000', `${HOST}:7000`),
    from('Spiel & Spaß', 'UPnP', 'TCP', '17001', `${HOST}:7001`),
    from('of upnpc', 'UPnP', 'UDP', '17002', `${HOST}:7002`),
    from('of upnpc', 'UPnP', 'UDP', '17003', `${HOST}:7003`),
    from(stored[7004].description || '–', 'UPnP', 'TCP (IPv6)', '7004', `[${HOST6}]:7004`),
  ]);
  assert.ok(seconds(times[0]) > 3500 && seconds(times[0]) <= 3600, times[0]);
  assert.ok(seconds(times[2]) > 1700 && seconds(times[2]) <= 1800, times[2]);
  assert.ok(seconds(times[4]) > 3500 && seconds(times[4]) <= 3600, times[4]);

  assert.equal(await page.locator('#view img').count(), 0);
  assert.equal(await page.evaluate(() => window.__pwned), undefined);
  await shoot('page');
});

test('each origin has a name, what never ends and what is disabled is said', async () => {
  const changes = [
    { origin: 'natpmp', remote: '11.22.33.2' },
    { origin: 'pcp', expires_in: null, description: '' },
    { origin: 'manual', enabled: false },
  ];
  const columns = ['Opened by', 'Reachable from', 'Description'];
  await open(PAGE, { poll: false });
  const before = await rows();
  await page.route('**/ubus', async (route) => {
    const { params } = route.request().postDataJSON();
    if (params[1] !== 'postern' || params[2] !== 'list') return route.fallback();
    const answer = await (await route.fetch()).json();
    changes.forEach((change, i) => Object.assign(answer.result[1].mappings[i], change));
    return route.fulfill({ json: answer });
  });
  await page.reload();
  await until('the rows show', async () => (await rows()).length === before.length);
  const after = await rows();
  assert.deepEqual(after.slice(0, 3).map((row) => columns.map((column) => row[column])), [
    ['NAT-PMP', '11.22.33.2', HOSTILE],
    ['PCP', 'anywhere', '–'],
    ['Manual', 'anywhere', 'of upnpc'],
  ]);
  assert.deepEqual(after.slice(1, 3).map((row) => row['Remaining time']), ['no end', 'disabled']);
});

test('the time that is left counts down each second, without asking', async () => {
  await open(PAGE, { poll: false });
  const asked = server.calls.length;
  const time = async () => seconds((await rows())[0]['Remaining time']);
  const seen = [await time()];
  await until('it counted down three times', async () => {
    const now = await time();
    if (now !== seen.at(-1)) seen.push(now);
    return seen.length === 4;
  });
  assert.ok(seen.every((left, i) => i === 0 || (left < seen[i - 1] && left >= seen[i - 1] - 2)), `${seen}`);
  assert.equal(server.calls.length, asked);
});

test('a connection that comes in is counted', async () => {
  await run('ip', ['netns', 'exec', process.env.WAN, process.execPath, '-e',
    `const s = require('node:net').connect({ host: '${EXTERNAL}', port: 17000 }); s.on('connect', () => s.end()); s.on('error', () => {})`]);
  await open(PAGE);
  assert.equal((await rows())[0].Connections, '1');
});

test('the button closes that mapping in the kernel within a second, and no other', async () => {
  await open(PAGE);
  const before = await list();
  assert.match(await table(), /tcp \. 17001/);
  const pressed = Date.now();
  await row('17001').getByText('Delete').click();
  await until('it is gone from the kernel', async () => !(await table()).includes('17001'), 1);
  assert.ok(Date.now() - pressed < 1000);
  assert.deepEqual((await list()).map(({ id }) => id), before.filter((one) => one.external_port !== 17001).map(({ id }) => id));
  await until('its row is gone', async () => (await rows()).length === 4, 2);
  assert.deepEqual((await rows()).map((row) => row['External port']), ['17000', '17002', '17003', '7004']);
});

test('while a mapping is being closed its row stays, whatever is asked meanwhile, and it does not come back', async () => {
  await open(OVERVIEW);
  assert.equal(await page.textContent('h3'), 'Open Ports (UPnP, NAT-PMP, PCP)');
  server.deletionDelay = 2500;
  const asked = server.calls.length;
  await row('17002').getByText('Delete').click();
  await page.evaluate(() => (window.pendingRow = document.querySelectorAll('#postern_mappings tr[data-id]')[1]));
  await until('it was asked twice meanwhile', () => server.calls.slice(asked).filter(([object, method]) => object === 'postern' && method === 'list').length >= 2);
  const pending = () => page.evaluate(() => [window.pendingRow.isConnected, window.pendingRow.querySelector('button').disabled]);
  assert.deepEqual(await pending(), [true, true]);
  await until('its row is gone', async () => (await rows()).length === 3);
  await page.waitForTimeout(1200);
  assert.deepEqual((await rows()).map((row) => row['External port']), ['17000', '17003', '7004']);
  server.deletionDelay = 0;
  await shoot('overview');
});

test('an IPv6 pinhole is closed like any other', async () => {
  await open(PAGE);
  await row(HOST6).getByText('Delete').click();
  await until('its row is gone', async () => (await rows()).length === 2, 2);
  assert.deepEqual((await list()).map(({ internal_port }) => internal_port), [7000, 7003]);
});

test('what could not be closed is said, and stays', async () => {
  await open(PAGE);
  await page.route('**/ubus', async (route) => {
    const { id, params } = route.request().postDataJSON();
    if (params[1] === 'postern' && params[2] === 'delete') await route.fulfill({ json: { jsonrpc: '2.0', id, result: [6] } });
    else await route.fallback();
  });
  await row('17000').getByText('Delete').click();
  await page.waitForSelector('#maincontent > .alert-message.danger');
  assert.equal(await page.textContent('#maincontent > .alert-message.danger'), 'The port could not be closed: RPC call to postern/delete failed with ubus code 6: Permission denied');
  assert.equal((await rows()).length, 2);
  await until('the button is there again', () => row('17000').getByText('Delete').isEnabled());
});

test('the name of a host is text too', async () => {
  server.hints['02:00:00:00:00:01'].name = HOSTILE;
  await open(OVERVIEW);
  assert.equal((await rows())[0].Host, HOSTILE);
  assert.equal(await page.locator('#view img').count(), 0);
  assert.equal(await page.evaluate(() => window.__pwned), undefined);
  server.hints['02:00:00:00:00:01'].name = 'laptop';
});

test('who may only read has no buttons', async () => {
  await open(PAGE, { readonly: true });
  assert.equal((await rows()).length, 2);
  assert.equal(await page.locator('.postern-box button').count(), 0);
});

test('on a phone nothing is wider than the screen and every button can be reached', async () => {
  for (const [path, name] of [[PAGE, 'phone'], [OVERVIEW, 'phone-overview']]) {
    for (const width of [PHONE.width, 360]) {
      await open(path, { viewport: { ...PHONE, width } });
      assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), width, `${path} at ${width}`);
      const box = await row('17000').getByText('Delete').boundingBox();
      assert.ok(box.x >= 0 && box.x + box.width <= width, `${JSON.stringify(box)}`);
    }
    await open(path, { viewport: PHONE });
    await shoot(name);
  }
  await row('17000').getByText('Delete').click();
  await until('its row is gone', async () => (await rows()).length === 1, 2);
});

test('everything is closed at once, after a question', async () => {
  await open(PAGE);
  await page.getByText('Close all…').click();
  await shoot('close-all');
  await page.locator('.modal').getByText('Close all', { exact: true }).click();
  await until('no row is left', async () => (await rows()).length === 0, 2);
  assert.deepEqual(await list(), []);
  assert.equal(await page.locator('.modal').count(), 0);
  assert.equal(await page.textContent('#postern_mappings .placeholder'), 'No ports are open.');
});

test('the owner opens a port by hand', async () => {
  // The hosts offered are those with a name.
  await client(HOST, '7000', '60', 'x');
  await open(PAGE);
  await page.getByText('Open a port…').click();
  const input = (id) => page.locator(`#postern_add_${id}`);
  assert.deepEqual(await page.$$eval('#postern_add_hosts option', (all) => all.map(({ value, textContent }) => [value, textContent])), [[HOST, 'laptop']]);
  const submit = () => page.locator('.modal').getByText('Open', { exact: true }).click();
  const message = () => page.textContent('.modal .alert-message');

  await input('address').fill('192.168.1.300');
  await submit();
  assert.equal(await message(), 'The internal address is no IPv4 address, like 192.168.1.10.');
  await input('address').fill(HOST);
  await submit();
  assert.equal(await message(), 'A port is a number from 1 to 65535.');

  await input('internal').fill('22');
  server.added = [2];
  await submit();
  await until('the refusal shows', async () => (await message()) === 'The router did not open it: ubus code 2');
  server.added = [6, { error: HOSTILE }];
  await submit();
  await until('the reason shows', async () => (await message()) === `The router did not open it: ${HOSTILE}`);
  await shoot('open-a-port');

  server.added = [0, { id: 9, external_port: 2222 }];
  await input('external').fill('2222');
  await input('lease').selectOption('3600');
  await input('description').fill('ssh');
  await submit();
  await until('the dialog closes', async () => (await page.locator('.modal').count()) === 0);
  const asked = server.calls.filter(([object, method]) => object === 'postern' && method === 'add').map(([, , args]) => args);
  assert.deepEqual(asked, [
    ...Array(2).fill({ protocol: 'TCP', external_port: 22, internal_address: HOST, internal_port: 22, lease: 0, description: '' }),
    { protocol: 'TCP', external_port: 2222, internal_address: HOST, internal_port: 22, lease: 3600, description: 'ssh' },
  ]);
});

test('settings that are not touched are written as they were', async () => {
  await open(PAGE);
  await apply();
  const options = server.uci.of('upnpd')[0];
  assert.deepEqual(options, {
    enabled: '1',
    external_device: 'wan',
    internal_device: ['br-lan'],
    internal_iface: ['lan', 'guest'],
    upnp_lease_file: `${WORK}/leases`,
    friendly_name: "Anna's router",
    igdv1: '1',
  });
  assert.deepEqual(server.uci.of('perm_rule'), [
    { action: 'allow', ext_ports: '1024:65535', int_addr: '192.168.1.0/255.255.255.0', comment: 'The LAN' },
  ]);
  assert.equal(await check(), '');
});

test('every setting is there, is written under its name, and is understood', async () => {
  const values = {
    General: { log_output: 'info' },
    Network: {
      external_iface: 'wan', external_iface6: 'wan6', external_zone: 'wan', external_ip: EXTERNAL,
    },
    Limits: { max_mappings: '100', max_mappings_per_host: '50', max_new_mappings: '60', download: '1000', upload: '500' },
    Advanced: {
      port: '5001', notify_interval: '600', friendly_name: "Anna's", presentation_url: 'http://192.168.1.1/',
      model_number: '7', serial_number: '8', uuid: '01234567-89ab-cdef-0123-456789abcdef',
      upnp_lease_file: `${WORK}/leases4`, upnp_lease_file6: `${WORK}/leases6`, ct_mark: '0x40000000',
    },
  };
  const flags = {
    General: ['enabled', 'enable_upnp', 'enable_natpmp', 'secure_mode', 'igdv1'],
    Network: ['ext_allow_private_ipv4', 'ipv6_disable'],
    Limits: [],
    Advanced: ['system_uptime'],
  };
  await open(PAGE);
  for (const name of Object.keys(values)) {
    await tab(name);
    await shoot(`settings-${name.toLowerCase()}`);
    for (const [option, value] of Object.entries(values[name])) {
      const input = field(option);
      if ((await input.evaluate((node) => node.tagName)) === 'SELECT') await input.selectOption(value);
      else await input.fill(value);
    }
    if (name === 'Network') await field('internal_iface').locator('input[value=guest]').uncheck();
    if (name === 'Advanced') {
      await field('http_names').getByText('+').click();
      await field('http_names').locator('input').fill('router.lan');
    }
    for (const option of flags[name]) {
      // A flag that another one hides comes last.
      if (option !== 'enabled' && option !== 'enable_upnp') await field(option).click();
    }
  }
  const rendered = await page.$$eval('#cbi-upnpd-config .cbi-value', (all) => all.map(({ dataset }) => dataset.name).sort());
  assert.deepEqual(
    rendered,
    [...Object.values(values).flatMap(Object.keys), ...Object.values(flags).flat(), 'internal_iface', 'http_names'].sort(),
  );
  await apply();
  const { friendly_name, ...options } = server.uci.of('upnpd')[0];
  assert.deepEqual({ friendly_name, ...options }, {
    ...Object.assign({}, ...Object.values(values)),
    enabled: '1', enable_natpmp: '0', secure_mode: '0', igdv1: '0',
    ext_allow_private_ipv4: '1', ipv6_disable: '1', system_uptime: '0',
    internal_iface: ['lan'], http_names: ['router.lan'],
    external_device: 'wan', internal_device: ['br-lan'],
  });
  assert.equal(await check(), '');
});

test('what cannot be understood is not saved', async () => {
  const wrong = {
    Network: { external_ip: '192.0.2.1/24' },
    Limits: { max_mappings: '0', max_mappings_per_host: '65536', max_new_mappings: '-1', download: '-1', upload: 'fast' },
    Advanced: {
      port: '70000', notify_interval: '59', uuid: 'x', upnp_lease_file: 'leases', upnp_lease_file6: './leases', ct_mark: '0',
    },
  };
  await open(PAGE);
  for (const [name, options] of Object.entries(wrong)) {
    await tab(name);
    for (const [option, value] of Object.entries(options)) {
      const before = await field(option).inputValue();
      await field(option).fill(value);
      await field(option).blur();
      const error = field(option).locator('xpath=..').locator('.cbi-value-error');
      assert.notEqual(await error.textContent(), '', `${option} ${value}`);
      await field(option).fill(before);
      await field(option).blur();
      assert.equal(await error.textContent(), '', `${option} ${before}`);
    }
  }
});

const PRESETS = {
  'High ports': ['allow 1024-65535 1024-65535', 'deny 0-65535 0-65535'],
  'High ports and web': ['allow 1024-65535 1024-65535', 'allow 80 80', 'allow 443 443', 'deny 0-65535 0-65535'],
  'All ports': ['allow 0-65535 0-65535'],
  None: ['deny 0-65535 0-65535'],
};

for (const [name, expected] of Object.entries(PRESETS)) {
  test(`the preset "${name}" replaces all rules`, async () => {
    await open(PAGE);
    await page.locator('.postern-presets').getByText(name, { exact: true }).click();
    await until('the rules are there', async () => (await page.locator('#cbi-upnpd-perm_rule tr[data-section-id]').count()) === expected.length);
    await apply();
    const rules = server.uci.of('perm_rule');
    assert.deepEqual(rules.map((rule) => `${rule.action} ${rule.ext_ports} ${rule.int_ports}`), expected);
    assert.ok(rules.every((rule) => rule.int_addr === '0.0.0.0/0' && rule.comment));
    assert.equal(await check(), '');
    if (name === 'High ports and web') await shoot('rules');
  });
}

test('a rule is added, checked, moved and removed', async () => {
  await open(PAGE);
  const cells = () => page.$$eval('#cbi-upnpd-perm_rule tr[data-section-id]', (all) => all.map((tr) => [...tr.querySelectorAll('td[data-name]')].map((td) => td.textContent)));
  await page.getByText('Add rule').click();
  await page.waitForSelector('.modal');
  const input = (option) => page.locator(`.modal [data-name=${option}] [id^=widget]`);
  const error = (option) => page.textContent(`.modal [data-name=${option}] .cbi-value-error`);
  const tries = {
    ext_ports: [['80', '1024-65535', '1024:2048', '0-65535', ''], ['80-', '2-1', '65536', '1-2-3', 'http']],
    int_ports: [['80'], ['-80']],
    int_addr: [
      ['192.168.1.10', '192.168.1.0/24', '10.0.0.0/255.0.0.0', '2001:db8:1::/64', '::/0', 'fe80::1', '1:2:3:4:5:6:7:8/128'],
      ['192.168.1', '192.168.1.0/33', '192.168.1.0/24/1', '2001:db8:1::/129', '1::2::3', '1:2:3:4:5:6:7', 'laptop', '256.0.0.1'],
    ],
  };
  for (const [option, [good, bad]] of Object.entries(tries)) {
    for (const value of [...good, ...bad]) {
      await input(option).fill(value);
      await input(option).blur();
      assert.equal((await error(option)) === '', good.includes(value), `${option} ${value}`);
    }
  }
  await shoot('rule');
  await input('comment').fill(HOSTILE);
  await input('action').selectOption('allow');
  await input('ext_ports').fill('8000-8010');
  await input('int_addr').fill('2001:db8:1::/64');
  await input('int_ports').fill('');
  // What was wrong there goes, and the button moves: only then it can be pressed.
  await input('int_ports').blur();
  await page.locator('.modal').getByText('Save', { exact: true }).click();
  await until('the dialog closes', async () => (await page.locator('.modal').count()) === 0);
  assert.deepEqual(await cells(), [
    ['Deny all ports', 'Deny', '0-65535', '0.0.0.0/0', '0-65535'],
    [HOSTILE, 'Allow', '8000-8010', '2001:db8:1::/64', 'any'],
  ]);
  assert.equal(await page.locator('#view img').count(), 0);
  await page.locator('#cbi-upnpd-perm_rule').getByText('↑').last().click();
  await until('it moved', async () => (await cells())[0][0] === HOSTILE);
  await page.locator('#cbi-upnpd-perm_rule').getByText('Delete').last().click();
  await until('the other is removed', async () => (await cells()).length === 1);
  await apply();
  assert.deepEqual(server.uci.of('perm_rule'), [
    { comment: HOSTILE, action: 'allow', ext_ports: '8000-8010', int_addr: '2001:db8:1::/64' },
  ]);
  assert.equal(await check(), '');
});

/** Restarts Postern and the answers with this configuration. */
async function restartWith(text) {
  await stop();
  await writeFile(CONFIG, text);
  await rm(`${WORK}/leases`, { force: true });
  await start();
  await server.close();
  server = await serve({ program: POSTERN, state: STATE, config: CONFIG, applied: reload });
}

const firewall = (...args) => run('nft', args);

test('a firewall without the line that lets traffic through is told of, until it is there', async () => {
  await restartWith(WRITTEN);
  await firewall('flush', 'chain', 'inet', 'fw4', 'forward');
  await open(PAGE);
  assert.equal(await alert().locator('h4').textContent(), 'The firewall drops what the open ports let in');
  assert.match(await alert().textContent(), /Restart “postern” under System › Startup/);
  await shoot('firewall');
  await firewall('-f', 'tests/netns/fw4.nft');
  await until('the message goes', async () => (await alert().count()) === 0, 15);
});

test('a private address on the Internet side is explained, and each cure cures', async () => {
  const move = (from, to) => run('sh', ['-c', `ip addr del ${from} dev wan; ip addr add ${to} dev wan; ip route replace default via ${to.replace(/1\/24$/, '2')}`]);
  await move(`${EXTERNAL}/24`, '100.64.7.1/24');
  await open(PAGE);
  await until('it is told', async () => (await alert().count()) === 1, 15);
  assert.equal(await alert().locator('h4').textContent(), 'The router has no public IPv4 address');
  assert.match(await alert().textContent(), /100\.64\.7\.1, is a private one: the provider \(CGNAT\) or another router/);
  assert.match(await alert().textContent(), /enter its public address as “Public IPv4 address” under “Network”/);
  await shoot('private-address');
  await page.setViewportSize(PHONE);
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), PHONE.width);
  await page.setViewportSize(WIDE);

  await tab('Network');
  await field('external_ip').fill(EXTERNAL);
  await apply();
  await until('the public address cures it', async () => (await alert().count()) === 0, 15);

  await tab('Network');
  await field('external_ip').fill('');
  await apply();
  await until('it is told again', async () => (await alert().count()) === 1, 15);
  await tab('Network');
  await field('ext_allow_private_ipv4').check();
  await apply();
  await until('the permission cures it', async () => (await alert().count()) === 0, 15);
  await move('100.64.7.1/24', `${EXTERNAL}/24`);
});

test('an Internet side without an address is told of', async () => {
  await run('ip', ['addr', 'del', `${EXTERNAL}/24`, 'dev', 'wan']);
  await open(PAGE);
  await until('it is told', async () => (await alert().count()) === 1, 15);
  assert.equal(await alert().locator('h4').textContent(), 'No address on the Internet side');
  assert.match(await alert().textContent(), /The interface wan has no IPv4 address or is down/);
  await run('ip', ['addr', 'add', `${EXTERNAL}/24`, 'dev', 'wan']);
  await until('the message goes', async () => (await alert().count()) === 0, 15);
});

test('a service that is stopped is told of, on the page and the overview, and its return shows', async () => {
  await open(PAGE);
  await stop();
  await until('it is told', async () => (await alert().count()) === 1, 15);
  assert.equal(await alert().locator('h4').textContent(), 'The service is not running');
  assert.match(await alert().textContent(), /start “postern” under System › Startup/);
  assert.equal(await page.locator('#postern_mappings').isVisible(), false);

  await tab('General');
  await field('enabled').uncheck();
  await apply();
  await open(PAGE);
  assert.equal(await alert().textContent(), 'The service is not runningTick “Start the service” below and press “Save & Apply”.');
  await shoot('stopped');
  await open(OVERVIEW);
  assert.match(await alert().textContent(), /Enable it under Services › Port Opening \(UPnP\)/);
  await shoot('stopped-overview');

  await restartWith(WRITTEN);
  await open(OVERVIEW);
  assert.equal(await alert().count(), 0);
  assert.equal(await page.locator('#postern_mappings').isVisible(), true);
});

test('a configuration without its section gets one', async () => {
  await restartWith(WRITTEN);
  await open(PAGE);
  const text = (await readFile(CONFIG, 'utf8')).replace(/^config upnpd[^]*?\n\n/, '');
  await writeFile(CONFIG, text);
  await server.close();
  server = await serve({ program: POSTERN, state: STATE, config: CONFIG, applied: () => {} });
  await open(PAGE);
  await tab('General');
  await apply();
  assert.match(await readFile(CONFIG, 'utf8'), /config upnpd 'config'\n\toption enabled '1'\n/);
});
