import { execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, createServer as createTcpServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeEach, expect, onTestFinished, test } from 'vitest';
import { gitSource } from './git.ts';
import { httpSource } from './http.ts';
import type { Attributes } from './source-attributes.ts';
import { contextOf, openSourceParts, ScriptedSession, type SourceParts } from './sources.fixture.ts';

let parts: SourceParts;
beforeEach(async () => {
  const opened = await openSourceParts();
  parts = opened;
  return () => opened[Symbol.asyncDispose]();
});

async function serve(answer: (request: IncomingMessage, response: ServerResponse) => void): Promise<string> {
  const server = createServer(answer).listen(0, '127.0.0.1');
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  await new Promise((resolve) => server.once('listening', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function fetched(url: string, attributes: Attributes = {}, session?: ScriptedSession) {
  const context = contextOf(session === undefined ? [] : [session.session]);
  const operation = httpSource(parts, url, attributes);
  const { digest } = await operation.cacheMap(context);
  const [tree] = await operation.run([], context);
  return { digest, folder: parts.layers.folder(tree!.layers[0]!), layer: tree!.layers[0] };
}

test('an address that is none is named, without its password', () => {
  expect(() => httpSource(parts, 'http://u:p@[x/y', {})).toThrow(
    'invalid address "http://[x/y": want http://HOST/PATH or https://HOST/PATH',
  );
});

test('a connection whose file has no place is not kept', async () => {
  const closed = Promise.withResolvers<void>();
  const url = await serve((_request, response) => {
    response.once('close', closed.resolve);
    response.write('the beginning');
  });
  const layers = { remove: async () => {}, prepare: () => Promise.reject(new Error('no space left')) };
  const operation = httpSource({ ...parts, layers } as unknown as SourceParts, `${url}/f`, {});
  await expect(operation.cacheMap(contextOf([]))).rejects.toThrow('no space left');
  await closed.promise;
});

test('a percent sign in a password is one', async () => {
  const seen: (string | undefined)[] = [];
  const url = await serve((request, response) => {
    seen.push(request.headers.authorization);
    response.end('x');
  });
  await fetched(url.replace('//', '//u:100%@').concat('/f'));
  expect(seen).toEqual([`Basic ${Buffer.from('u:100%').toString('base64')}`]);
});

test('git that cannot be begun for want of descriptors fails its build, and no more', () => {
  const program = `
    import { openSync, closeSync } from 'node:fs';
    import { Git } from ${JSON.stringify(join(import.meta.dirname, 'git/run-git.ts'))};
    const context = { sessions: () => [], signal: new AbortController().signal };
    await using git = await Git.open({ execDirectory: ${JSON.stringify(parts.execDirectory)} }, { url: 'https://x/y', shownUrl: '' }, context);
    const held = [];
    try {
      for (;;) held.push(openSync('/dev/null'));
    } catch {}
    const said = await git.run(['--version']).catch((error) => error.message);
    for (const fd of held) closeSync(fd);
    console.log(said);`;
  const node = [process.execPath, '--input-type=module', '-e', program];
  const output = execFileSync('sh', ['-c', 'ulimit -n 200 && exec "$@"', 'sh', ...node], { encoding: 'utf8' });
  expect(output).toBe('git could not be started: spawn git EMFILE\n');
});

test('a file comes once, and again when it has changed', async () => {
  let content = 'one';
  const seen: (string | undefined)[] = [];
  const url = await serve((request, response) => {
    const etag = JSON.stringify(content);
    seen.push(request.headers['if-none-match']);
    if (request.headers['if-none-match'] === etag) response.writeHead(304).end();
    else response.writeHead(200, { etag, 'last-modified': 'Thu, 01 Jan 2015 00:00:00 GMT' }).end(content);
  });
  const first = await fetched(`${url}/a/file.txt?x=1`);
  expect(readFileSync(join(first.folder, 'file.txt'), 'utf8')).toBe('one');
  expect(lstatSync(join(first.folder, 'file.txt'))).toMatchObject({ mode: 0o100600, mtimeMs: 1_420_070_400_000 });
  const second = await fetched(`${url}/a/file.txt?x=1`);
  expect(second).toEqual(first);
  content = 'two';
  const third = await fetched(`${url}/a/file.txt?x=1`);
  expect(third.digest).not.toBe(first.digest);
  expect(readFileSync(join(third.folder, 'file.txt'), 'utf8')).toBe('two');
  expect(seen).toEqual([undefined, '"one"', '"one"']);
});

test.each([
  { says: 'attachment; filename="../../etc/x y"', name: 'x y' },
  { says: "attachment; filename*=UTF-8''%C3%BC.txt", name: 'ü.txt' },
  { says: 'attachment; filename=..', name: 'p' },
])('a server that says $says names $name', async ({ says, name }) => {
  const url = await serve((_, response) => response.setHeader('content-disposition', says).end('x'));
  expect(readdirSync((await fetched(`${url}/p`)).folder)).toEqual([name]);
});

test('name, owner and mode are as asked for, and a checksum is compared', async () => {
  let asked = 0;
  const url = await serve((_, response) => {
    asked += 1;
    response.end('content');
  });
  const sum = `sha256:${createHash('sha256').update('content').digest('hex')}`;
  const attributes = {
    'http.filename': 'f',
    'http.perm': '0755',
    'http.uid': '7',
    'http.gid': '8',
    'http.checksum': sum,
  };
  const { folder } = await fetched(`${url}/`, attributes);
  expect(lstatSync(join(folder, 'f'))).toMatchObject({ mode: 0o100755, uid: 7, gid: 8 });
  await fetched(`${url}/`, attributes);
  expect(asked).toBe(1);
  const wrong = `sha256:${'0'.repeat(64)}`;
  await expect(fetched(`${url}/`, { 'http.checksum': wrong })).rejects.toThrow(`digest mismatch ${sum}: ${wrong}`);
});

test('what a server refuses, and where it leads, is told', async () => {
  const url = await serve((request, response) => {
    if (request.url === '/loop') response.writeHead(302, { location: '/loop' }).end();
    else if (request.url === '/file') response.writeHead(302, { location: 'file:///etc/passwd' }).end();
    else if (request.url === '/same') response.writeHead(304).end();
    else response.writeHead(404).end();
  });
  await expect(fetched(`${url}/none`)).rejects.toThrow(/invalid response status 404/);
  await expect(fetched(`${url}/loop`)).rejects.toThrow(/redirects more than 10 times/);
  await expect(fetched(`${url}/file`)).rejects.toThrow(/want an http or https URL/);
  await expect(fetched(`${url}/same`)).rejects.toThrow(/said to be unchanged, but never came/);
});

test('a secret goes to the server itself, and to nobody that it leads to', async () => {
  const seen: (string | undefined)[] = [];
  const other = await serve((request, response) => {
    seen.push(request.headers.authorization);
    response.end('x');
  });
  const url = await serve((request, response) => {
    seen.push(request.headers.authorization);
    response.writeHead(302, { location: other }).end();
  });
  const session = Object.assign(new ScriptedSession('s', () => []), { secret: async () => Buffer.from('Bearer t\n') });
  await fetched(url, { 'http.authheadersecret': 'H' }, session);
  expect(seen).toEqual(['Bearer t', undefined]);
});

/** A repository behind git's own server. */
async function startGit(): Promise<{ url: string; work: string; git(...args: string[]): string }> {
  const base = join(parts.root, 'served');
  const work = join(base, 'repo');
  mkdirSync(work, { recursive: true });
  const env = {
    ...{ PATH: process.env['PATH'], HOME: base, GIT_CONFIG_NOSYSTEM: '1' },
    ...{ GIT_AUTHOR_NAME: 'a', GIT_AUTHOR_EMAIL: 'a@b', GIT_COMMITTER_NAME: 'a', GIT_COMMITTER_EMAIL: 'a@b' },
  };
  const git = (...args: string[]) =>
    execFileSync('git', args, { cwd: work, env, encoding: 'utf8', stdio: 'pipe' }).trim();
  git('init', '-q', '-b', 'main');
  mkdirSync(join(work, 'sub'));
  writeFileSync(join(work, 'a'), 'one');
  writeFileSync(join(work, 'sub/b'), 'two');
  git('add', '.');
  git('commit', '-qm', 'first');
  git('tag', '-a', '-m', 'note', 'v1');
  const port = await freePort();
  const options = ['--reuseaddr', '--export-all', '--listen=127.0.0.1', `--port=${port}`, `--base-path=${base}`];
  const daemon = spawn('setpriv', ['--pdeathsig', 'TERM', 'git', 'daemon', ...options], { env, stdio: 'ignore' });
  onTestFinished(async () => {
    const gone = new Promise((resolve) => daemon.once('exit', resolve));
    daemon.kill('SIGTERM');
    await gone;
  });
  while (!(await answers(port))) await sleep(20);
  return { url: `git://127.0.0.1:${port}/repo/.git`, work, git };
}

async function freePort(): Promise<number> {
  const server = createTcpServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

const answers = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });

async function checkedOut(url: string, fragment = '', attributes: Attributes = {}) {
  const context = contextOf([]);
  const operation = gitSource(parts, `127.0.0.1/repo${fragment}`, { 'git.fullurl': url, ...attributes });
  const { digest, material } = await operation.cacheMap(context);
  const [tree] = await operation.run([], context);
  return { digest, commit: material!.digest, folder: parts.layers.folder(tree!.layers[0]!) };
}

test('branches, tags, commits and folders of a repository', async () => {
  const { url, work, git } = await startGit();
  const commit = git('rev-parse', 'HEAD');
  const head = await checkedOut(url);
  expect(head.commit).toBe(commit);
  expect(readdirSync(head.folder).sort()).toEqual(['a', 'sub']);
  expect(lstatSync(head.folder).mode & 0o777).toBe(0o755);
  for (const ref of ['main', 'v1', commit]) {
    const found = await checkedOut(url, `#${ref}`);
    expect(found).toMatchObject({ commit, digest: head.digest });
  }
  expect(readdirSync((await checkedOut(url, '#main:sub')).folder)).toEqual(['b']);
  writeFileSync(join(work, 'a'), 'changed');
  git('commit', '-qam', 'second');
  const second = await checkedOut(url, '#main');
  expect(second.commit).not.toBe(commit);
  expect(readFileSync(join(second.folder, 'a'), 'utf8')).toBe('changed');
  const kept = await checkedOut(url, '#main', { 'git.keepgitdir': 'true' });
  expect(existsSync(join(kept.folder, '.git/HEAD'))).toBe(true);
  expect(readFileSync(join(kept.folder, '.git/config'), 'utf8')).toContain(`url = ${url}`);
  for (const [ref, name] of [
    ['#main', 'refs/heads/main'],
    ['', 'refs/heads/main'],
    ['#v1', 'refs/tags/v1'],
    [`#${commit}`, undefined],
  ] as const) {
    const { folder } = await checkedOut(url, ref, { 'git.keepgitdir': 'true' });
    const said = (...args: string[]) => git('-c', 'safe.directory=*', '-C', folder, ...args);
    expect(said('for-each-ref', '--format=%(refname)')).toBe(name ?? '');
    expect(said('rev-list', '--count', 'HEAD')).toBe('1');
    if (name === 'refs/tags/v1') expect(said('describe')).toBe('v1');
    expect(existsSync(join(folder, '.git/logs'))).toBe(false);
  }
  // Asked for by its commit, which no name leads to any more.
  expect(readFileSync(join((await checkedOut(url, `#${commit}`)).folder, 'a'), 'utf8')).toBe('one');
});

test('the files of submodules are there, without anything of git', async () => {
  const { url, work, git } = await startGit();
  const inner = git('rev-parse', 'HEAD');
  writeFileSync(join(work, '.gitmodules'), `[submodule "x"]\n\tpath = deep/x\n\turl = ${url}\n`);
  git('add', '.');
  git('update-index', '--add', '--cacheinfo', `160000,${inner},deep/x`);
  git('commit', '-qm', 'with a submodule');
  const { folder } = await checkedOut(url, '#main');
  expect(readdirSync(folder).sort()).toEqual(['.gitmodules', 'a', 'deep', 'sub']);
  expect(readdirSync(join(folder, 'deep/x')).sort()).toEqual(['a', 'sub']);
});

test('a submodule far away by ssh has neither keys nor settings of the engine’s own user', async () => {
  const { url, work, git } = await startGit();
  writeFileSync(join(work, '.gitmodules'), '[submodule "x"]\n\tpath = x\n\turl = ssh://git@host.invalid/x\n');
  git('add', '.');
  git('update-index', '--add', '--cacheinfo', `160000,${git('rev-parse', 'HEAD')},x`);
  git('commit', '-qm', 'with a submodule');
  const programs = join(parts.root, 'programs');
  mkdirSync(programs);
  writeFileSync(join(programs, 'ssh'), `#!/bin/sh\necho "$@" >> ${programs}/said\nexit 255\n`, { mode: 0o755 });
  const { PATH = '' } = process.env;
  process.env['PATH'] = `${programs}:${PATH}`;
  onTestFinished(() => {
    process.env['PATH'] = PATH;
  });
  await expect(checkedOut(url, '#main')).rejects.toThrow(/failed to fetch/);
  for (const said of readFileSync(join(programs, 'said'), 'utf8').trim().split('\n'))
    expect(said).toMatch(/^-F \/dev\/null -o IdentityFile=none .*git@host\.invalid/);
});

test('what a repository does not have is told, and what it plants does nothing', async () => {
  const { url, work, git } = await startGit();
  await expect(checkedOut(url, '#nope')).rejects.toThrow(/repository does not contain ref nope/);
  await expect(checkedOut(url, '#main:nope')).rejects.toThrow(/has no folder "nope"/);
  await expect(checkedOut(url, '#main', { 'git.checksum': '0000000' })).rejects.toThrow(
    /expected checksum to match 0000000/,
  );
  execFileSync('ln', ['-s', '/etc', join(work, 'out')]);
  writeFileSync(join(work, '.gitmodules'), `[submodule "x"]\n\tpath = x\n\turl = file://${work}\n`);
  git('add', '.');
  git('update-index', '--add', '--cacheinfo', `160000,${git('rev-parse', 'HEAD')},x`);
  git('commit', '-qm', 'hostile');
  await expect(checkedOut(url, '#main:out')).rejects.toThrow(/transport 'file' not allowed|has no folder "out"/);
  await expect(checkedOut(url, '#main')).rejects.toThrow(/transport 'file' not allowed/);
  const without = await checkedOut(url, '#main', { 'git.skipsubmodules': 'true' });
  expect(readdirSync(without.folder).sort()).toEqual(['.gitmodules', 'a', 'out', 'sub', 'x']);
  expect(readdirSync(join(parts.execDirectory, 'scratch'))).toEqual([]);
});

test.each([
  { url: 'file:///etc', fragment: '' },
  { url: '/etc', fragment: '' },
  { url: 'ext::sh -c true', fragment: '' },
  { url: '--upload-pack=x', fragment: '' },
  { url: 'ssh://-oProxyCommand=x/y', fragment: '' },
  { url: 'https://h/x', fragment: '#--upload-pack=x' },
  { url: 'https://h/x', fragment: '#a..b' },
  { url: 'https://h/x', fragment: '#:../../etc' },
])('git is not given $url$fragment', ({ url, fragment }) => {
  expect(() => gitSource(parts, `h/x${fragment}`, { 'git.fullurl': url })).toThrow(
    /^invalid (git remote|git ref|subdirectory)/,
  );
});
