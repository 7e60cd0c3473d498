import { spawn } from 'node:child_process';
import { TareError } from '../../errors/index.ts';
import { type Foreign, objectAt, optional, parseJson, textAt } from '../json.ts';
import type { Credentials } from '../registry/registry.ts';

const MAX_OUTPUT_BYTES = 64 * 1024;
const TIME_LIMIT_MS = 30_000;
/** A helper's name is a part of a program's name, never of a path. */
const namePattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
const NOT_FOUND = 'credentials not found in native keychain';
/** What helpers give as the user where the secret is an identity token. */
const TOKEN_USER = '<token>';

/** A program docker-credential-NAME. @see docker-credential-helpers, "Development" */
export interface CredentialHelper {
  /** @returns undefined: it has none for this server */
  get(server: string): Promise<Credentials | undefined>;
  store(server: string, credentials: Credentials): Promise<void>;
  erase(server: string): Promise<void>;
}

/**
 * @param env where PATH is looked up; the program gets all of it
 * @throws {TareError} InvalidArgument: a name that is none. From its methods NotFound: no such program; Unavailable: it failed, took
 *   over 30 s or printed over 64 KiB. No message holds a secret.
 */
export function credentialHelper(
  name: string,
  env: NodeJS.ProcessEnv = process.env,
  timeoutMs = TIME_LIMIT_MS,
): CredentialHelper {
  if (!namePattern.test(name))
    throw new TareError(
      'InvalidArgument',
      `invalid credential helper ${JSON.stringify(name.slice(0, 100))}: want the end of a program's name, docker-credential-NAME`,
    );
  const program = `docker-credential-${name}`;
  const call = (verb: 'get' | 'store' | 'erase', input: string) => run(program, verb, input, env, timeoutMs);
  return {
    async get(server) {
      const { code, output } = await call('get', oneLine(server));
      if (code !== 0) {
        if (output.trim() === NOT_FOUND) return undefined;
        throw failed(program, 'get', output);
      }
      return answer(output, program);
    },
    async store(server, { username = '', password = '', identityToken }) {
      const input = JSON.stringify({
        ServerURL: server,
        Username: identityToken === undefined ? username : TOKEN_USER,
        Secret: identityToken ?? password,
      });
      const { code, output } = await call('store', input);
      if (code !== 0) throw failed(program, 'store', output);
    },
    async erase(server) {
      const { code, output } = await call('erase', oneLine(server));
      if (code !== 0 && output.trim() !== NOT_FOUND) throw failed(program, 'erase', output);
    },
  };
}

/** The helpers' protocol ends the server's name with its line. */
function oneLine(server: string): string {
  if (/[\r\n\0]/.test(server)) throw new TareError('InvalidArgument', `invalid registry ${JSON.stringify(server)}`);
  return server;
}

function answer(output: string, program: string): Credentials | undefined {
  let fields: Foreign;
  try {
    fields = objectAt(parseJson(Buffer.from(output), program, MAX_OUTPUT_BYTES), program);
  } catch {
    // The parser would quote what may be a secret.
    throw new TareError('Unavailable', `${program} get did not print a JSON object`);
  }
  const username = optional(fields['Username'], `${program}: Username`, textAt) ?? '';
  const secret = typeof fields['Secret'] === 'string' ? fields['Secret'] : '';
  if (secret === '') return undefined;
  return username === TOKEN_USER ? { identityToken: secret } : { username, password: secret };
}

const failed = (program: string, verb: string, output: string) =>
  new TareError(
    'Unavailable',
    `${program} ${verb} failed${output.trim() === '' ? '' : `: ${output.trim().split('\n', 1)[0]!.slice(0, 300)}`}`,
  );

function run(
  program: string,
  verb: string,
  input: string,
  env: NodeJS.ProcessEnv,
  timeoutMs: number,
): Promise<{ code: number; output: string }> {
  return new Promise((resolve, reject) => {
    // What it says to a person (stderr) goes where our own messages go.
    const child = spawn(program, [verb], {
      env,
      stdio: ['pipe', 'pipe', 'inherit'],
      timeout: timeoutMs,
      killSignal: 'SIGKILL',
    });
    let timer: NodeJS.Timeout | undefined;
    child.on('error', (cause: NodeJS.ErrnoException) => {
      clearTimeout(timer);
      reject(
        cause.code === 'ENOENT'
          ? new TareError(
              'NotFound',
              `credential helper ${program} is not in $PATH: install it, or take it out of the configuration`,
              { cause },
            )
          : new TareError('Unavailable', `cannot run ${program}: ${cause.message}`, { cause }),
      );
    });
    // It could not be begun, and where descriptors are short it has no pipes.
    if (child.pid === undefined) return;
    const chunks: Buffer[] = [];
    let size = 0;
    let problem: string | undefined;
    const giveUp = (why: string) => {
      problem ??= why;
      child.kill('SIGKILL');
      // A grandchild that holds the pipe must not hold us.
      child.stdout.destroy();
    };
    timer = setTimeout(() => giveUp(`took over ${timeoutMs / 1000} s`), timeoutMs);
    child.stdout.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size > MAX_OUTPUT_BYTES) giveUp(`printed over ${MAX_OUTPUT_BYTES / 1024} KiB`);
      else chunks.push(chunk);
    });
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      if (problem === undefined && signal !== null) problem = `was ended by ${signal}`;
      if (problem !== undefined) reject(new TareError('Unavailable', `${program} ${verb} ${problem}`));
      else resolve({ code: code ?? 1, output: Buffer.concat(chunks).toString() });
    });
    // A program that does not read its input is not an error of the pipe.
    child.stdin.on('error', () => {});
    child.stdin.end(`${input}\n`);
  });
}
