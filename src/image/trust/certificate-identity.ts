import type { X509Certificate } from '@sigstore/core';
import type { CertificateIdentity, TextRule } from './requirement.ts';

/** Whom a certificate names. */
export interface CertificateNames {
  emails: string[];
  uris: string[];
  hostnames: string[];
  /** Names that Fulcio puts in for those that are neither. */
  others: string[];
  /** Who vouched for the name when the certificate was issued. */
  issuer?: string;
}

const ALTERNATIVE_NAMES = '2.5.29.17';
const OTHER_NAME = '1.3.6.1.4.1.57264.1.7';
const ISSUER_V1 = '1.3.6.1.4.1.57264.1.1';
const ISSUER_V2 = '1.3.6.1.4.1.57264.1.8';
/** Longer names are shown to no regular expression. */
const MAX_NAME_CHARACTERS = 2048;

/** @see fulcio, docs/oid-info.md; RFC 5280, section 4.2.1.6 */
export function certificateNames(certificate: X509Certificate): CertificateNames {
  const names: CertificateNames = { emails: [], uris: [], hostnames: [], others: [] };
  const alternatives = certificate.extension(ALTERNATIVE_NAMES)?.valueObj.subs[0]?.subs ?? [];
  for (const name of alternatives) {
    const text = name.value.toString('latin1');
    if (name.tag.isContextSpecific(1)) names.emails.push(text);
    else if (name.tag.isContextSpecific(6)) names.uris.push(text);
    else if (name.tag.isContextSpecific(2)) names.hostnames.push(text);
    else if (name.tag.isContextSpecific(0) && name.subs[0]?.toOID() === OTHER_NAME) {
      const other = name.subs[1]?.subs[0]?.value.toString('utf8');
      if (other !== undefined) names.others.push(other);
    }
  }
  const second = certificate.extension(ISSUER_V2)?.valueObj.subs[0]?.value.toString('utf8');
  const first = certificate.extension(ISSUER_V1)?.value.toString('utf8');
  // Both are written nowadays. Two that differ would mean one thing to an old reader and another to a new one.
  const issuer = first !== undefined && second !== undefined && first !== second ? undefined : (second ?? first);
  return issuer === undefined ? names : { ...names, issuer };
}

/** Why a certificate is not that of the wanted identity; undefined: it is. */
export function identityFault(names: CertificateNames, wanted: CertificateIdentity): string | undefined {
  const { issuer = '' } = names;
  if (!isMatch(wanted.issuer, issuer)) {
    return `the certificate was issued on the word of ${JSON.stringify(issuer)}, not of ${ruleText(wanted.issuer)}`;
  }
  const subjects = [...names.emails, ...names.uris, ...names.others];
  const candidates = wanted.among === undefined ? subjects : names[wanted.among];
  if (candidates.some((subject) => isMatch(wanted.subject, subject))) return undefined;
  return `the certificate is for ${JSON.stringify(subjects.join(', '))}, not for ${ruleText(wanted.subject)}`;
}

const isMatch = (rule: TextRule, text: string): boolean =>
  'is' in rule ? rule.is === text : text.length <= MAX_NAME_CHARACTERS && rule.matches.test(text);

const ruleText = (rule: TextRule): string =>
  'is' in rule ? JSON.stringify(rule.is) : `what matches ${rule.matches.source}`;
