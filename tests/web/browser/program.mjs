/** The real server, and the ways to it that a test can cut. */

import { execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const BINARY = process.env.QUIRE_BIN
  ?? fileURLToPath(new URL('../../../target/debug/quire', import.meta.url));

/** A server of its own, on a port and a folder of its own. */
export class Program {
  #process;
  #folder;
  #port;
  #more;

  /** Starts one, with more flags than where it listens and where its data is. */
  static async start(...more) {
    if (!existsSync(BINARY)) throw new Error(`${BINARY} is missing: cargo build, or set QUIRE_BIN`);
    const program = new Program();
    program.#more = more;
    program.#folder = await mkdtemp(join(tmpdir(), 'quire-web-'));
    await program.#run('127.0.0.1:0');
    return program;
  }

  get port() {
    return this.#port;
  }

  /** Returns the text of a document as the server tells it over HTTP. */
  async text(doc) {
    const response = await fetch(`http://127.0.0.1:${this.#port}/v1/docs/${doc}`);
    if (!response.ok) throw new Error(`${doc}: HTTP ${response.status}`);
    return (await response.json()).text;
  }

  /** Ends the server at once, as a crash does. */
  kill() {
    return this.#end('SIGKILL');
  }

  /** Starts the server again, on the same port and folder. */
  again() {
    return this.#run(`127.0.0.1:${this.#port}`);
  }

  /** Ends the server in order and returns its exit code. */
  async stop() {
    const code = await this.#end('SIGTERM');
    await rm(this.#folder, { recursive: true, force: true });
    return code;
  }

  async #run(listen) {
    const flags = ['serve', '--listen', listen, '--data', this.#folder, ...this.#more];
    this.#process = spawn(BINARY, flags, { stdio: ['ignore', 'pipe', 'inherit'] });
    this.#port = await this.#ready();
  }

  async #end(signal) {
    const ended = new Promise((done) => this.#process.once('exit', done));
    this.#process.kill(signal);
    return ended;
  }

  #ready() {
    return new Promise((done, fail) => {
      this.#process.once('error', fail);
      this.#process.once('exit', (code) => fail(new Error(`the server ended with ${code}`)));
      createInterface(this.#process.stdout).once('line', (line) => {
        const port = /^listening on http:\/\/127\.0\.0\.1:(\d+)$/.exec(line)?.[1];
        if (port === undefined) fail(new Error(`not the line that was promised: ${line}`));
        else done(Number(port));
      });
    });
  }
}

/** Finds a port that nobody has, for what a server only tells its operators. */
export async function freePort() {
  const server = createServer();
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address();
  await new Promise((done) => server.close(done));
  return port;
}

/** Runs a command of the program, and returns what it prints. */
export async function quire(...command) {
  return (await promisify(execFile)(BINARY, command, { timeout: 30_000 })).stdout;
}

/** A TCP proxy before the server: what a browser calls offline does not end open sockets. */
export class Line {
  #server;
  #sockets = new Set();
  #whole = true;
  #port;

  static async to(port) {
    const line = new Line();
    line.lead(port);
    line.#server = createServer((near) => line.#join(near));
    await new Promise((done) => line.#server.listen(0, '127.0.0.1', done));
    return line;
  }

  get url() {
    return `http://127.0.0.1:${this.#server.address().port}`;
  }

  /** Leads new connections to another server, as a proxy does whose server is gone. */
  lead(port) {
    this.#port = port;
  }

  cut() {
    this.#whole = false;
    for (const socket of this.#sockets) socket.destroy();
  }

  mend() {
    this.#whole = true;
  }

  async close() {
    this.cut();
    await new Promise((done) => this.#server.close(done));
  }

  #join(near) {
    if (!this.#whole) {
      near.destroy();
      return;
    }
    const far = connect({ port: this.#port, host: '127.0.0.1', noDelay: true });
    near.setNoDelay(true);
    for (const [from, to] of [[near, far], [far, near]]) {
      this.#sockets.add(from);
      from.pipe(to);
      from.on('error', () => to.destroy());
      from.on('close', () => {
        this.#sockets.delete(from);
        to.destroy();
      });
    }
  }
}
