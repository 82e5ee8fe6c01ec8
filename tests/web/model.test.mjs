/**
 * The whole core against the model server, in virtual time: latency, cuts, resends, emoji. One
 * seed replays a run: `QUIRE_SEED=7 node --test tests/web/model.test.mjs`.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Builder, count, lastInsertEnd } from '../../src/web/core/operation.js';
import { position } from '../../src/web/core/position.js';
import { Session } from '../../src/web/core/session.js';
import { Clock } from './model/clock.mjs';
import { Network } from './model/network.mjs';
import { Random, someOperation, someText } from './model/random.mjs';
import { Server } from './model/server.mjs';

const RUNS = 400;
const SEEDS = process.env.QUIRE_SEED
  ? [Number(process.env.QUIRE_SEED)]
  : Array.from({ length: RUNS }, (_, seed) => seed);

/** A document, a network and writers who show what an editor would show. */
class World {
  constructor(seed, { roundTrip, window }) {
    this.random = new Random(seed);
    this.clock = new Clock();
    const commit = (act) => this.#commit(act);
    this.server = new Server({ commit, window });
    const latency = (random) => roundTrip * (0.25 + random.unit() * 0.5);
    const { clock, random, server } = this;
    this.network = new Network({ clock, random, server, latency });
    this.writers = [];
  }

  join() {
    const writer = { shown: '', caret: 0, statuses: [] };
    const listener = {
      show: (show) => {
        assert.equal(show.before.toString(), writer.shown, 'changes apply to what is shown');
        writer.shown = show.before.apply(show.op).toString();
        writer.caret = position(writer.caret, show.op);
      },
      status: (status) => writer.statuses.push(status),
      presence: () => {},
    };
    writer.session = new Session('ws://model/', listener, { env: this.network.env() });
    writer.session.start();
    this.writers.push(writer);
    return writer;
  }

  edit(writer, op) {
    writer.session.edit(op);
    writer.shown = writer.session.replica.view.toString();
  }

  /** Lets everything arrive, and checks that all see the same. */
  settle() {
    this.network.down = false;
    this.clock.advance(120_000);
    const text = this.server.text.toString();
    for (const { session, shown } of this.writers) {
      assert.deepEqual(session.status, { state: 'saved', unsaved: 0, writable: true });
      assert.equal(session.replica.rev, this.server.head);
      assert.equal(session.replica.confirmed.toString(), text);
      assert.equal(shown, text);
    }
  }

  /** Batches become durable in their order, some time later. */
  #commit(act) {
    const at = Math.max(this.clock.now + this.random.below(20), this.durableAt ?? 0);
    this.durableAt = at;
    this.clock.after(at - this.clock.now, act);
  }
}

function consistent({ replica }) {
  const flown = replica.flight ? replica.confirmed.apply(replica.flight.op) : replica.confirmed;
  assert.equal(flown.apply(replica.buffer).toString(), replica.view.toString());
}

function type(world, writer, text) {
  world.edit(writer, new Builder().retain(writer.caret).insert(text).done());
  writer.caret += count(text);
}

function jump(world, writer) {
  const op = someOperation(world.random, writer.session.replica.view.chars, { Builder });
  world.edit(writer, op);
  writer.caret = Math.max(lastInsertEnd(op), 0);
}

test('writers who jump, delete and lose the connection end with one text', () => {
  let corrections = 0;
  for (const seed of SEEDS) {
    const random = new Random(seed);
    const roundTrip = random.pick([10, 100, 400]);
    const world = new World(seed, { roundTrip, window: random.pick([3, 20, Infinity]) });
    const writers = Array.from({ length: 2 + random.below(4) }, () => world.join());
    world.clock.advance(2_000);
    for (let step = 0; step < 60; step += 1) {
      world.clock.advance(random.below(roundTrip));
      const writer = random.pick(writers);
      if (random.below(4) === 0) jump(world, writer);
      else type(world, writer, someText(random));
      consistent(writer.session);
      if (random.below(12) === 0) world.network.cut(() => random.below(2) === 0);
      if (random.below(40) === 0) world.network.down = !world.network.down;
    }
    try {
      world.settle();
    } catch (error) {
      error.message = `seed ${seed}: ${error.message}`;
      throw error;
    }
    corrections += world.server.corrections;
  }
  assert.ok(corrections > 0 || SEEDS.length === 1, 'some acks had to tell the operation');
});

test('each writer at one place keeps one fragment, whatever the latency', () => {
  for (const seed of SEEDS.filter((each) => each % 10 === 0)) {
    const random = new Random(seed);
    const world = new World(seed, { roundTrip: random.pick([50, 200, 1000]), window: Infinity });
    const host = world.join();
    world.clock.advance(3_000);
    world.edit(host, ['before after']);
    const writers = Array.from({ length: 2 + random.below(6) }, () => world.join());
    world.clock.advance(5_000);
    for (const writer of writers) writer.caret = 7;
    for (let step = 0; step < 40; step += 1) {
      for (const [index, writer] of writers.entries()) {
        world.clock.advance(random.below(60));
        type(world, writer, String(index));
      }
    }
    world.settle();
    const fragments = world.server.text.toString().match(/(\d)\1*/g);
    assert.equal(fragments.length, writers.length, `seed ${seed}: ${fragments}`);
    for (const fragment of fragments) assert.equal(fragment.length, 40);
  }
});

test('what was typed while offline arrives once, also when the window is gone', () => {
  for (const seed of SEEDS.filter((each) => each % 4 === 0)) {
    const random = new Random(seed);
    const world = new World(seed, { roundTrip: 50, window: random.pick([2, Infinity]) });
    const [away, home] = [world.join(), world.join()];
    world.clock.advance(1_000);
    world.edit(home, ['one\ntwo\nthree\n']);
    world.clock.advance(1_000);
    world.edit(away, [4, '<']);
    world.network.cut();
    world.network.down = true;
    world.clock.advance(100 + random.below(3_000));
    const offline = someText(random, 8);
    world.edit(away, [5, offline]);
    assert.equal(away.session.status.state, 'offline');
    assert.equal(away.session.status.unsaved, 1 + [...offline].length);
    world.network.down = false;
    world.clock.advance(random.below(400));
    world.edit(home, [1, { d: 2 }, 'ther']);
    world.settle();
    const text = world.server.text.toString();
    assert.equal(text.split(`<${offline}`).length, 2, `seed ${seed}: ${text}`);
  }
});
