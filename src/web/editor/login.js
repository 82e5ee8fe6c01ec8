/** The page `/login`: a token goes in, a login comes of it, and the field forgets the token. */

import { Account } from './account.js';
import { nextPlace } from './place.js';
import { ready } from './ready.js';

const find = (id) => document.getElementById(id);
const account = new Account(() => {}, () => {});

/** What can stand in a header; a browser would refuse the rest in words of its own. */
const TOKEN = /^[A-Za-z0-9._~+/=-]+$/;

async function signIn(token) {
  if (!TOKEN.test(token)) throw new Error('That is no token: paste the whole of it, and only it.');
  await account.signIn(token);
  const place = nextPlace(location.search, location.origin);
  if (place === null) welcome(account.login);
  else location.replace(place);
}

function welcome({ state, name }) {
  find('login-form').hidden = true;
  find('welcome-who').textContent = state === 'open' ? 'This server is open: there is nobody to be.'
    : `You are signed in as ${name}.`;
  find('welcome').hidden = false;
}

function refuse(text) {
  find('login-error').textContent = text;
  find('login-error').hidden = text === '';
  find('token').ariaInvalid = String(text !== '');
}

find('login-form').addEventListener('submit', async (event) => {
  event.preventDefault();
  const token = find('token').value.trim();
  find('token').value = '';
  find('login-send').disabled = true;
  refuse('');
  try {
    await signIn(token);
  } catch (error) {
    refuse(error.message);
    find('token').focus();
  } finally {
    find('login-send').disabled = false;
  }
});

ready();
find('token').focus();
