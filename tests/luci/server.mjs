// What a browser asks of a router, answered on the loopback of the namespace: the files of the app,
// and ubus over HTTP. The object `postern` is fed by a Postern that runs, through its command line;
// `uci` keeps the configuration that Postern reads, in its file.
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { promisify } from 'node:util';
import { Uci } from './uci.mjs';

const run = promisify(execFile);
const here = new URL('.', import.meta.url);
const app = new URL('../../openwrt/luci-app-postern/htdocs/', here);

const NOT_FOUND = 4;
const OBJECT_NOT_FOUND = { code: -32000, message: 'Object not found' };

const TYPES = { html: 'text/html', js: 'text/javascript', css: 'text/css' };

/**
 * Serves until `close()`.
 *
 * @param {string} program of Postern
 * @param {string} state its state directory
 * @param {string} config its configuration file
 * @param {() => void} applied called when the configuration was written
 */
export async function serve({ program, state, config, applied }) {
  const uci = await Uci.read(config);
  const server = {
    /** Every call of ubus: object, method, arguments. */
    calls: [],
    /** What `getHostHints` answers. */
    hints: {},
    /** What `add` answers, until Postern's own `add` is asked here. */
    added: [0, { id: 1, external_port: 1 }],
    /** Milliseconds before a deletion, so that a poll can come in between. */
    deletionDelay: 0,
    uci,
  };

  const postern = async (...args) => {
    const { stdout } = await run(program, [...args, '--state', state]);
    return stdout;
  };
  const status = async () => JSON.parse(await postern('status', '--json'));

  const objects = {
    postern: {
      status: async () => [0, await status()],
      list: async ({ after = 0, limit }) => {
        // It is the daemon that has the object; the command line would list without it.
        await status();
        const all = JSON.parse(await postern('list', '--json')).filter(({ id }) => id > after);
        return [0, { mappings: all.slice(0, limit), more: all.length > limit }];
      },
      delete: async ({ id }) => {
        await new Promise((resolve) => setTimeout(resolve, server.deletionDelay));
        return postern('delete', `${id}`).then(() => [0], () => [NOT_FOUND]);
      },
      flush: async () => {
        const deleted = JSON.parse(await postern('list', '--json')).length;
        await postern('delete', '--all');
        return [0, { deleted }];
      },
      add: () => server.added,
    },
    'luci-rpc': { getHostHints: () => [0, server.hints] },
    uci: {
      get: () => [0, { values: uci.values() }],
      add: ({ type, name, values }) => [0, { section: uci.add(type, name, values) }],
      set: ({ section, values }) => (uci.set(section, values), [0]),
      delete: ({ section, options }) => (uci.delete(section, options), [0]),
      order: ({ sections }) => (uci.order(sections), [0]),
      apply: async () => (await uci.write(), applied(), [0]),
    },
  };

  async function answerCall({ id, params: [, object, method, args] }) {
    server.calls.push([object, method, args]);
    try {
      return { jsonrpc: '2.0', id, result: await objects[object][method](args) };
    } catch {
      return { jsonrpc: '2.0', id, error: OBJECT_NOT_FOUND };
    }
  }

  async function answer(request, response) {
    const { pathname } = new URL(request.url, 'http://localhost');
    if (pathname === '/ubus') {
      let body = '';
      for await (const chunk of request) body += chunk;
      return response.end(JSON.stringify(await answerCall(JSON.parse(body))));
    }
    const file =
      pathname === '/' ? new URL('runtime/page.html', here)
      : pathname.startsWith('/runtime/') ? new URL(`.${pathname}`, here)
      : new URL(`.${pathname}`, app);
    response.setHeader('Content-Type', TYPES[file.pathname.split('.').at(-1)] ?? 'text/plain');
    response.end(await readFile(file));
  }

  const http = createServer((request, response) => {
    answer(request, response).catch(() => {
      response.statusCode = 404;
      response.end();
    });
  });
  await new Promise((resolve) => http.listen(0, '127.0.0.1', resolve));
  server.url = `http://127.0.0.1:${http.address().port}`;
  server.close = () => {
    http.closeAllConnections();
    return new Promise((resolve) => http.close(resolve));
  };
  return server;
}
