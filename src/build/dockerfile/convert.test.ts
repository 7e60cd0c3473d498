import fc from 'fast-check';
import { expect, test } from 'vitest';
import { TareError } from '../../errors/index.ts';
import { NetMode, SecurityMode } from '../../protocol/index.ts';
import { SourceError } from '../source-error.ts';
import { DIGEST, make, type TestBuild } from './frontend.fixture.ts';

/** What a stage's instruction adds to the history, after `FROM scratch`. */
test.each([
  ['ENV A=1 B="two words"', 'ENV A=1 B=two words', { Env: expect.arrayContaining(['A=1', 'B=two words']) }],
  ['LABEL a.b="c d" e=f', 'LABEL a.b=c d e=f', { Labels: { 'a.b': 'c d', e: 'f' } }],
  ['EXPOSE 80 53/udp', 'EXPOSE [53/udp 80/tcp]', { ExposedPorts: { '80/tcp': {}, '53/udp': {} } }],
  ['VOLUME /a /b', 'VOLUME [/a /b]', { Volumes: { '/a': {}, '/b': {} } }],
  ['USER app:5', 'USER app:5', { User: 'app:5' }],
  ['WORKDIR /a/../b', 'WORKDIR /b', { WorkingDir: '/b' }],
  ['STOPSIGNAL SIGTERM', 'STOPSIGNAL SIGTERM', { StopSignal: 'SIGTERM' }],
  ['SHELL ["/bin/bash", "-c"]', 'SHELL [/bin/bash -c]', { Shell: ['/bin/bash', '-c'] }],
  ['CMD ["a", "b"]', 'CMD ["a" "b"]', { Cmd: ['a', 'b'] }],
  ['ENTRYPOINT a b', 'ENTRYPOINT ["/bin/sh" "-c" "a b"]', { Entrypoint: ['/bin/sh', '-c', 'a b'] }],
  ['HEALTHCHECK --interval=5m --retries=3 CMD ["x"]', `HEALTHCHECK &{["CMD" "x"] "5m0s" "0s" "0s" "0s" '\\x03'}`, {}],
  ['MAINTAINER me', 'MAINTAINER me', {}],
  ['ARG A=1', 'ARG A=1', {}],
  ['RUN ["a", "b"]', 'RUN a b # buildkit', {}],
  ['COPY --chmod=755 a b /c/', 'COPY --chmod=755 a b /c/ # buildkit', {}],
  ['ADD a /b', 'ADD a /b # buildkit', {}],
])('%s is told of in history and config', async (instruction, history, config) => {
  const made = await make(`FROM scratch\n${instruction}`);
  expect(made.config.history.at(-1)!.created_by).toBe(history);
  expect(made.config.config).toMatchObject(config);
});

test('thousands of settings take no time for each other', async () => {
  const count = 9_500;
  const lines = (many: number, instruction: (at: number) => string) =>
    Array.from({ length: many }, (_, at) => instruction(at));
  const before = process.cpuUsage();
  const made = await make(
    [
      ...['FROM scratch', ...lines(count, (at) => `LABEL l${at}=${at}`), ...lines(count, (at) => `VOLUME /${at}`)],
      ...[...lines(900, (at) => `ENV E${at}=${at}`), 'ENV E5=new', 'LABEL __proto__=own'],
    ].join('\n'),
  );
  const { user, system } = process.cpuUsage(before);
  // Copied for each line, they took over twenty.
  expect((user + system) / 1e6).toBeLessThan(10);
  const { Env, Labels, Volumes } = made.config.config as Record<string, object>;
  expect(Env).toHaveLength(901);
  expect(Env).toContain('E5=new');
  expect([Labels, Volumes].map((map) => Object.keys(map!).length)).toEqual([count + 1, count]);
});

const execOf = async (dockerfile: string, build?: TestBuild) => {
  const { ops } = await make(dockerfile, build);
  const op = ops.findLast((candidate) => candidate.op.case === 'exec')!.op;
  if (op.case !== 'exec') throw new Error('want an exec');
  return op.value;
};

