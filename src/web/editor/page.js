/** The page `/d/{doc}`: header, badge, people, banner and the person's name around the editor. */

import { Account } from './account.js';
import { adviceFor, adviceForAnother } from './advice.js';
import { Badge, unsavedText } from './badge.js';
import { Colors, PALETTE } from './colors.js';
import './element.js';
import { loginAddress } from './place.js';
import { anyColor, asName, colorOf, isName, person, remember, savePerson } from './profile.js';
import { ready } from './ready.js';
import { leadToLogin, showLogin } from './who.js';

const PEOPLE_MAX = 6;
const NOTICE_MS = 4_000;
/** Without a word from another tab, a login that ended is looked for again so often at most. */
const LOOK_MS = 60_000;

const find = (id) => document.getElementById(id);
const doc = decodeURIComponent(location.pathname.replace(/^\/d\//, ''));
const editor = document.querySelector('quire-editor');
const colors = new Colors();
const badge = new Badge(find('badge'), find('announcer'));
const account = new Account(loginFound, loginElsewhere);
const mode = new URLSearchParams(location.search).has('view') ? 'view' : 'edit';
let me = person();

function open() {
  if (!isName(doc)) {
    location.replace('/');
    return;
  }
  document.adoptedStyleSheets = [colors.sheet];
  document.title = `${doc} · Quire`;
  find('name').textContent = doc;
  find('name').title = doc;
  editor.addEventListener('quire-status', ({ detail }) => showStatus(detail));
  editor.addEventListener('quire-people', ({ detail }) => showPeople(detail));
  editor.addEventListener('quire-refused', ({ detail }) => notify(REFUSED[detail.reason]));
  const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
  const url = `${scheme}://${location.host}/ws/${doc}`;
  editor.open({ url, mode, user: me ?? undefined, label: `Text of ${doc}` });
  for (const event of ['online', 'offline', 'pageshow']) {
    addEventListener(event, () => editor.probe());
  }
  document.addEventListener('visibilitychange', () => {
    if (document.visibilityState !== 'visible') return;
    editor.probe();
    if (editor.status.state === 'signed-out') account.ask();
  });
  addEventListener('beforeunload', (event) => {
    if (editor.status.unsaved > 0) event.preventDefault();
  });
  showMe();
  if (me !== null) editor.focus();
  account.ask().then(({ state }) => {
    if (me === null && state !== 'out') askName();
    else if (document.activeElement === document.body) editor.focus();
  });
}

const REFUSED = {
  'too-long': 'That would make the document longer than this server takes.',
  'read-only': 'Read only: you may not change this document.',
};

let opened = false;
let lookedAt = -Infinity;

function showStatus(status) {
  badge.show(status);
  if (!opened && status.state === 'saved') {
    opened = true;
    remember(doc);
  }
  find('view-note').hidden = !opened || mode === 'view' || status.writable;
  if (status.state === 'stopped' || status.state === 'signed-out') showBanner(status);
  else hideBanner();
  const doubted = status.code === 4403 && account.login.state === 'in';
  if (status.state === 'signed-out' || doubted) look();
}

/** The person whose login the session has; what is unsaved was written as theirs. */
let owner = null;
/** Somebody else, who has signed in while there is something unsaved. */
let another = null;
/** Whether a login is new, so that an open connection has to be made anew with it. */
let isNew = false;

/** Finds a login that another tab has made unheard, or a CSRF token that was not the newest. */
function look() {
  if (another !== null || performance.now() - lookedAt < LOOK_MS) return;
  lookedAt = performance.now();
  account.ask();
}

function loginElsewhere(event) {
  isNew = event === 'in';
  if (isNew) account.ask();
  else editor.signOut('');
}

function loginFound(login) {
  showLogin(login, { aside: opened });
  if (me === null && login.state === 'in') {
    me = { name: login.name, color: colorOf(login.subject) };
    editor.rename(me);
  }
  showMe();
  if (login.state === 'out') return;
  const changed = owner !== null && owner.subject !== login.subject;
  const { state, unsaved } = editor.status;
  if (changed && unsaved > 0) {
    another = login;
    editor.signOut('');
    showStatus(editor.status);
    return;
  }
  const shut = state === 'signed-out' || state === 'stopped';
  if (changed || shut || isNew) editor.resume();
  [owner, another, isNew] = [login, null, false];
}

function goOn() {
  [owner, another, isNew] = [another, null, false];
  editor.resume();
}

async function retry() {
  const signedOut = editor.status.state === 'signed-out';
  const { state } = signedOut ? await account.ask() : { state: 'unknown' };
  if (state === 'unknown') editor.retry();
  if (state === 'out') notify('Nobody is signed in here yet.');
}

async function signOut() {
  try {
    await account.signOut();
  } catch (error) {
    notify(error.message);
    return;
  }
  editor.signOut('');
  if (editor.status.unsaved === 0) location.assign(loginAddress(location));
}

let bannerKey = null;

/** What is unsaved may grow with every key under the banner, which is not said anew for that. */
function showBanner({ state, code, reason, unsaved }) {
  const { title, text, actions } = another === null ? adviceFor(code, { opened })
    : adviceForAnother({ before: owner.name, now: another.name });
  const shut = state === 'stopped';
  const kept = shut && unsaved > 0 ? ` This page still holds ${unsavedText(unsaved)}.` : '';
  const server = reason ? `Server: ${reason} (${code})` : '';
  const key = JSON.stringify([title, text, kept, server, actions]);
  if (key === bannerKey) return;
  bannerKey = key;
  find('banner-title').textContent = title;
  find('banner-text').textContent = text + kept;
  find('banner-reason').textContent = server || !shut ? server : `Code ${code}`;
  const usable = actions.filter((action) => action !== 'copy' || opened);
  find('banner-actions').replaceChildren(...usable.map(actionElement));
  find('banner').hidden = false;
}

/** Keys go back to the text from what is hidden. */
function hideBanner() {
  const had = find('banner').contains(document.activeElement);
  bannerKey = null;
  find('banner').hidden = true;
  if (had) editor.focus();
}

const ACTIONS = {
  'go-on': ['Go on', goOn],
  retry: ['Try again', retry],
  copy: ['Copy text', () => copy(editor.text, 'The text is on the clipboard.')],
  reload: ['Reload', () => location.reload()],
  home: ['All documents', () => location.assign('/')],
};

function actionElement(action) {
  if (action === 'sign-in') {
    const link = document.createElement('a');
    Object.assign(link, { className: 'button', textContent: 'Sign in' });
    leadToLogin(link, { aside: opened });
    return link;
  }
  const [label, act] = ACTIONS[action];
  const button = document.createElement('button');
  Object.assign(button, { type: 'button', textContent: label, onclick: act });
  return button;
}

async function copy(text, done) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    copyOldWay(text);
  }
  notify(done);
}

