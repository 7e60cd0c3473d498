import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { kindOf, messageOf, TareError } from '../../../errors/index.ts';
import type { BuilderParts } from '../../builder-parts.ts';
import type { OperationContext } from '../../operation.ts';
import { makeScratch, sweepScratch } from '../../scratch.ts';
import type { BuildSession } from '../../session.ts';
import { secretOf } from '../source-attributes.ts';
import type { Remote } from './remote.ts';

const MAX_OUTPUT_BYTES = 16 << 20;
const SAID_BYTES = 4096;

interface RunOptions {
  cwd?: string;
  env?: Readonly<Record<string, string>>;
  /** What of git's transports may be used; default: those over a network. */
  protocols?: string;
}

/** Settings that keep what a repository says from having a program run, whoever's it is. */
const settings: Readonly<Record<string, string>> = {
  'core.hooksPath': '/dev/null',
  'core.logAllRefUpdates': 'false',
  'core.fsmonitor': 'false',
  'core.attributesFile': '/dev/null',
  'core.excludesFile': '/dev/null',
  'core.protectHFS': 'true',
  'core.protectNTFS': 'true',
  'init.defaultBranch': 'master',
  'init.templateDir': '',
  'advice.detachedHead': 'false',
  'gc.auto': '0',
  'maintenance.auto': 'false',
  'credential.helper': '',
  'fetch.fsckObjects': 'false',
  'submodule.recurse': 'false',
  'uploadpack.allowAnySHA1InWant': 'true',
  'safe.directory': '*',
  'http.followRedirects': 'initial',
};

/** Debian's git, with nobody's configuration, no hooks, no prompts, and the credentials of whoever asks for the build. */
export class Git implements AsyncDisposable {
  readonly signal: AbortSignal;
  readonly #env: Readonly<Record<string, string>>;
  readonly #configuration: Readonly<Record<string, string>>;
  readonly #secrets: readonly string[];
  readonly #resources: AsyncDisposableStack;
  readonly #shown: string;

  /** Makes ready what reaching the remote needs. */
  static async open(
    parts: Pick<BuilderParts, 'execDirectory'>,
    remote: Remote,
    context: OperationContext,
  ): Promise<Git> {
    await using undo = new AsyncDisposableStack();
    const sessions = context.sessions();
    const { configuration, secrets } = await credentialsOf(remote, sessions);
    // A process that died may have left one of git at work on the same repository.
    await sweepScratch(parts.execDirectory);
    const { path: home } = undo.use(makeScratch(parts.execDirectory));
    const ssh = await sshEnvironment(remote, sessions, home, undo);
    return new Git(
      remote.shownUrl,
      { HOME: home, XDG_CONFIG_HOME: home, ...ssh },
      configuration,
      secrets,
      context.signal,
      undo.move(),
    );
  }

  private constructor(
    shown: string,
    env: Readonly<Record<string, string>>,
    configuration: Readonly<Record<string, string>>,
    secrets: readonly string[],
    signal: AbortSignal,
    resources: AsyncDisposableStack,
  ) {
    this.#shown = shown;
    this.#env = env;
    this.#configuration = configuration;
    this.#secrets = secrets;
    this.signal = signal;
    this.#resources = resources;
  }

  /** @returns what it wrote @throws {TareError} Unsupported: git is not installed; Unavailable, NotFound: its words */
  async run(args: readonly string[], options: RunOptions = {}): Promise<string> {
    const { code, output, said } = await this.#spawn(args, options);
    if (code === 0) return output;
    const words = this.#withoutSecrets(said.trim());
    const kind = /not found|does not exist|couldn't find remote ref/i.test(words) ? 'NotFound' : 'Unavailable';
    throw new TareError(
      kind,
      `failed to fetch ${this.#shown}: git ${args.find((arg) => /^[a-z]/.test(arg)) ?? ''}: ${words}`,
    );
  }

