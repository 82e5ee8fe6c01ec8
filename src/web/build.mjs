/**
 * Builds the pages: `node build.mjs` writes dist/, which is committed and goes into the server.
 * The same sources make the same bytes, so a test can tell whether dist/ is current; of what is
 * compressed, they make the same content: another version of Node may compress otherwise.
 */

import { createHash } from 'node:crypto';
import { mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';

import { build as bundle } from 'esbuild';

const HERE = dirname(fileURLToPath(import.meta.url));
const PAGES = [
  'editor/index.html', 'editor/editor.html', 'editor/login.html', 'public/page.html',
];
const ENTRIES = [
  'editor/home.js', 'editor/page.js', 'editor/login.js', 'editor/app.css', 'public/page.css',
];
const HASH_LENGTH = 10;

/** The codings in which assets are kept beside the plain file: the ending, and who makes it. */
export const CODINGS = {
  '.br': (bytes) => brotliCompressSync(bytes, {
    params: { [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY },
  }),
  '.gz': (bytes) => gzipSync(bytes, { level: constants.Z_BEST_COMPRESSION }),
};

/** Returns the files of dist/ as a map from path to bytes; assets in their codings, too. */
export async function files() {
  const { outputFiles, metafile } = await bundle({
    absWorkingDir: HERE,
    entryPoints: ENTRIES,
    outdir: 'dist',
    entryNames: '[name]',
    bundle: true,
    minify: true,
    format: 'esm',
    target: 'es2022',
    charset: 'utf8',
    legalComments: 'none',
    metafile: true,
    write: false,
    logLevel: 'warning',
  });
  const assets = outputFiles.map(({ path, contents }) => [path.split('/').at(-1), contents]);
  assets.push(['icon.svg', await readFile(join(HERE, 'editor', 'icon.svg'))]);
  assets.push(['licenses.html', await licenses(Object.keys(metafile.inputs))]);
  const made = new Map();
  const names = new Map();
  for (const [name, contents] of assets) {
    const hash = createHash('sha256').update(contents).digest('hex').slice(0, HASH_LENGTH);
    const hashed = name.replace('.', `-${hash}.`);
    names.set(name, hashed);
    const bytes = Buffer.from(contents);
    made.set(`assets/${hashed}`, bytes);
    for (const [ending, coded] of Object.entries(CODINGS)) {
      made.set(`assets/${hashed}${ending}`, coded(bytes));
    }
  }
  for (const page of PAGES) {
    const html = await readFile(join(HERE, page), 'utf8');
    made.set(basename(page), Buffer.from(html.replace(/\{\{(.+?)\}\}/g, (_, name) => names.get(name))));
  }
  return made;
}

/** Collects the licences of the packages that are part of the bundle, as they ask for. */
async function licenses(inputs) {
  const packages = new Set(inputs.flatMap((path) => (
    path.match(/node_modules\/((?:@[^/]+\/)?[^/]+)/)?.[1] ?? [])));
  const texts = await Promise.all([...packages].sort().map(async (name) => {
    const folder = join(HERE, 'node_modules', name);
    const file = (await readdir(folder)).find((each) => /^licen[cs]e/i.test(each));
    const text = (await readFile(join(folder, file), 'utf8')).trim();
    const escaped = text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
    return `<h2>${name}</h2>\n<pre>${escaped}</pre>\n`;
  }));
  return Buffer.from('<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
    + `<title>Licences</title>\n<h1>Parts of Quire’s pages by others</h1>\n${texts.join('')}`);
}

async function main() {
  const dist = join(HERE, 'dist');
  await rm(dist, { recursive: true, force: true });
  await mkdir(join(dist, 'assets'), { recursive: true });
  for (const [path, contents] of await files()) await writeFile(join(dist, path), contents);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
