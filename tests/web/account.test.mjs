/** Who is signed in: the page asks until somebody answers. */

import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { createServer } from 'node:http';
import { mock, test } from 'node:test';

import { Account } from '../../src/web/editor/account.js';

test('a page that nobody answered asks again, and then as its login needs it', async (t) => {
  const answers = [503, 200, 200];
  const server = createServer((_, response) => {
    const expires = new Date(Date.now() + 3_600_000).toISOString();
    response.writeHead(answers.shift() ?? 500, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ subject: 'ada', name: 'Ada', expires, idle_seconds: 90 }));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const base = `http://127.0.0.1:${server.address().port}`;
  const { fetch, BroadcastChannel } = globalThis;
  let asked = 0;
  globalThis.fetch = (path, options) => {
    asked += 1;
    return fetch(new URL(path, base), options);
  };
  // A real one keeps the process from ending.
  globalThis.BroadcastChannel = class {};
  mock.timers.enable({ apis: ['setTimeout'] });
  t.after(() => {
    mock.timers.reset();
    Object.assign(globalThis, { fetch, BroadcastChannel });
    server.closeAllConnections();
    server.close();
  });
  const events = new EventEmitter();
  const account = new Account((login) => events.emit('found', login), () => {});
  const passes = (ms) => {
    const before = asked;
    mock.timers.tick(ms);
    return asked - before;
  };

  assert.equal((await account.ask()).state, 'unknown');
  for (const pause of [10_000, 30_000]) {
    assert.equal(passes(pause - 1), 0);
    const found = once(events, 'found');
    assert.equal(passes(1), 1);
    const [login] = await found;
    assert.equal(login.name, 'Ada');
  }
});
