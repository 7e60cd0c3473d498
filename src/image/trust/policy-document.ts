import { isAbsolute, normalize } from 'node:path';
import { TareError } from '../../errors/index.ts';
import { type Foreign, listAt, mapAt, objectAt, optional, textAt, textsAt } from '../json.ts';
import { canonicalName, parseReference } from '../reference.ts';
import type {
  CertificateIdentity,
  FulcioAuthority,
  IdentityRule,
  KeySource,
  PkiAuthority,
  PolicyDocument,
  Requirement,
  SigstoreSigned,
  TextRule,
} from './requirement.ts';
import { exactObjectAt, parseStrictJson } from './strict-json.ts';

export const MAX_POLICY_BYTES = 4 << 20;
const MAX_PATTERN_CHARACTERS = 1024;

const invalid = (message: string) => new TareError('InvalidArgument', message);

/**
 * Reads a policy as strictly as containers/image does: what it does not know makes the whole file invalid, since a
 * misspelled requirement would otherwise require nothing.
 *
 * @param what names the file in errors
 * @throws {TareError} InvalidArgument: the field and what would be right
 * @see containers-policy.json(5)
 */
export function parsePolicy(bytes: Uint8Array, what: string): PolicyDocument {
  const document = exactObjectAt(parseStrictJson(bytes, what, MAX_POLICY_BYTES), what, ['default', 'transports']);
  if (document['default'] === undefined) throw invalid(`${what}: "default" is missing: it is mandatory`);
  const transports = Object.entries(optional(document['transports'], `${what}: transports`, objectAt) ?? {}).map(
    ([transport, scopes]) => {
      const where = `${what}: transports.${transport}`;
      const entries = Object.entries(mapAt(scopes, where, requirementsAt));
      for (const [scope] of entries) checkScope(transport, scope, where);
      return [transport, new Map(entries)] as const;
    },
  );
  return { default: requirementsAt(document['default'], `${what}: default`), transports: new Map(transports) };
}

/** A scope that can never match would leave its author believing that it does. */
function checkScope(transport: string, scope: string, where: string): void {
  if (scope === '') return;
  if (transport === 'dir' || transport === 'oci' || transport === 'oci-archive') {
    const path = transport === 'dir' ? scope : scope.replace(/:[^/]*$/, '');
    if (!isAbsolute(path)) throw invalid(`${where}: scope ${JSON.stringify(scope)}: want an absolute path`);
    if (path === '/') throw invalid(`${where}: scope "/": use the scope "" for all paths`);
    if (normalize(path) !== path || path.endsWith('/')) {
      throw invalid(`${where}: scope ${JSON.stringify(scope)}: want the path ${normalize(path).replace(/\/$/, '')}`);
    }
  }
  if (transport === 'docker' && scope.includes('*') && !/^\*(\.[A-Za-z0-9-]+)+$/.test(scope)) {
    throw invalid(`${where}: scope ${JSON.stringify(scope)}: a wildcard must be *. and a domain`);
  }
  if (transport === 'docker-archive') {
    throw invalid(`${where}: scope ${JSON.stringify(scope)}: this transport has only the scope ""`);
  }
}

function requirementsAt(value: unknown, where: string): Requirement[] {
  const requirements = listAt(value, where, requirementAt, 1000);
  if (requirements.length > 0) return requirements;
  throw invalid(`${where}: the list of requirements must not be empty: say reject or insecureAcceptAnything`);
}

function requirementAt(value: unknown, where: string): Requirement {
  const type = textAt(objectAt(value, where)['type'], `${where}.type`);
  switch (type) {
    case 'insecureAcceptAnything':
    case 'reject':
      exactObjectAt(value, where, ['type']);
      return { type };
    case 'signedBy': {
      const fields = ['type', 'keyType', 'keyPath', 'keyPaths', 'keyData', 'signedIdentity'];
      const object = exactObjectAt(value, where, fields);
      const keyType = textAt(object['keyType'], `${where}.keyType`);
      if (keyType !== 'GPGKeys') throw invalid(`${where}.keyType: want GPGKeys, not ${JSON.stringify(keyType)}`);
      const keyring = keySource(object, where, 'key');
      if (keyring === undefined) throw invalid(`${where}: exactly one of keyPath, keyPaths, keyData must be given`);
      return { type, keyring, signedIdentity: identityRule(object, where) };
    }
    case 'sigstoreSigned':
      return sigstoreSigned(value, where);
    default:
      throw invalid(
        `${where}.type: unknown requirement ${JSON.stringify(type)}: want insecureAcceptAnything, reject, signedBy or sigstoreSigned`,
      );
  }
}

