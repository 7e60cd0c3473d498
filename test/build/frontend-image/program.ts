import { fromJson, type JsonValue } from '@bufbuild/protobuf';
import * as llb from '../../../src/build/llb/index.ts';
import { errdefs, gateway, MountType } from '../../../src/protocol/index.ts';
import { BridgeClient, CallError } from './bridge-client.ts';

/** A frontend of the tests: what it does is named by the build argument `do`. */
const methods = gateway.LLBBridge.method;
const options = new Map(
  Object.entries(process.env)
    .filter(([name]) => name.startsWith('BUILDKIT_FRONTEND_OPT_'))
    .map(([, text = '']) => [text.slice(0, text.indexOf('=')), text.slice(text.indexOf('=') + 1)]),
);
const architecture = { x64: 'amd64' }[process.arch as string] ?? process.arch;
const platform = { os: 'linux', architecture };
const client = new BridgeClient();

const solve = async (output: llb.Output, how: { Evaluate?: boolean } = {}): Promise<string> => {
  const Definition = llb.marshal(output, platform);
  const { result } = await client.call(methods.solve, {
    ...{ Definition, ...how },
    ...{ allowResultReturn: true, allowResultArrayRef: true },
  });
  return result?.result.case === 'ref' ? result.result.value.id : '';
};

const returnRef = (id: string, metadata: Record<string, Uint8Array> = {}) =>
  client.call(methods.return, { result: { result: { case: 'ref', value: { id } }, metadata } });

const step = (script: string) =>
  llb.exec(
    {
      ...{ root: llb.image('docker.io/library/busybox:test', { platform, resolveMode: 'local' }) },
      ...{ args: ['/bin/sh', '-c', script], env: new Map([['PATH', '/bin']]), directory: '/', user: '' },
      ...{ mounts: [], secrets: [], ssh: [], platform },
    } as never,
    { name: `the step ${script}` },
  ).root;

