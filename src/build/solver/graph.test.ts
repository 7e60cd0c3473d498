import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import { DefinitionSchema, OpSchema } from '../../protocol/index.ts';
import { digestOf } from '../../storage/index.ts';
import { checkEntitlements } from './entitlements.ts';
import { loadDefinition } from './graph.ts';

function load(init: MessageInitShape<typeof OpSchema>) {
  const op = toBinary(OpSchema, create(OpSchema, init));
  const last = toBinary(OpSchema, create(OpSchema, { inputs: [{ digest: digestOf(op), index: 0n }] }));
  return loadDefinition(create(DefinitionSchema, { def: [op, last] }));
}

const rm = (output: bigint) => ({
  ...{ input: -1n, secondaryInput: -1n, output },
  action: { case: 'rm' as const, value: { path: '/x' } },
});

test('what has no name of its own is called by what it does, as BuildKit calls it', () => {
  const { vertex } = load({
    op: {
      case: 'file',
      value: {
        actions: [
          { ...rm(-1n), action: { case: 'symlink', value: { oldpath: '/target', newpath: '/link' } } },
          { ...rm(0n), action: { case: 'copy', value: { src: '/a', dest: '/b' } } },
        ],
      },
    },
  })!;
  expect(vertex.name).toBe('symlink /link -> /target, copy /a /b');
  expect(load({ op: { case: 'diff', value: { lower: { input: -1n }, upper: { input: -1n } } } })!.vertex.name).toBe(
    'diff scratch -> scratch',
  );
});

test('outputs far away and too many file actions are refused', () => {
  const exec = (output: bigint) => load({ op: { case: 'exec', value: { mounts: [{ dest: '/', output }] } } });
  const file = (...outputs: bigint[]) => load({ op: { case: 'file', value: { actions: outputs.map(rm) } } });
  expect(exec(3n)).toBeDefined();
  expect(() => exec(4_294_967_294n)).toThrow(/makes an output 4294967294: at most 10000/);
  expect(() => file(1n << 40n)).toThrow(/makes an output/);
  const mounts = Array.from({ length: 1_001 }, (_, at) => ({ dest: `/${at}`, output: -1n }));
  expect(() => load({ op: { case: 'exec', value: { mounts } } })).toThrow(/1001 mounts/);
  expect(() => file(...Array<bigint>(10_001).fill(-1n))).toThrow(/10001 file actions/);
});

test.each(['device', 'device=v.com/c=one', 'device=name=v.com/c=one'])('the entitlement %s allows a device', (one) => {
  const op = create(OpSchema, { op: { case: 'exec', value: { cdiDevices: [{ name: 'v.com/c=one' }] } } });
  expect(() => checkEntitlements(new Set([one]), op)).not.toThrow();
  expect(() => checkEntitlements(new Set(['device=v.com/c=two']), op)).toThrow(/device=v.com\/c=one is not allowed/);
});

test('a vertex with inputs without number is refused', () => {
  const input = { digest: digestOf(new Uint8Array()), index: 0n };
  const inputs = Array.from({ length: 10_001 }, () => input);
  expect(() => load({ inputs, op: { case: 'merge', value: {} } })).toThrow(/ has 10001 inputs: at most 10000$/);
});