test('arguments are scoped: global ones must be declared again, given ones win, predefined ones need no declaration', async () => {
  const text = 'ARG V=1\nARG W=$V.5\nFROM debian:stable\nARG W\nARG X=$W.x\nARG TARGETARCH\nRUN echo $W $V $X';
  const made = await make(text);
  expect(made.config.history.at(-1)!.created_by).toBe(
    'RUN |3 W=1.5 X=1.5.x TARGETARCH=amd64 /bin/sh -c echo $W $V $X # buildkit',
  );
  expect(made.names.at(-1)).toBe('[2/2] RUN echo 1.5 $V 1.5.x');
  const given = await make(text, { options: { 'build-arg:V': '2', 'build-arg:X': 'y', 'build-arg:OTHER': 'z' } });
  expect(given.config.history.at(-1)!.created_by).toContain('|3 W=2.5 X=y TARGETARCH=amd64');
  expect(given.config.config['Env']).toEqual([expect.stringMatching(/^PATH=/)]);
});

test('proxies of the client reach commands beside their environment', async () => {
  const { meta } = await execOf('FROM debian:stable\nRUN x', { options: { 'build-arg:http_proxy': 'http://p' } });
  expect(meta!.proxyEnv).toMatchObject({ httpProxy: 'http://p' });
  expect(meta!.env).toEqual([expect.stringMatching(/^PATH=/)]);
});

test('RUN has its mounts, network, security and devices', async () => {
  const exec = await execOf(
    [
      'FROM debian:stable',
      'WORKDIR /w',
      'RUN --mount=type=cache,target=/c,sharing=locked,id=i --mount=target=s,source=/src,rw --mount=type=tmpfs,target=/t,size=1m \\',
      '  --mount=type=secret,id=k,env=K --mount=type=ssh,required --network=none --security=insecure true',
    ].join('\n'),
    { options: { 'build-arg:BUILDKIT_CACHE_MOUNT_NS': 'ns' } },
  );
  expect(exec.network).toBe(NetMode.NONE);
  expect(exec.security).toBe(SecurityMode.INSECURE);
  expect(exec.mounts.map(({ dest, selector, output }) => [dest, selector, output])).toEqual([
    ['/', '', 0n],
    ['/c', '', -1n],
    ['/t', '', -1n],
    ['/w/s', '/src', -1n],
    ['/run/buildkit/ssh_agent.0', '', 0n],
  ]);
  expect(exec.mounts[1]!.cacheOpt).toMatchObject({ ID: 'ns/i', sharing: 2 });
  expect(exec.secretenv).toMatchObject([{ ID: 'k', name: 'K', optional: true }]);
});

test.each([
  ['RUN <<EOF\na\nb\nEOF', 'a\nb\n', '[2/2] RUN <<EOF (a...)', 1],
  ['RUN <<-EOF\n\ta\n\tEOF', 'a\n', '[2/2] RUN <<-EOF (a)', 1],
  ['RUN python3 <<EOF\nx\nEOF', 'python3 <<EOF\nx\nEOF', '[2/2] RUN python3 <<EOF', 1],
  ['RUN <<run\n#!/bin/env python\nx\nrun', '/dev/pipes/run', '[2/2] RUN <<run (#!/bin/env python...)', 2],
])('%j is a script', async (instruction, argument, name, mounts) => {
  const text = `FROM debian:stable\n${instruction}`;
  const exec = await execOf(text);
  expect(exec.meta!.args).toEqual(['/bin/sh', '-c', argument]);
  expect(exec.mounts).toHaveLength(mounts);
  expect((await make(text)).names.at(-1)).toBe(name);
});

const copyOf = async (instruction: string) => {
  const { ops } = await make(`FROM debian:stable\nWORKDIR /w\n${instruction}`);
  const op = ops.at(-2)!.op;
  if (op.case !== 'file') throw new Error('want a file operation');
  return op.value.actions.map(({ action }) => action.value);
};

