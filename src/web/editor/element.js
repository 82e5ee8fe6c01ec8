/**
 * `<quire-editor>`: one open document in CodeMirror, in a shadow root of its own. It shows text
 * and carets; names, state and advice are the page's, which hears of them by events.
 *
 * Events: `quire-status` (a session's status), `quire-people` (`{people, total}`),
 * `quire-refused` (what was typed was not taken: `{reason}` is `too-long` or `read-only`).
 */

import { defaultKeymap, history, historyKeymap } from '@codemirror/commands';
import { search, searchKeymap } from '@codemirror/search';
import { Compartment, EditorState } from '@codemirror/state';
import { EditorView, drawSelection, dropCursor, highlightSpecialChars, keymap, placeholder }
  from '@codemirror/view';

import { Session } from '../core/session.js';
import { atMost, isOwn, operationOf, remotely, wholeCharacters } from './binding.js';
import { caretOf, carets, placeCarets } from './carets.js';
import { Colors } from './colors.js';
import { theme } from './theme.js';

export class QuireEditor extends HTMLElement {
  #session;
  #view;
  #colors = new Colors();
  #access = new Compartment();
  #writable = false;

  /** Opens a document: the address of its WebSocket, what to call it, who and how. */
  open({ url, label, user, mode }) {
    const root = this.attachShadow({ mode: 'open' });
    root.adoptedStyleSheets = [this.#colors.sheet];
    this.#session = new Session(url, {
      show: (change) => this.#view.dispatch(remotely(change)),
      status: (status) => this.#status(status),
      presence: (people, total) => this.#people(people, total),
    }, { user, mode });
    const state = EditorState.create({ extensions: this.#extensions(label) });
    this.#view = new EditorView({ state, root, parent: root });
    this.#session.start();
  }

  disconnectedCallback() {
    this.#session?.stop();
    this.#view?.destroy();
  }

  /** The text as the user sees it. */
  get text() {
    return this.#session.replica.view.toString();
  }

  get status() {
    return this.#session.status;
  }

  /** Changes who the others see. */
  rename(user) {
    this.#session.rename(user);
  }

  /** Tries again after the session stopped. */
  retry() {
    this.#session.start();
  }

  /** Connects again with the login that there is now. */
  resume() {
    this.#session.resume();
  }

  /** Lets go of the connection; what is typed stays until `resume`. */
  signOut(reason) {
    this.#session.signOut(reason);
  }

  /** Looks whether the connection still lives. */
  probe() {
    this.#session.probe();
  }

  /** Brings someone's caret into sight. */
  reveal(id) {
    const at = caretOf(this.#view.state, id);
    if (at === undefined) return;
    this.#view.dispatch({ effects: EditorView.scrollIntoView(at, { y: 'center' }) });
  }

  focus() {
    this.#view.focus();
  }

  #extensions(label) {
    const { replica } = this.#session;
    return [
      // CodeMirror would turn CR LF into one character, and the lengths would no longer agree.
      EditorState.lineSeparator.of('\n'),
      EditorView.clipboardInputFilter.of((text) => text.replace(/\r\n?/g, '\n')),
      this.#access.of(EditorState.readOnly.of(true)),
      wholeCharacters,
      atMost(() => replica.limits.doc_chars, () => replica.view, () => this.#refuse('too-long')),
      history(),
      drawSelection(),
      dropCursor(),
      highlightSpecialChars(),
      search({ top: true }),
      EditorView.lineWrapping,
      placeholder('Begin to write'),
      keymap.of([...defaultKeymap, ...historyKeymap, ...searchKeymap]),
      EditorView.contentAttributes.of({ 'aria-label': label, spellcheck: 'true' }),
      EditorView.domEventHandlers({ beforeinput: () => this.#typed() }),
      EditorView.updateListener.of((update) => this.#updated(update)),
      carets,
      theme,
    ];
  }

  /** Says why nothing happens, where something is typed into what can only be read. */
  #typed() {
    if (!this.#writable && this.status.state === 'saved') this.#refuse('read-only');
    return false;
  }

  #refuse(reason) {
    this.#tell('refused', { reason });
  }

  #updated({ transactions, selectionSet, docChanged, focusChanged }) {
    for (const transaction of transactions.filter(isOwn)) {
      this.#session.edit(operationOf(transaction.changes, this.#session.replica.view));
    }
    // Later, when all changes of one message are shown: until then the two texts differ.
    if (selectionSet || docChanged || focusChanged) queueMicrotask(() => this.#select());
  }

  #select() {
    const text = this.#session.replica.view;
    const { anchor, head } = this.#view.state.selection.main;
    const sel = this.#view.hasFocus ? [text.charsAt(anchor), text.charsAt(head)] : null;
    this.#session.select(sel);
  }

  #status(status) {
    const writable = status.writable && status.state !== 'stopped';
    if (writable !== this.#writable) {
      this.#writable = writable;
      const access = EditorState.readOnly.of(!writable);
      this.#view.dispatch({ effects: this.#access.reconfigure(access) });
    }
    this.#tell('status', status);
  }

  #people(people, total) {
    const text = this.#session.replica.view;
    const placed = people.filter(({ sel }) => sel !== null).map(({ id, name, color, sel }) => {
      const [anchor, head] = sel.map((at) => text.unitsAt(at));
      return { id, name: name || 'Guest', className: this.#colors.className(color), anchor, head };
    });
    this.#view.dispatch({ effects: placeCarets.of(placed) });
    this.#tell('people', { people, total });
  }

  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(`quire-${name}`, { detail }));
  }
}

customElements.define('quire-editor', QuireEditor);
