/** Who is signed in, in the corner of a page, and the note that a server is open. */

import { loginAddress } from './place.js';

const find = (id) => document.getElementById(id);

/** Shows what the server said; `aside` has the login page open in a tab of its own. */
export function showLogin({ state, name }, { aside = false } = {}) {
  find('who').hidden = state !== 'in';
  find('who').textContent = name ?? '';
  find('who').title = `Signed in as ${name ?? ''}`;
  find('sign-out').hidden = state !== 'in';
  find('sign-in').hidden = state !== 'out';
  leadToLogin(find('sign-in'), { aside });
  find('open-note').hidden = state !== 'open';
}

/** Makes a link lead to the login page and back, or to one beside this page. */
export function leadToLogin(link, { aside }) {
  link.href = aside ? '/login' : loginAddress(location);
  link.target = aside ? '_blank' : '';
  link.rel = 'noopener';
}
