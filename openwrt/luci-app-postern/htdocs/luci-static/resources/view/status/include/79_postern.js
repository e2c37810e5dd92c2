// SPDX-License-Identifier: MIT OR Apache-2.0
'use strict';
'require baseclass';
'require view.postern.mappings as mappings';

return baseclass.extend({
	title: _('Open Ports (UPnP, NAT-PMP, PCP)'),

	box: null,

	load() {
		return mappings.load();
	},

	/* The overview empties its container and asks anew at each poll: the box stays the same one. */
	render(data) {
		if (this.box)
			this.box.update(data);
		else
			this.box = mappings.box(data);

		return this.box.node;
	}
});
