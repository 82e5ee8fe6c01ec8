/** The vectors that the server's text module writes: both cores compute the same. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import { compose } from '../../src/web/core/compose.js';
import { read, stick } from '../../src/web/core/operation.js';
import { position } from '../../src/web/core/position.js';
import { Text } from '../../src/web/core/text.js';
import { transform } from '../../src/web/core/transform.js';

const file = new URL('../fixtures/text-vectors.json', import.meta.url);
const vectors = JSON.parse(readFileSync(file, 'utf8'));

function check(name, compute) {
  test(`${name} agrees with the server`, () => {
    assert.ok(vectors[name].length > 0);
    for (const vector of vectors[name]) {
      assert.deepEqual(compute(vector), vector.out ?? vector.stick, JSON.stringify(vector));
    }
  });
}

check('transform', ({ x, y, side }) => transform(x, y, side));
check('compose', ({ a, b }) => compose(a, b));
check('apply', ({ op, text }) => Text.of(text).apply(op).toString());
check('position', ({ at, op, side }) => position(at, op, side));
check('run', ({ op, run }) => stick(op, run));

test('operations are read in any valid form and written in the canonical one', () => {
  for (const { op } of vectors.apply) assert.deepEqual(read(op), op);
  assert.deepEqual(read([1, 2, { d: 1 }, 'a', { d: 2 }, 'b', 4]), [3, 'ab', { d: 3 }]);
  const bad = [null, {}, 'a', [0], [-1], [1.5], [''], ['\ud800'], [{ d: 0 }], [{ d: 1, e: 1 }],
    [null], [[1]], [true], [2 ** 60]];
  for (const op of bad) assert.throws(() => read(op), TypeError, JSON.stringify(op));
});
