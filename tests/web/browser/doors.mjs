/** A server that asks who comes, tokens for it, and a page of somebody else's. */

import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { Program, freePort, quire } from './program.mjs';

/** A key that signs tokens, and a server that trusts it. */
export class Guarded {
  #folder;
  #admin;

  static async start(...more) {
    const guarded = new Guarded();
    guarded.#folder = await mkdtemp(join(tmpdir(), 'quire-key-'));
    await writeFile(guarded.#key, randomBytes(32).toString('hex'));
    guarded.#admin = `127.0.0.1:${await freePort()}`;
    guarded.program = await Program.start('--set', `auth.keys=${guarded.#key}`,
      '--set', `admin-listen=${guarded.#admin}`, ...more);
    return guarded;
  }

  /** Signs a token. */
  async token(subject, { rights = '**=read,write,history', ttl = '1h', name, jti } = {}) {
    const more = [...(name ? ['--name', name] : []), ...(jti ? ['--jti', jti] : [])];
    const token = await quire('token', 'issue', '--sub', subject, '--rights', rights, '--ttl', ttl,
      '--key', this.#key, ...more);
    return token.trim();
  }

  /** Withdraws a token, as operators do. */
  revoke(jti) {
    return quire('revoke', '--jti', jti, '--url', `http://${this.#admin}`);
  }

  /** Asks as a program does, with a token. */
  async ask(path, { token, ...options } = {}) {
    const headers = { authorization: `Bearer ${token ?? await this.token('program', { rights: '**=admin' })}` };
    const url = `http://127.0.0.1:${this.program.port}${path}`;
    return fetch(url, { ...options, headers: { ...headers, ...options.headers } });
  }

  /** Returns the text of a document, as the server tells it over HTTP. */
  async text(doc) {
    const response = await this.ask(`/v1/docs/${doc}`);
    if (!response.ok) throw new Error(`${doc}: HTTP ${response.status}`);
    return (await response.json()).text;
  }

  async stop() {
    const code = await this.program.stop();
    await rm(this.#folder, { recursive: true, force: true });
    return code;
  }

  get #key() {
    return join(this.#folder, 'key');
  }
}

/** Somebody else's web server, on every address of this machine that a browser has a name for. */
export class Elsewhere {
  #server;

  static async start() {
    const elsewhere = new Elsewhere();
    elsewhere.#server = createServer((request, response) => {
      response.setHeader('content-type', 'text/html');
      response.end('<!doctype html><title>Elsewhere</title>');
    });
    await new Promise((done) => elsewhere.#server.listen(0, '127.0.0.1', done));
    return elsewhere;
  }

  /** Returns its address under a name. */
  url(host) {
    return `http://${host}:${this.#server.address().port}/`;
  }

  stop() {
    this.#server.closeAllConnections();
    return new Promise((done) => this.#server.close(done));
  }
}
