import { messageOf, TareError } from '../../errors/index.ts';
import { MAX_SIGNATURE_BYTES } from './signature.ts';

/** What a GPG signature was found to hold. */
export interface GpgMessage {
  payload: Buffer;
  /** Of the key, upper-case hex. */
  fingerprint: string;
  signedMs: number;
}

const refuse = (why: string, cause?: unknown) => new TareError('Forbidden', why, { cause });

/**
 * Verifies a message that contains what it signs (RFC 9580, "OpenPGP Message"), made by one key of the keyring.
 *
 * @param keyrings public keys, armored or binary; each may hold several
 * @throws {TareError} Forbidden: why the signature does not count; InvalidArgument: a keyring is none
 */
export async function verifyGpgMessage(bytes: Buffer, keyrings: readonly Buffer[]): Promise<GpgMessage> {
  const openpgp = await import('openpgp');
  const config = {
    ...openpgp.config,
    // A signature is a page of text; a compressed one must not unfold into gigabytes.
    maxDecompressedMessageSize: MAX_SIGNATURE_BYTES,
    // GnuPG's own keyrings carry packets that this library does not know.
    ignoreUnsupportedPackets: true,
  };
  type Keys = Awaited<ReturnType<typeof openpgp.readKeys>>;
  const keys: Keys = [];
  for (const keyring of keyrings) {
    try {
      const isArmored = keyring.subarray(0, 5).toString('latin1') === '-----';
      const read = isArmored ? { armoredKeys: keyring.toString('utf8') } : { binaryKeys: new Uint8Array(keyring) };
      keys.push(...(await openpgp.readKeys({ ...read, config } as Parameters<typeof openpgp.readKeys>[0])));
    } catch (cause) {
      throw new TareError('InvalidArgument', `not a GPG keyring: ${messageOf(cause)}`, { cause });
    }
  }
  let result: Awaited<ReturnType<typeof openpgp.verify<Uint8Array>>>;
  try {
    const message = await openpgp.readMessage({ binaryMessage: new Uint8Array(bytes), config });
    result = await openpgp.verify({ message, verificationKeys: keys, format: 'binary', config });
  } catch (cause) {
    throw refuse(`not a GPG message: ${messageOf(cause)}`, cause);
  }
  const [only, ...more] = result.signatures;
  // With several, readers differ in which one speaks for the text.
  if (only === undefined || more.length > 0)
    throw refuse(`${result.signatures.length} GPG signatures: want exactly one`);
  const keyID = only.keyID.toHex().toUpperCase();
  const key = keys.find((candidate) => candidate.getKeys(only.keyID).length > 0);
  if (key === undefined) throw refuse(`signed with the GPG key ${keyID}, which is not in the keyring`);
  try {
    await only.verified;
    // A key that was revoked or has expired since does not vouch for anything any more.
    await key.verifyPrimaryKey(new Date(), undefined, config);
    await key.getSigningKey(only.keyID, new Date(), undefined, config);
  } catch (cause) {
    throw refuse(`GPG key ${keyID}: ${messageOf(cause)}`, cause);
  }
  const packet = (await only.signature).packets[0];
  return {
    payload: Buffer.from(result.data),
    fingerprint: key.getFingerprint().toUpperCase(),
    signedMs: packet?.created?.getTime() ?? 0,
  };
}
