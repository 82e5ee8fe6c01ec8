/** Names for new documents: two words to say aloud, and a tail that nobody guesses. */

import { random } from './profile.js';

const FIRST = ('amber autumn birch blue bold brave bright calm cedar clear copper coral crisp '
  + 'early even fair fern gentle golden green hazel indigo ivory keen kind late linen '
  + 'lively lucid mellow merry misty mossy noble olive open pale plain proud quick '
  + 'quiet rosy rustic silver slate small snowy soft steady still sunny tidal warm '
  + 'wide wild winter young').split(' ');
const SECOND = ('acorn anchor apple arbor atlas bay beacon bell bridge brook candle canyon '
  + 'chapter cloud compass cove dune echo ember falcon feather field finch forest '
  + 'garden glade harbor heron hill island kettle lantern leaf letter maple margin '
  + 'meadow mill moon needle oak orchard otter page paper pebble pine poem prairie '
  + 'quill reed river robin sail sparrow stone story stream thicket valley verse '
  + 'willow').split(' ');
/** Without letters that are mistaken for others. */
const TAIL = 'abcdefghjkmnpqrstuvwxyz23456789';
const TAIL_LENGTH = 8;

export function newName() {
  const pick = (list) => list[random(list.length)];
  const tail = Array.from({ length: TAIL_LENGTH }, () => pick(TAIL)).join('');
  return `${pick(FIRST)}-${pick(SECOND)}-${tail}`;
}
