import { execFileSync } from 'node:child_process';
import { createPrivateKey, createPublicKey, scryptSync } from 'node:crypto';
import { load } from 'koffi';
import { describe, expect, test } from 'vitest';
import { generateKeyPair, readPrivateKey } from '../../src/image/trust/private-key.ts';

const password = async () => 'secret';
const nobody = async (): Promise<string> => {
  throw new Error('asked for a password');
};
const openssl = (args: string[], input?: string | Buffer) => execFileSync('openssl', args, { input, stdio: 'pipe' });
const documentOf = (pem: string) =>
  JSON.parse(Buffer.from(pem.replaceAll(/-----[^-]+-----/g, ''), 'base64').toString());
const pemOf = (document: object, label = 'ENCRYPTED SIGSTORE PRIVATE KEY') =>
  Buffer.from(
    `-----BEGIN ${label}-----\n${Buffer.from(JSON.stringify(document)).toString('base64')}\n-----END ${label}-----\n`,
  );

/** NaCl's secretbox by libsodium, which shares no line with what is tested. */
const sodium = load('libsodium.so.23');
const open = sodium.func(
  'int crypto_secretbox_open_easy(_Out_ uint8_t *m, const uint8_t *c, uint64_t clen, const uint8_t *n, const uint8_t *k)',
);
const close = sodium.func(
  'int crypto_secretbox_easy(_Out_ uint8_t *c, const uint8_t *m, uint64_t mlen, const uint8_t *n, const uint8_t *k)',
);

describe('cosign’s encrypted key', () => {
  test('what we write, scrypt and libsodium read', async () => {
    const { privateKey, publicKey } = await generateKeyPair('secret');
    const { kdf, cipher, ciphertext } = documentOf(privateKey);
    expect([kdf.name, cipher.name, kdf.params]).toEqual(['scrypt', 'nacl/secretbox', { N: 65536, r: 8, p: 1 }]);
    const key = scryptSync('secret', Buffer.from(kdf.salt, 'base64'), 32, { ...kdf.params, maxmem: 256 << 20 });
    const sealed = Buffer.from(ciphertext, 'base64');
    const plain = Buffer.alloc(sealed.length - 16);
    expect(open(plain, sealed, sealed.length, Buffer.from(cipher.nonce, 'base64'), key)).toBe(0);
    const opened = createPrivateKey({ key: plain, format: 'der', type: 'pkcs8' });
    expect(opened.asymmetricKeyDetails).toEqual({ namedCurve: 'prime256v1' });
    expect(createPublicKey(opened).export({ type: 'spki', format: 'pem' })).toBe(publicKey);
  });

  test.each(['ENCRYPTED SIGSTORE PRIVATE KEY', 'ENCRYPTED COSIGN PRIVATE KEY'])(
    'what they write, we read: %s',
    async (label) => {
      const pem = openssl(['genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256']);
      const der = openssl(['pkcs8', '-topk8', '-nocrypt', '-outform', 'DER'], pem);
      // The cost that cosign 1 chose.
      const params = { N: 32_768, r: 8, p: 1 };
      const [salt, nonce] = [Buffer.alloc(32, 1), Buffer.alloc(24, 2)];
      const sealed = Buffer.alloc(der.length + 16);
      close(sealed, der, der.length, nonce, scryptSync('secret', salt, 32, { ...params, maxmem: 256 << 20 }));
      const file = pemOf(
        {
          kdf: { name: 'scrypt', params, salt: salt.toString('base64') },
          cipher: { name: 'nacl/secretbox', nonce: nonce.toString('base64') },
          ciphertext: sealed.toString('base64'),
        },
        label,
      );
      const key = await readPrivateKey(file, 'key', password);
      expect(key.export({ type: 'pkcs8', format: 'der' })).toEqual(der);
      await expect(readPrivateKey(file, 'key x', async () => 'wrong')).rejects.toMatchObject({
        kind: 'Unauthorized',
        message: 'key x: the password is wrong',
      });
    },
  );

  const document = async () => documentOf((await generateKeyPair('secret')).privateKey);
  test.each([
    { what: 'all memory', change: { kdf: { params: { N: 2 ** 30, r: 8, p: 1 } } }, want: /too much memory/ },
    { what: 'all time', change: { kdf: { params: { N: 65_536, r: 8, p: 1e6 } } }, want: /too much memory/ },
    { what: 'an odd cost', change: { kdf: { params: { N: 1000, r: 8, p: 1 } } }, want: /kdf\.params/ },
    { what: 'no cost', change: { kdf: { params: {} } }, want: /kdf\.params\.N: want a whole number/ },
    { what: 'another derivation', change: { kdf: { name: 'argon2' } }, want: /want scrypt/ },
    { what: 'another cipher', change: { cipher: { name: 'none' } }, want: /want scrypt and nacl/ },
    { what: 'a short nonce', change: { cipher: { nonce: 'AAAA' } }, want: /want 24 bytes/ },
    { what: 'no text', change: { ciphertext: '' }, want: /password is wrong/ },
  ])('refuses one that asks for $what', async ({ change, want }) => {
    const own = await document();
    for (const [name, value] of Object.entries(change)) {
      own[name] = typeof value === 'string' ? value : { ...own[name], ...value };
    }
    await expect(readPrivateKey(pemOf(own), 'key', password)).rejects.toThrow(want);
  });
});

describe('openssl’s keys', () => {
  test.each([
    ['EC', '-pkeyopt', 'ec_paramgen_curve:P-256'],
    ['EC', '-pkeyopt', 'ec_paramgen_curve:P-384'],
    ['ED25519'],
    ['RSA', '-pkeyopt', 'rsa_keygen_bits:2048'],
  ])('%s %s %s', async (...algorithm) => {
    const pem = openssl(['genpkey', '-algorithm', ...algorithm]);
    expect((await readPrivateKey(pem, 'key', nobody)).type).toBe('private');
    const encrypted = openssl(['pkcs8', '-topk8', '-passout', 'pass:secret'], pem);
    expect((await readPrivateKey(encrypted, 'key', password)).type).toBe('private');
    await expect(readPrivateKey(encrypted, 'key', async () => 'wrong')).rejects.toMatchObject({ kind: 'Unauthorized' });
  });

  test.each([
    { what: 'a public key', pem: () => openssl(['pkey', '-pubout'], openssl(['genpkey', '-algorithm', 'ED25519'])) },
    {
      what: 'a short RSA key',
      pem: () => openssl(['genpkey', '-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:1024']),
    },
    { what: 'a key for agreement', pem: () => openssl(['genpkey', '-algorithm', 'X25519']) },
    { what: 'text', pem: () => Buffer.from('hello') },
    { what: 'a film', pem: () => Buffer.alloc(1 << 20) },
  ])('refuses $what', async ({ pem }) => {
    await expect(readPrivateKey(pem(), 'key', nobody)).rejects.toMatchObject({ kind: 'InvalidArgument' });
  });
});
