/**
 * The badge that says where the text is. It never says "saved" too early; it does say "saving"
 * and "offline" a moment longer or later, so that it does not flicker with every key.
 */

const SETTLE_MS = 350;
const DOUBT_MS = 800;

const LABELS = {
  opening: () => 'Opening…',
  saved: ({ writable }) => (writable ? 'Saved' : 'Read only'),
  saving: ({ writable, unsaved }) => (writable ? 'Saving…' : kept('Read only', unsaved)),
  offline: ({ unsaved }) => kept('Offline', unsaved),
  'signed-out': ({ unsaved }) => kept('Signed out', unsaved),
  stopped: ({ unsaved }) => kept('Stopped', unsaved),
};

function kept(state, unsaved) {
  return unsaved === 0 ? state : `${state} · ${unsavedText(unsaved)}`;
}

/** Says how many characters are not safe yet. */
export function unsavedText(unsaved) {
  return `${unsaved.toLocaleString('en')} unsaved character${unsaved === 1 ? '' : 's'}`;
}

export class Badge {
  #element;
  #label;
  #announcer;
  #shown = 'opening';
  #waiting = null;
  #timer;
  #status;

  constructor(element, announcer) {
    this.#element = element;
    this.#label = element.querySelector('.label');
    this.#announcer = announcer;
  }

  show(status) {
    this.#status = status;
    const delay = this.#delay(status.state);
    if (delay > 0 && this.#waiting === status.state) {
      this.#render();
      return;
    }
    clearTimeout(this.#timer);
    this.#waiting = delay > 0 ? status.state : null;
    if (delay > 0) this.#timer = setTimeout(() => this.#become(status.state), delay);
    else this.#become(status.state);
    this.#render();
  }

  #delay(state) {
    if (state === 'saved' && this.#shown === 'saving') return SETTLE_MS;
    return state === 'offline' && this.#shown !== 'offline' ? DOUBT_MS : 0;
  }

  #become(state) {
    const before = this.#shown;
    this.#shown = state;
    this.#waiting = null;
    this.#render();
    // Every key changes the state; only what a person must know is read aloud.
    const calm = ['saved', 'saving'];
    const heard = before !== state && !(calm.includes(before) && calm.includes(state));
    if (heard && state !== 'saving') this.#announcer.textContent = this.#label.textContent;
  }

  #render() {
    const hidden = this.#shown === 'saved' && this.#status.unsaved > 0;
    const state = hidden ? 'saving' : this.#shown;
    const text = LABELS[state](this.#status);
    if (this.#label.textContent !== text) this.#label.textContent = text;
    Object.assign(this.#element.dataset, { state, unsaved: this.#status.unsaved });
  }
}
