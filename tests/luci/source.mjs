// Checks the LuCI app's source without running it: that it parses, that the minifier of LuCI's
// build reads it as a browser does, that its JSON files are JSON and hang together, and that the
// template for translators has every message and no other.
//
//   node source.mjs           checks
//   node source.mjs --write   writes the template
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';

const app = new URL('../../openwrt/luci-app-postern/', import.meta.url);
const POT = new URL('po/templates/postern.pot', app);

const read = (path) => readFileSync(new URL(path, app), 'utf8');
const files = readdirSync(app, { recursive: true }).sort();

/** After these the minifier takes a slash for the start of a regular expression, after others not. */
const BEFORE_REGEX = '(,=:[!&|?+-~*/{};';
const KEYWORDS = /(?:^|[^\w$.])(?:return|typeof|case|in|of|delete|void|throw|new|else|do)$/;

/**
 * Splits a script into code, strings, templates, regular expressions and comments. A slash after a
 * closing parenthesis is a division only with a space after it, as it is written here.
 *
 * @returns {{kind: string, text: string, line: number}[]}
 */
export function tokens(source) {
  const found = [];
  const shapes = [
    ['comment', /\/\/[^\n]*|\/\*[^]*?\*\//y],
    ['string', /'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"/y],
    ['template', /`(?:[^`\\]|\\[^])*`/y],
    ['regex', /\/(?![*/ =])(?:[^/\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+\/[a-z]*/y],
  ];
  let code = '';
  let line = 1;
  const push = (kind, text) => {
    found.push({ kind, text, line });
    line += text.split('\n').length - 1;
  };
  for (let at = 0; at < source.length; ) {
    const before = code.trimEnd();
    const operand = /[\w$\]}'"`]$/.test(before) && !KEYWORDS.test(before);
    const [kind, text] =
      shapes
        .filter(([kind]) => kind !== 'regex' || !operand)
        .map(([kind, shape]) => ((shape.lastIndex = at), [kind, shape.exec(source)?.[0]]))
        .find(([, text]) => text) ?? ['code', source[at]];
    if (kind === 'code' && found.at(-1)?.kind === 'code') {
      found.at(-1).text += text;
      line += text === '\n' ? 1 : 0;
    } else {
      push(kind, text);
    }
    if (kind !== 'comment') code = (code + text).slice(-64);
    at += text.length;
  }
  return found;
}

/** What the minifier would read otherwise than a browser, as `LINE: WHAT`. */
export function minifierProblems(source) {
  const problems = [];
  let before = '\n';
  for (const { kind, text, line } of tokens(source)) {
    if (kind === 'comment') continue;
    if (kind === 'regex' && !BEFORE_REGEX.includes(before)) {
      problems.push(`${line}: a regular expression after "${before}" is taken for a division`);
    }
    if (kind === 'template' && (text.match(/\$\{/g)?.length ?? 0) > (text.match(/\}/g)?.length ?? 0)) {
      problems.push(`${line}: a template in a template ends the outer one`);
    }
    before = text.trimEnd().at(-1) ?? before;
  }
  return problems;
}

