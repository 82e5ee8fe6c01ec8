/**
 * Between CodeMirror, which counts UTF-16 units, and the core, which counts scalar values.
 */

import { Annotation, EditorState, Transaction } from '@codemirror/state';

import { Builder, count } from '../core/operation.js';

/** Marks what came from others: not sent, and not the user's to undo. */
const fromOthers = Annotation.define();

/** Returns the operation of CodeMirror's changes to a text. */
export function operationOf(changes, text) {
  const built = new Builder();
  let end = 0;
  changes.iterChanges((fromA, toA, fromB, toB, inserted) => {
    const [from, to] = [text.charsAt(fromA), text.charsAt(toA)];
    built.retain(from - end).insert(inserted.toString()).delete(to - from);
    end = to;
  });
  return built.done();
}

/** Returns CodeMirror's changes of an operation on a text. */
export function changesOf(op, text) {
  const changes = [];
  let at = 0;
  for (const part of op) {
    const from = text.unitsAt(at);
    if (typeof part === 'string') changes.push({ from, insert: part });
    else {
      at += part.d ?? part;
      if (part.d) changes.push({ from, to: text.unitsAt(at) });
    }
  }
  return changes;
}

/** Returns the transaction that shows what someone else did. */
export function remotely({ op, before }) {
  const annotations = [
    fromOthers.of(true), Transaction.remote.of(true), Transaction.addToHistory.of(false)];
  return { changes: changesOf(op, before), annotations, filter: false };
}

/** Tells whether a transaction changes the text by the user's hand. */
export function isOwn(transaction) {
  return transaction.docChanged && !transaction.annotation(fromOthers);
}

/**
 * Keeps surrogate pairs whole: the protocol has no word for half a character, though an editor
 * command or a paste may make one.
 */
export const wholeCharacters = EditorState.transactionFilter.of((transaction) => {
  if (!isOwn(transaction)) return transaction;
  const { doc } = transaction.startState;
  let whole = true;
  const changes = [];
  transaction.changes.iterChanges((fromA, toA, fromB, toB, inserted) => {
    const text = inserted.toString();
    const from = insidePair(doc, fromA) ? fromA - 1 : fromA;
    const to = fromA === toA ? from : toA + Number(insidePair(doc, toA));
    const insert = text.toWellFormed();
    whole &&= from === fromA && to === toA && insert === text;
    changes.push({ from, to, insert });
  });
  return whole ? transaction : { changes, scrollIntoView: true };
});

function insidePair(doc, unit) {
  const around = doc.sliceString(unit - 1, unit + 1);
  return around.length === 2 && around.codePointAt(0) > 0xffff;
}

/** Refuses what would make the text longer than the server takes, and says so. */
export function atMost(charsMax, textOf, refused) {
  return EditorState.transactionFilter.of((transaction) => {
    if (!isOwn(transaction) || transaction.newDoc.length <= charsMax()) return transaction;
    const text = textOf();
    const grown = operationOf(transaction.changes, text).reduce((sum, part) => (
      sum + (typeof part === 'string' ? count(part) : -(part.d ?? 0))), 0);
    if (grown <= 0 || text.chars + grown <= charsMax()) return transaction;
    refused();
    return [];
  });
}
