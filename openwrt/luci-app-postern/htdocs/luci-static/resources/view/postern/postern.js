// SPDX-License-Identifier: MIT OR Apache-2.0
'use strict';
'require view';
'require form';
'require poll';
'require uci';
'require ui';
'require tools.widgets as widgets';
'require view.postern.mappings as mappings';

/* Seconds between two looks at what is open. */
const POLL_SECONDS = 5;

/* Rules that most people want, by what the button says. */
const PRESETS = [
	[ () => _('High ports'), [
		[ 'allow', '1024-65535', '1024-65535', 'Allow high ports' ],
		[ 'deny', '0-65535', '0-65535', 'Deny the rest' ]
	] ],
	[ () => _('High ports and web'), [
		[ 'allow', '1024-65535', '1024-65535', 'Allow high ports' ],
		[ 'allow', '80', '80', 'Allow HTTP' ],
		[ 'allow', '443', '443', 'Allow HTTPS' ],
		[ 'deny', '0-65535', '0-65535', 'Deny the rest' ]
	] ],
	[ () => _('All ports'), [
		[ 'allow', '0-65535', '0-65535', 'Allow all ports' ]
	] ],
	[ () => _('None'), [
		[ 'deny', '0-65535', '0-65535', 'Deny all ports' ]
	] ]
];

/* Every host, of IPv4 and of IPv6. */
const ANY_HOST = '0.0.0.0/0';

function presetRules(rules) {
	for (const rule of uci.sections('upnpd', 'perm_rule'))
		uci.remove('upnpd', rule['.name']);

	for (const [ action, external, internal, comment ] of rules) {
		const id = uci.add('upnpd', 'perm_rule');

		uci.set('upnpd', id, 'action', action);
		uci.set('upnpd', id, 'ext_ports', external);
		uci.set('upnpd', id, 'int_addr', ANY_HOST);
		uci.set('upnpd', id, 'int_ports', internal);
		uci.set('upnpd', id, 'comment', comment);
	}
}

/* LuCI's minifier knows a regular expression after an equals sign, not after an arrow. */
const DECIMAL = /^\d{1,5}$/;
const HEX_GROUP = /^[0-9a-f]{1,4}$/i;
const MARK = /^(0x[0-9a-f]{1,8}|[1-9]\d{0,9})$/i;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

function isUpTo(text, max) {
	return DECIMAL.test(text) && Number(text) <= max;
}

function isIPv4(text) {
	const parts = text.split('.');

	return parts.length == 4 && parts.every(part => isUpTo(part, 255));
}

function isIPv6(text) {
	const halves = text.split('::');
	const groups = text.split(':').filter(group => group != '');

	return text.includes(':') && halves.length <= 2 &&
		groups.every(group => HEX_GROUP.test(group)) &&
		(halves.length == 2 ? groups.length <= 7 : groups.length == 8 && text.split(':').length == 8);
}

function validatePorts(section_id, value) {
	const ports = value.split(/[-:]/);

	if (value == '' || (ports.length <= 2 &&
		ports.every(port => isUpTo(port, 65535)) &&
		Number(ports[0]) <= Number(ports[ports.length - 1])))
		return true;

	return _('Write a port or a range of ports, like 1024 or 1024-65535.');
}

function validateNetwork(section_id, value) {
	const [ address, length, more ] = value.split('/');
	const bits = isIPv4(address) ? 32 : isIPv6(address) ? 128 : 0;
	const isMask = bits == 32 && length != null && isIPv4(length);

	if (value == '' || (bits && more == null &&
		(length == null || isMask || isUpTo(length, bits))))
		return true;

	return _('Write a host or a network, like 192.168.1.10, 192.168.1.0/24 or 2001:db8:1::/64.');
}

function validateMark(section_id, value) {
	const mark = MARK.test(value) ? Number(value) : 0;

	if (value == '' || (mark >= 1 && mark <= 0xffffffff))
		return true;

	return _('Write a mark, like 0x40000000.');
}

function validateUUID(section_id, value) {
	if (value == '' || value == 'nocli' || UUID.test(value))
		return true;

	return _('Write a UUID, or leave this empty to have one made.');
}

function validatePath(section_id, value) {
	return value == '' || value.startsWith('/') || _('Write an absolute path, which begins with “/”.');
}

