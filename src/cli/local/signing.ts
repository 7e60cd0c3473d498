import { readFileSync, writeFileSync } from 'node:fs';
import {
  type MadeSignature,
  newSigningKeys,
  openConfiguredRegistries,
  type SigningParts,
  type SignRequest,
  signImage,
  type Verification,
  type VerifyRequest,
  verifyImage,
} from '../../engine/index.ts';
import { TareError } from '../../errors/index.ts';
import type { GlobalValues } from '../command.ts';
import type { Access } from '../transport-options.ts';
import { configFrom, openEngine } from './open-engine.ts';

const MAX_FILE_BYTES = 4 << 20;

/** Signs an image of a registry (`docker://NAME`) or of the engine's store. */
export async function signHere(
  globals: GlobalValues,
  access: Access,
  ref: string,
  request: SignRequest,
): Promise<MadeSignature> {
  return await withParts(globals, access, (parts) => signImage(parts, ref, request));
}

/** @returns the signatures that count @throws {TareError} Forbidden: none does */
export async function verifyHere(
  globals: GlobalValues,
  access: Access,
  ref: string,
  request: VerifyRequest,
): Promise<Verification> {
  return await withParts(globals, access, (parts) => verifyImage(parts, ref, request));
}

/** No engine is opened for what lies in a registry. */
async function withParts<T>(
  globals: GlobalValues,
  { credentials, ...ways }: Access,
  work: (parts: SigningParts) => Promise<T>,
): Promise<T> {
  const config = configFrom(globals);
  await using opened = new AsyncDisposableStack();
  return await work({
    registries: async () => opened.use(openConfiguredRegistries(config, ways)),
    images: async () => opened.use(await openEngine(config)).images,
    settings: config.trust,
    ...(credentials === undefined ? {} : { credentials }),
  });
}

/**
 * Writes a new pair of keys, `PREFIX.key` and `PREFIX.pub`.
 * @throws {TareError} AlreadyExists: one of the files is there
 */
export async function writeKeyPair(prefix: string, password: string): Promise<{ key: string; pub: string }> {
  const { privateKey, publicKey } = await newSigningKeys(password);
  const files = { key: `${prefix}.key`, pub: `${prefix}.pub` };
  writeNew(files.key, privateKey, 0o600);
  writeNew(files.pub, publicKey, 0o644);
  return files;
}

function writeNew(path: string, text: string, mode: number): void {
  try {
    writeFileSync(path, text, { mode, flag: 'wx' });
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw cause;
    throw new TareError('AlreadyExists', `${path} is there already: remove it, or choose another --output-key-prefix`, {
      cause,
    });
  }
}

/** @throws {TareError} NotFound, InvalidArgument: the file, and for which option */
export function readFileFor(option: string, path: string): Buffer {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch (cause) {
    const kind = (cause as NodeJS.ErrnoException).code === 'ENOENT' ? 'NotFound' : 'InvalidArgument';
    throw new TareError(kind, `--${option}: ${(cause as Error).message}`, { cause });
  }
  if (bytes.byteLength <= MAX_FILE_BYTES) return bytes;
  throw new TareError('InvalidArgument', `--${option}: ${path} has ${bytes.byteLength} bytes: too large for a key`);
}
