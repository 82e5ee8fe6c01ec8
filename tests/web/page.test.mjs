/** What the pages decide without a browser: names, advice, and CodeMirror's way of counting. */

import assert from 'node:assert/strict';
import { readFile, readdir } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';

import { Builder } from '../../src/web/core/operation.js';
import { Text } from '../../src/web/core/text.js';
import { adviceFor } from '../../src/web/editor/advice.js';
import { changesOf, operationOf, remotely, wholeCharacters }
  from '../../src/web/editor/binding.js';
import { newName } from '../../src/web/editor/names.js';
import { loginAddress, nextPlace } from '../../src/web/editor/place.js';
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

test('signing in leads to a place of this server and nowhere else', () => {
  const origin = 'https://docs.example';
  const place = (next) => nextPlace(`?next=${encodeURIComponent(next)}`, origin);
  for (const good of ['/', '/d/x', '/d/x?view', '/d/x?a=//b#c', '/%2f%2fevil.example']) {
    assert.equal(place(good), origin + good);
  }
  for (const bad of ['', 'd/x', '//evil.example', '/\\evil.example', '\\\\evil.example',
    'https://evil.example', 'https:/evil.example', 'javascript:alert(1)', '/\t/evil.example',
    '/.//evil.example', '/a/..//evil.example', '\t//evil.example', ' /d/x', '/\n/evil.example',
    '//docs.example@evil.example', 'data:text/html,x', `${origin}/d/x`]) {
    assert.equal(place(bad), null, bad);
  }
  assert.equal(nextPlace('', origin), null);
  const here = { pathname: '/d/a~b', search: '?view&x=1' };
  assert.equal(nextPlace(new URL(loginAddress(here), origin).search, origin),
    `${origin}/d/a~b?view&x=1`);
});

/** What the sources may do with what a browser keeps, file by file. */
const KEEPERS = [
  [/localStorage/, ['editor/profile.js']],
  [/sessionStorage|indexedDB|\bcaches\b|cookieStore|serviceWorker|window\.name/, []],
  [/\.cookie\b/, ['core/session.js', 'editor/account.js']],
  [/\.cookie\s*=[^=]/, []],
  [/pushState|replaceState/, []],
  [/ticket|access_token|[?&]token/i, []],
  [/console\./, []],
  [/authorization|Bearer/i, ['editor/account.js']],
  [/eval\(|innerHTML|outerHTML|insertAdjacentHTML|document\.write/, []],
];

test('no source keeps a secret, or puts one into an address', async () => {
  const found = KEEPERS.map(() => new Set());
  let read = 0;
  for (const folder of ['core', 'editor']) {
    const at = new URL(`../../src/web/${folder}/`, import.meta.url);
    for (const name of (await readdir(at)).filter((each) => each.endsWith('.js'))) {
      const source = await readFile(new URL(name, at), 'utf8');
      const code = source.replace(/\/\*[^]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '');
      read += 1;
      KEEPERS.forEach(([pattern], index) => {
        if (pattern.test(code)) found[index].add(`${folder}/${name}`);
      });
    }
  }
  assert.ok(read > 20, 'the sources are there');
  KEEPERS.forEach(([pattern, allowed], index) => {
    assert.deepEqual([...found[index]].sort(), allowed, String(pattern));
  });
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
