import { BlockList, isIPv4, isIPv6 } from 'node:net';
import { TareError } from '../../errors/index.ts';
import { isHost } from './registries-file.ts';

/** dockerd's options for registries. */
export interface DockerOptions {
  /** `HOST[:PORT]` or CIDR, as `--insecure-registry`. */
  insecureRegistries?: readonly string[];
  /** `https://HOST[:PORT]`, mirrors of docker.io, as `--registry-mirror`. */
  registryMirrors?: readonly string[];
}

export interface ParsedDockerOptions {
  mirrors: { domain: string; insecure: boolean }[];
  isInsecure(domain: string): boolean;
}

const invalid = (message: string) => new TareError('InvalidArgument', message);

/** @throws {TareError} InvalidArgument: the option, its value, and what would be right */
export function checkRegistryOptions(options: DockerOptions): void {
  parseDockerOptions(options);
}

/** @throws {TareError} InvalidArgument, as `checkRegistryOptions` */
export function parseDockerOptions(options: DockerOptions): ParsedDockerOptions {
  const hosts = new Set<string>();
  const networks = new BlockList();
  for (const text of options.insecureRegistries ?? []) {
    const [address = '', bits] = text.split('/');
    const width = isIPv4(address) ? 32 : isIPv6(address) ? 128 : undefined;
    if (bits !== undefined && width !== undefined && /^\d{1,3}$/.test(bits) && Number(bits) <= width)
      networks.addSubnet(address, Number(bits), width === 32 ? 'ipv4' : 'ipv6');
    else if (isHost(text)) hosts.add(text.toLowerCase());
    else
      throw invalid(
        `invalid insecure registry ${JSON.stringify(text)}: want HOST, HOST:PORT or a subnet such as 10.0.0.0/8, without http://`,
      );
  }
  return {
    mirrors: (options.registryMirrors ?? []).map(parseMirror),
    isInsecure(domain) {
      const lower = domain.toLowerCase();
      const host = lower.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1');
      if (hosts.has(lower)) return true;
      if (networks.rules.length === 0) return false;
      // Names are not resolved: whoever answers for DNS must not turn the check of certificates off.
      return isIPv4(host) ? networks.check(host) : isIPv6(host) && networks.check(host, 'ipv6');
    },
  };
}

function parseMirror(text: string): { domain: string; insecure: boolean } {
  const match = /^(https?):\/\/([^/]+)\/?$/.exec(text);
  if (match === null || !isHost(match[2]!))
    throw invalid(
      `invalid registry mirror ${JSON.stringify(text)}: want https://HOST[:PORT] without user, path or query`,
    );
  return { domain: match[2]!, insecure: match[1] === 'http' };
}
