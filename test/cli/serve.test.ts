import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { busybox, TestEngine } from '../support/engine.ts';
import { collect, eventually } from '../support/execute.ts';

let engine: TestEngine;

beforeAll(async () => {
  engine = await TestEngine.start({ face: 'in-process' });
});

afterAll(() => engine[Symbol.asyncDispose]());

const socket = () => join(engine.root, 'other.sock');

test('a daemon announces where it listens, keeps its pid file, and leaves containers running when told to stop', async () => {
  const pidfile = join(engine.root, 'pid');
  const daemon = engine.spawn(engine.tareCommand(['serve', '-H', `unix://${socket()}`, '--pidfile', pidfile]));
  const ended = collect(daemon);
  await eventually('the daemon listens', () => existsSync(socket()));
  await engine.tare(['-H', `unix://${socket()}`, 'run', '-d', '--name', 'stays', busybox, 'sleep', '1000']);
  const pid = Number(readFileSync(pidfile, 'utf8'));
  process.kill(pid, 'SIGTERM');
  const { code, stdout } = await ended;
  expect(code).toBe(0);
  expect(stdout).toBe(`API listen on unix://${socket()}\n`);
  expect(existsSync(pidfile)).toBe(false);
  // The same container, through no daemon.
  expect((await engine.tare(['inspect', '-f', '{{.State.Running}}', 'stays'])).stdout).toBe('true\n');
  await engine.tare(['rm', '-f', 'stays']);
});

test.each([
  [['-H', 'tcp://127.0.0.1:0'], /expected tcp:\/\/HOST:PORT/],
  [['-H', 'tcp://127.0.0.1:2375'], /refusing to listen .*--insecure-tcp/],
  [['-H', 'fd://'], /no socket was handed over/],
  [['--group', 'no-such-group'], /no group "no-such-group"/],
  [['--log-level', 'loud'], /invalid --log-level/],
  [['--default-runtime', 'nosuch'], /default runtime "nosuch"/],
])('serve refuses %j', async (flags, message) => {
  const { code, stderr } = await engine.tare(['serve', ...flags], { expect: 'any' });
  expect(code).not.toBe(0);
  expect(stderr).toMatch(message);
});

test('a pid file of a process that runs is respected', async () => {
  const pidfile = join(engine.root, 'taken');
  writeFileSync(pidfile, `${process.pid}\n`);
  const { stderr } = await engine.tare(['serve', '--pidfile', pidfile], { expect: 1 });
  expect(stderr).toContain(`names process ${process.pid}, which runs`);
});

test('a daemon that is named and not there is an error, not another engine', async () => {
  const { code, stderr } = await engine.tare(['-H', `unix://${engine.root}/nobody.sock`, 'ps'], { expect: 'any' });
  expect(code).toBe(1);
  expect(stderr).toMatch(/cannot connect to the daemon at unix:.*nobody\.sock.*tare serve/);
});

test('load takes a folder', async () => {
  const folder = join(engine.root, 'layout');
  mkdirSync(folder);
  const archive = join(engine.root, 'image.tar');
  await engine.tare(['save', '-o', archive, busybox]);
  await engine.run(['tar', '-C', folder, '-xf', archive]);
  await engine.tare(['rmi', busybox]);
  expect((await engine.tare(['load', '-i', folder])).stdout).toContain(`Loaded image: ${busybox}`);
  expect((await engine.tare(['run', '--rm', busybox, 'echo', 'works'])).stdout).toBe('works\n');
});

test('the id file is written, and an old one is respected', async () => {
  const cidfile = join(engine.root, 'cid');
  const { stdout } = await engine.tare(['create', '--cidfile', cidfile, busybox, 'true']);
  expect(readFileSync(cidfile, 'utf8')).toBe(stdout.trim());
  const again = await engine.tare(['create', '--cidfile', cidfile, busybox, 'true'], { expect: 'any' });
  expect(again.code).toBe(1);
  expect(again.stderr).toContain('container ID file found');
  const failed = join(engine.root, 'cid2');
  await engine.tare(['create', '--cidfile', failed, 'nosuch:image'], { expect: 1 });
  expect(existsSync(failed)).toBe(false);
});

test('users mapped for the whole daemon are refused, and what there is instead is named', async () => {
  const { stderr } = await engine.tare(['--userns-remap', 'default', 'ps'], { expect: 'any' });
  expect(stderr).toContain('--userns-remap is not supported: run the whole engine without root');
});
