import type { FoundPackage, OsRelease } from './package.ts';

/** Everything but unreserved characters and the colon (purl-spec, "Character encoding"). */
const encode = (text: string): string =>
  encodeURIComponent(text.toWellFormed())
    .replaceAll('%3A', ':')
    .replace(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);

const path = (...segments: string[]): string =>
  segments
    .flatMap((segment) => segment.split('/'))
    .filter((segment) => segment !== '')
    .map(encode)
    .join('/');

/** Namespace and name by each type's own rules (purl-spec, "PURL types"). */
function nameOf({ type, name }: FoundPackage, distribution: OsRelease | undefined): string {
  switch (type) {
    case 'deb':
    case 'apk':
      return path(distribution?.id || (type === 'deb' ? 'debian' : 'alpine'), name.toLowerCase());
    case 'rpm':
      return path(distribution?.id ?? '', name);
    case 'npm': {
      const [, scope, bare] = /^(@[^/]+)\/(.+)$/.exec(name) ?? [undefined, '', name];
      return path(scope!, bare!);
    }
    case 'pypi':
      return path(name.toLowerCase().replaceAll('_', '-'));
    case 'golang':
      return path(name.toLowerCase());
    case 'maven': {
      const colon = name.indexOf(':');
      return colon === -1 ? path(name) : path(name.slice(0, colon), name.slice(colon + 1));
    }
  }
}

/** The package's URL, a name that other tools understand (purl-spec). */
export function purlOf(found: FoundPackage, distribution: OsRelease | undefined): string {
  const isOfDistribution = found.type === 'deb' || found.type === 'apk' || found.type === 'rpm';
  const rpmEpoch = found.type === 'rpm' ? /^(\d+):(.+)$/s.exec(found.version) : null;
  const qualifiers: [string, string | undefined][] = [
    ['arch', found.architecture],
    ['distro', isOfDistribution && distribution?.id ? distroOf(distribution) : undefined],
    ['epoch', rpmEpoch?.[1]],
    ['upstream', isOfDistribution ? upstreamOf(found) : undefined],
  ];
  const query = qualifiers.flatMap(([key, value]) => (value ? [`${key}=${encode(value)}`] : [])).join('&');
  const version = encode(rpmEpoch?.[2] ?? found.version);
  return `pkg:${found.type}/${nameOf(found, distribution)}@${version}${query === '' ? '' : `?${query}`}`;
}

const distroOf = ({ id, versionId }: OsRelease): string => (versionId === '' ? id : `${id}-${versionId}`);

function upstreamOf({ name, version, source }: FoundPackage): string | undefined {
  if (source === undefined || (source.name === name && source.version === version)) return undefined;
  return source.version === version || source.version === '' ? source.name : `${source.name}@${source.version}`;
}