function addSettings(s) {
	let o;

	s.addremove = false;
	s.tab('general', _('General'));
	s.tab('network', _('Network'));
	s.tab('limits', _('Limits'));
	s.tab('advanced', _('Advanced'));

	o = s.taboption('general', form.Flag, 'enabled', _('Start the service'));
	o.default = '1';
	o.rmempty = false;

	o = s.taboption('general', form.Flag, 'enable_upnp', _('UPnP IGD'),
		_('What game consoles, games and most programs use.'));
	o.default = '1';

	o = s.taboption('general', form.Flag, 'enable_natpmp', _('PCP and NAT-PMP'),
		_('What Apple devices and many file sharing programs use.'));
	o.default = '1';

	o = s.taboption('general', form.Flag, 'secure_mode', _('To themselves only'),
		_('Hosts may open ports to themselves only, not to other hosts.'));
	o.default = '1';

	o = s.taboption('general', form.Flag, 'igdv1', _('Be seen as IGD version 1'),
		_('Most consoles and Windows expect version 1. Programs that ask for version 2 get it all the same.'));
	o.default = '1';
	o.rmempty = false;
	o.depends('enable_upnp', '1');

	o = s.taboption('general', form.ListValue, 'log_output', _('Log'));
	o.value('default', _('What you should know of'));
	o.value('info', _('Also what is opened and closed'));
	o.value('debug', _('Everything'));
	o.default = 'default';
	o.cfgvalue = function(section_id) {
		const value = form.ListValue.prototype.cfgvalue.apply(this, arguments);

		switch (value) {
		case '1':
		case 'on':
		case 'true':
		case 'yes':
		case 'enabled':
			return 'debug';

		case 'info':
		case 'debug':
			return value;

		default:
			return 'default';
		}
	};

	o = s.taboption('network', widgets.NetworkSelect, 'internal_iface', _('Local networks'),
		_('The hosts of these networks may open ports.'));
	o.multiple = true;
	o.nocreate = true;
	o.default = 'lan';

	o = s.taboption('network', widgets.NetworkSelect, 'external_iface', _('Internet side'),
		_('By default the network of the default route.'));
	o.nocreate = true;
	o.optional = true;

	o = s.taboption('network', widgets.NetworkSelect, 'external_iface6', _('Internet side, IPv6'),
		_('By default likewise.'));
	o.nocreate = true;
	o.optional = true;

	o = s.taboption('network', widgets.ZoneSelect, 'external_zone', _('Internet side, by firewall zone'),
		_('Of the devices of this zone, the one of the best default route, if no network is chosen above.'));
	o.nocreate = true;
	o.optional = true;

	o = s.taboption('network', form.Value, 'external_ip', _('Public IPv4 address'),
		_('Only if another router holds it and forwards everything to this one. Otherwise leave it empty.'));
	o.datatype = 'ip4addr("nomask")';

	o = s.taboption('network', form.Flag, 'ext_allow_private_ipv4', _('Open ports on a private address'),
		_('Even if the router has no public IPv4 address. The ports are reachable from the network in between only.'));

	o = s.taboption('network', form.Flag, 'ipv6_disable', _('No IPv6'),
		_('Do not open ports for IPv6, and do not answer by IPv6.'));

	o = s.taboption('limits', form.Value, 'max_mappings', _('Open ports in all'));
	o.datatype = 'range(1,65535)';
	o.placeholder = '1024';

	o = s.taboption('limits', form.Value, 'max_mappings_per_host', _('Open ports of one host'));
	o.datatype = 'range(1,65535)';
	o.placeholder = '512';

	o = s.taboption('limits', form.Value, 'max_new_mappings', _('New ports of one host in a minute'));
	o.datatype = 'range(0,65535)';
	o.placeholder = '300';

	o = s.taboption('limits', form.Value, 'download', _('Download speed'),
		_('In kByte/s, reported to programs that ask. By default that of the interface.'));
	o.datatype = 'uinteger';

	o = s.taboption('limits', form.Value, 'upload', _('Upload speed'),
		_('In kByte/s, reported to programs that ask. By default that of the interface.'));
	o.datatype = 'uinteger';

	o = s.taboption('advanced', form.Value, 'port', _('TCP port'),
		_('On which UPnP is served to the local networks.'));
	o.datatype = 'range(1,65535)';
	o.placeholder = '5000';

	o = s.taboption('advanced', form.Value, 'notify_interval', _('Announcement interval'),
		_('Seconds between two announcements, 60 to 43200.'));
	o.datatype = 'range(60,43200)';
	o.placeholder = '900';

	o = s.taboption('advanced', form.Value, 'friendly_name', _('Name'),
		_('Which programs show for this router.'));

	o = s.taboption('advanced', form.Value, 'presentation_url', _('Web page'),
		_('Which programs open for this router.'));
	o.placeholder = 'http://192.168.1.1/';

	o = s.taboption('advanced', form.DynamicList, 'http_names', _('Host names'),
		_('Names of this router under which programs may ask, besides its addresses.'));
	o.datatype = 'hostname';
	o.placeholder = 'router.lan';

	o = s.taboption('advanced', form.Value, 'model_number', _('Model number'));

	o = s.taboption('advanced', form.Value, 'serial_number', _('Serial number'));

	o = s.taboption('advanced', form.Value, 'uuid', _('UUID'));
	o.validate = validateUUID;

	o = s.taboption('advanced', form.Flag, 'system_uptime', _('Report the uptime of the router'),
		_('Otherwise that of the service.'));
	o.default = '1';

	o = s.taboption('advanced', form.Value, 'upnp_lease_file', _('File of IPv4 ports'),
		_('Where what is open is kept over a restart of the service.'));
	o.placeholder = '/var/run/miniupnpd.leases';
	o.validate = validatePath;

	o = s.taboption('advanced', form.Value, 'upnp_lease_file6', _('File of IPv6 ports'));
	o.placeholder = '/var/run/miniupnpd.leases6';
	o.validate = validatePath;

	o = s.taboption('advanced', form.Value, 'ct_mark', _('Connection mark'),
		_('Mark what may pass the firewall by these bits instead of a connection label. Only for kernels without labels, or if labels are taken.'));
	o.placeholder = '0x40000000';
	o.validate = validateMark;
}

