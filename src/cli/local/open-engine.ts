import { Engine, type EngineConfig, loadConfig } from '../../engine/index.ts';
import { TareError } from '../../errors/index.ts';
import type { EngineValues } from '../engine-options.ts';
import { enterNamespaces, userFolders } from '../rootless.ts';

/** How this program was started, for processes that must run it again: conmon's exit command and the keeper. */
function ownCommand(): string[] {
  // The dashes keep Node.js from taking options for its own.
  const folders = userFolders();
  const environment = folders === undefined ? [] : ['/usr/bin/env', folders.marker];
  return [...environment, process.execPath, '--disable-warning=ExperimentalWarning', '--', process.argv[1]!];
}

/** The configuration that the flags of a command line ask for. @throws {TareError} InvalidArgument */
export function configFrom(values: EngineValues): EngineConfig {
  if (values['userns-remap']) {
    throw new TareError(
      'Unsupported',
      "--userns-remap is not supported: run the whole engine without root, which keeps its containers' users from the host's (docs/rootless.md)",
    );
  }
  return loadConfig(
    {
      configFile: values['config-file'] ?? values.config,
      dataRoot: values['data-root'],
      execRoot: values['exec-root'],
      defaultRuntime: values['default-runtime'],
      addRuntimes: values['add-runtime'].length > 0 ? values['add-runtime'] : undefined,
      runtimeArgs: values['runtime-arg'],
      storageDriver: values['storage-driver'],
      enableIPv6: values.ipv6 || undefined,
      bridgeSubnet: values.bip,
      defaultBinding: values.ip,
      network: {
        'default-address-pools': values['default-address-pool'].length > 0 ? values['default-address-pool'] : undefined,
        'default-network-opts': values['default-network-opt'].length > 0 ? values['default-network-opt'] : undefined,
        bip6: values.bip6,
        'fixed-cidr': values['fixed-cidr'],
        'fixed-cidr-v6': values['fixed-cidr-v6'],
        'default-gateway': values['default-gateway'],
        'default-gateway-v6': values['default-gateway-v6'],
        mtu: values.mtu,
        // Only a word against it is one: it is true unless somebody says otherwise.
        icc: values.icc ? undefined : false,
        'ip-masq': values['ip-masq'] ? undefined : false,
        'cni-conf-dir': values['cni-conf-dir'],
        'cni-bin-dirs': values['cni-bin-dir'].length > 0 ? values['cni-bin-dir'] : undefined,
        'cni-gc': values['cni-gc'] || undefined,
      },
      labels: values.label.length > 0 ? values.label : undefined,
      debug: values.debug || undefined,
      experimental: values.experimental || undefined,
      criuPath: values['criu-path'],
      registriesConf: values['registries-conf'],
      insecureRegistries: values['insecure-registry'],
      registryMirrors: values['registry-mirror'],
      signaturePolicy: values['signature-policy'],
      registriesD: values['registries-d'],
      cdiFolders: values['cdi-spec-dir'],
      logDriver: values['log-driver'],
      logOptions: values['log-opt'],
      maxConcurrentDownloads: values['max-concurrent-downloads'],
      maxConcurrentUploads: values['max-concurrent-uploads'],
      imageGCHigh: values['image-gc-high'],
      imageGCLow: values['image-gc-low'],
      eventsMaxAge: values['events-max-age'],
      eventsMaxSize: values['events-max-size'],
    },
    ownCommand(),
    userFolders(),
  );
}

/** Opens an engine in this process, which for an ordinary user begins anew in his namespaces first. */
export async function openEngine(
  config: EngineConfig,
  options: Parameters<typeof Engine.open>[1] = {},
): Promise<Engine> {
  await enterNamespaces();
  return await Engine.open(config, options);
}
