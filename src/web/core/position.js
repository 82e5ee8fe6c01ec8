/**
 * Places in the text, carried through operations.
 */

import { count } from './operation.js';
import { LEFT } from './transform.js';

/** Maps a place through an operation; `side` tells where it stays when text comes in there. */
export function position(at, op, side = LEFT) {
  let [seen, moved] = [0, at];
  for (const part of op) {
    if (seen > at) break;
    if (typeof part === 'number') seen += part;
    else if (typeof part === 'string') {
      if (seen < at || side !== LEFT) moved += count(part);
    } else {
      moved -= Math.min(part.d, at - seen);
      seen += part.d;
    }
  }
  return moved;
}
