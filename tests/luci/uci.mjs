// A configuration in UCI's syntax, as rpcd's object `uci` lets a page change it: read from its
// file, changed in memory, written when it is applied.
import { readFile, rename, writeFile } from 'node:fs/promises';

const STATEMENT = /^\s*(config|option|list)\s+(\S+)(?:\s+'((?:[^']|'\\'')*)')?\s*$/;

export class Uci {
  static async read(file) {
    const uci = new Uci();
    uci.file = file;
    uci.sections = [];
    uci.made = 0;
    for (const line of (await readFile(file, 'utf8')).split('\n')) {
      if (/^\s*(#|$)/.test(line)) continue;
      const [, kind, word, quoted] = STATEMENT.exec(line) ?? fail(line);
      const value = quoted?.replaceAll("'\\''", "'");
      const options = uci.sections.at(-1)?.options;
      if (kind === 'config') uci.add(word, value, {});
      else if (kind === 'option') options[word] = value;
      else (options[word] ??= []).push(value);
    }
    return uci;
  }

  add(type, name, values) {
    const id = name ?? `cfg${(++this.made).toString(16).padStart(2, '0')}`;
    this.sections.push({ id, type, anonymous: !name, options: { ...values } });
    return id;
  }

  find(id) {
    return this.sections.find((section) => section.id === id) ?? fail(id);
  }

  set(id, values) {
    Object.assign(this.find(id).options, values);
  }

  delete(id, options) {
    const section = this.find(id);
    if (options) for (const option of options) delete section.options[option];
    else this.sections = this.sections.filter((other) => other !== section);
  }

  order(ids) {
    this.sections = ids.map((id) => this.find(id));
  }

  /** As `uci get` answers. */
  values() {
    return Object.fromEntries(
      this.sections.map(({ id, type, anonymous, options }, index) => [
        id,
        { '.name': id, '.type': type, '.anonymous': anonymous, '.index': index, ...options },
      ]),
    );
  }

  /** The options of all sections of a type. */
  of(type) {
    return this.sections.filter((section) => section.type === type).map(({ options }) => options);
  }

  async write() {
    const quote = (value) => `'${`${value}`.replaceAll("'", "'\\''")}'`;
    let text = '';
    for (const { id, type, anonymous, options } of this.sections) {
      text += `config ${type}${anonymous ? '' : ` ${quote(id)}`}\n`;
      for (const [name, value] of Object.entries(options)) {
        if (Array.isArray(value)) for (const word of value) text += `\tlist ${name} ${quote(word)}\n`;
        else text += `\toption ${name} ${quote(value)}\n`;
      }
      text += '\n';
    }
    await writeFile(`${this.file}.tmp`, text);
    await rename(`${this.file}.tmp`, this.file);
  }
}

function fail(what) {
  throw new Error(`not understood: ${what}`);
}
