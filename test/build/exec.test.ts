import { readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { failedStepOf, type StepFailed } from '../../src/build/executor/failed-step.ts';
import { reconcileSteps } from '../../src/build/executor/reconcile-steps.ts';
import { openTreeContainer } from '../../src/build/executor/tree-container.ts';
import type { Tree } from '../../src/build/index.ts';
import { execOperation } from '../../src/build/operations/exec.ts';
import {
  CacheSharingOpt,
  type ExecOp,
  ExecOpSchema,
  HostIPSchema,
  type Meta,
  MetaSchema,
  MountSchema,
  MountType,
  NetMode,
  SecretEnvSchema,
  SecurityMode,
} from '../../src/protocol/index.ts';
import { BuilderLab, operationContext } from './builder-lab.ts';

let lab: BuilderLab;
beforeAll(async () => {
  lab = await BuilderLab.open();
});
afterAll(async () => {
  await lab[Symbol.asyncDispose]();
  lab.remove();
});

type MountInit = MessageInitShape<typeof MountSchema>;

interface Wishes {
  base?: Tree;
  mounts?: MountInit[];
  inputs?: Tree[];
  meta?: Partial<Omit<Meta, '$typeName' | '$unknown'>>;
  op?: Partial<Omit<ExecOp, '$typeName' | '$unknown'>>;
  context?: ReturnType<typeof operationContext>;
}

/** Runs a script in busybox; nothing else is in its inputs unless given. */
async function run(script: string, wishes: Wishes = {}): Promise<{ trees: readonly Tree[]; output: string }> {
  const { context = operationContext() } = wishes;
  const op = create(ExecOpSchema, {
    meta: create(MetaSchema, {
      args: ['/bin/sh', '-c', script],
      env: ['PATH=/bin'],
      cwd: '/',
      removeMountStubsRecursive: true,
      ...wishes.meta,
    }),
    mounts: [{ input: 0n, dest: '/', output: 0n }, ...(wishes.mounts ?? [])].map((one) => create(MountSchema, one)),
    network: NetMode.HOST,
    ...wishes.op,
  });
  const inputs = [wishes.base ?? lab.base, ...(wishes.inputs ?? [])];
  const vertex = { digest: 'sha256:0', inputs, platform: undefined };
  const operation = execOperation(lab.parts, op, vertex);
  const allowing = { ...context, allows: (name: string) => name === 'network.host' || context.allows(name) };
  const trees = await operation.run(inputs, allowing);
  return { trees, output: context.output() };
}

/** Paths in the last layer of a tree, sorted. */
function changes(tree: Tree): string[] {
  const folder = join(lab.parts.layers.folder(tree.layers.at(-1)!));
  return (readdirSync(folder, { recursive: true }) as string[]).sort();
}

const read = (tree: Tree, path: string) =>
  readFileSync(join(lab.parts.layers.folder(tree.layers.at(-1)!), path), 'utf8');

/** Nothing of any step is left. */
async function expectNothing() {
  expect(readdirSync(lab.parts.execDirectory).filter((name) => name.startsWith('step'))).toEqual([]);
  expect(await lab.parts.layers.snapshots()).toEqual([]);
}

test('output, and what it wrote as a layer of its own', async () => {
  const { trees, output } = await run('echo out; echo err >&2; echo new > /file; mkdir /folder');
  expect(output.split('\n').sort()).toEqual(['', 'err', 'out']);
  expect(trees).toHaveLength(1);
  expect(trees[0]!.layers.slice(0, -1)).toEqual(lab.base.layers);
  expect(changes(trees[0]!)).toEqual(['file', 'folder']);
  expect(read(trees[0]!, 'file')).toBe('new\n');
  await expectNothing();
});

test('a step that changes nothing leaves nothing in its layer', async () => {
  const { trees } = await run('cat /etc/hosts /etc/resolv.conf /proc/version > /dev/null');
  expect(changes(trees[0]!)).toEqual([]);
});

test('of the places that its mounts needed, those of every container stay, as with other builders', async () => {
  const { trees } = await run('true', { base: lab.busybox });
  expect(changes(trees[0]!)).toEqual(['dev', 'etc', 'proc', 'sys']);
});

test('what it is told of its surroundings', async () => {
  const { output } = await run('hostname; cat /etc/hosts; pwd; id -u; id -g; env | sort', {
    meta: {
      user: 'app',
      cwd: '/home/app',
      env: ['PATH=/bin', 'A=b'],
      extraHosts: [create(HostIPSchema, { Host: 'more', IP: '192.0.2.9' })],
    },
  });
  expect(output).toContain('buildkitsandbox\n127.0.0.1\tlocalhost buildkitsandbox\n');
  expect(output).toContain('192.0.2.9\tmore\n/home/app\n1000\n1000\n');
  expect(output).toMatch(/A=b\nHOME=\/home\/app\nPATH=\/bin\n/);
  expect(output).not.toContain('HOSTNAME');
});

test('the files that say what hosts there are cannot be written to', async () => {
  const script = (path: string) => `(: >> ${path}) 2>&1; grep -c '${path} .* ro,nosuid,nodev,noexec' /proc/mounts`;
  const { output } = await run(`${script('/etc/hosts')}; ${script('/etc/resolv.conf')}`);
  expect(output.match(/: Read-only file system\n1\n/g)).toHaveLength(2);
});

test('a failure has the command, the code and the last output', async () => {
  const running = run('echo before the end; exit 3');
  await expect(running).rejects.toMatchObject({
    message: 'process "/bin/sh -c echo before the end; exit 3" did not complete successfully: exit code: 3',
    exitCode: 3,
  });
  const error = await running.catch((reason: { lastOutput: Uint8Array }) => reason);
  expect(Buffer.from((error as { lastOutput: Uint8Array }).lastOutput).toString()).toBe('before the end\n');
  await expectNothing();
});

test('codes that are as good as 0', async () => {
  await run('exit 4', { meta: { validExitCodes: [0, 4] } });
});

test('a program that is not there', async () => {
  const running = run('', { meta: { args: ['/bin/nothing'], env: [], cwd: '/' } });
  await expect(running).rejects.toThrow('process "/bin/nothing" did not complete successfully: exit code: 1');
  await expectNothing();
});

test('a working folder that is missing is made, with its owner', async () => {
  const { trees, output } = await run('pwd; stat -c %u /srv/deep/er', { meta: { cwd: '/srv/deep/er', user: '1000' } });
  expect(output).toBe('/srv/deep/er\n1000\n');
  expect(changes(trees[0]!)).toEqual(['srv', 'srv/deep', 'srv/deep/er']);
});

test('mounts of every kind, and none of them in the layer', async () => {
  const {
    trees: [other],
  } = await run('mkdir -p /in/side; echo given > /in/side/file');
  const context = operationContext({ secrets: { key: 'hidden' } });
  const { trees, output } = await run(
    'cat /mnt/a/file /run/secrets/key; echo; cat /single; echo x > /tmp/t/x; echo y > /cache/y; df /tmp/t | tail -1; stat -c "%a %u" /run/secrets/key; touch /mnt/a/no 2>&1',
    {
      context,
      meta: { validExitCodes: [1] },
      inputs: [other!],
      mounts: [
        { input: 1n, selector: '/in/side', dest: '/mnt/a', output: -1n, readonly: true },
        { input: 1n, selector: '/in/side/file', dest: '/single', output: -1n, readonly: true },
        {
          input: -1n,
          dest: '/run/secrets/key',
          output: -1n,
          mountType: MountType.SECRET,
          secretOpt: { ID: 'key', mode: 0o440, uid: 33 },
        },
        { input: -1n, dest: '/tmp/t', output: -1n, mountType: MountType.TMPFS, TmpfsOpt: { size: 4096n } },
        { input: -1n, dest: '/cache', output: -1n, mountType: MountType.CACHE, cacheOpt: { ID: 'all' } },
      ],
    },
  ).catch((error: Error) => ({ trees: [], output: `${error.message}\n${context.output()}` }));
  expect(output).toContain('given\nhidden\ngiven\n');
  expect(output).toMatch(/tmpfs\s+4 /);
  expect(output).toContain('440 33\n');
  expect(output).toContain('Read-only file system');
  expect(trees).toHaveLength(1);
  // The folder of the image's in which a place was made, as it was.
  expect(changes(trees[0]!)).toEqual(['tmp']);
  await expectNothing();
});

test('a cache stays, by its id', async () => {
  const cache = (id: string): MountInit => ({
    input: -1n,
    dest: '/c',
    output: -1n,
    mountType: MountType.CACHE,
    cacheOpt: { ID: id },
  });
  await run('echo one > /c/file', { mounts: [cache('kept')] });
  expect((await run('cat /c/file', { mounts: [cache('kept')] })).output).toBe('one\n');
  await expect(run('cat /c/file', { mounts: [cache('other')] })).rejects.toThrow('exit code: 1');
});

test('a cache begins with what it is given', async () => {
  const {
    trees: [base],
  } = await run('mkdir -m 750 /cache; chown 1000:1000 /cache; echo seed > /cache/seed');
  const mount: MountInit = {
    input: 1n,
    selector: '/cache',
    dest: '/c',
    output: -1n,
    mountType: MountType.CACHE,
    cacheOpt: { ID: 'b' },
  };
  const first = await run('stat -c "%a %u" /c; cat /c/seed; echo more > /c/seed', { inputs: [base!], mounts: [mount] });
  expect(first.output).toBe('750 1000\nseed\n');
  expect((await run('cat /c/seed', { inputs: [base!], mounts: [mount] })).output).toBe('more\n');
});

test('a locked cache never has two steps at once; shared and private ones do', async () => {
  const cache = (sharing: CacheSharingOpt): MountInit => ({
    ...{ input: -1n, dest: '/c', output: -1n, mountType: MountType.CACHE, cacheOpt: { ID: `s${sharing}`, sharing } },
  });
  const alone = 'mkdir /c/held || exit 9; sleep 0.1; rmdir /c/held';
  await Promise.all([1, 2, 3].map(() => run(alone, { mounts: [cache(CacheSharingOpt.LOCKED)] })));
  await Promise.all([1, 2].map(() => run(alone, { mounts: [cache(CacheSharingOpt.PRIVATE)] })));
  const meet = (me: string, you: string) => `touch /c/${me}; until [ -e /c/${you} ]; do sleep 0.01; done`;
  const shared = { mounts: [cache(CacheSharingOpt.SHARED)] };
  await Promise.all([run(meet('a', 'b'), shared), run(meet('b', 'a'), shared)]);
});

test('a secret as a variable; a missing one is named, an optional one is not there', async () => {
  const context = operationContext({ secrets: { token: 'hidden' } });
  const secretenv = [
    create(SecretEnvSchema, { ID: 'token', name: 'TOKEN' }),
    create(SecretEnvSchema, { ID: 'none', name: 'NONE', optional: true }),
  ];
  expect((await run('echo $TOKEN; env | grep -q ^NONE= || echo unset', { context, op: { secretenv } })).output).toBe(
    'hidden\nunset\n',
  );
  await expect(
    run('true', { op: { secretenv: [create(SecretEnvSchema, { ID: 'token', name: 'TOKEN' })] } }),
  ).rejects.toThrow('secret token: not found');
});

test('an agent of the client answers in the step', async () => {
  const path = join(lab.root, 'agent.sock');
  const server = createServer((socket) => void socket.once('data', (chunk) => socket.end(`heard ${chunk}`)));
  await new Promise<void>((resolve) => server.listen(path, resolve));
  const { connect } = await import('node:net');
  const context = operationContext({
    session: { requireSshAgent: async () => undefined, sshAgent: async () => connect(path) },
  });
  const mount: MountInit = {
    input: -1n,
    dest: '/run/buildkit/ssh_agent.0',
    output: -1n,
    mountType: MountType.SSH,
    SSHOpt: { ID: 'default', mode: 0o600 },
  };
  const { output, trees } = await run(
    'echo hi | nc local:/run/buildkit/ssh_agent.0; stat -c "%F %a" /run/buildkit/ssh_agent.0',
    { context, mounts: [mount] },
  );
  server.close();
  expect(output).toContain('socket 600');
  expect(changes(trees[0]!)).toEqual([]);
});

test('what is written to a mount with an output is a result; without one it is lost', async () => {
  const {
    trees: [other],
  } = await run('echo 1 > /one');
  const { trees } = await run('echo 2 > /a/two; echo 3 > /b/three', {
    inputs: [other!],
    mounts: [
      { input: 1n, dest: '/a', output: 1n },
      { input: 1n, dest: '/b', output: -1n },
    ],
  });
  expect(trees).toHaveLength(2);
  expect(changes(trees[0]!)).toEqual([]);
  expect(changes(trees[1]!)).toEqual(['two']);
  expect(trees[1]!.layers.slice(0, -1)).toEqual(other!.layers);
  await expectNothing();
});

test('links in a source or a root lead nowhere outside', async () => {
  const {
    trees: [hostile],
  } = await run(
    'ln -s /etc /out; ln -s ../../../../../../etc/hostname /up; rm -rf /etc/hosts /srv; ln -s /tmp/../../../../srv2 /srv',
  );
  await expect(
    run('true', {
      inputs: [{ layers: [hostile!.layers[1]!] }],
      mounts: [{ input: 1n, selector: '/up', dest: '/x', output: -1n, readonly: true }],
    }),
  ).rejects.toMatchObject({ kind: 'NotFound' });
  const op = create(ExecOpSchema, {
    meta: {
      args: ['/bin/sh', '-c', 'mount | grep -c srv2'],
      cwd: '/srv/work',
      env: ['PATH=/bin'],
      removeMountStubsRecursive: true,
    },
    mounts: [
      { input: 0n, dest: '/', output: 0n },
      { input: -1n, dest: '/srv/t', output: -1n, mountType: MountType.TMPFS },
    ],
    network: NetMode.NONE,
  });
  const trees = await execOperation(lab.parts, op, { digest: '', inputs: [0], platform: undefined }).run(
    [hostile!],
    operationContext(),
  );
  expect(changes(trees[0]!)).toEqual(['srv2', 'srv2/work']);
});

test('host network and insecure steps only when allowed', async () => {
  const op = create(ExecOpSchema, {
    meta: { args: ['true'], cwd: '/' },
    mounts: [{ input: 0n, dest: '/' }],
    network: NetMode.HOST,
  });
  const inputs = [lab.base];
  const operation = execOperation(lab.parts, op, { digest: '', inputs, platform: undefined });
  await expect(operation.run(inputs, operationContext())).rejects.toMatchObject({ kind: 'Forbidden' });
  await expect(run('true', { op: { security: SecurityMode.INSECURE } })).rejects.toMatchObject({ kind: 'Forbidden' });
  const context = operationContext({ allowed: ['security.insecure'] });
  const { output } = await run('grep CapEff /proc/self/status; grep Seccomp: /proc/self/status', {
    context,
    op: { security: SecurityMode.INSECURE },
  });
  expect(output).toMatch(/Seccomp:\s+0/);
  expect((await run('grep Seccomp: /proc/self/status')).output).toMatch(/Seccomp:\s+2/);
  await expectNothing();
});

test('a step that nobody wants any more is killed, and leaves nothing', async () => {
  const stop = new AbortController();
  const context = operationContext({ signal: stop.signal });
  const said = Promise.withResolvers<void>();
  const log = context.progress.log;
  context.progress.log = (stream, bytes) => {
    log(stream, bytes);
    said.resolve();
  };
  const running = run('sleep 1000 & echo up; sleep 1000', { context });
  await said.promise;
  stop.abort(new Error('nobody wants it'));
  await expect(running).rejects.toThrow('nobody wants it');
  await expectNothing();
});

test('a look at a failed step: its files are kept, when they are asked for', async () => {
  const kept = operationContext({ keepsFailures: true, allowed: ['network.host'] });
  const failing = run('echo here > /left; echo there > /mnt/left; exit 7', {
    context: kept,
    mounts: [{ input: -1n, dest: '/mnt', output: -1n }],
  });
  const error = await failing.catch((reason: StepFailed) => reason);
  expect(error).toMatchObject({ exitCode: 7 });
  const step = failedStepOf(error)!;
  const mounts = step.exec.mounts.map((mount, index) => ({ mount, tree: step.mounts[index] }));
  const { network } = step.exec;
  {
    await using container = await openTreeContainer(lab.parts, { mounts, network, architecture: '' }, kept);
    const meta = { ...step.exec.meta!, args: ['/bin/sh', '-c', 'read x; cat /left /mnt/left; stty size'] };
    const how = { security: SecurityMode.SANDBOX, secretEnv: [], stdin: true };
    const running = await container.start({ meta, ...how, terminal: true });
    let seen = '';
    running.stdout.on('data', (chunk) => {
      seen += chunk;
    });
    running.resize(20, 50);
    running.stdin!.write('\n');
    await running.ended;
    await vi.waitFor(() => expect(seen).toBe('\r\nhere\r\nthere\r\n20 50\r\n'), { timeout: 30_000 });
  }
  await expectNothing();
  await expect(run('exit 7').catch(failedStepOf)).resolves.toBeUndefined();
});

test('what is being started when its container is given up ends with it', async () => {
  const context = operationContext({ allowed: ['network.host'] });
  const { runtime } = lab.parts;
  const hasBegun = Promise.withResolvers<void>();
  const goesOn = Promise.withResolvers<void>();
  const slow: typeof runtime = {
    ...runtime,
    run: async (request) => {
      const attended = await runtime.run(request);
      hasBegun.resolve();
      await goesOn.promise;
      return attended;
    },
  };
  const mounts = [{ mount: create(MountSchema, { dest: '/' }), tree: lab.base }];
  const wishes = { mounts, network: NetMode.HOST, architecture: '' };
  const container = await openTreeContainer({ ...lab.parts, runtime: slow }, wishes, context);
  const meta = create(MetaSchema, { args: ['sleep', '1000'], env: ['PATH=/bin'], cwd: '/' });
  const how = { security: SecurityMode.SANDBOX, secretEnv: [], stdin: false, terminal: false };
  const starting = container.start({ meta, ...how });
  await hasBegun.promise;
  const disposal = container[Symbol.asyncDispose]();
  goesOn.resolve();
  await disposal;
  expect(await (await starting).ended).toBe(137);
  await expectNothing();
  await expect(container.start({ meta, ...how })).rejects.toMatchObject({ kind: 'Conflict' });
});

test('a foreign platform is refused with a remedy', async () => {
  const op = create(ExecOpSchema, {
    meta: { args: ['true'], cwd: '/' },
    mounts: [{ input: 0n, dest: '/' }],
    network: NetMode.NONE,
  });
  const inputs = [lab.base];
  const platform = { Architecture: 'mips64', OS: 'linux', Variant: '', OSVersion: '', OSFeatures: [] } as never;
  const operation = execOperation(lab.parts, op, { digest: '', inputs, platform });
  await expect(operation.run(inputs, operationContext())).rejects.toMatchObject({ kind: 'Unsupported' });
});

test('nothing is left to reconcile', async () => {
  await reconcileSteps(lab.parts);
  expect(lab.reports).toEqual([]);
});
