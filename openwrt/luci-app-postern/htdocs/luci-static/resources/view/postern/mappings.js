// SPDX-License-Identifier: MIT OR Apache-2.0
'use strict';
'require baseclass';
'require dom';
'require rpc';
'require ui';

// What is open and how the service is: asked of the ubus object `postern`, shown as a box that the
// page under Services and the overview share.
//
// Descriptions and names come from hosts of the LAN, so whatever is shown is a text node: a child
// of E() is always given in an array here, because a bare string would become markup.

/* Rows asked for at once. */
const LIST_LIMIT = 128;
/* Rows shown; how many more there are is said. */
const ROWS_MAX = 1024;
/* Milliseconds after which the names of hosts are asked for again if one is not known. */
const HINTS_AGE = 30000;

/* Codes of ubus that are told apart. */
const UBUS_NOT_FOUND = 4;
const UBUS_PERMISSION_DENIED = 6;

const callStatus = rpc.declare({
	object: 'postern',
	method: 'status',
	expect: { '': {} },
	reject: true
});

const callList = rpc.declare({
	object: 'postern',
	method: 'list',
	params: [ 'after', 'limit' ],
	expect: { '': {} },
	reject: true
});

const callDelete = rpc.declare({
	object: 'postern',
	method: 'delete',
	params: [ 'id' ],
	reject: true
});

const callFlush = rpc.declare({
	object: 'postern',
	method: 'flush',
	reject: true
});

const callAdd = rpc.declare({
	object: 'postern',
	method: 'add',
	params: [ 'protocol', 'external_port', 'internal_address', 'internal_port', 'remote', 'lease', 'description' ]
});

const callHostHints = rpc.declare({
	object: 'luci-rpc',
	method: 'getHostHints',
	expect: { '': {} }
});

/* Why a call was rejected, as far as the page says different things. */
function failureOf(error) {
	const text = `${error?.message ?? error}`;

	if (text.includes('-32002') || text.includes(`ubus code ${UBUS_PERMISSION_DENIED}:`))
		return 'denied';

	if (text.includes('-32000') || text.includes(`ubus code ${UBUS_NOT_FOUND}:`))
		return 'missing';

	return 'silent';
}

function loadRows(after, rows) {
	return callList(after, LIST_LIMIT).then(reply => {
		const page = Array.isArray(reply.mappings) ? reply.mappings : [];
		const all = rows.concat(page);

		if (reply.more !== true || !page.length || all.length >= ROWS_MAX)
			return all.slice(0, ROWS_MAX);

		return loadRows(page[page.length - 1].id, all);
	});
}

/* By address, the name of each host that has one. */
function namesOf(hints) {
	const names = new Map();

	for (const mac in hints) {
		const hint = hints[mac];

		for (const address of L.toArray(hint.ipaddrs ?? hint.ipv4).concat(L.toArray(hint.ip6addrs ?? hint.ipv6)))
			if (hint.name)
				names.set(address, hint.name);
	}

	return names;
}

let names = new Map();
let namesAge = -Infinity;

function loadNames(rows) {
	const known = rows.every(row => names.has(row.internal_address));

	if (namesAge > -Infinity && (known || performance.now() - namesAge < HINTS_AGE))
		return Promise.resolve();

	return L.resolveDefault(callHostHints(), {}).then(hints => {
		names = namesOf(hints);
		namesAge = performance.now();
	});
}

/* Everything the box shows, or why there is nothing: { failed: … }. Never rejected. */
function load() {
	const asked = performance.now();

	return Promise.all([ callStatus(), loadRows(undefined, []) ]).then(([ status, rows ]) => {
		return loadNames(rows).then(() => ({ asked, status, rows }));
	}).catch(error => ({ asked, failed: failureOf(error) }));
}

function originName(origin) {
	switch (origin) {
	case 'upnp':
		return 'UPnP';

	case 'natpmp':
		return 'NAT-PMP';

	case 'pcp':
		return 'PCP';

	default:
		return _('Manual');
	}
}

