/** The connection: pauses, refusals, silence, and what a session tells about it. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { csrfToken } from '../../src/web/core/csrf.js';
import { Session } from '../../src/web/core/session.js';
import { Clock } from './model/clock.mjs';

/** A session over sockets that the test holds the other end of. */
function open({ unit = 1, user } = {}) {
  const clock = new Clock();
  const world = { clock, sockets: [], statuses: [], presence: [], shows: [], cookies: '' };
  class Socket {
    readyState = 1;
    sent = [];
    constructor(url, protocols) {
      Object.assign(this, { url, protocols });
      world.sockets.push(this);
    }
    send(data) { this.sent.push(JSON.parse(data)); }
    close(code) { this.closed = code; }
  }
  const env = {
    WebSocket: Socket,
    setTimeout: (act, ms) => clock.after(ms, act),
    clearTimeout: (event) => clock.cancel(event),
    random: () => unit,
    cookies: () => world.cookies,
  };
  const listener = {
    show: (show) => world.shows.push(show),
    status: (status) => world.statuses.push(status.state),
    presence: (list, total) => world.presence.push({ list: structuredClone(list), total }),
  };
  world.session = new Session('ws://here/ws/doc', listener, { env, user });
  world.session.start();
  return world;
}

function say(world, message) {
  world.sockets.at(-1).onmessage({ data: JSON.stringify(message) });
}

function welcome(world, fields = {}) {
  world.sockets.at(-1).onopen();
  say(world, { t: 'welcome', v: 1, rev: 3, head: 3, seq: 0, text: 'text', mode: 'edit', you: 1,
    limits: {}, ...fields });
}

function drop(world, code = 1006, reason = '') {
  world.sockets.at(-1).onclose({ code, reason });
}

test('the greeting names version, session and user, and the revision once there is one', () => {
  const user = { name: 'Ada', color: '#123456' };
  const world = open({ user });
  welcome(world);
  const [first] = world.sockets;
  assert.deepEqual(first.protocols, ['quire.v1']);
  const { session, ...rest } = first.sent[0];
  assert.match(session, /^[0-9a-f]{32}$/);
  assert.deepEqual(rest, { t: 'hello', v: 1, mode: 'edit', user });
  drop(world);
  world.clock.advance(100);
  world.sockets[1].onopen();
  assert.deepEqual(world.sockets[1].sent[0], { ...first.sent[0], rev: 3 });
});