test.each([
  [
    'COPY a* b ./c/',
    [
      { src: '/a*', dest: '/w/c/', allowWildcard: true },
      { src: '/b', dest: '/w/c/' },
    ],
  ],
  ['COPY a .', [{ dest: '/w/', dirCopyContents: true, createDestPath: true, followSymlink: true, mode: -1 }]],
  ['COPY --chmod=u=rwX a /', [{ modeStr: 'u=rwX' }]],
  [
    'COPY --chown=app:root a /',
    [{ owner: { user: { user: { value: { name: 'app' } } }, group: { user: { value: 0 } } } }],
  ],
  ['COPY --parents x/./y/*.c /z/', [{ src: '/x', includePatterns: ['y/*.c'], requiredPaths: [] }]],
  ['COPY --parents x/y /z/', [{ src: '/', includePatterns: ['x/y'], requiredPaths: ['/x/y'] }]],
  ['COPY --exclude=*.md a /', [{ excludePatterns: ['*.md'] }]],
  ['ADD a.tar /', [{ attemptUnpackDockerCompatibility: true }]],
  ['ADD https://example.com/x.tar /', [{ src: '/x.tar', attemptUnpackDockerCompatibility: false }]],
  ['ADD https://example.com/x.git#v1 /r', [{ src: '/', dest: '/r' }]],
  ['COPY <<a.txt /b/\nhi $HOME\na.txt', [{ src: '/a.txt', dest: '/b/' }]],
])('%j is copied so', async (instruction, actions) => expect(await copyOf(instruction)).toMatchObject(actions));

test('COPY --link is a layer of its own, laid over what is below', async () => {
  const { ops, names } = await make('FROM debian:stable\nCOPY --link a /');
  expect(ops.map(({ op }) => op.case)).toEqual(['source', 'source', 'file', 'merge', undefined]);
  expect(names.slice(2)).toEqual(['[2/2] COPY --link a /', '[2/2] LINK COPY --link a /']);
});

test('of the context only what is copied is asked for, without what is ignored', async () => {
  const { ops } = await make('FROM debian:stable\nCOPY b a* /x/\nADD c /', {
    files: { '.dockerignore': '# no\n/tmp/\n!x' },
  });
  const sources = ops.flatMap(({ op }) => (op.case === 'source' ? [op.value] : []));
  const context = sources.find(({ identifier }) => identifier === 'local://context')!;
  expect(JSON.parse(context.attrs['local.followpaths']!)).toEqual(['a*', 'b', 'c']);
  expect(JSON.parse(context.attrs['local.excludepatterns']!)).toEqual(['tmp', '!x']);
});

test('stages that the target does not need are not asked for', async () => {
  const text = 'FROM nowhere AS unused\nRUN x\nFROM debian:stable AS app\nRUN y\nFROM app AS last\nRUN z';
  const { names, run } = await make(text, { options: { target: 'APP' } });
  expect(names.at(-1)).toBe('[app 2/2] RUN y');
  expect(run.asked).toEqual(['[internal] load metadata for docker.io/library/debian:stable']);
});

test('triggers of the base run first, once, and what they need is found', async () => {
  const images = {
    'docker.io/library/parent:latest': { config: { OnBuild: ['COPY --from=debian:stable /a /b', 'ENV A=1'] } },
  };
  const { names, config } = await make('FROM parent\nRUN x', { images });
  expect(names.slice(-2)).toEqual(['[2/4] ONBUILD COPY --from=debian:stable /a /b', '[3/4] RUN x']);
  expect(config.config['OnBuild']).toBeUndefined();
});

test('an ENTRYPOINT drops the CMD of the base, but none of its own stage', async () => {
  const images = { 'docker.io/library/p:latest': { config: { Cmd: ['old'] } } };
  expect((await make('FROM p\nENTRYPOINT ["e"]', { images })).config.config['Cmd']).toBeUndefined();
  expect((await make('FROM p\nCMD ["c"]\nENTRYPOINT ["e"]', { images })).config.config['Cmd']).toEqual(['c']);
});

test('several platforms have results, configs and names of their own', async () => {
  const run = (await make('FROM debian:stable\nRUN x', { options: { platform: 'linux/amd64', 'multi-platform': '0' } }))
    .run;
  expect([...run.result.metadata.keys()]).toContain('containerimage.config');
  const text = 'FROM --platform=$BUILDPLATFORM debian:stable\nARG TARGETARCH\nRUN x';
  const { runFrontend, namesOf } = await import('./frontend.fixture.ts');
  const both = await runFrontend(text, { options: { platform: 'linux/amd64,linux/arm64' } });
  expect([...both.result.refs.keys()]).toEqual(['linux/amd64', 'linux/arm64']);
  expect(JSON.parse(Buffer.from(both.result.metadata.get('refs.platforms')!).toString())).toMatchObject({
    Platforms: [{ ID: 'linux/amd64' }, { ID: 'linux/arm64', Platform: { architecture: 'arm64' } }],
  });
  const names = both.solved.slice(-2).map(({ definition }) => namesOf(definition!).at(-1));
  expect(names.toSorted()).toEqual(['[linux/amd64 2/2] RUN x', '[linux/amd64->arm64 2/2] RUN x']);
});

