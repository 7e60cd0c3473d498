import { createHash } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { chmod, chown, open, readFile, rename, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { TareError } from '../../errors/index.ts';
import { digestOf, isLocalLayer, type LocalLayer } from '../../storage/index.ts';
import type { BuilderParts } from '../builder-parts.ts';
import { useCacheEntry } from '../cache/entries.ts';
import type { Operation, OperationContext } from '../operation.ts';
import { type HttpAnswer, requestFile } from './http-request.ts';
import { type Attributes, refuseUnknown, secretOf } from './source-attributes.ts';

const MAX_BYTES = 256 * 1024 ** 3;
const PROGRESS_MS = 100;
/** Where clients offer what they have on their standard input. */
const UPLOADS = /^http:\/\/buildkit-session\/([^/?#]+)$/;

interface FileQuestion {
  url: string;
  filename: string;
  permissions: number;
  uid: number;
  gid: number;
  checksum: string | undefined;
  authSecret: string | undefined;
}

/** What is known of a file that was downloaded. */
interface DownloadedFile {
  layer: LocalLayer;
  digest: string;
  filename: string;
  etag?: string;
  lastModified?: string;
}

/** One file of a web server, asked for again only as far as it has changed, or of a client's standard input. */
export function httpSource(parts: BuilderParts, url: string, attributes: Attributes): Operation {
  refuseUnknown('http source', attributes, [
    ...['http.checksum', 'http.filename', 'http.perm', 'http.uid', 'http.gid', 'http.authheadersecret'],
  ]);
  if (!URL.canParse(url))
    throw new TareError(
      'InvalidArgument',
      `invalid address ${JSON.stringify(withoutPassword(url).slice(0, 200))}: want http://HOST/PATH or https://HOST/PATH`,
    );
  const question = questionOf(url, attributes);
  const { checksum } = question;
  const shown = withoutPassword(url);
  let file: DownloadedFile | undefined;
  const keyOf = (digest: string, filename: string, lastModified = ''): string => {
    const { permissions, uid, gid } = question;
    return digestOf(JSON.stringify(['http', digest, filename, permissions, uid, gid, lastModified]));
  };
  return {
    recordType: 'source.http',
    description: `http url ${shown}`,
    usesSecrets: (question.authSecret ?? '') !== '',
    cacheMap: async (context) => {
      // Who says what it has to be need not be asked whether it still is.
      if (checksum !== undefined) {
        const material = { kind: 'http', ref: shown, digest: checksum } as const;
        return { digest: keyOf(checksum, fileNameOf(question, undefined)), dependencies: [], material };
      }
      file = await fetchFile(parts, question, context);
      const material = { kind: 'http', ref: shown, digest: file.digest } as const;
      return { digest: keyOf(file.digest, file.filename, file.lastModified), dependencies: [], material };
    },
    run: async (_inputs, context) => {
      if (file === undefined || !(await parts.layers.has(file.layer))) file = await fetchFile(parts, question, context);
      return [{ layers: [file.layer] }];
    },
  };
}

function questionOf(url: string, attributes: Attributes): FileQuestion {
  const checksum = attributes['http.checksum'] || undefined;
  if (checksum !== undefined && !/^(sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128})$/.test(checksum))
    throw new TareError(
      'InvalidArgument',
      `invalid checksum ${JSON.stringify(checksum)}: want sha256:… of 64 hex digits`,
    );
  const filename = attributes['http.filename'] ?? '';
  if (filename !== '' && (/[/\0]/.test(filename) || filename === '.' || filename === '..'))
    throw new TareError('InvalidArgument', `http.filename ${JSON.stringify(filename)}: want the name of a file`);
  return {
    ...{ url, filename, checksum, authSecret: attributes['http.authheadersecret'] },
    permissions: numberAt(attributes, 'http.perm', 0o600, 0o7777),
    uid: numberAt(attributes, 'http.uid', 0, 0xffff_fffe),
    gid: numberAt(attributes, 'http.gid', 0, 0xffff_fffe),
  };
}

/** As strconv.ParseInt with base 0 reads it. */
function numberAt(attributes: Attributes, key: string, absent: number, largest: number): number {
  const text = attributes[key];
  if (text === undefined || text === '') return absent;
  const value = /^0[0-7]+$/.test(text)
    ? Number.parseInt(text, 8)
    : /^(0x[0-9a-f]+|0o[0-7]+|\d+)$/i.test(text)
      ? Number(text)
      : Number.NaN;
  if (Number.isInteger(value) && value <= largest) return value;
  throw new TareError('InvalidArgument', `${key} ${JSON.stringify(text)}: want a number up to ${largest}`);
}

const withoutPassword = (url: string): string => url.replace(/^(https?:\/\/)[^/?#]*@/, '$1');

async function fetchFile(
  parts: BuilderParts,
  question: FileQuestion,
  context: OperationContext,
): Promise<DownloadedFile> {
  const { url, filename, permissions, uid, gid, checksum } = question;
  const id = `http-${createHash('sha256')
    .update(JSON.stringify([url, filename, permissions, uid, gid, checksum]))
    .digest('hex')
    .slice(0, 32)}`;
  using _alone = await parts.locks.acquire(`build ${id}`, context.signal);
  const entry = {
    id,
    type: 'source.http',
    description: `http url ${withoutPassword(url)}`,
    folder: join('sources', id),
  } as const;
  using use = await useCacheEntry(parts, entry);
  mkdirSync(use.path, { recursive: true, mode: 0o700 });
  const statePath = join(use.path, 'state.json');
  const before = use.isNew ? undefined : await readState(parts, statePath);
  if (before !== undefined && checksum !== undefined && before.digest === checksum) return before;
  const upload = UPLOADS.exec(url)?.[1];
  const answer =
    upload === undefined
      ? await requestFile(new URL(url), {
          ...(before?.etag === undefined ? {} : { etag: before.etag }),
          ...(before?.lastModified === undefined ? {} : { lastModified: before.lastModified }),
          authorization: await authorizationFor(question, context),
          signal: context.signal,
        })
      : uploaded(context, upload);
  if (answer === 'unchanged') {
    if (before !== undefined) return before;
    throw new TareError(
      'Unavailable',
      `failed to GET ${withoutPassword(url)}: it is said to be unchanged, but never came`,
    );
  }
  using _answer = answer;
  const key = `build-${id}`;
  await parts.layers.remove(key);
  await parts.layers.prepare(key, [], { isTransient: true, isBare: true });
  await using undo = new AsyncDisposableStack();
  undo.defer(() => parts.layers.remove(key));
  const folder = parts.layers.files(key);
  const name = fileNameOf(question, answer);
  const digest = await download(join(folder, name), answer, question, context);
  if (checksum !== undefined && digest !== checksum)
    throw new TareError('InvalidArgument', `digest mismatch ${digest}: ${checksum} (${withoutPassword(url)})`);
  await chown(join(folder, name), uid, gid);
  await chmod(join(folder, name), permissions);
  const modified = Date.parse(answer.lastModified ?? '');
  await utimes(join(folder, name), (modified || 0) / 1000, (modified || 0) / 1000);
  const layer = await parts.layers.freeze(key);
  undo.move();
  const { etag, lastModified } = answer;
  const state: DownloadedFile = {
    ...{ layer, digest, filename: name },
    ...(etag === undefined ? {} : { etag }),
    ...(lastModified === undefined ? {} : { lastModified }),
  };
  // Its bytes are those of the layer, which has a record of its own.
  await use.record({ sizeBytes: 0, layers: [layer] });
  await writeFile(`${statePath}.new`, JSON.stringify(state), { mode: 0o600 });
  await rename(`${statePath}.new`, statePath);
  return state;
}

async function readState(parts: BuilderParts, path: string): Promise<DownloadedFile | undefined> {
  try {
    const state = JSON.parse(await readFile(path, 'utf8')) as DownloadedFile;
    return isLocalLayer(state.layer) && (await parts.layers.has(state.layer)) ? state : undefined;
  } catch (error) {
    // SyntaxError: power cut it off.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT' || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

async function authorizationFor(
  { url, authSecret }: FileQuestion,
  context: OperationContext,
): Promise<string | undefined> {
  if (authSecret !== undefined && authSecret !== '') {
    const secret = await secretOf(context.sessions(), authSecret);
    if (secret === undefined) throw new TareError('NotFound', `secret ${authSecret}: not found`);
    return secret.trim();
  }
  const { username, password } = new URL(url);
  if (username === '' && password === '') return undefined;
  return `Basic ${Buffer.from(`${decoded(username)}:${decoded(password)}`).toString('base64')}`;
}

/** A body that one of the clients has ready. */
function uploaded(context: OperationContext, id: string): HttpAnswer {
  const session = context.sessions()[0];
  if (session === undefined) throw new TareError('Unavailable', `no active session for upload ${id}`);
  return { body: session.upload(id), [Symbol.dispose]: () => {} };
}

async function download(
  path: string,
  answer: HttpAnswer,
  { url, checksum }: FileQuestion,
  { progress, signal }: OperationContext,
): Promise<string> {
  const algorithm = checksum?.split(':', 1)[0] ?? 'sha256';
  const hash = createHash(algorithm);
  const id = `downloading ${withoutPassword(url)}`;
  const total = answer.sizeBytes;
  let sizeBytes = 0;
  let nextMs = 0;
  await using file = await open(path, 'wx', 0o600);
  for await (const chunk of answer.body) {
    signal.throwIfAborted();
    sizeBytes += chunk.length;
    if (sizeBytes > MAX_BYTES)
      throw new TareError('InvalidArgument', `${withoutPassword(url)} is larger than ${MAX_BYTES} bytes`);
    hash.update(chunk);
    for (let done = 0; done < chunk.length; ) done += (await file.write(chunk, done)).bytesWritten;
    if (performance.now() < nextMs) continue;
    nextMs = performance.now() + PROGRESS_MS;
    progress.status(id, { current: sizeBytes, ...(total === undefined ? {} : { total }) });
  }
  progress.status(id, { current: sizeBytes, total: sizeBytes, isDone: true });
  return `${algorithm}:${hash.digest('hex')}`;
}

/** What was asked for, what the server calls it, or the last part of its address. */
function fileNameOf({ url, filename }: FileQuestion, answer: HttpAnswer | undefined): string {
  if (filename !== '') return filename;
  const given = answer?.disposition === undefined ? undefined : dispositionName(answer.disposition);
  if (given !== undefined) return given;
  return safeName(decoded(new URL(url).pathname)) ?? 'download';
}

function dispositionName(text: string): string | undefined {
  const extended = /filename\*\s*=\s*UTF-8''([^;]+)/i.exec(text)?.[1];
  const plain = /filename\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;\s]+))/i.exec(text);
  const name = extended === undefined ? (plain?.[1]?.replace(/\\(.)/g, '$1') ?? plain?.[2]) : decoded(extended);
  return name === undefined ? undefined : safeName(name);
}

function safeName(path: string): string | undefined {
  const name = path.replace(/\/+$/, '').split('/').at(-1)!;
  return name === '' || name === '.' || name === '..' || name.includes('\0') || Buffer.byteLength(name) > 255
    ? undefined
    : name;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
