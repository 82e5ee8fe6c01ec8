/**
 * What this browser remembers: the person's name and colour, and the names of recent documents.
 * Nothing else is stored; a session's secret stays in memory.
 */

import { PALETTE } from './colors.js';

const [PERSON, RECENT] = ['quire.person', 'quire.recent'];
const RECENT_MAX = 30;
/** The server takes names of so many bytes. */
const NAME_BYTES_MAX = 64;

/** Returns `{name, color}`, or null for someone new. */
export function person() {
  const stored = load(PERSON);
  const known = typeof stored?.name === 'string' && PALETTE.includes(stored.color);
  return known ? { name: asName(stored.name), color: stored.color } : null;
}

/** Makes a name that the server takes of what someone typed; it may be empty. */
export function asName(typed) {
  const encoder = new TextEncoder();
  let [name, bytes] = ['', 0];
  for (const char of typed.toWellFormed().replace(/\p{Cc}/gu, ' ').trim()) {
    bytes += encoder.encode(char).length;
    if (bytes > NAME_BYTES_MAX) break;
    name += char;
  }
  return name;
}

export function savePerson({ name, color }) {
  save(PERSON, { name, color });
}

/** Returns recent documents, the newest first. */
export function recent() {
  const stored = load(RECENT);
  return Array.isArray(stored) ? stored.filter(({ doc, at }) => isName(doc) && at > 0) : [];
}

export function remember(doc) {
  const others = recent().filter((entry) => entry.doc !== doc);
  save(RECENT, [{ doc, at: Date.now() }, ...others].slice(0, RECENT_MAX));
}

export function forget(doc) {
  save(RECENT, recent().filter((entry) => entry.doc !== doc));
}

/** Tells whether the server takes a name for a document. */
export function isName(doc) {
  return typeof doc === 'string' && /^[A-Za-z0-9._~-]{1,128}$/.test(doc)
    && doc !== '.' && doc !== '..';
}

export function anyColor() {
  return PALETTE[random(PALETTE.length)];
}

/** Returns the colour of someone who has chosen none: always the same. */
export function colorOf(subject) {
  const sum = [...subject].reduce((total, char) => total + char.codePointAt(0), 0);
  return PALETTE[sum % PALETTE.length];
}

export function random(below) {
  return crypto.getRandomValues(new Uint32Array(1))[0] % below;
}

function load(key) {
  try {
    return JSON.parse(localStorage.getItem(key));
  } catch {
    return null;
  }
}

/** A browser that stores nothing still edits. */
function save(key, value) {
  try {
    localStorage.setItem(key, JSON.stringify(value));
  } catch {
    // Private windows and full disks refuse; the page works without.
  }
}