/** The messages of a script: what stands in `_('…')`, with its lines. */
export function messages(source) {
  const found = [];
  const all = tokens(source).filter(({ kind }) => kind !== 'comment');
  all.forEach(({ kind, text }, i) => {
    if (kind !== 'code' || !/(^|[^\w$.])_\($/.test(text)) {
      assert.ok(kind !== 'code' || !/(^|[^\w$.])_\(/.test(text), `a message that is no string: ${text}`);
      return;
    }
    const message = all[i + 1];
    const after = all[i + 2];
    assert.equal(message.kind, 'string', `line ${message.line}: a message is a string`);
    assert.match(after.text, /^\)/, `line ${message.line}: a message is one string`);
    found.push([message.text.slice(1, -1).replaceAll("\\'", "'"), message.line]);
  });
  return found;
}

// The checks are such that they can fail.
const REGEX = 'if (x) /re/.test(y);';
assert.deepEqual(minifierProblems(REGEX), ['1: a regular expression after ")" is taken for a division']);
assert.deepEqual(minifierProblems('a.map(x => /"/.test(x));'), ['1: a regular expression after ">" is taken for a division']);
assert.deepEqual(minifierProblems('return /x/;'), ['1: a regular expression after "n" is taken for a division']);
assert.deepEqual(minifierProblems('const a = `x${b ? `y` : 1}`;'), ['1: a template in a template ends the outer one']);
assert.deepEqual(minifierProblems("// it's\na = (b - c) / 2; d = e / f; g(/h'/); i = `j`;"), []);
assert.deepEqual(messages("a(_('x'), _('y').format(1)); // _('z')\n'_(w)'"), [['x', 1], ['y', 1]]);
assert.throws(() => messages('_(x)'));
assert.throws(() => messages("_('x' + y)"));

const catalogue = new Map();
const note = (message, place) => catalogue.set(message, [...(catalogue.get(message) ?? []), place]);

const scripts = files.filter((path) => path.endsWith('.js'));
assert.ok(scripts.length >= 3, `${scripts}`);
for (const path of scripts) {
  const source = read(path);
  assert.deepEqual(minifierProblems(source), [], path);
  assert.match(source, /^\/\/ SPDX[^\n]*\n'use strict';\n/, `${path} begins as LuCI's files do`);
  assert.doesNotMatch(source, /^ +\S/m, `${path} is indented by tabs`);
  assert.doesNotMatch(source, /innerHTML|E\(\[|cbi_update_table/, `${path} makes no markup of text`);
  new Function(source);
  for (const [message, line] of messages(source)) note(message, `applications/luci-app-postern/${path}:${line}`);
}

const MENU = 'root/usr/share/luci/menu.d/luci-app-postern.json';
const ACL = 'root/usr/share/rpcd/acl.d/luci-app-postern.json';
const menu = JSON.parse(read(MENU));
const acl = JSON.parse(read(ACL))['luci-app-postern'];
const lineOf = (path, text) => read(path).split('\n').findIndex((line) => line.includes(text)) + 1;
for (const [path, { title, action, depends }] of Object.entries(menu)) {
  assert.notEqual(path, 'admin/services/upnp', 'this place is of luci-app-upnp');
  assert.ok(scripts.includes(`htdocs/luci-static/resources/view/${action.path}.js`), action.path);
  assert.deepEqual(depends.acl, ['luci-app-postern']);
  note(title, `applications/luci-app-postern/${MENU}:${lineOf(MENU, title)}`);
}
note(acl.description, `applications/luci-app-postern/${ACL}:${lineOf(ACL, acl.description)}`);

// What a script calls it may call.
const granted = new Set([acl.read, acl.write].flatMap(({ ubus }) => Object.entries(ubus)).flatMap(([object, methods]) => methods.map((method) => `${object} ${method}`)));
const called = new Set(scripts.flatMap((path) => [...read(path).matchAll(/object: '([^']*)',\s*method: '([^']*)'/g)].map(([, object, method]) => `${object} ${method}`)));
assert.deepEqual([...called].sort(), [...granted].sort());

const quote = (text) => JSON.stringify(text);
let pot = 'msgid ""\nmsgstr "Content-Type: text/plain; charset=UTF-8"\n';
for (const message of [...catalogue.keys()].sort((a, b) => (a < b ? -1 : 1))) {
  pot += `\n${catalogue.get(message).map((place) => `#: ${place}\n`).join('')}msgid ${quote(message)}\nmsgstr ""\n`;
}
if (process.argv.includes('--write')) writeFileSync(POT, pot);
const written = readFileSync(POT, 'utf8');
const ids = (text) => [...text.matchAll(/^msgid (".*")$/gm)].map(([, id]) => JSON.parse(id));
assert.deepEqual(ids(written), ids(pot), 'the template is of another state of the app: node tests/luci/source.mjs --write');
assert.equal(written, pot, 'lines of the template are of another state of the app: node tests/luci/source.mjs --write');
console.log(`ok  the LuCI app's source: ${scripts.length} scripts, ${catalogue.size} messages`);
