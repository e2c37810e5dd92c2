// A stand-in for LuCI's forms: maps, sections and options, as far as the pages use them.
'use strict';

(() => {
	const { baseclass, dom, maps, modules, uci, ui } = window.runtime;

	const inRange = (value, from, to) => /^\d+$/.test(value) && Number(value) >= from && Number(value) <= to;
	const DATATYPES = [
		[ /^uinteger$/, value => /^\d+$/.test(value) ],
		[ /^range\((\d+),(\d+)\)$/, (value, from, to) => inRange(value, Number(from), Number(to)) ],
		[ /^ip4addr\("nomask"\)$/, value => /^\d+(\.\d+){3}$/.test(value) && value.split('.').every(part => inRange(part, 0, 255)) ],
		[ /^hostname$/, value => /^[\w-]+(\.[\w-]+)*$/.test(value) ]
	];

	function isOfType(datatype, value) {
		const [ shape, test ] = DATATYPES.find(([ shape ]) => shape.test(datatype)) ?? [];

		if (!shape)
			throw new TypeError(`datatype ${datatype} is not known`);

		return test(value, ...shape.exec(datatype).slice(1));
	}

	const Option = baseclass.extend({
		__init__(map, section, option, title, description) {
			Object.assign(this, { map, section, option, title, description });
			Object.assign(this, { rmempty: true, deps: [], choices: [], widgets: {}, values: {} });
		},

		depends(option, value) {
			this.deps.push([ option, value ]);
		},

		value(key, text) {
			this.choices.push([ key, text ]);
		},

		load(id) {
			this.cfgvalue(id, uci.get(this.map.config, id, this.option));
		},

		cfgvalue(id, value) {
			if (arguments.length == 2)
				this.values[id] = value;

			return this.values[id];
		},

		isActive(id) {
			return this.deps.every(([ option, value ]) => {
				const other = this.section.options.find(other => other.option == option);

				return other.isActive(id) && other.formvalue(id) == value;
			});
		},

		validate: () => true,

		// What is wrong with the value in the form, or null.
		problem(id) {
			for (const value of [ this.formvalue(id) ].flat()) {
				if (value == null || value === '')
					continue;

				if (this.datatype && !isOfType(this.datatype, value))
					return `${value} is no ${this.datatype}`;

				const answer = this.validate(id, value);

				if (answer !== true)
					return answer;
			}

			return null;
		},

		formvalue(id) {
			return this.widgets[id].value;
		},

		textvalue(id) {
			const value = this.cfgvalue(id) ?? this.default;

			return value == null ? null : '%h'.format(value);
		},

		parse(id) {
			if (!this.isActive(id))
				return uci.unset(this.map.config, id, this.option);

			const problem = this.problem(id);

			if (problem)
				throw new Error(`${this.title}: ${problem}`);

			const value = this.formvalue(id);
			const empty = value == null || value.length === 0;

			if (empty && this.rmempty)
				uci.unset(this.map.config, id, this.option);
			else if (!empty && JSON.stringify(value) != JSON.stringify(this.cfgvalue(id)))
				uci.set(this.map.config, id, this.option, value);
		},

		render(id) {
			const widget = this.renderWidget(id, this.cfgvalue(id) ?? this.default);
			const error = E('div', { 'class': 'cbi-value-error' });
			const description = E('div', { 'class': 'cbi-value-description' });

			this.widgets[id] = widget;
			widget.id = `widget.${this.map.config}.${id}.${this.option}`;
			widget.addEventListener('change', () => {
				dom.content(error, [ this.isActive(id) ? this.problem(id) : null ]);
				this.section.showActive(id);
			});

			// LuCI takes descriptions as markup.
			dom.append(description, this.description ?? '');

			return E('div', { 'class': 'cbi-value', 'data-name': this.option }, [
				E('label', { 'class': 'cbi-value-title', 'for': widget.id }, [ this.title ]),
				E('div', { 'class': 'cbi-value-field' }, [ widget, error, description ])
			]);
		}
	});

	const Value = Option.extend({
		renderWidget(id, value) {
			const input = E('input', { 'type': 'text', 'class': 'cbi-input-text', 'placeholder': this.placeholder });

			input.value = value ?? '';

			return input;
		}
	});

	const Flag = Option.extend({
		__init__(...args) {
			Option.prototype.__init__.apply(this, args);
			this.default = '0';
		},

		renderWidget(id, value) {
			const input = E('input', { 'type': 'checkbox' });

			input.checked = value == '1';

			return input;
		},

		formvalue(id) {
			return this.widgets[id].checked ? '1' : '0';
		},

		parse(id) {
			const value = this.formvalue(id);

			if (!this.isActive(id) || (value == this.default && this.rmempty))
				uci.unset(this.map.config, id, this.option);
			else
				uci.set(this.map.config, id, this.option, value);
		}
	});

	function select(choices, value) {
		const node = E('select', { 'class': 'cbi-input-select' }, choices.map(([ key, text ]) => E('option', { 'value': key }, [ text ])));

		node.value = value ?? choices[0][0];

		return node;
	}

	const ListValue = Option.extend({
		renderWidget(id, value) {
			return select(this.choices, value);
		}
	});

	// Words in an input with a button that adds another input, all in one node with a `value`.
	const DynamicList = Option.extend({
		renderWidget(id, value) {
			const node = E('div', { 'class': 'cbi-dynlist' });
			const add = word => {
				const input = E('input', { 'type': 'text', 'class': 'cbi-input-text', 'placeholder': this.placeholder });

				input.value = word;
				node.lastElementChild.before(input);
			};

			node.append(E('button', { 'class': 'btn cbi-button', 'click': () => add('') }, [ '+' ]));
			L.toArray(value).forEach(add);
			Object.defineProperty(node, 'value', {
				get: () => [ ...node.querySelectorAll('input') ].map(input => input.value).filter(word => word)
			});

			return node;
		}
	});

	// Networks or zones, of which there are these.
	const choose = names => Option.extend({
		renderWidget(id, value) {
			if (!this.multiple)
				return select([ [ '', 'unspecified' ], ...names.map(name => [ name, name ]) ], value);

			const boxes = names.map(name => {
				const box = E('input', { 'type': 'checkbox', 'value': name });

				box.checked = L.toArray(value).includes(name);

				return box;
			});
			const node = E('div', { 'class': 'choices' }, boxes.map((box, i) => E('label', [ box, ` ${names[i]} ` ])));

			Object.defineProperty(node, 'value', { get: () => boxes.filter(box => box.checked).map(box => box.value) });

			return node;
		}
	});

	const Section = baseclass.extend({
		__init__(map, type, title, description) {
			Object.assign(this, { map, type, title, description, options: [], tabs: [] });
		},

		tab(name, title) {
			this.tabs.push([ name, title ]);
		},

		option(kind, ...args) {
			const option = new kind(this.map, this, ...args);

			this.options.push(option);

			return option;
		},

		taboption(tab, ...args) {
			if (!this.tabs.some(([ name ]) => name == tab))
				throw new TypeError(`there is no tab ${tab}`);

			return Object.assign(this.option(...args), { tab });
		},

		ids() {
			return uci.sections(this.map.config, this.type).map(section => section['.name']);
		},

		load() {
			for (const id of this.ids())
				this.options.forEach(option => option.load(id));
		},

		parse() {
			for (const id of this.ids())
				for (const option of this.options)
					if (option.widgets[id]?.isConnected)
						option.parse(id);
		},

		showActive(id) {
			for (const option of this.options)
				option.widgets[id].closest('.cbi-value').hidden = !option.isActive(id);
		},

		heading() {
			return [
				E('h3', [ this.title ]),
				this.description ? dom.append(E('div', { 'class': 'cbi-section-descr' }), this.description) : null
			];
		}
	});

	const NamedSection = Section.extend({
		__init__(map, id, type, ...args) {
			Section.prototype.__init__.call(this, map, type, ...args);
			this.id = id;
		},

		ids() {
			return [ this.id ];
		},

		render() {
			const panes = this.tabs.map(([ name ]) => E('div', { 'class': 'cbi-section-node', 'data-tab': name },
				this.options.filter(option => option.tab == name).map(option => option.render(this.id))));
			const items = this.tabs.map(([ name, title ]) => E('li', { 'data-tab': name }, [
				E('a', { 'href': '#', 'click': event => {
					event.preventDefault();
					choose(name);
				} }, [ title ])
			]));
			const choose = chosen => {
				this.chosen = chosen;
				items.forEach(item => item.className = item.dataset.tab == chosen ? 'cbi-tab' : 'cbi-tab-disabled');
				panes.forEach(pane => pane.hidden = pane.dataset.tab != chosen);
			};

			choose(this.chosen ?? this.tabs[0][0]);
			this.showActive(this.id);

			return E('div', { 'class': 'cbi-section', 'id': `cbi-${this.map.config}-${this.id}` }, [
				...this.heading(),
				E('ul', { 'class': 'cbi-tabmenu' }, items),
				...panes
			]);
		}
	});

	const TypedSection = Section.extend({});

	const GridSection = Section.extend({
		async handleAdd() {
			const id = uci.add(this.map.config, this.type);

			await this.map.save();
			this.edit(this.ids().at(-1) ?? id);
		},

		edit(id) {
			ui.showModal(this.modaltitle, [
				...this.options.map(option => option.render(id)),
				E('div', { 'class': 'right' }, [
					E('button', { 'class': 'btn cbi-button cbi-button-save', 'click': ui.createHandlerFn(this, async () => {
						this.options.forEach(option => option.parse(id));
						await this.map.save();
						ui.hideModal();
					}) }, [ 'Save' ])
				])
			]);
		},

		renderSectionAdd() {
			return E('div', { 'class': 'cbi-section-create' }, [
				E('button', { 'class': 'cbi-button cbi-button-add', 'click': ui.createHandlerFn(this, 'handleAdd') }, [ this.addbtntitle ])
			]);
		},

		render() {
			const action = (kind, text, run) => E('button', { 'class': `btn cbi-button cbi-button-${kind}`, 'click': ui.createHandlerFn(this, run) }, [ text ]);
			const rows = this.ids().map(id => E('tr', { 'class': 'tr cbi-section-table-row', 'data-section-id': id }, [
				...this.options.map(option => dom.append(E('td', { 'class': 'td cbi-value-field', 'data-title': option.title, 'data-name': option.option }), option.textvalue(id))),
				E('td', { 'class': 'td cbi-section-actions' }, [
					this.sortable ? action('neutral', '↑', () => {
						const before = this.ids()[this.ids().indexOf(id) - 1];

						if (before)
							uci.move(this.map.config, id, before);

						return this.map.save();
					}) : null,
					' ',
					action('edit', 'Edit', () => this.edit(id)),
					' ',
					action('remove', 'Delete', () => {
						uci.remove(this.map.config, id);

						return this.map.save();
					})
				])
			]));

			return E('div', { 'class': 'cbi-section cbi-tblsection', 'id': `cbi-${this.map.config}-${this.type}` }, [
				...this.heading(),
				E('table', { 'class': 'table cbi-section-table' }, [
					E('tr', { 'class': 'tr cbi-section-table-titles' }, [
						...this.options.map(option => E('th', { 'class': 'th' }, [ option.title ])),
						E('th', { 'class': 'th' })
					]),
					...rows
				]),
				this.renderSectionAdd('cbi-tblsection-create')
			]);
		}
	});

	const Map = baseclass.extend({
		__init__(config, title, description) {
			Object.assign(this, { config, title, description, children: [], readonly: !L.hasViewPermission() });
			maps.push(this);
		},

		section(kind, ...args) {
			const section = new kind(this, ...args);

			this.children.push(section);

			return section;
		},

		async render() {
			await uci.load(this.config);
			this.root = E('div', { 'class': 'cbi-map' });

			return this.renderContents();
		},

		renderContents() {
			this.children.forEach(section => section.load());
			this.root.replaceChildren(
				E('h2', [ this.title ]),
				dom.append(E('div', { 'class': 'cbi-map-descr' }), this.description),
				...this.children.map(section => section.render()));

			return this.root;
		},

		async save(change) {
			try {
				this.children.forEach(section => section.parse());
				await change?.();
				await uci.save();
			}
			catch (error) {
				ui.showModal('Save error', [ E('p', [ error.message ]), E('button', { 'class': 'btn', 'click': ui.hideModal }, [ 'Dismiss' ]) ]);

				return;
			}

			this.renderContents();
		},

		reset() {
			uci.unload(this.config);

			return uci.load(this.config).then(() => this.renderContents());
		}
	});

	modules.form = { Map, NamedSection, TypedSection, GridSection, Flag, Value, ListValue, DynamicList };
	modules['tools.widgets'] = {
		NetworkSelect: choose([ 'lan', 'guest', 'wan', 'wan6' ]),
		ZoneSelect: choose([ 'lan', 'wan' ])
	};
})();