/** The clipboard is kept from pages that were not loaded over TLS; the selection is not. */
function copyOldWay(text) {
  const area = document.createElement('textarea');
  area.value = text;
  document.body.append(area);
  area.select();
  document.execCommand('copy');
  area.remove();
}

let noticeTimer;

function notify(text) {
  const notice = find('notice');
  notice.textContent = text;
  notice.dataset.shown = '';
  clearTimeout(noticeTimer);
  noticeTimer = setTimeout(() => delete notice.dataset.shown, NOTICE_MS);
}

function showPeople({ people, total }) {
  const shown = people.slice(0, PEOPLE_MAX);
  const items = shown.map(({ id, name, color }) => {
    const button = document.createElement('button');
    button.type = 'button';
    button.className = `avatar ${colors.className(color)}`;
    button.textContent = initials(name);
    button.title = `Go to ${name || 'a guest'}`;
    button.ariaLabel = button.title;
    button.onclick = () => editor.reveal(id);
    return listItem(button);
  });
  const more = total - 1 - shown.length;
  if (more > 0) {
    const rest = document.createElement('span');
    Object.assign(rest, { className: 'avatar rest', textContent: `+${more}` });
    rest.title = `${more} more`;
    items.push(listItem(rest));
  }
  find('people').replaceChildren(...items);
}

function listItem(child) {
  const item = document.createElement('li');
  item.append(child);
  return item;
}

function initials(name) {
  const words = name.trim().split(/\s+/).filter(Boolean);
  const first = (word) => [...word][0].toUpperCase();
  if (words.length === 0) return '·';
  return words.length === 1 ? first(words[0]) : first(words[0]) + first(words.at(-1));
}

/** Returns what the others see: where somebody is signed in, that is not for them to choose. */
function myName() {
  return account.login.name ?? me?.name;
}

function showMe() {
  find('me-name').textContent = myName() ?? 'Your name';
  find('me').className = me ? colors.className(me.color) : '';
}

function askName() {
  const chosen = me?.color ?? anyColor();
  find('person-name').value = myName() ?? '';
  find('person-name').readOnly = account.login.state === 'in';
  find('colors').replaceChildren(...PALETTE.map((color, index) => swatch(color, index, chosen)));
  find('person').showModal();
}

function swatch(color, index, chosen) {
  const label = document.createElement('label');
  label.className = `swatch ${colors.className(color)}`;
  const input = document.createElement('input');
  Object.assign(input, { type: 'radio', name: 'color', value: color, checked: color === chosen });
  input.ariaLabel = `Colour ${index + 1}`;
  label.append(input);
  return label;
}

find('person-form').addEventListener('submit', (event) => {
  const data = new FormData(event.target);
  const name = asName(data.get('name'));
  if (name === '') return;
  me = { name, color: data.get('color') };
  savePerson(me);
  showMe();
  editor.rename(me);
});
find('person').addEventListener('close', () => editor.focus());
find('person-later').addEventListener('click', () => find('person').close());
find('me').addEventListener('click', askName);
find('sign-out').addEventListener('click', signOut);
find('share').addEventListener('click', () => copy(location.href, 'The link is on the clipboard.'));

ready();
open();