test('a named context stands for a stage, an image and a folder', async () => {
  const { ops, names } = await make('FROM base AS b\nFROM debian:stable\nCOPY --from=b /x /\nCOPY --from=files /y /', {
    options: { 'context:b': 'docker-image://busybox', 'context:files': 'local:files' },
    images: { 'docker.io/library/busybox:latest': {} },
  });
  const sources = ops.flatMap(({ op }) => (op.case === 'source' ? [op.value] : []));
  expect(sources.map(({ identifier }) => identifier)).toEqual(
    expect.arrayContaining([`docker-image://docker.io/library/busybox:latest@${DIGEST}`, 'local://files']),
  );
  expect(sources.find(({ identifier }) => identifier === 'local://files')!.attrs['local.followpaths']).toBe('["y"]');
  expect(names).toEqual(expect.arrayContaining(['[context files] load from client']));
});

test('of a named folder all is asked for that is taken of the stages that begin with it', async () => {
  const { ops } = await make(
    'FROM files AS a\nFROM a AS b\nENV A=1\nFROM scratch\nCOPY --from=a /x /\nCOPY --from=b /y /',
    { options: { 'context:files': 'local:files' } },
  );
  const [folder] = ops.flatMap(({ op }) => (op.case === 'source' ? [op.value] : []));
  expect(folder!.attrs['local.followpaths']).toBe('["x","y"]');
});

