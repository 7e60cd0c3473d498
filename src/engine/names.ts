import { randomBytes, randomInt } from 'node:crypto';
import { TareError } from '../errors/index.ts';

const left =
  'able amber bold brave brisk calm clear clever cosy crisp dapper deft eager earnest fair fleet fond frank gentle glad golden happy hardy honest humble jolly keen kind lean light lively loyal lucid merry mild modest neat nimble noble patient plain plucky polite proud quick quiet ready sage serene sharp sober spry steady still stoic sturdy subtle sunny swift tidy tranquil trim trusty upbeat vivid warm wise witty zesty'.split(
    ' ',
  );
const right =
  'abacus acorn anchor anvil apricot arrow badger barge barrel basin beacon beam birch bobbin bramble bridge buoy cairn caliper candle canoe carafe cedar chisel clover compass copper cork crane crate dinghy drift ember fathom feather ferry fern flagon flint furrow gauge girder granite harbor hazel heron hopper hull iris jetty kettle keel lantern larch ledger lever linen mallet maple meadow otter pallet pebble pewter pier plumb poplar pulley quarry quay quill raft reed rudder sail scale sieve sparrow spindle steelyard tally tare thimble timber tinder trestle vessel wharf willow'.split(
    ' ',
  );

const pattern = /^\/?[a-zA-Z0-9][a-zA-Z0-9_.-]+$/;

/** 64 random hex digits. Never all decimal in the first twelve: such an id would be taken for a number in a hostname. */
export function newContainerID(): string {
  for (;;) {
    const id = randomBytes(32).toString('hex');
    if (!/^\d{12}/.test(id)) return id;
  }
}

/** A name that a person can say, e.g. `steady_lantern`; a number is added from the second try on. */
export function newContainerName(attempt: number): string {
  const name = `${left[randomInt(left.length)]}_${right[randomInt(right.length)]}`;
  return attempt === 0 ? name : `${name}${randomInt(10 ** Math.min(attempt, 6))}`;
}

/**
 * @returns the name without docker's leading slash
 * @throws {TareError} InvalidArgument
 */
export function parseContainerName(text: string): string {
  if (!pattern.test(text)) {
    throw new TareError(
      'InvalidArgument',
      `Invalid container name (${text}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed`,
    );
  }
  return text.startsWith('/') ? text.slice(1) : text;
}
