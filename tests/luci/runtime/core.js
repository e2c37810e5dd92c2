// A stand-in for the part of LuCI's browser runtime that the pages use, so that they run in a
// browser without a router. What is lax or surprising in LuCI is so here too: above all, a bare
// string given as children becomes markup, only strings in arrays become text.
'use strict';

(() => {
	const RESOURCES = '/luci-static/resources';
	// One of the strings at the head of a class file, and the comments before it.
	const DIRECTIVE = /^\s*(?:\/\/.*\n\s*)*'(?:use strict|require ([\w.]+)(?: as (\w+))?)';/;

	function extend(base, members) {
		const made = function(...args) {
			this.__init__?.(...args);
		};

		made.prototype = Object.create(base.prototype, Object.getOwnPropertyDescriptors(members));
		made.prototype.constructor = made;
		made.extend = more => extend(made, more);

		return made;
	}

	const baseclass = extend(Object, {});

	const dom = {
		elem: node => node instanceof Node,

		append(node, children) {
			if (Array.isArray(children)) {
				for (const child of children)
					if (child != null)
						node.append(child instanceof Node ? child : `${child}`);
			}
			else if (children instanceof Node) {
				node.append(children);
			}
			else if (children != null) {
				node.innerHTML = `${children}`;
			}

			return node;
		},

		content(node, children) {
			node.replaceChildren();

			return dom.append(node, children);
		},

		parent: (node, selector) => node.closest(selector)
	};

	function E(tag, attributes, children) {
		if (!(attributes instanceof Object) || Array.isArray(attributes) || attributes instanceof Node)
			[ attributes, children ] = [ {}, attributes ];

		if (typeof(tag) != 'string')
			throw new TypeError(`E() of ${tag}`);

		const node = document.createElement(tag);

		for (const [ name, value ] of Object.entries(attributes)) {
			if (typeof(value) == 'function')
				node.addEventListener(name, value);
			else if (value != null)
				node.setAttribute(name, value);
		}

		return dom.append(node, children);
	}

	String.prototype.format = function(...args) {
		return this.replace(/%([%sdht])/g, (all, kind) => {
			if (kind == '%')
				return '%';

			const value = args.shift();

			switch (kind) {
			case 's':
				return value;

			case 'd':
				return Math.floor(Number(value) || 0);

			case 'h':
				return `${value}`.replace(/[&"'<>]/g, char => `&#${char.charCodeAt(0)};`);

			case 't': {
				const parts = [ Math.floor(value / 3600) % 24, Math.floor(value / 60) % 60, Math.floor(value) % 60 ];
				const days = Math.floor(value / 86400);

				return `${days ? `${days}d ` : ''}${parts[0]}h ${parts[1]}m ${parts[2]}s`;
			}
			}
		});
	};

	let request = 0;

	async function call(object, method, args) {
		const answer = await fetch('/ubus', {
			method: 'POST',
			body: JSON.stringify({ jsonrpc: '2.0', id: ++request, method: 'call', params: [ '0', object, method, args ] })
		});

		return answer.json();
	}

	const UBUS_TEXTS = { 2: 'Invalid argument', 4: 'Resource not found', 6: 'Permission denied', 7: 'Request timed out' };

	const rpc = {
		declare(options) {
			return async (...values) => {
				const args = {};

				(options.params ?? []).forEach((name, i) => args[name] = values[i]);

				const reply = await call(options.object, options.method, args);
				const what = `RPC call to ${options.object}/${options.method} failed with`;

				if (reply.error)
					throw new Error(`${what} error ${reply.error.code}: ${reply.error.message}`);

				const [ code, data ] = reply.result;

				if (options.reject && code != 0)
					throw new Error(`${what} ubus code ${code}: ${UBUS_TEXTS[code] ?? 'Unknown error'}`);

				let result = reply.result.length > 1 ? data : code;

				for (const [ key, fallback ] of Object.entries(options.expect ?? {})) {
					if (key != '')
						result = result?.[key];

					if (Object.prototype.toString.call(result) != Object.prototype.toString.call(fallback))
						result = fallback;
				}

				return result;
			};
		}
	};

	const callUCI = (method, ...params) => rpc.declare({ object: 'uci', method, params, reject: true });
	const uciGet = rpc.declare({ object: 'uci', method: 'get', params: [ 'config' ], expect: { values: {} }, reject: true });
	const uciAdd = rpc.declare({ object: 'uci', method: 'add', params: [ 'config', 'type', 'name', 'values' ], expect: { section: '' }, reject: true });
	const uciSet = callUCI('set', 'config', 'section', 'values');
	const uciDelete = callUCI('delete', 'config', 'section', 'options');
	const uciOrder = callUCI('order', 'config', 'sections');
	const uciApply = callUCI('apply');

	// Sections as they are at the router, and as the page has them, both in order.
	const saved = {};
	const current = {};
	let made = 0;

	const own = name => !name.startsWith('.');

	const uci = {
		async load(config) {
			if (current[config])
				return [ config ];

			const values = await uciGet(config);

			saved[config] = Object.values(values).sort((a, b) => a['.index'] - b['.index']);
			current[config] = structuredClone(saved[config]);

			return [ config ];
		},

		unload(config) {
			delete current[config];
		},

		find: (config, id) => current[config]?.find(section => section['.name'] == id),

		get(config, id, option) {
			const section = uci.find(config, id);

			return option ? section?.[option] : section;
		},

		sections: (config, type) => (current[config] ?? []).filter(section => section['.type'] == type),

		set(config, id, option, value) {
			if (value == null || value === '')
				delete uci.find(config, id)[option];
			else
				uci.find(config, id)[option] = value;
		},

		unset(config, id, option) {
			delete uci.find(config, id)?.[option];
		},

		add(config, type, name) {
			const id = name ?? `new${++made}`;

			current[config].push({ '.name': id, '.type': type, '.anonymous': !name, '.create': true });

			return id;
		},

		remove(config, id) {
			current[config] = current[config].filter(section => section['.name'] != id);
		},

		move(config, id, before) {
			const section = uci.find(config, id);
			const rest = current[config].filter(other => other != section);

			rest.splice(rest.findIndex(other => other['.name'] == before), 0, section);
			current[config] = rest;
		},

		async save() {
			for (const config of Object.keys(current)) {
				for (const section of saved[config])
					if (!uci.find(config, section['.name']))
						await uciDelete(config, section['.name']);

				for (const section of current[config]) {
					const id = section['.name'];
					const before = saved[config].find(other => other['.name'] == id);
					const options = Object.fromEntries(Object.entries(section).filter(([ name ]) => own(name)));

					if (section['.create']) {
						section['.name'] = await uciAdd(config, section['.type'], section['.anonymous'] ? undefined : id, options);
						continue;
					}

					const gone = Object.keys(before).filter(name => own(name) && section[name] == null);
					const changed = Object.entries(options).filter(([ name, value ]) => JSON.stringify(value) != JSON.stringify(before[name]));

					if (gone.length)
						await uciDelete(config, id, gone);

					if (changed.length)
						await uciSet(config, id, Object.fromEntries(changed));
				}

				await uciOrder(config, current[config].map(section => section['.name']));
				uci.unload(config);
				await uci.load(config);
			}
		},

		apply: () => uciApply()
	};

	const poll = {
		queue: [],

		add(run, seconds) {
			window.setInterval(() => window.noPoll || run(), seconds * 1000);
		}
	};

	const ui = {
		createHandlerFn(context, handler, ...args) {
			const run = typeof(handler) == 'string' ? context[handler] : handler;

			return event => {
				const target = event.currentTarget;

				target.classList.add('spinning');
				target.disabled = true;
				Promise.resolve(run.call(context, ...args, event)).finally(() => {
					target.classList.remove('spinning');
					target.disabled = false;
				});
			};
		},

		addNotification(title, children, ...classes) {
			const node = E('div', { 'class': [ 'alert-message', ...classes ].join(' ') });

			if (title != null)
				node.append(E('h4', title));

			dom.append(node, children);
			document.querySelector('#maincontent').prepend(node);

			return node;
		},

		showModal(title, children) {
			ui.hideModal();
			document.body.append(E('div', { 'id': 'modal_overlay' }, [
				dom.append(E('div', { 'class': 'modal' }, [ E('h4', [ title ]) ]), children)
			]));
		},

		hideModal() {
			document.querySelector('#modal_overlay')?.remove();
		}
	};

	const view = extend(Object, {
		handleSave: () => Promise.all(maps.map(map => map.save())),
		handleSaveApply: () => Promise.all(maps.map(map => map.save())).then(uci.apply),
		handleReset: () => Promise.all(maps.map(map => map.reset()))
	});
	const maps = [];

	const L = {
		bind: (run, context, ...args) => run.bind(context, ...args),
		isObject: value => typeof(value) == 'object' && value !== null,
		hasViewPermission: () => !window.readonlyView,
		toArray: value => Array.isArray(value) ? value : value == null ? [] : `${value}`.trim().split(/\s+/).filter(word => word),
		resolveDefault: (value, fallback) => Promise.resolve(value).catch(() => fallback)
	};

	const modules = { baseclass, dom, poll, rpc, uci, ui, view };
	const loaded = {};

	// Loads a class file and what it requires, and makes an instance, as LuCI does.
	L.require = name => loaded[name] ??= (async () => {
		if (modules[name])
			return modules[name];

		const answer = await fetch(`${RESOURCES}/${name.replaceAll('.', '/')}.js`);

		if (!answer.ok)
			throw new Error(`${name} is not there`);

		const source = await answer.text();
		const names = [];
		const needs = [];

		for (let rest = source, found; (found = DIRECTIVE.exec(rest)); rest = rest.slice(found[0].length)) {
			if (found[1]) {
				names.push(found[2] ?? found[1].replaceAll('.', '_'));
				needs.push(await L.require(found[1]));
			}
		}

		const made = new Function('window', 'document', 'L', ...names, source)(window, document, L, ...needs);

		return new made();
	})();

	const button = (kind, text, run) => E('button', { 'class': `btn cbi-button cbi-button-${kind}`, 'click': run }, [ text ]);

	// Shows a page as LuCI's views are shown.
	async function showView(name) {
		const page = await L.require(name);
		const node = await page.render(await page.load());

		document.querySelector('#view').replaceChildren(node, E('div', { 'class': 'cbi-page-actions' }, [
			button('apply', 'Save & Apply', ui.createHandlerFn(page, 'handleSaveApply')),
			' ',
			button('save', 'Save', ui.createHandlerFn(page, 'handleSave')),
			' ',
			button('reset', 'Reset', ui.createHandlerFn(page, 'handleReset'))
		]));
	}

	// Shows a box of the overview, which empties its container at each poll.
	async function showInclude(name) {
		const include = await L.require(name);
		const container = E('div');
		const look = async () => dom.content(container, include.render(await include.load()));

		document.querySelector('#view').replaceChildren(E('div', { 'class': 'cbi-section' }, [
			E('div', { 'class': 'cbi-title' }, [ E('h3', [ include.title ]) ]),
			container
		]));
		await look();
		poll.add(look, 1);
	}

	Object.assign(window, {
		E, L,
		_: text => text,
		runtime: { baseclass, dom, extend, maps, modules, uci, ui },
		show() {
			const page = new URL(location).searchParams;
			const shown = page.has('view') ? showView(page.get('view')) : showInclude(page.get('include'));

			shown.then(() => document.documentElement.dataset.shown = 'yes', error => {
				document.querySelector('#view').textContent = `${error.stack}`;
				document.documentElement.dataset.shown = 'failed';
			});
		}
	});
})();
