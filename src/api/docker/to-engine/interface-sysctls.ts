import type { CreateBody } from '../schema/container.ts';
import type { ApiVersion } from '../version.ts';
import { invalid } from './container-config.ts';
import { emptySettings, networkName } from './networking.ts';

const OPTION = 'com.docker.network.endpoint.sysctls';

/**
 * Sysctls of a link (`net.ipv4.conf.eth0.forwarding`), which can be set only once there is one, belong to the endpoint.
 * Older clients say them with the container's; those of eth0 are the main network's.
 *
 * @throws {TareError} InvalidArgument, in docker's words: another link; from 1.48 on any
 */
export function withInterfaceSysctls(body: CreateBody, version: ApiVersion): { body: CreateBody; warnings: string[] } {
  const { HostConfig, NetworkingConfig } = body;
  const mode = networkName(HostConfig.NetworkMode);
  const isOfLink = (key: string) => /^net\.[^.]+\.[^.]+\.eth[^.]*\.[^.]+$/.test(key);
  const ofLinks = Object.entries(HostConfig.Sysctls).filter(([key]) => isOfLink(key));
  if (ofLinks.length === 0 || mode === 'host' || mode.startsWith('container:')) return { body, warnings: [] };
  const moved = ofLinks.map(([key, value]) => {
    if (version >= 48) {
      throw invalid(`interface specific sysctl setting "${key}" must be supplied using driver option '${OPTION}'`);
    }
    const [net, family, table, link, name] = key.split('.');
    if (link === 'eth0') return `${net}.${family}.${table}.IFNAME.${name}=${value}`;
    throw invalid(
      `unable to determine network endpoint for sysctl ${key}, use driver option '${OPTION}' to set per-interface sysctls`,
    );
  });
  const own = Object.keys(NetworkingConfig.EndpointsConfig).find((name) => networkName(name) === mode) ?? mode;
  const settings = NetworkingConfig.EndpointsConfig[own] ?? emptySettings;
  const given = settings.DriverOpts[OPTION];
  const all = [...(given === undefined || given === '' ? [] : [given]), ...moved].join(',');
  return {
    body: {
      ...body,
      HostConfig: {
        ...HostConfig,
        Sysctls: Object.fromEntries(Object.entries(HostConfig.Sysctls).filter(([key]) => !isOfLink(key))),
      },
      NetworkingConfig: {
        ...NetworkingConfig,
        EndpointsConfig: {
          ...NetworkingConfig.EndpointsConfig,
          [own]: { ...settings, DriverOpts: { ...settings.DriverOpts, [OPTION]: all } },
        },
      },
    },
    warnings: ofLinks.map(
      ([key], index) =>
        `Migrated sysctl ${JSON.stringify(key)} to DriverOpts{"${OPTION}":${JSON.stringify(moved[index])}}.`,
    ),
  };
}