test('pauses double from 100 ms to 10 s and begin again after a welcome', () => {
  const world = open();
  const pauses = () => {
    const begin = world.clock.now;
    const { length } = world.sockets;
    drop(world);
    while (world.sockets.length === length) world.clock.advance(50);
    return world.clock.now - begin;
  };
  const grown = Array.from({ length: 9 }, pauses);
  assert.deepEqual(grown, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
  welcome(world);
  assert.equal(pauses(), 100);
});

test('jitter takes up to half of a pause away', () => {
  const world = open({ unit: 0 });
  drop(world);
  world.clock.advance(49);
  assert.equal(world.sockets.length, 1);
  world.clock.advance(1);
  assert.equal(world.sockets.length, 2);
});

test('a pause that the server asks for wins, once', () => {
  for (const message of [{ t: 'moved', retry_ms: 30 },
    { t: 'error', code: 'unavailable', fatal: true, msg: 'later', retry_ms: 30 }]) {
    const world = open();
    welcome(world);
    say(world, message);
    drop(world, 4503);
    world.clock.advance(30);
    assert.equal(world.sockets.length, 2);
  }
});

test('permanent codes stop and tell why; a new start goes on with the same session', () => {
  for (const code of [4400, 4403, 4404, 4408, 4409, 4410, 4413, 4426, 4499]) {
    const world = open();
    welcome(world);
    world.session.edit(['a']);
    say(world, { t: 'error', code: 'x', fatal: true, msg: 'in its own words' });
    drop(world, code, 'short');
    world.clock.advance(60_000);
    assert.equal(world.sockets.length, 1);
    assert.deepEqual(world.session.status,
      { state: 'stopped', unsaved: 1, writable: true, code, reason: 'in its own words' });
    world.session.start();
    welcome(world, { text: undefined, ops: [] });
    assert.equal(world.sockets[1].sent[0].session, world.sockets[0].sent[0].session);
    assert.deepEqual(world.sockets[1].sent[1], { t: 'op', seq: 1, base: 3, op: ['a'] });
    assert.equal(world.session.status.state, 'saving');
  }
  for (const code of [1000, 1006, 4500, 4503, 4529]) {
    const world = open();
    welcome(world);
    drop(world, code);
    world.clock.advance(100);
    assert.equal(world.sockets.length, 2);
  }
});

test('the CSRF token of now goes with each connection, once there is one', () => {
  const world = open();
  welcome(world);
  const pairs = ['a=1; __Host-quire-csrf=one', '__Host-quire-csrf=two; b=2', 'b=2'];
  for (const cookies of pairs) {
    world.cookies = cookies;
    drop(world);
    world.clock.advance(100);
    welcome(world, { text: undefined, ops: [] });
  }
  assert.deepEqual(world.sockets.map(({ protocols }) => protocols),
    [['quire.v1'], ['quire.v1', 'csrf.one'], ['quire.v1', 'csrf.two'], ['quire.v1']]);
});

test('what is no CSRF token is not taken from the cookies', () => {
  const [name, long] = ['__Host-quire-csrf', 'x'.repeat(257)];
  for (const cookies of ['', 'quire-csrf=a', `x${name}=a`, `${name}=`, `${name}=a b`, `${name}=a,b`,
    `${name}=${long}`, 'y=__Host-quire-csrf=a', name]) {
    assert.equal(csrfToken(cookies), null, cookies);
  }
  assert.equal(csrfToken(`x=1; ${name}=aB0_-; ${name}x=2`), 'aB0_-');
});

test('who is signed out writes on, and all of it is sent after the next login', () => {
  const world = open();
  welcome(world);
  world.session.edit(['a']);
  say(world, { t: 'error', code: 'unauthenticated', fatal: true, msg: 'the login has expired' });
  drop(world, 4401);
  assert.deepEqual(world.session.status, { state: 'signed-out', unsaved: 1, writable: true,
    code: 4401, reason: 'the login has expired' });
  world.session.edit([1, 'b']);
  world.session.select([2, 2]);
  world.session.probe();
  world.clock.advance(600_000);
  assert.equal(world.sockets.length, 1, 'nothing is tried without a login');
  assert.equal(world.session.status.unsaved, 2);
  world.session.resume();
  assert.equal(world.session.status.state, 'offline');
  welcome(world, { text: undefined, ops: [] });
  const [hello, first] = world.sockets[1].sent;
  assert.equal(hello.session, world.sockets[0].sent[0].session);
  assert.equal(hello.rev, 3);
  assert.deepEqual(first, { t: 'op', seq: 1, base: 3, op: ['a'] });
  say(world, { t: 'ack', seq: 1, rev: 4 });
  assert.deepEqual(world.sockets[1].sent.at(-1), { t: 'op', seq: 2, base: 4, op: [1, 'b'] });
  say(world, { t: 'ack', seq: 2, rev: 5 });
  assert.equal(world.session.status.state, 'saved');
  assert.equal(world.session.replica.view.toString(), 'abtext');
});

test('a document that was never opened waits for a login, too', () => {
  const world = open();
  world.sockets[0].onopen();
  drop(world, 4401, 'sign in');
  assert.deepEqual(world.session.status,
    { state: 'signed-out', unsaved: 0, writable: false, code: 4401, reason: 'sign in' });
  world.session.resume();
  welcome(world);
  assert.equal(world.session.status.state, 'saved');
});

test('a new login resumes what the old one could not open, and nothing else', () => {
  const resumed = (code) => {
    const world = open();
    welcome(world);
    drop(world, code);
    world.session.resume();
    return world.sockets.length === 2;
  };
  const codes = [4400, 4401, 4403, 4404, 4408, 4409, 4410, 4413, 4426, 4499];
  assert.deepEqual(codes.filter(resumed), [4401, 4403, 4404]);
  const world = open();
  welcome(world);
  world.session.resume();
  assert.equal(world.sockets[0].closed, 1000);
  assert.equal(world.sockets.length, 2, 'an open connection is made anew with the new login');
});

test('signing out ends the connection and keeps the text', () => {
  const world = open();
  welcome(world);
  world.session.edit(['a']);
  world.session.signOut('you signed out');
  assert.equal(world.sockets[0].closed, 1000);
  assert.deepEqual(world.session.status, { state: 'signed-out', unsaved: 1, writable: true,
    code: 4401, reason: 'you signed out' });
  world.clock.advance(600_000);
  assert.equal(world.sockets.length, 1);
  world.session.resume();
  welcome(world, { text: undefined, ops: [] });
  assert.deepEqual(world.sockets[1].sent[1], { t: 'op', seq: 1, base: 3, op: ['a'] });
});

test('what was written before the right to write was withdrawn is kept and not sent', () => {
  const world = open();
  welcome(world);
  world.session.edit(['a']);
  drop(world, 4403);
  world.session.start();
  welcome(world, { text: undefined, ops: [], mode: 'view' });
  assert.equal(world.sockets[1].sent.filter(({ t }) => t === 'op').length, 0);
  assert.deepEqual(world.session.status, { state: 'saving', unsaved: 1, writable: false });
  assert.equal(world.session.replica.view.toString(), 'atext');
  world.session.resume();
  welcome(world, { text: undefined, ops: [] });
  assert.deepEqual(world.sockets[2].sent[1], { t: 'op', seq: 1, base: 3, op: ['a'] });
});

test('a socket that is closing is sent nothing, and the next one all of it', () => {
  const world = open();
  const [first] = world.sockets;
  // The server has said goodbye before the socket is told to be open.
  first.readyState = 2;
  first.onopen();
  drop(world);
  world.clock.advance(100);
  welcome(world);
  world.sockets[1].readyState = 2;
  world.session.edit(['a']);
  world.session.select([0, 0]);
  drop(world);
  world.clock.advance(100);
  welcome(world, { text: undefined, ops: [] });
  const kinds = world.sockets.map(({ sent }) => sent.map(({ t }) => t));
  assert.deepEqual(kinds, [[], ['hello', 'cursor'], ['hello', 'op']]);
});

test('why a session stopped is not what an earlier connection was told', () => {
  const world = open();
  welcome(world);
  say(world, { t: 'error', code: 'unavailable', fatal: true, msg: 'later', retry_ms: 30 });
  drop(world, 4503);
  world.clock.advance(30);
  drop(world, 4404, 'it is gone');
  assert.equal(world.session.status.reason, 'it is gone');
});

test('the state tells where the text is', () => {
  const world = open();
  welcome(world);
  world.session.edit(['ab']);
  say(world, { t: 'ack', seq: 1, rev: 4 });
  drop(world);
  world.session.edit(['c', { d: 1 }]);
  assert.equal(world.session.status.unsaved, 2);
  world.clock.advance(100);
  welcome(world, { rev: 4, text: undefined, ops: [] });
  say(world, { t: 'ack', seq: 2, rev: 5 });
  const states = ['opening', 'saved', 'saving', 'saved', 'offline', 'offline', 'saving', 'saved'];
  assert.deepEqual(world.statuses, states);
});

test('a link that died silently is found, whether idle or waiting', () => {
  for (const [act, ms] of [[() => {}, 23_000], [(session) => session.edit(['a']), 8_000]]) {
    const world = open();
    welcome(world);
    world.clock.advance(110);
    act(world.session);
    world.clock.advance(ms - 200);
    assert.equal(world.sockets.length, 1);
    world.clock.advance(400);
    assert.equal(world.sockets.length, 2, `after ${ms}`);
    assert.equal(world.sockets[0].closed, 1000);
  }
});

test('an idle link is asked for a sign of life and kept', () => {
  const world = open();
  welcome(world);
  for (let round = 0; round < 10; round += 1) {
    world.clock.advance(15_000);
    const { t, n } = world.sockets[0].sent.at(-1);
    assert.equal(t, 'ping');
    say(world, { t: 'pong', n });
  }
  assert.equal(world.sockets.length, 1);
});

test('a batch refused for its rate is sent again when the server says so', () => {
  const world = open();
  welcome(world);
  world.session.edit(['a']);
  say(world, { t: 'op', rev: 4, a: 2, base: 3, op: [4, '!'] });
  say(world, { t: 'error', code: 'rate', fatal: false, msg: 'slower', seq: 1, retry_ms: 500 });
  world.clock.advance(499);
  const batches = () => world.sockets[0].sent.filter(({ t }) => t === 'op');
  assert.equal(batches().length, 1);
  world.clock.advance(1);
  assert.deepEqual(batches()[1], { t: 'op', seq: 1, base: 4, op: ['a'] });
});

test('a missing revision is asked for over a new connection', () => {
  const world = open();
  welcome(world);
  say(world, { t: 'op', rev: 5, a: 2, base: 3, op: ['x'] });
  world.clock.advance(100);
  welcome(world, { rev: 3, head: 5, text: undefined,
    ops: [{ a: 2, base: 3, op: ['w'] }, { a: 2, base: 3, op: ['x'] }] });
  assert.equal(world.session.replica.view.toString(), 'xwtext');
});

test('a revision that does not fit the text stops the session', () => {
  const world = open();
  welcome(world);
  say(world, { t: 'op', rev: 4, a: 2, base: 3, op: [99, 'x'] });
  assert.equal(world.session.status.state, 'stopped');
  assert.equal(world.session.status.code, 4499);
});

test('the selection is sent while nothing is unsaved, ten times a second at most', () => {
  const world = open();
  world.session.select([1, 1]);
  welcome(world);
  const cursors = () => world.sockets[0].sent.filter(({ t }) => t === 'cursor');
  assert.deepEqual(cursors(), [{ t: 'cursor', rev: 3, sel: [1, 1] }]);
  for (let at = 2; at < 5; at += 1) world.session.select([at, at]);
  assert.equal(cursors().length, 1);
  world.clock.advance(100);
  assert.deepEqual(cursors()[1].sel, [4, 4]);
  world.clock.advance(100);
  world.session.edit(['a']);
  world.session.select([0, 1]);
  assert.equal(cursors().length, 2);
  say(world, { t: 'ack', seq: 1, rev: 4 });
  assert.deepEqual(cursors()[2], { t: 'cursor', rev: 4, sel: [0, 1] });
});

test('carets of others have names, move with the text and go when they leave', () => {
  const world = open();
  welcome(world);
  const user = { name: 'Ben', color: '#aa0000' };
  say(world, { t: 'presence', rev: 3, n: 2,
    list: [{ id: 1, user }, { id: 2, user, sel: [2, 2] }] });
  const ben = { id: 2, name: 'Ben', color: '#aa0000' };
  assert.deepEqual(world.presence.at(-1), { list: [{ ...ben, sel: [2, 2] }], total: 2 });
  world.session.edit(['>>']);
  say(world, { t: 'op', rev: 4, a: 2, base: 3, op: [2, 'new'] });
  assert.deepEqual(world.presence.at(-1).list, [{ ...ben, sel: [7, 7] }]);
  say(world, { t: 'presence', rev: 4, n: 2, list: [{ id: 2 }] });
  assert.deepEqual(world.presence.at(-1).list, [{ ...ben, sel: null }]);
  say(world, { t: 'presence', rev: 4, n: 1, list: [{ id: 2, gone: true }] });
  assert.deepEqual(world.presence.at(-1), { list: [], total: 1 });
});
