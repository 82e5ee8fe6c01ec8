/** What to tell a person when the server ended the session for good, and what they can do. */

import { BROKEN } from '../core/session.js';

/** @typedef {'retry' | 'copy' | 'reload' | 'home' | 'sign-in' | 'go-on'} Action */

const ADVICE = {
  4401: ['You were signed out', 'Nothing is lost: sign in again.', ['sign-in', 'retry', 'copy']],
  4403: ['You may not open this document', 'Ask its owner for access, or sign in as somebody else, '
    + 'then try again.', ['retry', 'sign-in', 'copy', 'home']],
  4404: ['This document does not exist', 'It was deleted, or its name is misspelt. Whoever runs '
    + 'this server can bring a deleted document back.', ['retry', 'copy', 'home']],
  4408: ['The server did not hear from this page', 'The connection was too slow to begin with. '
    + 'Try again.', ['retry', 'copy']],
  4409: ['The server misses an earlier change from this page', 'Copy your text, reload, and put in '
    + 'what is missing.', ['copy', 'reload']],
  4410: ['This page was continued elsewhere', 'Another connection took over this page’s session. '
    + 'You can take it back here.', ['retry', 'copy']],
  4413: ['That is more than the server takes', 'Your last change, or the document, is over '
    + 'the limit and was not saved. Copy your text, reload, and paste it in smaller parts.',
  ['copy', 'reload']],
  4426: ['This page is older than the server', 'Reload to get the current one.',
    ['copy', 'reload']],
  [BROKEN]: ['This page lost track of the document', 'What you see may differ from what is stored. '
    + 'Copy your text and reload.', ['copy', 'reload']],
};
const OTHERWISE = ['The server did not understand this page', 'Copy your text and reload. If it '
  + 'happens again, tell whoever runs this server.', ['copy', 'reload']];

const FIRST = ['Sign in to open this document', 'This server asks who you are.',
  ['sign-in', 'retry', 'home']];

/** Returns title, text and actions for a close code, for a document that was `opened` before. */
export function adviceFor(code, { opened = true } = {}) {
  const [title, text, actions] = code === 4401 && !opened ? FIRST : ADVICE[code] ?? OTHERWISE;
  return { title, text, actions };
}

/** Returns the same where somebody else has signed in since this page was opened. */
export function adviceForAnother({ before, now }) {
  const title = `You are signed in as ${now} now`;
  const text = `This page was opened as ${before}. Go on as ${now}, or copy what is yours.`;
  return { title, text, actions: ['go-on', 'sign-in', 'copy'] };
}