function addRules(m, s) {
	let o;

	s.anonymous = true;
	s.addremove = true;
	s.sortable = true;
	s.nodescriptions = true;
	s.addbtntitle = _('Add rule');
	s.modaltitle = _('Rule');

	/* What is not written is shown as what it means. */
	const orAny = function(section_id) {
		return E('span', [ this.cfgvalue(section_id) || _('any') ]);
	};

	o = s.option(form.Value, 'comment', _('Comment'));
	o.textvalue = function(section_id) {
		return E('span', [ this.cfgvalue(section_id) || '–' ]);
	};

	o = s.option(form.ListValue, 'action', _('Action'));
	o.value('allow', _('Allow'));
	o.value('deny', _('Deny'));
	o.default = 'deny';
	o.rmempty = false;
	o.textvalue = function(section_id) {
		return E('span', [ [ 'allow', 'accept' ].includes(this.cfgvalue(section_id)) ? _('Allow') : _('Deny') ]);
	};

	o = s.option(form.Value, 'ext_ports', _('External ports'));
	o.placeholder = '0-65535';
	o.validate = validatePorts;
	o.textvalue = orAny;

	o = s.option(form.Value, 'int_addr', _('Hosts'),
		_('A host or a network. 0.0.0.0/0 is every host, of IPv6 too.'));
	o.placeholder = ANY_HOST;
	o.validate = validateNetwork;
	o.textvalue = orAny;

	o = s.option(form.Value, 'int_ports', _('Internal ports'));
	o.placeholder = '0-65535';
	o.validate = validatePorts;
	o.textvalue = orAny;

	s.renderSectionAdd = function() {
		const node = form.GridSection.prototype.renderSectionAdd.apply(this, arguments);

		node.append(E('div', { 'class': 'postern-presets', 'style': 'margin-top:.5em' }, [
			E('span', [ _('Replace all rules by:') ]),
			...PRESETS.flatMap(([ title, rules ]) => [ ' ', E('button', {
				'class': 'cbi-button cbi-button-neutral',
				'disabled': m.readonly || null,
				'click': ui.createHandlerFn(this, () => m.save(() => presetRules(rules)))
			}, [ title() ]) ])
		]));

		return node;
	};
}

return view.extend({
	load() {
		return Promise.all([
			mappings.load(),
			uci.load('upnpd')
		]);
	},

	render([ data ]) {
		/* The proposed new schema names the section otherwise; the service reads either. */
		const name = [ 'config', 'settings' ].find(section => uci.get('upnpd', section)) ?? 'config';

		if (!uci.get('upnpd', name))
			uci.add('upnpd', 'upnpd', name);

		const box = mappings.box(data, {
			actions: true,
			enabled: () => ![ '0', 'off', 'false', 'no', 'disabled' ].includes(uci.get('upnpd', name, 'enabled'))
		});
		const m = new form.Map('upnpd', _('Port Opening (UPnP, NAT-PMP, PCP)'),
			_('Lets games, consoles and other programs of the local network open the ports they need by themselves.'));
		let s;

		s = m.section(form.TypedSection, '_open', _('Open Ports'));
		s.render = () => E('div', { 'class': 'cbi-section cbi-tblsection' }, [
			E('h3', [ _('Open Ports') ]),
			box.node
		]);

		s = m.section(form.NamedSection, name, 'upnpd', _('Settings'));
		addSettings(s);

		s = m.section(form.GridSection, 'perm_rule', _('Who May Open Which Ports'),
			_('The first rule that matches decides. Where none does, the port is opened.'));
		addRules(m, s);

		poll.add(() => box.refresh(), POLL_SECONDS);

		return m.render();
	}
});
