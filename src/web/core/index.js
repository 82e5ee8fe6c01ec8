/**
 * The client core: PROTOCOL.md in a few kilobytes, without an editor and without a page.
 */

export { Connection } from './connection.js';
export { Replica } from './replica.js';
export { BROKEN, Session } from './session.js';
export { Text } from './text.js';
