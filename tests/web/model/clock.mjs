/** Time that passes only when a test says so; events happen in the order of their time. */
export class Clock {
  now = 0;
  #events = [];
  #made = 0;

  after(ms, act) {
    const event = { at: this.now + Math.max(ms, 0), turn: (this.#made += 1), act };
    this.#events.push(event);
    return event;
  }

  cancel(event) {
    this.#events = this.#events.filter((other) => other !== event);
  }

  /** Runs what is due within the next `ms` milliseconds. */
  advance(ms) {
    const end = this.now + ms;
    for (let event = this.#due(end); event !== undefined; event = this.#due(end)) {
      this.cancel(event);
      this.now = event.at;
      event.act();
    }
    this.now = end;
  }

  #due(end) {
    return this.#events
      .filter((event) => event.at <= end)
      .sort((a, b) => a.at - b.at || a.turn - b.turn)[0];
  }
}
