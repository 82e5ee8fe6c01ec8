/** What the pages decide without a browser: names, advice, and CodeMirror's way of counting. */

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';

import { Builder } from '../../src/web/core/operation.js';
import { Text } from '../../src/web/core/text.js';
import { adviceFor } from '../../src/web/editor/advice.js';
import { changesOf, operationOf, remotely, wholeCharacters }
  from '../../src/web/editor/binding.js';
import { newName } from '../../src/web/editor/names.js';
import { asName, isName } from '../../src/web/editor/profile.js';
import { Random, someOperation, someText } from './model/random.mjs';

const require = createRequire(new URL('../../src/web/package.json', import.meta.url));
const packaged = (name) => import(pathToFileURL(require.resolve(name).replace('.cjs', '.js')));
const { EditorState } = await packaged('@codemirror/state');
const { history, undo } = await packaged('@codemirror/commands');

function editorWith(doc, ...extensions) {
  return EditorState.create({ doc, extensions: [EditorState.lineSeparator.of('\n'), extensions] });
}

test('names of people fit the server: 64 bytes, no control characters', () => {
  const cases = [['  Ada  ', 'Ada'], ['A\u0007\tB', 'A  B'], ['', ''],
    ['x'.repeat(99), 'x'.repeat(64)], ['😀'.repeat(20), '😀'.repeat(16)], ['\ud800', '\ufffd']];
  for (const [typed, name] of cases) assert.equal(asName(typed), name);
});

test('names of documents are those that the protocol takes', () => {
  for (const good of ['a', 'A.b_c~d-9', '...', 'x'.repeat(128)]) assert.ok(isName(good), good);
  for (const bad of ['', '.', '..', 'a b', 'ä', 'a/b', 'x'.repeat(129), null]) {
    assert.ok(!isName(bad), bad);
  }
  const made = new Set(Array.from({ length: 200 }, newName));
  assert.equal(made.size, 200);
  for (const name of made) assert.ok(isName(name));
});

test('every permanent code has advice of its own', () => {
  const codes = [4401, 4403, 4404, 4408, 4409, 4410, 4413, 4426, 4499, 4400];
  assert.equal(new Set(codes.map((code) => adviceFor(code).title)).size, codes.length);
  assert.equal(adviceFor(4477).title, adviceFor(4400).title);
});

test('changes of the editor and operations say the same', () => {
  const random = new Random(4);
  for (let round = 0; round < 300; round += 1) {
    const before = Text.of(someText(random, 30));
    const editor = editorWith(before.toString());
    assert.equal(editor.doc.length, before.units, 'CR LF stays two characters');
    const op = someOperation(random, before.chars, { Builder });
    const after = editor.update({ changes: changesOf(op, before) });
    assert.equal(after.state.sliceDoc(), before.apply(op).toString());
    assert.deepEqual(operationOf(after.changes, before), op);
  }
});

test('half a character is never typed, cut off or split', () => {
  const cases = [
    ['a😀b', { from: 2, to: 3 }, 'ab'],
    ['a😀b', { from: 1, to: 2 }, 'ab'],
    ['a😀b', { from: 2, insert: 'x' }, 'ax😀b'],
    ['a😀b', { from: 0, to: 2, insert: 'x' }, 'xb'],
    ['ab', { from: 1, insert: '\ud83d' }, 'a\ufffdb'],
    ['a😀b', { from: 1, to: 3, insert: 'x' }, 'axb'],
  ];
  for (const [doc, changes, expected] of cases) {
    const transaction = editorWith(doc, wholeCharacters).update({ changes });
    assert.equal(transaction.newDoc.toString(), expected);
  }
});

test('undo passes over what came from others', () => {
  let editor = editorWith('a😀b', history());
  const dispatch = (transaction) => { editor = transaction.state; };
  dispatch(editor.update({ changes: { from: 0, insert: 'own ' }, userEvent: 'input' }));
  dispatch(editor.update(remotely({ op: [6, 'x'], before: Text.of('own a😀b') })));
  assert.equal(editor.sliceDoc(), 'own a😀xb');
  assert.ok(undo({ state: editor, dispatch }));
  assert.equal(editor.sliceDoc(), 'a😀xb');
  assert.ok(!undo({ state: editor, dispatch }));
});
