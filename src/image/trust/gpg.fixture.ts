import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A GPG home of a test's own, with its keys and agent. */
export class GpgHome implements Disposable {
  readonly folder: string = mkdtempSync(join(tmpdir(), 'tare-gpg-'));

  gpg(args: readonly string[], input?: Uint8Array): Buffer {
    const argv = [
      '--homedir',
      this.folder,
      '--batch',
      '--yes',
      '--quiet',
      '--no-tty',
      '--passphrase',
      '',
      '--pinentry-mode',
      'loopback',
    ];
    return execFileSync('gpg', [...argv, ...args], {
      input: input ?? '',
      stdio: ['pipe', 'pipe', 'pipe'],
      maxBuffer: 256 << 20,
    });
  }

  /** @returns the fingerprint @param at a time as gpg writes it, when the key is made */
  addKey(user: string, algorithm = 'rsa2048', expires = 'never', at?: string): string {
    const past = at === undefined ? [] : ['--faked-system-time', at];
    this.gpg([...past, '--quick-generate-key', user, algorithm, 'sign', expires]);
    const listing = this.gpg(['--with-colons', '--list-keys', user]).toString();
    return /^fpr:+([0-9A-F]{40}):/m.exec(listing)![1]!;
  }

  publicKey(fingerprint: string, isArmored = false): Buffer {
    return this.gpg([...(isArmored ? ['--armor'] : []), '--export', fingerprint]);
  }

  /** Revokes a key by the certificate that gpg made with it. */
  revoke(fingerprint: string): void {
    const folder = join(this.folder, 'openpgp-revocs.d');
    const file = readdirSync(folder).find((name) => name.startsWith(fingerprint))!;
    // The colon keeps people from importing it by accident.
    const text = readFileSync(join(folder, file), 'utf8').replace(':-----BEGIN', '-----BEGIN');
    const path = join(this.folder, 'revocation');
    writeFileSync(path, text);
    this.gpg(['--import', path]);
  }

  [Symbol.dispose](): void {
    execFileSync('gpgconf', ['--homedir', this.folder, '--kill', 'all'], { stdio: 'ignore' });
    rmSync(this.folder, { recursive: true, force: true });
  }
}
