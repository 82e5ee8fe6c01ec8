/** What is committed in dist/ is what the sources make. */

import assert from 'node:assert/strict';
import { readFile, readdir } from 'node:fs/promises';
import { test } from 'node:test';

import { files } from '../../src/web/build.mjs';

const DIST = new URL('../../src/web/dist/', import.meta.url);

test('dist is current: otherwise run node src/web/build.mjs', async () => {
  const built = await files();
  const entries = await readdir(DIST, { recursive: true, withFileTypes: true });
  const present = entries.filter((entry) => entry.isFile()).length;
  assert.equal(present, built.size, 'no file too many');
  for (const [path, contents] of built) {
    const committed = await readFile(new URL(path, DIST));
    assert.ok(committed.equals(contents), path);
  }
});

test('the pages hold no inline script or style, and name only files that are there', async () => {
  const built = await files();
  for (const page of ['index.html', 'editor.html', 'login.html']) {
    const html = built.get(page).toString();
    assert.doesNotMatch(html, /\sstyle=|<style|\son\w+=|<script(?![^>]* src=)|\{\{/);
    const named = [...html.matchAll(/\/(assets\/[^"]+)"/g)].map((match) => match[1]);
    assert.ok(named.length >= 2);
    for (const path of named) assert.ok(built.has(path), path);
  }
});
