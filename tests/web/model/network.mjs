/**
 * The link between sessions and the model server: latency each way, order kept, cut at will.
 */

const LATE_MS = 2_000;

export class Network {
  #clock;
  #random;
  #server;
  #latency;
  #open = new Set();
  /** While true, no connection is made. */
  down = false;

  constructor({ clock, random, server, latency }) {
    this.#clock = clock;
    this.#random = random;
    this.#server = server;
    this.#latency = latency;
  }

  /** Returns the environment of one session. */
  env() {
    const clock = this.#clock;
    const connect = () => this.#connect();
    return {
      WebSocket: function Socket() { return connect(); },
      setTimeout: (act, ms) => clock.after(ms, act),
      clearTimeout: (event) => clock.cancel(event),
      random: () => this.#random.unit(),
    };
  }

  /** Cuts all connections, or those a test picks; what is under way is lost on both sides. */
  cut(picked = () => true) {
    for (const link of [...this.#open].filter(picked)) link.cut(1006);
  }

  #connect() {
    const link = new Link(this.#clock, () => this.#latency(this.#random));
    this.#clock.after(this.#latency(this.#random), () => {
      if (this.down) link.cut(1006);
      else if (link.socket.readyState === 0) {
        this.#open.add(link);
        link.accept(this.#server, () => this.#open.delete(link));
      }
    });
    return link.socket;
  }
}

class Link {
  #clock;
  #latency;
  #server = null;
  #ended = () => {};
  #alive = { up: true, down: true };
  #arrival = { up: 0, down: 0 };

  constructor(clock, latency) {
    this.#clock = clock;
    this.#latency = latency;
    this.socket = {
      readyState: 0,
      send: (data) => this.#carry('up', () => this.#arrive(JSON.parse(data))),
      close: () => this.#leave(),
    };
  }

  accept(server, ended) {
    this.#ended = ended;
    this.socket.readyState = 1;
    this.#server = server.connect({
      send: (message) => {
        const data = JSON.stringify(message);
        this.#carry('down', () => this.socket.onmessage({ data }));
      },
      close: (code) => this.#carry('down', () => this.#close(code)),
    });
    this.socket.onopen();
  }

  /** The client hears nothing more at once; what it sent may still arrive much later. */
  cut(code) {
    if (!this.#alive.down) return;
    this.#alive.down = false;
    this.#ended();
    this.#clock.after(this.#latency(), () => this.#close(code));
    this.#clock.after(LATE_MS, () => {
      this.#alive.up = false;
      this.#server?.gone();
    });
  }

  /** A late batch is a case of the protocol; a late greeting would only end the newer one. */
  #arrive(message) {
    if (this.#alive.down) this.#server.receive(message);
    else if (message.t === 'op') {
      this.#clock.after(this.#latency() * 4, () => this.#server.receive(message));
    }
  }

  #close(code) {
    if (this.socket.readyState === 3) return;
    this.socket.readyState = 3;
    this.socket.onclose({ code, reason: '' });
  }

  #leave() {
    this.socket.readyState = 3;
    if (!this.#alive.down) return;
    this.#alive.down = false;
    this.#ended();
    this.#carry('up', () => this.#server?.gone());
  }

  #carry(way, act) {
    const at = Math.max(this.#clock.now + this.#latency(), this.#arrival[way]);
    this.#arrival[way] = at;
    this.#clock.after(at - this.#clock.now, () => {
      if (this.#alive[way]) act();
    });
  }
}
