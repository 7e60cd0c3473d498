import { afterAll, beforeAll, describe } from 'vitest';
import { type EngineOptions, type Face, faces, TestEngine } from './engine.ts';

/**
 * Runs the same tests through every way to reach the engine: docker's client, ours with a daemon, ours with none.
 *
 * @param body is given a function that returns the engine, which stands while the tests run
 */
export function throughEveryFace(
  what: string,
  body: (engine: () => TestEngine, face: Face) => void,
  options: EngineOptions = {},
): void {
  describe.each(faces)(`${what}, through %s`, (face) => {
    body(withEngine({ ...options, face }), face);
  });
}

/** An engine for the tests of the current group. */
export function withEngine(options: EngineOptions = {}): () => TestEngine {
  let engine: TestEngine | undefined;
  beforeAll(async () => {
    engine = await TestEngine.start(options);
  });
  afterAll(async () => {
    await engine?.[Symbol.asyncDispose]();
  });
  return () => {
    if (engine === undefined) throw new Error('the engine is there only while tests run');
    return engine;
  };
}