test.each([
  [
    'FROM debian:stable AS build',
    { target: 'biuld' },
    /target stage "biuld" could not be found \(did you mean build\?\)/,
    0,
  ],
  ['FROM debain:stable', {}, /debain:stable: docker.io\/library\/debain:stable: not found/, 1],
  ['FROM $NOTHING', {}, /base name \(\$NOTHING\) should not be blank/, 1],
  ['FROM --platform=a/b/c/d debian:stable', {}, /failed to parse platform a\/b\/c\/d/, 1],
  [
    'FROM scratch AS a\nCOPY --from=b /x /\nFROM scratch AS b\nCOPY --from=a /x /',
    {},
    /circular dependency detected on stage: a/,
    4,
  ],
  ['FROM scratch\nCOPY --from=7 /x /', {}, /invalid stage index 7/, 2],
  ['FROM scratch\nCOPY --chmod=999 x /', {}, /invalid chmod parameter: '999'/, 2],
  ['FROM scratch\nADD --checksum=md5:1 https://e.com/x /', {}, /invalid checksum/, 2],
  ['FROM scratch\nCOPY https://e.com/x /', {}, /source can't be a URL for COPY/, 2],
  ['FROM scratch\nRUN --mount=type=bind,target=/ x', {}, /invalid mount target/, 2],
  ['FROM scratch\nSTOPSIGNAL NO', {}, /invalid signal: NO/, 2],
])('%j with %j is refused with its line', async (text, options, message, line) => {
  const error = await make(text, { options: options as Record<string, string> }).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(TareError);
  expect((error as Error).message).toMatch(message);
  if (line === 0) return;
  expect(error).toBeInstanceOf(SourceError);
  expect((error as SourceError).ranges.map(({ start }) => start.line)).toContain(line);
  expect((error as SourceError).source?.filename).toBe('Dockerfile');
});

test('SOURCE_DATE_EPOCH is the time of every step, and of no file that is copied', async () => {
  const { config, ops } = await make('FROM debian:stable\nENV A=1\nWORKDIR /w\nCOPY a /', {
    options: { 'build-arg:SOURCE_DATE_EPOCH': '0' },
  });
  expect(config.history.map(({ created }) => created)).toEqual(Array(3).fill('1970-01-01T00:00:00Z'));
  const times = ops.flatMap(({ op }) =>
    op.case === 'file'
      ? op.value.actions.map(({ action }) => [action.case, (action.value as { timestamp?: bigint }).timestamp])
      : [],
  );
  expect(times).toEqual([
    ['mkdir', 0n],
    ['copy', -1n],
  ]);
});

test('any text gives a graph, or an error that says why', async () => {
  const word = fc.constantFrom(
    'FROM scratch',
    'FROM a AS b',
    'RUN',
    'COPY',
    'ADD',
    '--from=b',
    '--mount=type=cache,target=/x',
    '$A',
    `\${B:-c}`,
    'ARG',
    'ENV',
    'A=b',
    '<<EOF',
    'EOF',
    '\n',
    '\n',
    ' ',
    '"',
    "'",
    '\\',
    '.',
    '/x',
    'ONBUILD',
    'WORKDIR',
    '--link',
    '--parents',
  );
  const text = fc.oneof(
    fc.string(),
    fc.array(word, { maxLength: 30 }).map((words) => `FROM scratch\n${words.join(' ')}`),
  );
  await fc.assert(
    fc.asyncProperty(text, async (dockerfile) => {
      const made = await make(dockerfile).catch((error: unknown) => error);
      if (made instanceof Error && !(made instanceof TareError)) throw made;
    }),
    { numRuns: Number(process.env['FUZZ_RUNS'] ?? 500) },
  );
});

test('what is questionable is told with its line, and fails the build where it shall', async () => {
  const text = 'FROM debian:stable\nENV API_KEY=1\nRUN echo\nCOPY $NONE a b/\nCMD x';
  const { run } = await make(text);
  expect(run.warnings.map(({ short, ranges }) => [short.split(':')[0], ranges[0]!.start.line])).toEqual([
    ['SecretsUsedInArgOrEnv', 2],
    ['UndefinedVar', 4],
    ['JSONArgsRecommended', 5],
  ]);
  await expect(make(text, { options: { 'build-arg:BUILDKIT_DOCKERFILE_CHECK': 'error=true' } })).rejects.toThrow(
    /lint violation found for rules: SecretsUsedInArgOrEnv, UndefinedVar, JSONArgsRecommended/,
  );
});

test.each([
  [
    'frontend.targets',
    {
      targets: [
        { name: 'a', base: 'debian:stable' },
        { default: true, base: 'a' },
      ],
    },
  ],
  ['frontend.outline', { args: [{ name: 'V', value: '1' }], secrets: [{ name: 'k' }] }],
  ['frontend.lint', { warnings: [{ ruleName: 'JSONArgsRecommended' }] }],
  ['frontend.subrequests.describe', expect.arrayContaining([expect.objectContaining({ name: 'frontend.lint' })])],
])('the question %s is answered', async (question, answer) => {
  const { runFrontend } = await import('./frontend.fixture.ts');
  const text = 'FROM debian:stable AS a\nARG V=1\nRUN --mount=type=secret,id=k x\nFROM a\nCMD y';
  const { result } = await runFrontend(text, { options: { requestid: question } });
  const document = JSON.parse(Buffer.from(result.metadata.get('result.json')!).toString());
  expect(document).toEqual(Array.isArray(document) ? answer : expect.objectContaining({}));
  if (!Array.isArray(document)) expect(document).toMatchObject(answer as object);
});

test('docker’s frontend is this one; another is asked to do the build', async () => {
  expect((await make('# syntax=docker/dockerfile:1.7-labs\nFROM debian:stable\nRUN x')).names.at(-1)).toBe(
    '[2/2] RUN x',
  );
  const { runFrontend } = await import('./frontend.fixture.ts');
  const answer = { refs: new Map(), metadata: new Map([['mark', Buffer.from('1')]]), attestations: new Map() };
  const { result, solved } = await runFrontend('# syntax=example.com/other:1 arg\nANYTHING', {
    onSolve: ({ frontend }) => (frontend === 'gateway.v0' ? Promise.resolve(answer) : undefined),
  });
  expect(result.metadata.has('mark')).toBe(true);
  expect(solved.at(-1)!.frontendOptions).toMatchObject({
    cmdline: 'example.com/other:1 arg',
    source: 'example.com/other:1',
  });
});
