import {
  createPrivateKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  type ScryptOptions,
  scrypt,
} from 'node:crypto';
import { promisify } from 'node:util';
import { messageOf, TareError } from '../../errors/index.ts';
import { integerAt, objectAt, parseJson, textAt } from '../json.ts';
import { requireSigningKey } from './key-bytes.ts';

/** The names that cosign gave its encrypted keys, the new and the old. */
const ENCRYPTED =
  /-----BEGIN ENCRYPTED (SIGSTORE|COSIGN) PRIVATE KEY-----([^-]+)-----END ENCRYPTED \1 PRIVATE KEY-----/;
const MAX_KEY_BYTES = 64 << 10;
const KEY_BYTES = 32;
const NONCE_BYTES = 24;
/** What scrypt may take: cosign's own keys need 64 MiB; a file that asks for all memory is no key. */
const MAX_SCRYPT_BYTES = 512 << 20;
const NEW_KEY_COST = { N: 65_536, r: 8, p: 1 };

const invalid = (message: string, cause?: unknown) => new TareError('InvalidArgument', message, { cause });

/**
 * A private key in PEM: cosign's, encrypted or not, or openssl's.
 *
 * @param password asked for only when the key is encrypted
 * @throws {TareError} InvalidArgument: no such key; Unauthorized: the password is wrong
 */
export async function readPrivateKey(pem: Buffer, what: string, password: () => Promise<string>): Promise<KeyObject> {
  if (pem.byteLength > MAX_KEY_BYTES) throw invalid(`${what}: ${pem.byteLength} bytes: too large for a key`);
  const text = pem.toString('latin1');
  const encrypted = ENCRYPTED.exec(text);
  if (encrypted !== null) {
    const der = await decrypt(Buffer.from(encrypted[2]!, 'base64'), what, await password());
    return parseKey({ key: der, format: 'der', type: 'pkcs8' }, what);
  }
  const isEncrypted = text.includes('-----BEGIN ENCRYPTED PRIVATE KEY-----') || text.includes('Proc-Type: 4,ENCRYPTED');
  return parseKey({ key: pem, format: 'pem', ...(isEncrypted ? { passphrase: await password() } : {}) }, what);
}

function parseKey(input: Parameters<typeof createPrivateKey>[0], what: string): KeyObject {
  let key: KeyObject;
  try {
    key = createPrivateKey(input);
  } catch (cause) {
    const isPassword = /bad decrypt|passphrase|password/i.test(messageOf(cause));
    if (isPassword) throw new TareError('Unauthorized', `${what}: the password is wrong`, { cause });
    throw invalid(`${what} is not a private key in PEM: ${messageOf(cause)}`, cause);
  }
  return requireSigningKey(key, what);
}

/** @see go-securesystemslib, encrypted */
async function decrypt(bytes: Buffer, what: string, password: string): Promise<Buffer> {
  const document = objectAt(parseJson(bytes, what, MAX_KEY_BYTES), what);
  const kdf = objectAt(document['kdf'], `${what}: kdf`);
  const cipher = objectAt(document['cipher'], `${what}: cipher`);
  const kdfName = textAt(kdf['name'], `${what}: kdf.name`);
  const cipherName = textAt(cipher['name'], `${what}: cipher.name`);
  if (kdfName !== 'scrypt' || cipherName !== 'nacl/secretbox') {
    throw invalid(`${what}: encrypted with ${kdfName} and ${cipherName}: want scrypt and nacl/secretbox`);
  }
  const params = objectAt(kdf['params'], `${what}: kdf.params`);
  const [N, r, p] = (['N', 'r', 'p'] as const).map((name) => integerAt(params[name], `${what}: kdf.params.${name}`));
  const salt = Buffer.from(textAt(kdf['salt'], `${what}: kdf.salt`), 'base64');
  const nonce = Buffer.from(textAt(cipher['nonce'], `${what}: cipher.nonce`), 'base64');
  if (nonce.byteLength !== NONCE_BYTES) throw invalid(`${what}: cipher.nonce: want ${NONCE_BYTES} bytes`);
  const sealed = Buffer.from(textAt(document['ciphertext'], `${what}: ciphertext`), 'base64');
  const key = await derive(password, salt, { N: N!, r: r!, p: p! }, what);
  const { xsalsa20poly1305 } = await import('@noble/ciphers/salsa.js');
  try {
    return Buffer.from(xsalsa20poly1305(key, nonce).decrypt(sealed));
  } catch (cause) {
    throw new TareError('Unauthorized', `${what}: the password is wrong`, { cause });
  }
}

async function derive(
  password: string,
  salt: Buffer,
  { N, r, p }: { N: number; r: number; p: number },
  what: string,
): Promise<Buffer> {
  if (N < 2 || r < 1 || p < 1 || p > 16 || 128 * N * r > MAX_SCRYPT_BYTES) {
    throw invalid(`${what}: kdf.params: N=${N}, r=${r}, p=${p} ask for too much memory`);
  }
  try {
    return await promisify<string, Buffer, number, ScryptOptions, Buffer>(scrypt)(password, salt, KEY_BYTES, {
      ...{ N, r, p },
      maxmem: 2 * MAX_SCRYPT_BYTES,
    });
  } catch (cause) {
    throw invalid(`${what}: kdf.params: ${messageOf(cause)}`, cause);
  }
}

/** A new pair of keys as cosign makes it: ECDSA on P-256, the private one encrypted. */
export async function generateKeyPair(password: string): Promise<{ privateKey: string; publicKey: string }> {
  const { privateKey, publicKey } = generateKeyPairSync('ec', {
    namedCurve: 'P-256',
    privateKeyEncoding: { type: 'pkcs8', format: 'der' },
    publicKeyEncoding: { type: 'spki', format: 'pem' },
  });
  return { privateKey: await encryptPrivateKey(privateKey, password), publicKey };
}

/** A private key (PKCS #8, DER) in cosign's encrypted form. */
export async function encryptPrivateKey(der: Uint8Array, password: string): Promise<string> {
  const salt = randomBytes(KEY_BYTES);
  const nonce = randomBytes(NONCE_BYTES);
  const key = await derive(password, salt, NEW_KEY_COST, 'new key');
  const { xsalsa20poly1305 } = await import('@noble/ciphers/salsa.js');
  const document = {
    kdf: { name: 'scrypt', params: NEW_KEY_COST, salt: salt.toString('base64') },
    cipher: { name: 'nacl/secretbox', nonce: nonce.toString('base64') },
    ciphertext: Buffer.from(xsalsa20poly1305(key, nonce).encrypt(der)).toString('base64'),
  };
  const lines = Buffer.from(JSON.stringify(document))
    .toString('base64')
    .match(/.{1,64}/g)!;
  const label = 'ENCRYPTED SIGSTORE PRIVATE KEY';
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}