const sigstoreFields = [
  ...['type', 'keyPath', 'keyPaths', 'keyData', 'keyDatas', 'fulcio', 'pki', 'trustedRootPath', 'signedIdentity'],
  ...['rekorPublicKeyPath', 'rekorPublicKeyPaths', 'rekorPublicKeyData', 'rekorPublicKeyDatas'],
];

function sigstoreSigned(value: unknown, where: string): SigstoreSigned {
  const object = exactObjectAt(value, where, sigstoreFields);
  const keys = keySource(object, where, 'key');
  const fulcio = optional(object['fulcio'], `${where}.fulcio`, fulcioAt);
  const pki = optional(object['pki'], `${where}.pki`, pkiAt);
  const rekorKeys = keySource(object, where, 'rekorPublicKey');
  const trustedRootPath = optional(object['trustedRootPath'], `${where}.trustedRootPath`, textAt);
  if ([keys, fulcio, pki].filter((source) => source !== undefined).length !== 1) {
    throw invalid(`${where}: exactly one of keyPath, keyPaths, keyData, keyDatas, fulcio and pki must be given`);
  }
  if (trustedRootPath !== undefined && (pki !== undefined || rekorKeys !== undefined || fulcio?.ca !== undefined)) {
    throw invalid(`${where}: trustedRootPath stands in place of caPath, caData and rekorPublicKey: give one of them`);
  }
  if (fulcio !== undefined && trustedRootPath === undefined) {
    if (fulcio.ca === undefined) throw invalid(`${where}.fulcio: caPath, caData or trustedRootPath must be given`);
    if (rekorKeys === undefined) {
      throw invalid(`${where}: fulcio needs a rekorPublicKeyPath, Paths, Data or Datas: its certificates live minutes`);
    }
  }
  if (pki !== undefined && rekorKeys !== undefined) throw invalid(`${where}: pki goes without rekorPublicKey`);
  return {
    type: 'sigstoreSigned',
    ...{ keys, fulcio, pki, rekorKeys, trustedRootPath },
    signedIdentity: identityRule(object, where),
  };
}

function fulcioAt(value: unknown, where: string): FulcioAuthority {
  const object = exactObjectAt(value, where, [
    ...['caPath', 'caData', 'oidcIssuer', 'oidcIssuerRegExp', 'subjectEmail', 'subjectURI', 'subjectRegExp'],
  ]);
  const identity: CertificateIdentity = {
    issuer: textRule(object, where, { is: ['oidcIssuer'], matches: 'oidcIssuerRegExp' }),
    subject: textRule(object, where, { is: ['subjectEmail', 'subjectURI'], matches: 'subjectRegExp' }),
  };
  const among =
    object['subjectEmail'] !== undefined ? 'emails' : object['subjectURI'] !== undefined ? 'uris' : undefined;
  return { ca: keySource(object, where, 'ca'), ...identity, ...(among === undefined ? {} : { among }) };
}

function pkiAt(value: unknown, where: string): PkiAuthority {
  const object = exactObjectAt(value, where, [
    ...['caRootsPath', 'caRootsData', 'caIntermediatesPath', 'caIntermediatesData', 'subjectEmail', 'subjectHostname'],
  ]);
  const roots = keySource(object, where, 'caRoots');
  if (roots === undefined) throw invalid(`${where}: caRootsPath or caRootsData must be given`);
  const subjectEmail = optional(object['subjectEmail'], `${where}.subjectEmail`, filledText);
  const subjectHostname = optional(object['subjectHostname'], `${where}.subjectHostname`, filledText);
  if (subjectEmail === undefined && subjectHostname === undefined) {
    throw invalid(`${where}: subjectEmail or subjectHostname must be given`);
  }
  return { roots, intermediates: keySource(object, where, 'caIntermediates'), subjectEmail, subjectHostname };
}

