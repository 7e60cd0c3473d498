import { parseReference } from '../image/index.ts';
import type { ImageOrigin } from '../image/trust/index.ts';

const DOCKER = 'docker://';

/** How an origin is recorded: `docker://NAME:TAG`, `docker-archive:`, `oci:/PATH`. */
export function formatOrigin({ transport, path = '' }: Omit<ImageOrigin, 'reference'>): string {
  return `${transport}:${path}`;
}

export const formatRegistryOrigin = (canonicalName: string): string => DOCKER + canonicalName;

/** Reads what those wrote. */
export function parseOrigin(text: string): ImageOrigin {
  if (text.startsWith(DOCKER)) return { transport: 'docker', reference: parseReference(text.slice(DOCKER.length)) };
  const colon = text.indexOf(':');
  const path = text.slice(colon + 1);
  return { transport: text.slice(0, colon), ...(path === '' ? {} : { path }) };
}
