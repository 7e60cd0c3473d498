import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { GpgHome } from './gpg.fixture.ts';
import { verifyGpgMessage } from './gpg.ts';

let home: GpgHome;
let rsa: string;
let ed: string;
let other: string;
beforeAll(() => {
  home = new GpgHome();
  rsa = home.addKey('rsa@example.com');
  ed = home.addKey('ed@example.com', 'ed25519');
  other = home.addKey('other@example.com', 'nistp256');
});
afterAll(() => home[Symbol.dispose]());

const payload = Buffer.from('{"critical":{}}');
const signed = (by: readonly string[], ...options: string[]) =>
  home.gpg([...options, ...by.flatMap((key) => ['--local-user', key]), '--sign'], payload);

describe('what gpg signed', () => {
  test.each(['rsa2048', 'ed25519', 'nistp256'])('%s', async (algorithm) => {
    const key = { rsa2048: rsa, ed25519: ed, nistp256: other }[algorithm]!;
    const message = await verifyGpgMessage(signed([key]), [home.publicKey(key)]);
    expect(message.payload).toEqual(payload);
    expect(message.fingerprint).toBe(key);
    expect(Math.abs(message.signedMs - Date.now())).toBeLessThan(60_000);
  });

  test('one of several keyrings, armored', async () => {
    const keyrings = [home.publicKey(ed), home.publicKey(rsa, true)];
    expect((await verifyGpgMessage(signed([rsa]), keyrings)).fingerprint).toBe(rsa);
  });

  test('one keyring of several keys', async () => {
    const keyring = Buffer.concat([home.publicKey(ed), home.publicKey(rsa)]);
    expect((await verifyGpgMessage(signed([rsa]), [keyring])).fingerprint).toBe(rsa);
  });

  test.each(['none', 'zip', 'zlib', 'bzip2'])('compressed by %s', async (algorithm) => {
    const message = signed([rsa], '--compress-algo', algorithm);
    expect((await verifyGpgMessage(message, [home.publicKey(rsa)])).payload).toEqual(payload);
  });
});

describe('what does not count', () => {
  const refused = async (message: Buffer, want: RegExp, keys: readonly string[] = [rsa]) => {
    const verifying = verifyGpgMessage(
      message,
      keys.map((key) => home.publicKey(key)),
    );
    await expect(verifying).rejects.toThrow(want);
    await expect(verifying).rejects.toMatchObject({ kind: 'Forbidden' });
  };

  test('another key', () => refused(signed([other]), /not in the keyring/));
  test('two signatures', () => refused(signed([rsa, ed]), /2 GPG signatures/, [rsa, ed]));
  test('none', () => refused(home.gpg(['--store'], payload), /0 GPG signatures/));
  test('a signature apart from its text', () =>
    refused(home.gpg(['-u', rsa, '--detach-sign'], payload), /not a GPG message/));
  test('other bytes', async () => {
    const message = signed([rsa], '--compress-algo', 'none');
    const changed = Buffer.from(message.toString('latin1').replace('critical', 'Critical'), 'latin1');
    expect(changed).not.toEqual(message);
    await refused(changed, /GPG key .*[Ss]ign/);
  });
  test('no message', () => refused(Buffer.from('hello'), /not a GPG message/));
  test('nothing', () => refused(Buffer.alloc(0), /GPG/));
  test('half of one', async () => {
    const message = signed([rsa], '--compress-algo', 'none');
    await refused(message.subarray(0, message.length / 2), /GPG/);
  });
  test('a bomb', async () => {
    const message = home.gpg(['--compress-algo', 'zlib', '-u', rsa, '--sign'], Buffer.alloc(64 << 20));
    expect(message.length).toBeLessThan(1 << 20);
    const before = process.memoryUsage().rss;
    await refused(message, /[Mm]ax|size/);
    expect(process.memoryUsage().rss - before).toBeLessThan(40 << 20);
  });
  test('a key that has expired', async () => {
    const old = home.addKey('old@example.com', 'rsa2048', '1d', '20200101T000000');
    const message = home.gpg(['--faked-system-time', '20200101T010000', '-u', old, '--sign'], payload);
    await refused(message, /expired/, [old]);
  });
  test('a key that was revoked since', async () => {
    const bad = home.addKey('bad@example.com', 'ed25519');
    const message = signed([bad]);
    expect((await verifyGpgMessage(message, [home.publicKey(bad)])).fingerprint).toBe(bad);
    home.revoke(bad);
    await refused(message, /revoked/, [bad]);
  });
  test('a keyring that is none', async () => {
    const verifying = verifyGpgMessage(signed([rsa]), [Buffer.from('no keyring')]);
    await expect(verifying).rejects.toMatchObject({ kind: 'InvalidArgument' });
  });
});
