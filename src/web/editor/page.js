/** The page `/d/{doc}`: header, badge, people, banner and the person's name around the editor. */

import { adviceFor } from './advice.js';
import { Badge, unsavedText } from './badge.js';
import { Colors, PALETTE } from './colors.js';
import './element.js';
import { anyColor, asName, isName, person, remember, savePerson } from './profile.js';

const PEOPLE_MAX = 6;
const NOTICE_MS = 4_000;

const find = (id) => document.getElementById(id);
const doc = decodeURIComponent(location.pathname.replace(/^\/d\//, ''));
const editor = document.querySelector('quire-editor');
const colors = new Colors();
const badge = new Badge(find('badge'), find('announcer'));
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
  editor.addEventListener('quire-refused', () => {
    notify('That would make the document longer than this server takes.');
  });
  const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
  const mode = new URLSearchParams(location.search).has('view') ? 'view' : 'edit';
  const url = `${scheme}://${location.host}/ws/${doc}`;
  editor.open({ url, mode, user: me ?? undefined, label: `Text of ${doc}` });
  for (const event of ['online', 'offline', 'pageshow']) {
    addEventListener(event, () => editor.probe());
  }
  document.addEventListener('visibilitychange', () => {
    if (document.visibilityState === 'visible') editor.probe();
  });
  addEventListener('beforeunload', (event) => {
    if (editor.status.unsaved > 0) event.preventDefault();
  });
  showMe();
  if (me === null) askName();
  else editor.focus();
}

let opened = false;

function showStatus(status) {
  badge.show(status);
  if (status.state === 'stopped') showBanner(status);
  else find('banner').hidden = true;
  if (!opened && status.state === 'saved') {
    opened = true;
    remember(doc);
  }
}

function showBanner({ code, reason, unsaved }) {
  const { title, text, actions } = adviceFor(code);
  find('banner-title').textContent = title;
  const kept = unsaved > 0 ? ` This page still holds ${unsavedText(unsaved)}.` : '';
  find('banner-text').textContent = text + kept;
  find('banner-reason').textContent = reason ? `Server: ${reason} (${code})` : `Code ${code}`;
  const usable = actions.filter((action) => action !== 'copy' || opened);
  find('banner-actions').replaceChildren(...usable.map(actionButton));
  find('banner').hidden = false;
}

const ACTIONS = {
  retry: ['Try again', () => editor.retry()],
  copy: ['Copy text', () => copy(editor.text, 'The text is on the clipboard.')],
  reload: ['Reload', () => location.reload()],
  home: ['All documents', () => location.assign('/')],
};

function actionButton(action) {
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

function showMe() {
  find('me-name').textContent = me?.name ?? 'Your name';
  find('me').className = me ? colors.className(me.color) : '';
}

function askName() {
  const chosen = me?.color ?? anyColor();
  find('person-name').value = me?.name ?? '';
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
find('share').addEventListener('click', () => copy(location.href, 'The link is on the clipboard.'));

open();