function endpoint(address, port) {
	return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

/* What is wrong and what helps, as [ class, heading, paragraphs ], or null if all is well. */
function trouble(data, enabled) {
	if (data.failed == 'denied')
		return [ 'warning', _('You may not see the open ports'), [
			_('Your account lacks the right. Log in as root, or grant the account access to “luci-app-postern”.')
		] ];

	if (data.failed == 'silent')
		return [ 'warning', _('The service does not answer'), [
			_('It may be starting. If this message stays, restart “postern” under System › Startup and look at Status › System Log.')
		] ];

	if (data.failed)
		return [ 'warning', _('The service is not running'), [
			enabled === false
				? _('Tick “Start the service” below and press “Save & Apply”.')
				: _('Enable it under Services › Port Opening (UPnP), or start “postern” under System › Startup. If it does not stay up, Status › System Log says why.')
		] ];

	const status = data.status;
	const external = status.external ?? {};

	if (status.state == 'no-internal-address')
		return [ 'warning', _('No local network to serve'), [
			_('None of the local networks chosen below is up with an IPv4 address. Choose one under “Network”, or look at Network › Interfaces.')
		] ];

	if (status.state == 'no-external-address')
		return [ 'warning', _('No address on the Internet side'), [
			external.device
				? _('The interface %s has no IPv4 address or is down, so no IPv4 port can be opened.').format(external.device)
				: _('The router has no default route by IPv4, so no IPv4 port can be opened.'),
			_('As soon as the connection is up, the service goes on by itself. If it is up, choose the right network under “Network” › “Internet side”.')
		] ];

	if (status.state == 'private-external-address')
		return [ 'warning', _('The router has no public IPv4 address'), [
			_('The address on the Internet side, %s, is a private one: the provider (CGNAT) or another router before this one shares a public address among several customers or devices. A port opened here could not be reached from the Internet, so no IPv4 port is opened. IPv6 is not affected.').format(external.address ?? '?'),
			_('If another router stands before this one: put that one into bridge mode, or have it forward everything here (often called “exposed host” or “DMZ”) and enter its public address as “Public IPv4 address” under “Network”.'),
			_('If it is the provider: ask for a public IPv4 address, or use IPv6.'),
			_('To open ports nevertheless, for hosts of the network in between, tick “Open ports on a private address” under “Network”.')
		] ];

	if (status.firewall?.forward_hook == 'missing')
		return [ 'danger', _('The firewall drops what the open ports let in'), [
			_('Its line that lets this traffic through is not loaded. Restart “postern” under System › Startup, which puts it in place. If this message stays, Status › System Log says why.')
		] ];

	if (status.state != 'active')
		return [ 'warning', _('No ports are opened'), [ status.reason ?? status.state ?? '?' ] ];

	return null;
}

function renderTrouble([ kind, heading, paragraphs ]) {
	return E('div', { 'class': `alert-message ${kind}` }, [
		E('h4', [ heading ]),
		...paragraphs.map(text => E('p', [ text ]))
	]);
}

/* One line on how the service is. */
function summary(status, shown) {
	const external = status.external ?? {};
	const limits = status.limits ?? {};
	const addresses = [ external.address, external.address6 ].filter(address => address);
	const parts = [
		addresses.length
			? _('Internet side: %s on %s').format(addresses.join(', '), external.device)
			: null,
		_('Open: %d of at most %d IPv4 ports, %d IPv6 ports').format(status.mappings, limits.mappings, status.pinholes),
		_('Running for %t').format(status.uptime),
		status.version ? `Postern ${status.version}` : null
	];

	if (status.mappings + status.pinholes > shown && shown >= ROWS_MAX)
		parts.push(_('The first %d are shown').format(shown));

	return parts.filter(part => part).join(' · ');
}

const COLUMNS = [
	[ 'host', () => _('Host') ],
	[ 'protocol', () => _('Protocol') ],
	[ 'external', () => _('External port') ],
	[ 'internal', () => _('Internal address') ],
	[ 'remote', () => _('Reachable from') ],
	[ 'description', () => _('Description') ],
	[ 'origin', () => _('Opened by') ],
	[ 'left', () => _('Remaining time') ],
	[ 'count', () => _('Connections') ]
];

/* Long words break, though not those of usual length. */
const STYLES = {
	host: 'overflow-wrap:anywhere;min-width:6em',
	internal: 'overflow-wrap:anywhere;min-width:11em',
	remote: 'overflow-wrap:anywhere;min-width:6em',
	description: 'overflow-wrap:anywhere;min-width:8em',
	left: 'min-width:7em'
};

function setText(node, text) {
	if (node.textContent !== text)
		dom.content(node, [ text ]);
}

// The box. `options`: `actions` for the buttons below the table, `enabled` asks whether the
// configuration starts the service.
const Box = baseclass.extend({
	__init__(options) {
		this.options = options ?? {};
		this.rows = new Map();
		/* When something was changed last: what was asked for before is not shown after it. */
		this.changed = -Infinity;
		this.readonly = !L.hasViewPermission();

		this.troubleNode = E('div');
		this.summaryNode = E('p', { 'class': 'cbi-section-descr', 'style': 'overflow-wrap:anywhere' });
		this.emptyRow = E('tr', { 'class': 'tr placeholder' }, [
			E('td', { 'class': 'td', 'colspan': COLUMNS.length + 1 }, [
				E('em', [ _('No ports are open.') ])
			])
		]);
		this.table = E('table', { 'class': 'table cbi-section-table', 'id': 'postern_mappings' }, [
			E('tr', { 'class': 'tr table-titles' }, [
				...COLUMNS.map(([ , title ]) => E('th', { 'class': 'th' }, [ title() ])),
				E('th', { 'class': 'th cbi-section-actions' })
			])
		]);
		this.actionsNode = E('div', { 'class': 'cbi-section-create' }, [
			E('button', {
				'class': 'cbi-button cbi-button-add',
				'click': ui.createHandlerFn(this, 'handleAdd')
			}, [ _('Open a port…') ]),
			' ',
			E('button', {
				'class': 'cbi-button cbi-button-negative',
				'click': ui.createHandlerFn(this, 'handleFlush')
			}, [ _('Close all…') ])
		]);
		this.node = E('div', { 'class': 'postern-box' }, [
			this.troubleNode,
			this.summaryNode,
			this.table,
			this.options.actions && !this.readonly ? this.actionsNode : null
		]);

		window.setInterval(() => this.tick(), 1000);
	},

	/* Asks and shows; never rejected. */
	refresh() {
		return load().then(data => this.update(data));
	},

	update(data) {
		if (data.asked < this.changed)
			return;

		this.updateTrouble(trouble(data, this.options.enabled?.()));

		const running = !data.failed;
		const rows = running ? data.rows : [];

		for (const node of [ this.summaryNode, this.table, this.actionsNode ])
			node.style.display = running ? '' : 'none';

		if (running)
			setText(this.summaryNode, summary(data.status, rows.length));

		this.updateRows(rows, data.asked);
		this.tick();
	},

	updateTrouble(found) {
		const key = JSON.stringify(found);

		if (key === this.troubleKey)
			return;

		this.troubleKey = key;
		dom.content(this.troubleNode, found ? [ renderTrouble(found) ] : []);
	},

	/* Keeps the rows there are, so that a button that is being pressed stays where it is. */
	updateRows(list, at) {
		const ids = new Set(list.map(mapping => mapping.id));

		for (const [ id, row ] of this.rows) {
			if (!ids.has(id) && !row.pending) {
				row.node.remove();
				this.rows.delete(id);
			}
		}

		let place = this.table.firstElementChild;

		for (const mapping of list) {
			const row = this.rows.get(mapping.id) ?? this.makeRow(mapping.id);

			this.updateRow(row, mapping, at);

			if (place.nextElementSibling !== row.node)
				place.after(row.node);

			place = row.node;
		}

		if (this.rows.size)
			this.emptyRow.remove();
		else
			this.table.append(this.emptyRow);
	},

	makeRow(id) {
		const row = { pending: false, cells: {} };

		for (const [ key, title ] of COLUMNS)
			row.cells[key] = E('td', {
				'class': 'td',
				'data-title': title(),
				'style': STYLES[key]
			});

		row.node = E('tr', { 'class': 'tr', 'data-id': id }, [
			...COLUMNS.map(([ key ]) => row.cells[key]),
			E('td', { 'class': 'td cbi-section-actions' }, this.readonly ? [] : [
				E('button', {
					'class': 'btn cbi-button cbi-button-remove',
					'click': ui.createHandlerFn(this, 'handleDelete', id)
				}, [ _('Delete') ])
			])
		]);
		this.rows.set(id, row);

		return row;
	},

	updateRow(row, mapping, at) {
		const cells = row.cells;
		const port = mapping.external_port;

		row.enabled = mapping.enabled !== false;
		row.end = mapping.expires_in == null ? null : at + mapping.expires_in * 1000;

		setText(cells.host, names.get(mapping.internal_address) ?? _('Unknown'));
		setText(cells.protocol, mapping.family == 'ipv6' ? `${mapping.protocol} (IPv6)` : `${mapping.protocol}`);
		setText(cells.external, `${port}`);
		setText(cells.internal, endpoint(`${mapping.internal_address}`, mapping.internal_port));
		setText(cells.remote, `${mapping.remote ?? _('anywhere')}`);
		setText(cells.description, `${mapping.description ?? ''}` || '–');
		setText(cells.origin, originName(mapping.origin));
		setText(cells.count, (mapping.family == 'ipv6' ? _('%d packets') : '%d').format(mapping.connections));
	},

	/* Counts down, between two answers. */
	tick() {
		const now = performance.now();

		for (const row of this.rows.values()) {
			const left = row.end == null ? null : Math.max(0, Math.round((row.end - now) / 1000));

			setText(row.cells.left, !row.enabled ? _('disabled') : left == null ? _('no end') : '%t'.format(left));
		}
	},

	/* Runs one change, tells `done` whether it was made, then shows what there is. */
	change(call, what, done) {
		return call.then(() => done(true), error => {
			/* What is not there any more needs no deleting. */
			if (failureOf(error) == 'missing')
				return done(true);

			ui.addNotification(null, E('p', [ what.format(error.message) ]), 'danger');
			done(false);
		}).then(() => {
			this.changed = performance.now();

			return this.refresh();
		});
	},

	handleDelete(id) {
		const row = this.rows.get(id);

		row.pending = true;
		row.node.style.opacity = 0.5;

		return this.change(callDelete(id), _('The port could not be closed: %s'), made => {
			row.pending = false;
			row.node.style.opacity = '';

			if (made) {
				row.node.remove();
				this.rows.delete(id);
			}
		});
	},

	handleFlush() {
		ui.showModal(_('Close all ports?'), [
			E('p', [ _('Everything that programs of the local network opened is closed at once. Most of them notice and open their ports again.') ]),
			E('div', { 'class': 'right' }, [
				E('button', { 'class': 'btn cbi-button', 'click': ui.hideModal }, [ _('Cancel') ]),
				' ',
				E('button', {
					'class': 'btn cbi-button cbi-button-negative important',
					'click': ui.createHandlerFn(this, () => this.change(callFlush(), _('The ports could not be closed: %s'), ui.hideModal))
				}, [ _('Close all') ])
			])
		]);
	},

	handleAdd() {
		const field = (id, title, input) => E('div', { 'class': 'cbi-value' }, [
			E('label', { 'class': 'cbi-value-title', 'for': `postern_add_${id}` }, [ title ]),
			E('div', { 'class': 'cbi-value-field' }, [ input ])
		]);
		const input = (id, attributes) => E('input', { 'class': 'cbi-input-text', 'id': `postern_add_${id}`, ...attributes });
		const select = (id, choices) => E('select', { 'class': 'cbi-input-select', 'id': `postern_add_${id}` },
			choices.map(([ value, text ]) => E('option', { 'value': value }, [ text ])));
		const hosts = E('datalist', { 'id': 'postern_add_hosts' },
			[ ...names ].filter(([ address ]) => !address.includes(':')).map(([ address, name ]) => E('option', { 'value': address }, [ name ])));
		const inputs = {
			address: input('address', { 'type': 'text', 'list': 'postern_add_hosts', 'placeholder': '192.168.1.10' }),
			protocol: select('protocol', [ [ 'TCP', 'TCP' ], [ 'UDP', 'UDP' ] ]),
			internal: input('internal', { 'type': 'number', 'min': 1, 'max': 65535 }),
			external: input('external', { 'type': 'number', 'min': 1, 'max': 65535, 'placeholder': _('the same') }),
			lease: select('lease', [
				[ '0', _('no end') ],
				[ '3600', _('1 hour') ],
				[ '86400', _('1 day') ],
				[ '604800', _('1 week') ]
			]),
			description: input('description', { 'type': 'text', 'maxlength': 64 })
		};
		const message = E('p', { 'class': 'alert-message warning', 'style': 'display:none' });

		ui.showModal(_('Open a port'), [
			E('p', [ _('Opens a port of the router to a host of the local network until it ends, is closed or the router restarts. For a lasting one, use Network › Firewall › Port Forwards.') ]),
			message,
			hosts,
			field('address', _('Internal address'), inputs.address),
			field('protocol', _('Protocol'), inputs.protocol),
			field('internal', _('Internal port'), inputs.internal),
			field('external', _('External port'), inputs.external),
			field('lease', _('Duration'), inputs.lease),
			field('description', _('Description'), inputs.description),
			E('div', { 'class': 'right' }, [
				E('button', { 'class': 'btn cbi-button', 'click': ui.hideModal }, [ _('Cancel') ]),
				' ',
				E('button', {
					'class': 'btn cbi-button cbi-button-positive important',
					'click': ui.createHandlerFn(this, 'addFrom', inputs, message)
				}, [ _('Open') ])
			])
		]);
	},

	addFrom(inputs, message) {
		const isPort = port => Number.isInteger(port) && port >= 1 && port <= 65535;
		const address = inputs.address.value.trim();
		const internal = Number(inputs.internal.value);
		const external = Number(inputs.external.value || internal);
		const fail = text => {
			setText(message, text);
			message.style.display = '';
		};

		if (!/^\d+\.\d+\.\d+\.\d+$/.test(address) || !address.split('.').every(part => Number(part) <= 255))
			return fail(_('The internal address is no IPv4 address, like 192.168.1.10.'));

		if (!isPort(internal) || !isPort(external))
			return fail(_('A port is a number from 1 to 65535.'));

		return callAdd(inputs.protocol.value, external, address, internal, undefined,
			Number(inputs.lease.value), inputs.description.value).then(reply => {
			/* A refusal is a code, or the words with it. */
			if (reply?.id == null)
				return fail(_('The router did not open it: %s').format(reply?.error ?? _('ubus code %d').format(reply)));

			ui.hideModal();
			this.changed = performance.now();

			return this.refresh();
		}).catch(error => fail(`${error.message}`));
	}
});

return baseclass.extend({
	load: load,

	/* A box that shows `data` of load(). */
	box(data, options) {
		const box = new Box(options);

		box.update(data);

		return box;
	}
});
