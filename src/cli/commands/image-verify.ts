import { command } from '../command.ts';
import { annotationsFrom } from '../grammar/annotations.ts';
import { UsageError } from '../grammar/usage-error.ts';
import type { Values } from '../option.ts';
import { accessFrom, accessOptions } from '../transport-options.ts';

const options = {
  ...accessOptions,
  annotation: { type: 'list', short: 'a', value: 'key=value', help: 'Want this among what was signed' },
  'ca-roots': { type: 'string', help: 'Certificate authorities in place of a trusted root, PEM', completes: 'files' },
  'certificate-identity': { type: 'string', help: 'E-mail address or URI that the certificate must be for' },
  'certificate-identity-regexp': { type: 'string', help: 'A regular expression for it' },
  'certificate-oidc-issuer': { type: 'string', help: 'Who must have vouched for that identity' },
  'certificate-oidc-issuer-regexp': { type: 'string', help: 'A regular expression for it' },
  format: {
    type: 'string',
    short: 'f',
    help: 'Output as "text" or "json"',
    default: 'text',
    completes: ['text', 'json'],
  },
  'gpg-keyring': { type: 'list', help: 'Keyring of GPG, for simple signing', completes: 'files' },
  key: { type: 'list', help: 'Public key or certificate, PEM; any of several', completes: 'files' },
  policy: { type: 'string', help: 'Ask this policy.json instead', completes: 'files' },
  'rekor-key': { type: 'list', help: 'Key of a transparency log that must have recorded it, PEM', completes: 'files' },
  'trusted-root': { type: 'string', help: "sigstore's trusted_root.json", completes: 'files' },
} as const;

export default command({
  usage: '[OPTIONS] IMAGE',
  description:
    'IMAGE is docker://NAME for an image in a registry, else one of the local images. Signatures are looked for beside the image: ' +
    "under cosign's tag, among its referrers, and in the lookaside of registries.d. Without an option that says whose signature " +
    'counts, the signature policy in force is asked. The exit code is 1 when nothing verifies.',
  options,
  args: [1, 1],
  completes: 'images',
  async run(context, values, [image = '']) {
    const { format } = values;
    if (format !== 'text' && format !== 'json')
      throw new UsageError(`--format ${JSON.stringify(format)}: want text or json`);
    const { readFileFor, verifyHere } = await import('../local/signing.ts');
    const files = (option: string, paths: readonly string[]) => paths.map((path) => readFileFor(option, path));
    const found = await verifyHere(context.globals, accessFrom(values, ''), image, {
      signers: signersFrom(values, files),
      ...(values['rekor-key'].length === 0 ? {} : { logKeys: files('rekor-key', values['rekor-key']) }),
      ...(values['trusted-root'] === undefined ? {} : { trustedRoot: values['trusted-root'] }),
      annotations: annotationsFrom(values.annotation),
    });
    context.out(format === 'json' ? `${JSON.stringify(found, undefined, 2)}\n` : textOf(found));
    return 0;
  },
});

type Found = Awaited<ReturnType<typeof import('../local/signing.ts')['verifyHere']>>;
type Signers = Parameters<typeof import('../local/signing.ts')['verifyHere']>[3]['signers'];

/** @throws {UsageError} two ways of saying whose signature counts */
function signersFrom(
  values: Values<typeof options>,
  files: (option: string, paths: readonly string[]) => Buffer[],
): Signers {
  const { key, policy, 'gpg-keyring': keyrings } = values;
  const subject = ruleFrom(values, 'certificate-identity');
  const issuer = ruleFrom(values, 'certificate-oidc-issuer');
  const isKeyless = subject !== undefined || issuer !== undefined;
  if ([key.length > 0, keyrings.length > 0, policy !== undefined, isKeyless].filter(Boolean).length > 1)
    throw new UsageError('--key, --gpg-keyring, --policy and --certificate-identity exclude each other');
  if (policy !== undefined) return { by: 'policy', path: policy };
  if (key.length > 0) return { by: 'key', keys: files('key', key) };
  if (keyrings.length > 0) return { by: 'gpg', keyrings: files('gpg-keyring', keyrings) };
  if (!isKeyless) return { by: 'policy' };
  if (subject === undefined || issuer === undefined)
    throw new UsageError('--certificate-identity and --certificate-oidc-issuer (or their -regexp) go together');
  const roots = values['ca-roots'];
  return {
    by: 'identity',
    subject,
    issuer,
    ...(roots === undefined ? {} : { authorities: files('ca-roots', [roots]) }),
  };
}

function ruleFrom(
  values: Values<typeof options>,
  name: 'certificate-identity' | 'certificate-oidc-issuer',
): { is: string } | { matches: string } | undefined {
  const [is, matches] = [values[name], values[`${name}-regexp`]];
  if (is !== undefined && matches !== undefined)
    throw new UsageError(`--${name} and --${name}-regexp exclude each other`);
  if (is !== undefined) return { is };
  return matches === undefined ? undefined : { matches };
}

function textOf({ reference, digest, policy, signatures }: Found): string {
  const lines = [`Verified ${reference ?? digest}${reference === undefined ? '' : `: ${digest}`}`];
  if (policy !== undefined) lines.push(`  Policy:    ${policy.file}, scope ${policy.scope}`);
  if (policy !== undefined && signatures.length === 0) lines.push('  It accepts the image without a signature.');
  for (const one of signatures) {
    lines.push(`  Signature: ${formats[one.format]} of ${one.manifestDigest}`);
    if (one.reference !== undefined) lines.push(`    Name:     ${one.reference}`);
    lines.push(`    Key:      ${one.key}`);
    if (one.subjects !== undefined) lines.push(`    Identity: ${one.subjects.join(', ')}`);
    if (one.issuer !== undefined) lines.push(`    Issuer:   ${one.issuer}`);
    if (one.recordedMs !== undefined) lines.push(`    Recorded: ${new Date(one.recordedMs).toISOString()}`);
    for (const [key, value] of Object.entries(one.optional)) {
      lines.push(`    ${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`);
    }
  }
  // What a signer wrote is shown, not obeyed by the terminal.
  return lines.map((line) => `${line.replaceAll(/[\x00-\x1f\x7f-\x9f]/g, '�')}\n`).join('');
}

const formats = { cosign: 'cosign', bundle: 'sigstore bundle', simple: 'GPG' } as const;
