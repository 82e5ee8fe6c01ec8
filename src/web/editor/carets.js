/** The carets and selections of others, with names, in CodeMirror. */

import { StateEffect, StateField } from '@codemirror/state';
import { Decoration, EditorView, WidgetType } from '@codemirror/view';

/**
 * @typedef {object} Caret
 * @property {string | number} id
 * @property {string} name
 * @property {string} className of the colour
 * @property {number} anchor in UTF-16 units
 * @property {number} head
 */

/** Replaces all carets. */
export const placeCarets = StateEffect.define();

const field = StateField.define({
  create: () => ({ carets: [], decorations: Decoration.none }),
  update(value, transaction) {
    let carets = value.carets;
    if (transaction.docChanged) carets = carets.map((caret) => carried(caret, transaction.changes));
    for (const effect of transaction.effects) {
      if (effect.is(placeCarets)) carets = merged(carets, effect.value);
    }
    return carets === value.carets ? value : { carets, decorations: decorate(carets) };
  },
  provide: (self) => EditorView.decorations.from(self, (value) => value.decorations),
});

/** The extension that shows carets. */
export const carets = [field];

/** Returns where someone's caret is, undefined where there is none. */
export function caretOf(state, id) {
  return state.field(field).carets.find((caret) => caret.id === id)?.head;
}

function carried(caret, changes) {
  const [anchor, head] = [caret.anchor, caret.head].map((at) => changes.mapPos(at, -1));
  return { ...caret, anchor, head };
}

/** Counts the moves of each caret: a flag shows for a while after each. */
function merged(before, after) {
  return after.map((caret) => {
    const old = before.find(({ id }) => id === caret.id);
    const still = old !== undefined && old.head === caret.head && old.anchor === caret.anchor;
    return { ...caret, moves: (old?.moves ?? 0) + Number(!still) };
  });
}

function decorate(all) {
  const ranges = all.flatMap((caret) => {
    const { anchor, head, className } = caret;
    const widget = Decoration.widget({ widget: new Flag(caret), side: -1 }).range(head);
    if (anchor === head) return [widget];
    const [from, to] = [Math.min(anchor, head), Math.max(anchor, head)];
    return [widget, Decoration.mark({ class: `q-range ${className}` }).range(from, to)];
  });
  return Decoration.set(ranges, true);
}

class Flag extends WidgetType {
  constructor(caret) {
    super();
    this.caret = caret;
  }

  eq({ caret }) {
    const { name, className, moves } = this.caret;
    return caret.name === name && caret.className === className && caret.moves === moves;
  }

  toDOM() {
    const caret = document.createElement('span');
    caret.className = `q-caret ${this.caret.className}`;
    caret.ariaHidden = 'true';
    const flag = document.createElement('span');
    flag.className = 'q-flag';
    flag.textContent = this.caret.name;
    caret.append(flag);
    return caret;
  }

  ignoreEvent() {
    return false;
  }
}