const works: Record<string, () => Promise<unknown>> = {
  async build() {
    const { LLBCaps, FrontendAPICaps } = await client.call(methods.ping, {});
    const capabilities = [...LLBCaps, ...FrontendAPICaps].map(({ ID }) => ID);
    if (!capabilities.includes('gateway.exec') || !capabilities.includes('exec.meta.base')) throw new Error('Ping');
    const sessionID = process.env['BUILDKIT_SESSION_ID'] ?? '';
    const folder = await solve(llb.local('context', { sessionID }));
    const read = await client.call(methods.readFile, { Ref: folder, FilePath: 'said' });
    const { entries } = await client.call(methods.readDir, { DirPath: '/', Ref: folder, IncludePattern: 's*' });
    const { stat } = await client.call(methods.statFile, { Path: 'said', Ref: folder });
    const question = { Ref: 'docker.io/library/busybox:test', ResolveMode: 'local', LogName: 'asking for busybox' };
    const { Config } = await client.call(methods.resolveImageConfig, question);
    const text = `${Buffer.from(read.Data).toString().trim()}, ${entries.map((one) => one.path).join()}, ${stat?.size}`;
    const made = await solve(step(`echo "${text}" > /made; echo ${options.get('build-arg:more')} >> /made`));
    const ContainerID = 'c';
    await client.call(methods.newContainer, {
      ContainerID,
      Mounts: [
        { dest: '/', resultID: made },
        { dest: '/scratch', mountType: MountType.TMPFS },
      ],
    });
    const all = await client.run(
      ContainerID,
      ['/bin/sh', '-c', 'cat - /made > /scratch/all; cat /scratch/all; exit 4'],
      'in\n',
    );
    await client.call(methods.releaseContainer, { ContainerID });
    process.stderr.write(`the container said ${JSON.stringify(all)}\n`);
    const config = JSON.parse(Buffer.from(Config).toString()) as { config: Record<string, unknown> };
    config.config['Cmd'] = ['cat', '/made'];
    await returnRef(made, { 'containerimage.config': Buffer.from(JSON.stringify(config)) });
  },
  async environment() {
    const { BUILDKIT_WORKERS = '', BUILDKIT_EXPORTEDPRODUCT } = process.env;
    const [worker] = JSON.parse(BUILDKIT_WORKERS) as { platforms: { os: string }[] }[];
    throw new Error(
      `${worker?.platforms[0]?.os} ${BUILDKIT_EXPORTEDPRODUCT} ${process.cwd()} ${options.get('cmdline')}`,
    );
  },
  async crash() {
    process.stderr.write('it broke\n');
    process.exit(3);
  },
  async nothing() {
    process.exit(0);
  },
  async error() {
    const info = { filename: 'recipe', data: Buffer.from('one\ntwo\nthree\n').toString('base64'), language: '' };
    const ranges = [{ start: { line: 2, character: 0 }, end: { line: 2, character: 3 } }];
    const value = Buffer.from(JSON.stringify({ info, ranges }));
    const details = [{ typeUrl: 'github.com/moby/buildkit/errdefs.Source+json', value }];
    await client.call(methods.return, { error: { code: 2, message: 'two is not allowed', details } });
  },
  async flood() {
    for (let at = 0; at < 1_100; at++)
      await client.call(methods.warn, {
        digest: `sha256:${'0'.repeat(64)}`,
        level: 1n,
        short: Buffer.from(`warning ${at}`),
      });
    await client.call(methods.solve, { FrontendOpt: { large: 'x'.repeat(20 << 20) } });
  },
  async garbage() {
    process.stdout.write('what is this?\n'.repeat(10_000));
    setInterval(() => {}, 1_000);
    await new Promise(() => {});
  },
  async hang() {
    process.stderr.write('waiting\n');
    setInterval(() => {}, 1_000);
    await new Promise(() => {});
  },
  /** A step fails: what it left is looked into. */
  async look() {
    const failed = await solve(step('echo left > /here; exit 6'), { Evaluate: true }).catch((error: unknown) => error);
    if (!(failed instanceof CallError)) throw new Error('it did not fail');
    const detail = fromJson(errdefs.SolveSchema, failed.details.get('errdefs.Solve+json') as JsonValue);
    if (detail.op?.op.case !== 'exec') throw new Error('no command failed');
    const { mounts, meta } = detail.op.op.value;
    const before = { ContainerID: 'before', Mounts: [{ dest: mounts[0]!.dest, resultID: detail.inputIDs[0]! }] };
    const after = { ContainerID: 'after', Mounts: [{ dest: mounts[0]!.dest, resultID: detail.mountIDs[0]! }] };
    await Promise.all([before, after].map((container) => client.call(methods.newContainer, container)));
    const here = await client.run('after', ['cat', '/here']);
    const there = await client.run('before', ['cat', '/here']);
    throw new Error(`${failed.message}: ${meta?.args[2]}: ${here.output.trim()}, ${there.code}`);
  },
  /** It may have no more than the build may. */
  async forbidden() {
    await client.call(methods.newContainer, { ContainerID: 'c', Network: 1, Mounts: [{ dest: '/' }] });
  },
  /** Its platform would be a folder's name at the client. */
  async climb() {
    const id = await solve(step('echo climbed > /climbed'));
    const refs = { '..': { id } };
    await client.call(methods.return, { result: { result: { case: 'refs', value: { refs } } } });
  },
  async recursion() {
    const FrontendOpt = Object.fromEntries(options);
    await client.call(methods.solve, { Frontend: 'gateway.v0', FrontendOpt, allowResultReturn: true });
  },
};

try {
  await works[options.get('build-arg:do') ?? '']!();
} catch (error) {
  const details = error instanceof CallError ? [...error.details.keys()].join() : '';
  await client.call(methods.return, { error: { code: 2, message: `${(error as Error).message} ${details}`.trim() } });
}
client.close();
process.exit(0);
