import { create } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import type { InstructionList, VertexState } from '../../build/index.ts';
import { OpSchema } from '../../protocol/index.ts';
import type { InstructionEvent } from './instruction-events.ts';
import { InstructionView, imageKey } from './instruction-view.ts';
import type { LocatedVertex } from './located-graph.ts';

const source = (line: number): LocatedVertex => ({
  op: create(OpSchema, { op: { case: 'source', value: { identifier: 'docker-image://a' } } }),
  ...{ inputs: [], line, name: '' },
});
const command = (line: number, ...inputs: string[]): LocatedVertex => ({
  op: create(OpSchema, { op: { case: 'exec', value: { meta: { args: ['sh', '-c', `line ${line}`] } } } }),
  ...{ inputs, line, name: '' },
});

/** FROM a; RUN one; FROM a; RUN two; RUN three: the first stage is copied from by nobody, but what is shown. */
const graph = new Map([
  ['base', source(1)],
  ['one', command(2, 'base')],
  ['two', command(4, 'base')],
  ['three', command(5, 'two')],
]);
const instruction = (kind: 'from' | 'run', line: number) => ({
  ...{ kind, line, text: `${kind} ${line}` },
  ...(kind === 'from' && { base: { name: 'a' } }),
});
const list: InstructionList = {
  instructions: [
    instruction('from', 1),
    instruction('run', 2),
    instruction('from', 3),
    instruction('run', 4),
    instruction('run', 5),
  ],
  unusedArgs: [],
};

/** A view, and what it told, each event in a word or two. */
function opened() {
  const told: string[] = [];
  const shown = (event: InstructionEvent): string => {
    switch (event.type) {
      case 'begin':
        return `begin ${event.index}`;
      case 'output':
        return `output ${Buffer.from(event.bytes).toString().slice(0, 40)}`;
      case 'end':
        return `end${event.isCached ? ' cached' : ''}${event.id === 'f00' ? ' image' : ''}`;
      case 'failed':
        return `failed ${event.command} ${event.exitCode}`;
      default:
        return event.type;
    }
  };
  const bases = new Map([
    [imageKey('docker.io/library/a:latest@sha256:' + '0'.repeat(64)), { id: 'ba5e', triggers: 0 }],
  ]);
  const view = new InstructionView(graph, list, bases, (event) => told.push(shown(event)));
  view.start();
  return { view, take: () => told.splice(0) };
}

const state = (digest: string, more: Partial<VertexState>): VertexState => ({
  ...{ digest, inputs: [], name: digest, isCached: false, startedMs: 1 },
  ...more,
});
const begun = (digest: string) => ({ vertices: [state(digest, {})] });
const ended = (digest: string, isCached = false) => ({ vertices: [state(digest, { completedMs: 2, isCached })] });
const says = (vertex: string, text: string) => ({
  logs: [{ vertex, timestampMs: 1, stream: 1, bytes: Buffer.from(text) }],
});

test('what runs beside the instruction at hand waits for its turn', () => {
  const { view, take } = opened();
  expect(take()).toEqual(['plan', 'begin 0']);
  view.update(ended('base'));
  expect(take()).toEqual(['end', 'begin 1']);
  view.update(begun('two'));
  view.update(says('two', 'two'));
  view.update(ended('two'));
  expect(take()).toEqual([]);
  view.update(begun('one'));
  view.update(says('one', 'one'));
  expect(take()).toEqual(['run', 'output one']);
  view.update(ended('one'));
  expect(take()).toEqual(['end', 'begin 2', 'end', 'begin 3', 'run', 'output two', 'end', 'begin 4']);
  view.update(ended('three'));
  expect(take()).toEqual(['run']);
  view.finish('f00');
  expect(take()).toEqual(['end image']);
});

test('what nobody told of was found in the cache, once something made of it runs', () => {
  const { view, take } = opened();
  view.update(begun('three'));
  expect(take()).toEqual(['plan', 'begin 0', 'end', 'begin 1']);
  view.update(ended('one', true));
  expect(take()).toEqual(['end cached', 'begin 2', 'end', 'begin 3', 'end cached', 'begin 4', 'run']);
});

test('a failure is told with its own instruction and output, whatever else was under way', () => {
  const { view, take } = opened();
  view.update(ended('base'));
  view.update(begun('one'));
  view.update(begun('two'));
  view.update(says('two', 'about to fail'));
  take();
  view.fail({ vertex: 'two', exitCode: 3 });
  expect(take()).toEqual(['begin 3', 'run', 'output about to fail', 'failed sh -c line 4 3']);
});

test('output that waits too long is clipped, and says so', () => {
  const { view, take } = opened();
  view.update(begun('two'));
  for (let index = 0; index < 3; index += 1) view.update(says('two', 'x'.repeat(600_000)));
  take();
  view.finish('f00');
  const output = take().filter((event) => event.startsWith('output'));
  expect(output).toEqual([`output ${'x'.repeat(40)}`, 'output [output clipped: over 1048576 bytes came']);
});

test('a build that makes no image ends as well', () => {
  const { view, take } = opened();
  view.finish(undefined);
  expect(take().at(-1)).toBe('end cached');
});