  async succeeds(args: readonly string[]): Promise<boolean> {
    return (await this.#spawn(args, {})).code === 0;
  }

  /** Bytes that a repository's objects take. */
  async sizeOf(repository: string): Promise<number> {
    const said = await this.run(['--git-dir', repository, 'count-objects', '-v']);
    const kibibytes = [...said.matchAll(/^size(?:-pack)?: (\d+)$/gm)].map(([, count]) => Number(count));
    return kibibytes.reduce((sum, count) => sum + count * 1024, 0);
  }

  async #spawn(args: readonly string[], { cwd, env = {}, protocols = 'https:http:git:ssh' }: RunOptions) {
    this.signal.throwIfAborted();
    const all = Object.entries({ ...settings, ...this.#configuration });
    const child = spawn('git', args, {
      cwd: cwd ?? '/',
      stdio: ['ignore', 'pipe', 'pipe'],
      // A group of its own, so that what it started ends with it.
      detached: true,
      env: {
        PATH: process.env['PATH'] ?? '/usr/bin:/bin',
        LC_ALL: 'C',
        ...proxies(),
        GIT_CONFIG_NOSYSTEM: '1',
        GIT_CONFIG_GLOBAL: '/dev/null',
        GIT_TERMINAL_PROMPT: '0',
        GIT_ASKPASS: '/bin/false',
        SSH_ASKPASS: '/bin/false',
        GIT_ALLOW_PROTOCOL: protocols,
        GIT_NO_REPLACE_OBJECTS: '1',
        GIT_CONFIG_COUNT: String(all.length),
        ...Object.fromEntries(
          all.flatMap(([key, value], index) => [
            [`GIT_CONFIG_KEY_${index}`, key],
            [`GIT_CONFIG_VALUE_${index}`, value],
          ]),
        ),
        ...this.#env,
        ...env,
      },
    });
    const { promise, resolve, reject } = Promise.withResolvers<number | null>();
    child.once('error', (cause: NodeJS.ErrnoException) =>
      reject(
        cause.code === 'ENOENT'
          ? new TareError(
              'Unsupported',
              "a git repository is asked for, but git is not installed: install Debian's git",
              { cause },
            )
          : new TareError('Unavailable', `git could not be started: ${messageOf(cause)}`, { cause }),
      ),
    );
    child.once('close', resolve);
    // It could not be begun, and where descriptors are short it has no pipes.
    if (child.pid === undefined) await promise;
    const stop = () => {
      try {
        if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
      } catch {
        // It has ended by itself.
      }
    };
    this.signal.addEventListener('abort', stop, { once: true });
    const output: Buffer[] = [];
    let outputBytes = 0;
    child.stdout.on('data', (chunk: Buffer) => {
      outputBytes += chunk.length;
      if (outputBytes <= MAX_OUTPUT_BYTES) output.push(chunk);
      else stop();
    });
    let said = '';
    child.stderr.on('data', (chunk: Buffer) => {
      said = (said + chunk.toString('utf8')).slice(-SAID_BYTES);
    });
    try {
      const code = await promise;
      this.signal.throwIfAborted();
      return { code, output: Buffer.concat(output).toString('utf8'), said };
    } finally {
      this.signal.removeEventListener('abort', stop);
    }
  }

  #withoutSecrets(text: string): string {
    return this.#secrets
      .reduce((cleaned, secret) => cleaned.replaceAll(secret, '***'), text)
      .replaceAll(/\/\/[^/\s]*@/g, '//');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#resources.disposeAsync();
  }
}

const proxies = (): Record<string, string> =>
  Object.fromEntries(
    [
      'HTTP_PROXY',
      'HTTPS_PROXY',
      'NO_PROXY',
      'http_proxy',
      'https_proxy',
      'no_proxy',
      'ALL_PROXY',
      'all_proxy',
      'SSL_CERT_FILE',
      'SSL_CERT_DIR',
    ]
      .map((name) => [name, process.env[name]])
      .filter((entry): entry is [string, string] => entry[1] !== undefined),
  );

/** As an HTTP header for the remote's own host, by the environment: arguments are seen by everybody on the machine. */
async function credentialsOf(
  { url, tokenSecret, headerSecret }: Remote,
  sessions: readonly BuildSession[],
): Promise<{ configuration: Record<string, string>; secrets: string[] }> {
  if (!/^https?:/.test(url)) return { configuration: {}, secrets: [] };
  const { origin, host } = new URL(url);
  const find = async (id: string | undefined) =>
    id === undefined
      ? undefined
      : ((await secretOf(sessions, `${id}.${host}`)) ?? (await secretOf(sessions, id)))?.trim();
  const key = `http.${origin}/.extraheader`;
  const header = await find(headerSecret);
  if (header !== undefined && header !== '')
    return { configuration: { [key]: `Authorization: ${header}` }, secrets: [header] };
  const token = await find(tokenSecret);
  if (token === undefined || token === '') return { configuration: {}, secrets: [] };
  const basic = Buffer.from(`x-access-token:${token}`).toString('base64');
  return { configuration: { [key]: `Authorization: Basic ${basic}` }, secrets: [token, basic] };
}

/**
 * The client's agent under a socket of this build's, and hosts that ssh may believe. Also where the remote itself is none of ssh's: its
 * submodules may be.
 */
async function sshEnvironment(
  { sshAgent, knownHosts }: Remote,
  sessions: readonly BuildSession[],
  home: string,
  resources: AsyncDisposableStack,
): Promise<Record<string, string>> {
  const hosts = join(home, 'known_hosts');
  await writeFile(hosts, knownHosts ?? '', { mode: 0o600 });
  const trust = knownHosts === undefined ? 'accept-new' : 'yes';
  // Keys of whoever runs the engine are nobody's who asks for a build: only those of an agent count.
  const command = `ssh -F /dev/null -o IdentityFile=none -o BatchMode=yes -o UserKnownHostsFile=${hosts} -o GlobalKnownHostsFile=/dev/null -o StrictHostKeyChecking=${trust}`;
  const session = sshAgent === undefined ? undefined : await agentSession(sessions, sshAgent);
  if (session === undefined) return { GIT_SSH_COMMAND: command };
  const path = join(home, `agent-${randomBytes(4).toString('hex')}`);
  const server = createServer((connection) => {
    session.sshAgent(sshAgent!).then(
      (agent) => {
        connection.pipe(agent).pipe(connection);
        connection.once('error', () => agent.destroy());
        agent.once('error', () => connection.destroy());
      },
      (error: unknown) => connection.destroy(error instanceof Error ? error : new Error(messageOf(error))),
    );
    connection.on('error', () => {});
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, resolve);
  });
  chmodSync(path, 0o600);
  resources.defer(() => void server.close());
  return { GIT_SSH_COMMAND: command, SSH_AUTH_SOCK: path };
}

async function agentSession(sessions: readonly BuildSession[], id: string): Promise<BuildSession | undefined> {
  for (const session of sessions) {
    try {
      await session.requireSshAgent(id);
      return session;
    } catch (error) {
      if (kindOf(error) !== 'NotFound') throw error;
    }
  }
  return undefined;
}
