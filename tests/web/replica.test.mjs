/** Corners of the replica that random runs seldom reach. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { carry } from '../../src/web/core/carry.js';
import { Builder } from '../../src/web/core/operation.js';
import { Replica, StreamError } from '../../src/web/core/replica.js';
import { Text } from '../../src/web/core/text.js';
import { LEFT, RIGHT, transform } from '../../src/web/core/transform.js';
import { Random, someOperation, someText } from './model/random.mjs';

const LIMITS = { op_bytes: 65_536, doc_chars: 1_000_000, ops_per_second: 50 };

function welcome(fields) {
  return { t: 'welcome', v: 1, rev: 0, head: 0, seq: 0, mode: 'edit', you: 1, limits: LIMITS,
    ...fields };
}

function opened(text, limits = LIMITS) {
  const replica = new Replica();
  replica.receive(welcome({ rev: 5, head: 5, text, limits }));
  return replica;
}

test('an ack that tells another operation moves what was typed since along with it', () => {
  const replica = opened('..');
  assert.deepEqual(replica.edit([1, 'ab']), { t: 'op', seq: 1, base: 5, op: [1, 'ab'] });
  assert.equal(replica.edit([3, 'c']), null);
  const { show, send } = replica.receive({ t: 'ack', seq: 1, rev: 6, op: ['ab'] });
  assert.equal(replica.view.toString(), 'abc..');
  assert.equal(show[0].before.apply(show[0].op).toString(), 'abc..');
  assert.deepEqual(send, { t: 'op', seq: 2, base: 6, op: [2, 'c'] });
});

test('carrying over keeps every inserted character and deletes the same ones', () => {
  const random = new Random(3);
  for (let round = 0; round < 500; round += 1) {
    const text = Text.of(someText(random, 6));
    const batch = someOperation(random, text.chars, { Builder });
    const other = someOperation(random, text.chars, { Builder });
    // The two forms that one batch takes after `other`, by the two sides of a tie.
    const [predicted, accepted] = [LEFT, RIGHT].map((side) => transform(batch, other, side));
    const base = text.apply(other);
    const top = someOperation(random, base.apply(predicted).chars, { Builder });
    const carried = carry(top, predicted, accepted, base.chars);
    const sorted = (result) => [...result.toString()].sort().join('');
    const [expected, actual] = [[predicted, top], [accepted, carried]].map(
      ([first, second]) => sorted(base.apply(first).apply(second)));
    assert.equal(actual, expected, `round ${round}`);
  }
});

test('a text instead of revisions keeps what is unsaved and forgets the run', () => {
  const replica = opened('one two');
  replica.edit([3, '!']);
  replica.receive({ t: 'ack', seq: 1, rev: 6 });
  replica.edit([4, '?']);
  assert.equal(replica.flight.stick, 6);
  replica.disconnect();
  assert.equal(replica.edit([9, '.']), null);
  const { show, send } = replica.receive(welcome({ rev: 40, head: 40, seq: 1, text: 'one! 2' }));
  assert.equal(replica.view.toString(), 'one!? 2.');
  assert.equal(show[0].before.apply(show[0].op).toString(), 'one!? 2.');
  assert.deepEqual(send, { t: 'op', seq: 2, base: 40, op: [4, '?'] });
  assert.equal(replica.flight.stick, 0);
});

test('a text that holds the batch in flight does not hold it twice', () => {
  const replica = opened('ab');
  replica.edit([2, 'c']);
  replica.disconnect();
  replica.edit([3, 'd']);
  const { send } = replica.receive(welcome({ rev: 9, head: 9, seq: 1, text: 'abcx' }));
  assert.equal(replica.view.toString(), 'abcxd');
  assert.deepEqual(send, { t: 'op', seq: 2, base: 9, op: [4, 'd'] });
});

test('a gap in the stream is found', () => {
  const cases = [
    { t: 'op', rev: 7, a: 2, base: 5, op: ['x'] },
    { t: 'op', rev: 5, a: 2, base: 4, op: ['x'] },
    { t: 'ops', rev: 7, list: [{ a: 2, base: 5, op: ['x'] }] },
    { t: 'merged', rev: 5, op: ['x'] },
    { t: 'ack', seq: 1, rev: 7 },
    welcome({ rev: 4, head: 6, ops: [] }),
  ];
  for (const message of cases) {
    const replica = opened('text');
    replica.edit(['a']);
    assert.throws(() => replica.receive(message), StreamError, JSON.stringify(message));
  }
});

test('acks of what is not in flight and messages of later versions are ignored', () => {
  const replica = opened('text');
  replica.edit(['a']);
  const ignored = [{ t: 'ack', seq: 7, rev: 6 }, { t: 'ordered', seq: 1, rev: 6 }, { t: 'new' }];
  for (const message of ignored) {
    assert.deepEqual(replica.receive(message), { show: [], send: null });
  }
  assert.equal(replica.rev, 5);
});

test('revisions merged for viewers are applied as one', () => {
  const replica = new Replica();
  replica.receive(welcome({ rev: 5, head: 5, text: 'text', mode: 'view' }));
  replica.receive({ t: 'merged', rev: 9, op: [4, 's'] });
  assert.equal(replica.view.toString(), 'texts');
  assert.equal(replica.rev, 9);
});

test('a read-only connection sends nothing, and keeps what was typed before', () => {
  const replica = opened('text');
  replica.edit([4, 's']);
  replica.disconnect();
  const { send } = replica.receive(welcome({ rev: 5, head: 5, ops: [], mode: 'view' }));
  assert.equal(send, null);
  assert.equal(replica.writable, false);
  assert.equal(replica.unsaved, 1);
});

test('a batch over the limit goes out in parts that fit', () => {
  const limits = { ...LIMITS, op_bytes: 200 };
  const replica = opened('start end', limits);
  const pasted = '😀\n'.repeat(300);
  let message = replica.edit([6, pasted, { d: 3 }]);
  let server = Text.of('start end');
  for (let seq = 1; message !== null; seq += 1) {
    assert.equal(message.seq, seq);
    assert.ok(JSON.stringify(message.op).length <= limits.op_bytes);
    server = server.apply(message.op);
    message = replica.receive({ t: 'ack', seq, rev: 5 + seq }).send;
  }
  assert.equal(server.toString(), `start ${pasted}`);
  assert.equal(replica.unsaved, 0);
});

test('places of others are found where the text has moved on', () => {
  const replica = opened('0123456789');
  replica.receive({ t: 'op', rev: 6, a: 2, base: 5, op: ['ab'] });
  replica.edit([1, { d: 1 }]);
  replica.edit([3, '---']);
  assert.equal(replica.locate(5, 5), 9);
  assert.equal(replica.locate(7, 6), 9);
  assert.equal(replica.locate(99, 6), replica.view.chars);
});
