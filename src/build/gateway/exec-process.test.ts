import { Duplex, PassThrough, Writable } from 'node:stream';
import { create } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import { gateway } from '../../protocol/index.ts';
import type { RunningStep } from '../executor/step-container.ts';
import { execProcess } from './exec-process.ts';

const message = (Input: object) => create(gateway.ExecMessageSchema, { ProcessID: 'p', Input } as never);
const input = () => message({ case: 'File', value: { Fd: 0, Data: new Uint8Array(1_000) } });

/** A process whose input takes little at once, and whose end is the test's. */
function processWith(stdin: Writable) {
  const end = Promise.withResolvers<number>();
  const stdout = new PassThrough();
  stdout.end();
  const running: RunningStep = {
    ...{ stdin, stdout, stderr: undefined, ended: end.promise },
    ...{ signal: () => true, resize: () => {}, kill: async () => end.resolve(137) },
  };
  return { running, end };
}

async function* begun(messages: () => AsyncIterable<gateway.ExecMessage>) {
  yield message({ case: 'Init', value: { ContainerID: 'c', Fds: [0] } });
  yield* messages();
}

async function answersTo(messages: AsyncIterable<gateway.ExecMessage>, running: RunningStep): Promise<unknown[]> {
  const said: unknown[] = [];
  for await (const { Input } of execProcess(messages, async () => running)) said.push(Input.case);
  return said;
}

test('an input that takes its time leaves nobody waiting when it has room', async () => {
  let bytes = 0;
  const stdin = new Writable({
    highWaterMark: 10,
    write(chunk: Buffer, _encoding, done) {
      bytes += chunk.length;
      setImmediate(done);
    },
  });
  const { running, end } = processWith(stdin);
  let most = 0;
  const messages = begun(async function* () {
    for (let sent = 0; sent < 50; sent += 1) {
      yield input();
      most = Math.max(most, stdin.listenerCount('close'));
    }
    end.resolve(0);
  });
  expect(await answersTo(messages, running)).toEqual(['Started', 'Exit', 'Done']);
  expect({ bytes, most }).toEqual({ bytes: 50_000, most: 0 });
});

test('what a terminal has left to say when its process has ended is said', async () => {
  const terminal = new Duplex({ read: () => {}, write: (_chunk, _encoding, done) => done() });
  const end = Promise.withResolvers<number>();
  const running: RunningStep = {
    ...{ stdin: terminal, stdout: terminal, stderr: undefined, ended: end.promise },
    ...{ signal: () => true, resize: () => {}, kill: async () => end.resolve(137) },
  };
  async function* messages() {
    yield message({ case: 'Init', value: { ContainerID: 'c', Fds: [0, 1], Tty: true } });
  }
  const said: string[] = [];
  for await (const { Input } of execProcess(messages(), async () => running)) {
    if (Input.case === 'Started') {
      end.resolve(0);
      // Later than whoever waits for the end.
      setTimeout(() => {
        terminal.push('the last word');
        terminal.push(null);
      }, 20);
    }
    if (Input.case === 'File') said.push(Buffer.from(Input.value.Data).toString());
  }
  expect(said.join('')).toBe('the last word');
});

test('who writes to a process that does not read goes on when it has ended', async () => {
  const stdin = new Writable({ highWaterMark: 10, write: () => setImmediate(() => end.resolve(3)) });
  const { running, end } = processWith(stdin);
  const messages = begun(async function* () {
    for (let sent = 0; sent < 3; sent += 1) yield input();
  });
  expect(await answersTo(messages, running)).toEqual(['Started', 'Exit', 'Done']);
});
