/** The text in chunks, its two ways of counting, and the difference of two texts. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { diff } from '../../src/web/core/diff.js';
import { Builder, read } from '../../src/web/core/operation.js';
import { Text } from '../../src/web/core/text.js';
import { Random, someOperation, someText } from './model/random.mjs';

const SAMPLES = ['', 'plain', '😀', 'a😀b', '\r\n😀\u0301𝒳', 'x'.repeat(5000),
  '😀'.repeat(3000), `${'ab'.repeat(1023)}c😀${'d'.repeat(4000)}`];

test('scalar values and UTF-16 units convert both ways at every place', () => {
  for (const sample of SAMPLES) {
    const text = Text.of(sample);
    const characters = [...sample];
    assert.equal(text.chars, characters.length);
    assert.equal(text.units, sample.length);
    let units = 0;
    for (let chars = 0; chars <= characters.length; chars += 1) {
      assert.equal(text.unitsAt(chars), units);
      assert.equal(text.charsAt(units), chars);
      if (characters[chars]?.length === 2) assert.equal(text.charsAt(units + 1), chars);
      units += characters[chars]?.length ?? 0;
    }
    assert.equal(text.unitsAt(characters.length + 9), sample.length);
    assert.equal(text.charsAt(sample.length + 9), characters.length);
  }
});

test('operations change a text in chunks as they change a list of characters', () => {
  const random = new Random(1);
  let text = Text.of(someText(random, 3000));
  let naive = [...text.toString()];
  for (let step = 0; step < 300; step += 1) {
    const op = someOperation(random, naive.length, { Builder });
    const before = text.toString();
    const after = text.apply(op);
    assert.equal(text.toString(), before, 'a text never changes');
    text = after;
    naive = naively(naive, op);
    assert.equal(text.toString(), naive.join(''));
    assert.equal(text.chars, naive.length);
    assert.equal(text.units, naive.join('').length);
    const place = random.below(naive.length + 1);
    assert.equal(text.unitsAt(place), naive.slice(0, place).join('').length);
  }
});

function naively(characters, op) {
  let [rest, done] = [characters, []];
  for (const part of op) {
    if (typeof part === 'string') done = [...done, ...part];
    else {
      if (typeof part === 'number') done = [...done, ...rest.slice(0, part)];
      rest = rest.slice(part.d ?? part);
    }
  }
  return [...done, ...rest];
}

test('an operation that reaches past the end is refused', () => {
  for (const op of [[6, 'x'], [{ d: 6 }], [3, { d: 3 }]]) {
    assert.throws(() => Text.of('12345').apply(op), RangeError);
  }
});

test('the difference of two texts makes the second of the first', () => {
  const random = new Random(2);
  for (let round = 0; round < 300; round += 1) {
    const before = someText(random, 200);
    const edits = Array.from({ length: 1 + random.below(4) });
    const after = edits.reduce((text) => (
      text.apply(someOperation(random, text.chars, { Builder }))), Text.of(before));
    const op = diff(before, after.toString());
    assert.deepEqual(read(op), op, 'canonical');
    assert.equal(Text.of(before).apply(op).toString(), after.toString());
  }
});

test('the difference touches what changed and nothing else', () => {
  const cases = [
    ['', '', []],
    ['same', 'same', []],
    ['', 'new', ['new']],
    ['old', '', [{ d: 3 }]],
    ['one two three', 'one 2 three', [4, '2', { d: 3 }]],
    ['a\nb\nc\nd\n', 'a\nB\nc\nD\n', [2, 'B', { d: 1 }, 3, 'D', { d: 1 }]],
    ['x😀y', 'x😁y', [1, '😁', { d: 1 }]],
    ['the cat sat', 'a cat sits', ['a', { d: 3 }, 6, 'i', { d: 1 }, 1, 's']],
  ];
  for (const [before, after, op] of cases) assert.deepEqual(diff(before, after), op);
});

test('the difference of two large and unlike texts is found in bounded work', () => {
  const [before, after] = ['ab', 'cd'].map((letters) => {
    const random = new Random(letters.charCodeAt(0));
    return Array.from({ length: 50_000 }, () => random.pick([...letters, '\n'])).join('');
  });
  assert.equal(Text.of(before).apply(diff(before, after)).toString(), after);
});
