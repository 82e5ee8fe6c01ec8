/** What to tell a person when the server ended the session for good, and what they can do. */

import { BROKEN } from '../core/session.js';

/** @typedef {'retry' | 'copy' | 'reload' | 'home'} Action */

const ADVICE = {
  4401: ['You are signed out', 'Sign in again in another tab, then come back to this one and try '
    + 'again.', ['retry', 'copy']],
  4403: ['You may not open this document', 'Ask its owner for access, then try again.',
    ['retry', 'copy', 'home']],
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

/** Returns title, text and actions for a close code. */
export function adviceFor(code) {
  const [title, text, actions] = ADVICE[code] ?? OTHERWISE;
  return { title, text, actions };
}
