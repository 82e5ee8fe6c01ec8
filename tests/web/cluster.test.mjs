/**
 * Browsers on different nodes of a cluster: `QUIRE_BIN` names the program, `KAFKA_BOOTSTRAP` and
 * `CQL_HOSTS` the services, which `tests/run` starts. The nodes speak TLS among themselves.
 */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';

import { Program, freePort, quire } from './browser/program.mjs';
import { Person, launch } from './browser/window.mjs';

const NAMES = ['node-0', 'node-1', 'node-2'];
const PEOPLE = [{ name: 'Ada', color: '#2f6fb5' }, { name: 'Ben', color: '#2e7d4f' },
  { name: 'Cem', color: '#6a56c8' }];
const DOC = 'shared';
const LIMITS = { timeout: 90_000 };

let [folder, browser, admins, nodes] = ['', undefined, [], []];

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quire-web-cluster-'));
  await certificates();
  admins = await Promise.all(NAMES.map(freePort));
  // The first one makes the topics and the keyspace.
  const first = await start(0);
  nodes = [first, ...await Promise.all([start(1), start(2)])];
  browser = await launch();
}, LIMITS);

after(async () => {
  await Person.dismissAll();
  await browser?.close();
  for (const node of nodes) if (node) await node.kill();
  await rm(folder, { recursive: true, force: true });
});

/** Makes a CA and one certificate that names every node. */
async function certificates() {
  const openssl = (...args) => promisify(execFile)('openssl', args, { cwd: folder });
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  await openssl('req', '-x509', ...key, '-subj', '/CN=cluster', '-keyout', 'ca.key',
    '-out', 'ca.pem');
  const names = NAMES.map((name) => `DNS:${name}`).join(',');
  await openssl('req', '-x509', ...key, '-subj', '/CN=node', '-CA', 'ca.pem', '-CAkey', 'ca.key',
    '-addext', `subjectAltName=${names}`, '-addext', 'extendedKeyUsage=serverAuth,clientAuth',
    '-addext', 'basicConstraints=critical,CA:FALSE', '-keyout', 'node.key', '-out', 'node.pem');
}

const prefix = `web${randomBytes(6).toString('hex')}`;

function start(number) {
  const { KAFKA_BOOTSTRAP: brokers, CQL_HOSTS: hosts } = process.env;
  if (!brokers || !hosts) {
    throw new Error('no services: start tests/services/kafka and cassandra, and set '
      + 'KAFKA_BOOTSTRAP and CQL_HOSTS to what they print');
  }
  const settings = ['kafka.allow-single-replica=true', 'cql.replication-factor=1',
    `relay.tls-certificate-file=${join(folder, 'node.pem')}`,
    `relay.tls-key-file=${join(folder, 'node.key')}`,
    `relay.tls-ca-file=${join(folder, 'ca.pem')}`, 'telemetry.log-level=error'];
  return Program.start('--node', NAMES[number], '--shards', '16', '--create-topics',
    '--peer-listen', '127.0.0.1:0', '--admin-listen', `127.0.0.1:${admins[number]}`,
    '--log', `kafka://${brokers}/${prefix}`, '--checkpoints', `cql://${hosts}/${prefix}`,
    ...settings.flatMap((setting) => ['--set', setting]));
}

/** Asks an operator's question at a node. */
async function ask(number, ...command) {
  const at = ['--url', `http://127.0.0.1:${admins[number]}`, '--output', 'json'];
  return JSON.parse(await quire(...command, ...at));
}

/** Waits until something holds. */
async function until(what, holds) {
  const end = Date.now() + 30_000;
  while (!await holds()) {
    if (Date.now() > end) throw new Error(`not in time: ${what}`);
    await new Promise((done) => { setTimeout(done, 50); });
  }
}

/** Waits until the nodes that run own all shards between them, and none is to move. */
function settled() {
  return until('every shard is where it is to be', async () => {
    const one = nodes.findIndex((node) => node);
    const shards = await ask(one, 'shards');
    return shards.every(({ owner, placed }) => owner && owner === placed);
  });
}

test('people on three nodes type into one document, and the one that owns it is killed', LIMITS,
  async () => {
    await settled();
    const file = join(folder, 'in.txt');
    await writeFile(file, 'First.\nSecond.\nThird.');
    const url = `http://127.0.0.1:${nodes[0].port}`;
    await quire('doc', 'import', DOC, file, '--author', 'ann', '--url', url);
    const owner = NAMES.indexOf((await ask(0, 'where', DOC)).owner);
    const [left, right] = NAMES.map((_, number) => number).filter((number) => number !== owner);
    const [ada, ben, cem] = await Promise.all([left, owner, right].map(
      (number, at) => Person.arrive(browser, nodes[number].port, PEOPLE[at])));
    for (const person of [ada, ben, cem]) await person.open(DOC);
    for (const person of [ada, ben, cem]) {
      await person.sees('Third.');
      await person.page.locator('.cm-content').focus();
    }
    await ada.press('Control+Home');
    await ben.press('Control+Home');
    await ben.press('ArrowDown');
    await cem.press('Control+End');
    await Promise.all([ada.type('Ada here. '), ben.type('Ben here. '), cem.type(' Cem here.')]);
    const before = 'Ada here. First.\nBen here. Second.\nThird. Cem here.';
    for (const person of [ada, ben, cem]) await person.reads(before);

    // Those whose nodes live type on meanwhile, and so does he whose node is gone.
    const killed = nodes[owner].kill();
    nodes[owner] = undefined;
    ben.line.lead(nodes[right].port);
    await Promise.all(
      [ada.type('Ada stays. '), ben.type('Ben goes on. '), cem.type(' Cem stays.')]);
    await killed;
    for (const person of [ada, ben, cem]) await person.badge('saved');
    const text = 'Ada here. Ada stays. First.\nBen here. Ben goes on. Second.\n'
      + 'Third. Cem here. Cem stays.';
    for (const person of [ada, ben, cem]) {
      await person.reads(text);
      assert.deepEqual(await person.drawn(), text.split('\n'), 'what is drawn is the text');
    }
    await ada.carets('Ben', 'Cem');
    for (const number of [left, right]) assert.equal(await nodes[number].text(DOC), text);
    for (const person of [ada, ben, cem]) await person.leave();

    // It is in the log, not in the memory of a node: the last one is killed, too.
    assert.equal(await nodes[left].stop(), 0, 'it ends in order');
    nodes[left] = undefined;
    await settled();
    await nodes[right].kill();
    await nodes[right].again();
    await until('the text is there', async () => {
      const told = await nodes[right].text(DOC).catch(() => undefined);
      return told === text;
    });
  });
