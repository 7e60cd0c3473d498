/** Of what a test draws by lot; a run is repeated by setting TARE_SEED to the one that it named. */
export const seed = Number(process.env['TARE_SEED'] ?? Date.now() % 1e9);

/** The same numbers for the same seed. */
export function random(from: number): () => number {
  let state = from;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}
