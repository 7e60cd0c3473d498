import type { BuildOptions } from '../../../engine/index.ts';
import { TareError } from '../../../errors/index.ts';
import type { ApiRequest } from '../messages.ts';
import {
  type BuildQuery,
  numberOf,
  readList,
  readOutputs,
  readTexts,
  readUlimits,
  registryConfig,
} from '../schema/build.ts';

/** @throws {TareError} InvalidArgument: the parameter, and what it should be */
export function toBuildOptions(query: BuildQuery, request: Pick<ApiRequest, 'headers' | 'body'>): BuildOptions {
  if (query.squash) throw new TareError('InvalidArgument', 'squash is only supported with experimental mode');
  if (!['', '[]', 'null'].includes(query.securityopt))
    throw new TareError(
      'InvalidArgument',
      'the daemon on this platform does not support setting security options on build',
    );
  const network = networkOf(query.networkmode);
  const outputs = readOutputs(query.outputs);
  const shmSizeBytes = numberOf(query.shmsize);
  if (shmSizeBytes < 0) throw new TareError('InvalidArgument', 'SHM size can not be less than 0');
  const ulimits = readUlimits(query.ulimits);
  return {
    context: query.remote === '' ? { archive: request.body } : { url: query.remote },
    ...(query.dockerfile !== '' && { dockerfile: { path: query.dockerfile } }),
    ...(query.target !== '' && { target: query.target }),
    buildArgs: readTexts(query.buildargs, 'build args'),
    labels: readTexts(query.labels, 'labels'),
    tags: [...new Set(query.t.filter((tag) => tag !== ''))],
    ...(query.platform !== '' && { platforms: [query.platform] }),
    noCache: query.nocache,
    pull: query.pull,
    ...(network !== '' && { network }),
    // What docker lets every client do.
    ...(network === 'host' && { allow: ['network.host'] }),
    extraHosts: query.extrahosts.flatMap(hostsOf),
    ...(shmSizeBytes > 0 && { shmSizeBytes }),
    ...(ulimits.length > 0 && { ulimits }),
    ...(query.cgroupparent !== '' && { cgroupParent: query.cgroupparent }),
    ...limitsOf(query),
    cacheFrom: readList(query.cachefrom, 'cache-from').map((ref) => ({ type: 'registry', attributes: { ref } })),
    registryAuth: registryConfig(request.headers['x-registry-config']),
    ...(outputs.length > 0 && { outputs }),
  };
}

function limitsOf(query: BuildQuery): Pick<BuildOptions, 'limits'> {
  const limits = {
    memoryBytes: numberOf(query.memory),
    memorySwapBytes: numberOf(query.memswap),
    cpuShares: numberOf(query.cpushares),
    cpuPeriod: numberOf(query.cpuperiod),
    cpuQuota: numberOf(query.cpuquota),
    cpusetCpus: query.cpusetcpus,
    cpusetMems: query.cpusetmems,
  };
  const given = Object.entries(limits).filter(([, value]) => value !== 0 && value !== '');
  return given.length === 0 ? {} : { limits: Object.fromEntries(given) };
}

function networkOf(mode: string): string {
  return ['', 'default', 'bridge'].includes(mode) ? '' : mode;
}

/** Docker's client sends one a parameter, others a list in JSON. */
function hostsOf(text: string): string[] {
  return text.startsWith('[') ? readList(text, 'extra hosts') : text === '' ? [] : [text];
}
