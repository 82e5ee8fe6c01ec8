/** What is committed in dist/ is what the sources make. */

import assert from 'node:assert/strict';
import { readFile, readdir } from 'node:fs/promises';
import { test } from 'node:test';
import { brotliDecompressSync, gunzipSync } from 'node:zlib';

import { CODINGS, files } from '../../src/web/build.mjs';

const DECODED = { '.br': brotliDecompressSync, '.gz': gunzipSync };
const DIST = new URL('../../src/web/dist/', import.meta.url);

test('dist is current: otherwise run node src/web/build.mjs', async () => {
  const built = await files();
  const entries = await readdir(DIST, { recursive: true, withFileTypes: true });
  const present = entries.filter((entry) => entry.isFile()).length;
  assert.equal(present, built.size, 'no file too many');
  for (const [path, contents] of built) {
    const committed = await readFile(new URL(path, DIST));
    const ending = Object.keys(CODINGS).find((each) => path.endsWith(each));
    // Another version of Node may compress otherwise: what counts is what comes out.
    const decoded = ending ? DECODED[ending] : (bytes) => bytes;
    assert.ok(decoded(committed).equals(decoded(contents)), path);
  }
});

test('each asset is there in each coding, and is what comes out of it', async () => {
  const built = await files();
  const plain = [...built].filter(([path]) => path.startsWith('assets/')
    && !Object.keys(CODINGS).some((ending) => path.endsWith(ending)));
  assert.ok(plain.length >= 5);
  for (const [path, contents] of plain) {
    for (const ending of Object.keys(CODINGS)) {
      assert.ok(DECODED[ending](built.get(path + ending)).equals(contents), path + ending);
    }
  }
});

test('the pages hold no inline script or style, and name only files that are there', async () => {
  const built = await files();
  for (const page of ['index.html', 'editor.html', 'login.html', 'page.html']) {
    const html = built.get(page).toString();
    assert.doesNotMatch(html, /\sstyle=|<style|\son\w+=|<script(?![^>]* src=)|\{\{/);
    const named = [...html.matchAll(/\/(assets\/[^"]+)"/g)].map((match) => match[1]);
    assert.ok(named.length >= 2);
    for (const path of named) assert.ok(built.has(path), path);
  }
});
