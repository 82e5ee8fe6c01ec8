/** The page `/`: a new document, one by its name, and those this browser opened lately. */

import { Account } from './account.js';
import { newName } from './names.js';
import { forget, isName, recent } from './profile.js';
import { ready } from './ready.js';
import { showLogin } from './who.js';

const find = (id) => document.getElementById(id);

function show() {
  const documents = recent();
  find('recent').hidden = documents.length === 0;
  find('recent-list').replaceChildren(...documents.map(entry));
}

function entry({ doc, at }) {
  const item = document.createElement('li');
  const link = document.createElement('a');
  link.href = address(doc);
  const name = document.createElement('span');
  Object.assign(name, { className: 'doc-name', textContent: doc });
  const time = document.createElement('time');
  time.dateTime = new Date(at).toISOString();
  time.textContent = ago(at);
  link.append(name, time);
  const remove = document.createElement('button');
  Object.assign(remove, { type: 'button', className: 'remove', textContent: '×' });
  remove.title = `Take ${doc} off this list`;
  remove.ariaLabel = remove.title;
  remove.onclick = () => {
    forget(doc);
    show();
  };
  item.append(link, remove);
  return item;
}

const STEPS = [['day', 86_400_000], ['hour', 3_600_000], ['minute', 60_000]];

function ago(at) {
  const passed = Date.now() - at;
  const [unit, ms] = STEPS.find(([, length]) => passed >= length) ?? ['minute', Infinity];
  if (ms === Infinity) return 'just now';
  const format = new Intl.RelativeTimeFormat('en', { numeric: 'auto' });
  return format.format(-Math.floor(passed / ms), unit);
}

function address(doc) {
  return `/d/${doc}`;
}

find('new').addEventListener('click', () => location.assign(address(newName())));
find('open-form').addEventListener('submit', (event) => {
  event.preventDefault();
  const doc = find('open-name').value.trim();
  const good = isName(doc);
  find('open-error').hidden = good;
  find('open-name').ariaInvalid = String(!good);
  if (good) location.assign(address(doc));
});
addEventListener('pageshow', show);

const account = new Account(showLogin, (event) => event === 'in' && account.ask());
find('sign-out').addEventListener('click', async () => {
  try {
    find('problem').hidden = true;
    await account.signOut();
  } catch (error) {
    find('problem').textContent = error.message;
    find('problem').hidden = false;
  }
});
account.ask();
ready();
