import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { expect, onTestFinished, test } from 'vitest';
import { cache, project } from '../support/built.ts';
import { TestEngine } from '../support/engine.ts';
import { collect, eventually } from '../support/execute.ts';

/** What programs for s390x begin with, and which bits of that count. */
const magic = '7f454c4602020100000000000000000000020016';
const mask = 'ffffffffffffff00fffffffffffffffffffeffff';
const escaped = (hex: string) => hex.replaceAll(/../g, (byte) => `\\x${byte}`);
const program = magic.padEnd(400, '0');

const binfmt = '/proc/sys/fs/binfmt_misc';
/** What the kernel is told of an emulator of these programs. @param flags F: it opens the emulator now, and needs it no more where a step is */
const entry = (emulator: string, flags: string) =>
  `:of the test:M::${escaped(magic)}:${escaped(mask)}:${emulator}:${flags}`;

interface Told {
  outcome: string;
  output: string;
  platforms: string[];
}

/**
 * Runs a step in a user namespace, which has emulators of its own: nobody else sees them, and they end with it.
 *
 * @param flags of the emulator, which only says what it is asked to run; undefined: there is none
 */
async function stepFor(architecture: string, flags: string | undefined): Promise<Told> {
  const folder = mkdtempSync(join(tmpdir(), 'tare-emulator-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  copyFileSync('/bin/busybox', join(folder, 'echo'));
  if (flags !== undefined) writeFileSync(join(folder, 'entry'), entry(`${folder}/echo`, flags));
  const steps = [
    'echo ready; read go',
    `mount -t binfmt_misc none ${binfmt}`,
    ...(flags === undefined ? [] : [`cat ${folder}/entry > ${binfmt}/register`]),
    `exec ${process.execPath} ${project}/test/build/emulated-step.ts ${architecture} ${program}`,
  ];
  const child = spawn('unshare', ['--user', '--mount', 'sh', '-ec', steps.join('\n')], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  await once(child.stdout, 'readable');
  mapIds(child.pid!);
  child.stdin.end('go\n');
  const said = await text(child.stdout);
  return JSON.parse(said.replace(/^ready\n/, ''));
}

/** Gives a process's new user namespace the host's first ids. */
function mapIds(pid: number): void {
  for (const map of ['uid_map', 'gid_map']) writeFileSync(`/proc/${pid}/${map}`, '0 0 65536');
}

test.each([
  ['that the kernel has open', 'F'],
  ['that the step must find', ''],
])('a step of another machine runs with an emulator %s', { timeout: 60_000 }, async (_, flags) => {
  const { outcome, output, platforms } = await stepFor('s390x', flags);
  expect(outcome).toBe('done');
  expect(output).toBe('/program of another machine\n');
  expect(platforms).toContain('s390x');
});

test('without one it is refused', { timeout: 60_000 }, async () => {
  const { outcome, platforms } = await stepFor('s390x', undefined);
  expect(outcome).toMatch(/steps for linux\/s390x cannot run on this host .*: install an emulator/);
  expect(platforms).not.toContain('s390x');
});

test('a program that is not what its image says is told apart from one that fails', { timeout: 60_000 }, async () => {
  const { outcome } = await stepFor(process.arch === 'x64' ? 'amd64' : process.arch, undefined);
  expect(outcome).toMatch(/exit code: 1: \/program is no program for linux\/\w+: name the image's own platform/);
});

test('one build for this machine and for another, whose steps and containers QEMU runs', {
  timeout: 120_000,
}, async () => {
  await using engine = await TestEngine.start({ face: 'in-process', image: false });
  const context = join(engine.root, 'context');
  const here = process.arch === 'x64' ? 'amd64' : process.arch;
  mkdirSync(context);
  copyFileSync('/bin/busybox', join(context, `busybox-${here}`));
  copyFileSync(join(cache, 'emulator/bin/busybox'), join(context, 'busybox-s390x'));
  writeFileSync(
    join(context, 'Dockerfile'),
    `FROM scratch
ARG TARGETARCH
COPY busybox-$TARGETARCH /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]
RUN uname -m > /machine
CMD ["cat", "/machine"]
`,
  );
  writeFileSync(join(engine.root, 'entry'), entry(join(cache, 'emulator/qemu-s390x-static'), 'F'));
  const roots = `--data-root ${engine.dataRoot} --exec-root ${engine.execRoot}`;
  const steps = [
    `mount -t binfmt_misc none ${binfmt}`,
    `cat ${engine.root}/entry > ${binfmt}/register`,
    `exec ${engine.home}/bin/tare serve ${roots} -H unix://${engine.socket}`,
  ];
  // A process namespace, so that all that runs inside ends with its first process, and that one with us.
  const inside = `exec unshare --mount --net --pid --fork --kill-child --mount-proc sh -ec '${steps.join('\n')}'`;
  const daemon = engine.spawn(['unshare', '--user', 'sh', '-ec', `echo ready\nread go\n${inside}`]);
  using resources = new DisposableStack();
  resources.defer(() => daemon.kill('SIGKILL'));
  const said = collect(daemon);
  await once(daemon.stdout, 'data');
  mapIds(daemon.pid!);
  daemon.stdin.end('go\n');
  await eventually('the daemon listens', async () => existsSync(engine.socket), 20_000);

  await engine.docker(['buildx', 'build', '--platform', `linux/${here},linux/s390x`, '--tag', 'both:test', context]);
  const machines = ['s390x', here].map(async (architecture) => {
    const args = ['run', '--rm', '--network', 'none', '--platform', `linux/${architecture}`, 'both:test'];
    return (await engine.docker(args)).stdout.trim();
  });
  expect(await Promise.all(machines)).toEqual(['s390x', process.arch === 'x64' ? 'x86_64' : 'aarch64']);
  daemon.kill('SIGKILL');
  await said;
});