/** What `NAMEPath`, `NAMEPaths`, `NAMEData` and `NAMEDatas` say: at most one of them. */
function keySource(object: Foreign, where: string, name: string): KeySource | undefined {
  const given = ['Path', 'Paths', 'Data', 'Datas'].map((suffix) => name + suffix).filter((key) => key in object);
  if (given.length > 1) throw invalid(`${where}: only one of ${given.join(' and ')} can be given`);
  const [key] = given;
  if (key === undefined) return undefined;
  const value = object[key];
  const isList = key.endsWith('s');
  const items = isList ? textsAt(value, `${where}.${key}`) : [textAt(value, `${where}.${key}`)];
  if (items.length === 0 || items.includes('')) throw invalid(`${where}.${key}: it is empty`);
  if (key.includes('Path')) return { paths: items };
  return { datas: items.map((text) => base64At(text, `${where}.${key}`)) };
}

function base64At(text: string, where: string): Buffer {
  const bytes = Buffer.from(text, 'base64');
  if (bytes.toString('base64') === text.replaceAll(/\s/g, '')) return bytes;
  throw invalid(`${where}: want base64`);
}

function filledText(value: unknown, where: string): string {
  const text = textAt(value, where);
  if (text === '') throw invalid(`${where}: it is empty`);
  return text;
}

function textRule(object: Foreign, where: string, names: { is: string[]; matches: string }): TextRule {
  const given = [...names.is, names.matches].filter((name) => object[name] !== undefined);
  const [name] = given;
  if (name === undefined || given.length > 1) {
    throw invalid(`${where}: exactly one of ${[...names.is, names.matches].join(', ')} must be given`);
  }
  const text = filledText(object[name], `${where}.${name}`);
  return name === names.matches ? { matches: parsePattern(text, `${where}.${name}`) } : { is: text };
}

/** @throws {TareError} InvalidArgument: no regular expression */
export function parsePattern(text: string, where: string): RegExp {
  if (text.length > MAX_PATTERN_CHARACTERS) throw invalid(`${where}: more than ${MAX_PATTERN_CHARACTERS} characters`);
  try {
    return new RegExp(text, 'u');
  } catch (cause) {
    throw invalid(`${where}: ${(cause as Error).message}`);
  }
}

function identityRule(requirement: Foreign, where: string): IdentityRule {
  const value = requirement['signedIdentity'];
  if (value === undefined || value === null) return { type: 'matchRepoDigestOrExact' };
  return identityRuleAt(value, `${where}.signedIdentity`);
}

function identityRuleAt(value: unknown, where: string): IdentityRule {
  const type = textAt(objectAt(value, where)['type'], `${where}.type`);
  switch (type) {
    case 'matchExact':
    case 'matchRepoDigestOrExact':
    case 'matchRepository':
    case 'matchDigestOnly':
      exactObjectAt(value, where, ['type']);
      return { type };
    case 'exactReference': {
      const object = exactObjectAt(value, where, ['type', 'dockerReference']);
      const dockerReference = textAt(object['dockerReference'], `${where}.dockerReference`);
      const { tag, digest } = parseReference(dockerReference);
      if (tag !== undefined || digest !== undefined) return { type, dockerReference };
      throw invalid(`${where}.dockerReference: ${JSON.stringify(dockerReference)} needs a tag or a digest`);
    }
    case 'exactRepository': {
      const object = exactObjectAt(value, where, ['type', 'dockerRepository']);
      const dockerRepository = textAt(object['dockerRepository'], `${where}.dockerRepository`);
      const { tag, digest } = parseReference(dockerRepository);
      if (tag === undefined && digest === undefined) return { type, dockerRepository };
      throw invalid(`${where}.dockerRepository: ${JSON.stringify(dockerRepository)} must have no tag and no digest`);
    }
    case 'remapIdentity': {
      const object = exactObjectAt(value, where, ['type', 'prefix', 'signedPrefix']);
      return {
        type,
        prefix: prefixAt(object['prefix'], `${where}.prefix`),
        signedPrefix: prefixAt(object['signedPrefix'], `${where}.signedPrefix`),
      };
    }
    default:
      throw invalid(`${where}.type: unknown identity rule ${JSON.stringify(type)}`);
  }
}

/** A host, a namespace or a repository, fully expanded. */
function prefixAt(value: unknown, where: string): string {
  const prefix = textAt(value, where);
  if (/^[A-Za-z0-9.-]+(:[0-9]+)?$/.test(prefix)) return prefix;
  const name = parseReference(prefix);
  if (name.tag === undefined && name.digest === undefined && canonicalName(name) === prefix) return prefix;
  throw invalid(
    `${where}: ${JSON.stringify(prefix)}: want a host, or a namespace or repository in the fully expanded form, without tag`,
  );
}
