import type { BuildRequest } from '../../build/index.ts';

/** Options of the frontend that say what is built; others may carry anything. */
const shown = [
  ...['filename', 'target', 'platform', 'context', 'force-network-mode', 'no-cache', 'image-resolve-mode', 'source'],
  ...['cgroup-parent', 'requestid'],
];

const withoutPassword = (address: string): string => address.replace(/^([a-z+]+:\/\/)[^/?#]*@/, '$1');

/** A build in short, as it will be made, without what may be secret: values of arguments, credentials in addresses. */
export function buildSubject(request: BuildRequest): Record<string, unknown> {
  const options = request.frontendOptions ?? {};
  const argumentNames = Object.keys(options).filter((key) => key.startsWith('build-arg:'));
  const said = Object.entries(options)
    .filter(([key]) => shown.includes(key))
    .map(([key, value]) => [key, withoutPassword(value)]);
  const { exporters, cacheExports, cacheImports, entitlements } = request;
  const some = <T>(key: string, values: readonly T[]) => (values.length === 0 ? {} : { [key]: values });
  return {
    build: request.ref,
    ...(request.frontend === undefined ? {} : { frontend: request.frontend }),
    ...Object.fromEntries(said),
    ...some(
      'arguments',
      argumentNames.map((key) => key.slice('build-arg:'.length)),
    ),
    ...some('entitlements', entitlements),
    ...some(
      'exporters',
      exporters.map(({ type, attributes }) => exporterIn(type, attributes)),
    ),
    ...some(
      'cacheTo',
      cacheExports.map(({ type, attributes }) => cacheIn(type, attributes)),
    ),
    ...some(
      'cacheFrom',
      cacheImports.map(({ type, attributes }) => cacheIn(type, attributes)),
    ),
  };
}

const exporterIn = (type: string, { name, push }: BuildRequest['exporters'][number]['attributes']) => ({
  type,
  ...(name === undefined ? {} : { name }),
  ...(push === 'true' ? { push: true } : {}),
});

const cacheIn = (type: string, { ref }: BuildRequest['exporters'][number]['attributes']) => ({
  type,
  ...(ref === undefined ? {} : { ref }),
});
