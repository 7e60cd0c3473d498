import { TareError } from '../../errors/index.ts';
import {
  canonical,
  formatPlatform,
  hostPlatform,
  parseGoBoolean,
  parseReference,
  withDefaultTag,
} from '../../image/index.ts';
import { NetMode } from '../../protocol/index.ts';
import type { FrontendBridge } from '../frontend.ts';
import * as llb from '../llb/index.ts';
import { emptyTree, type Tree } from '../tree.ts';
import { unsupportedCapability } from './refusals.ts';

/** A program that makes graphs, ready to be run. */
export interface FrontendImage {
  /** With its digest, for people. */
  name: string;
  tree: Tree;
  args: readonly string[];
  env: readonly string[];
  cwd: string;
  network: NetMode;
}

interface Config {
  config?: {
    Entrypoint?: string[] | null;
    Env?: string[] | null;
    WorkingDir?: string;
    Labels?: Record<string, string> | null;
  };
}

const NETWORK_LABEL = 'moby.buildkit.frontend.network.none';
const CAPABILITIES_LABEL = 'moby.buildkit.frontend.caps';
const INPUTS = 'moby.buildkit.frontend.inputs';
const DEVELOPED = 'gateway-devel';
const DEVELOPED_PREFIX = 'gateway-';

/**
 * The frontend that a build names with its option `source`.
 * @throws {TareError} InvalidArgument: none is named; Unsupported: it cannot do what the client wants of it
 */
export async function frontendImage(bridge: FrontendBridge): Promise<FrontendImage> {
  const source = bridge.options['source'] ?? '';
  if (source === '') throw new TareError('InvalidArgument', 'no source specified for gateway: name a frontend image');
  const { name, tree, config } =
    DEVELOPED in bridge.options ? await built(bridge, source) : await pulled(bridge, source);
  const labels = config.Labels ?? {};
  requireCapabilities(bridge, labels[CAPABILITIES_LABEL] ?? '');
  return {
    ...{ name, tree },
    args: config.Entrypoint ?? ['/run'],
    env: config.Env ?? [],
    cwd: config.WorkingDir || '/',
    network: parseGoBoolean(labels[NETWORK_LABEL] ?? '') === true ? NetMode.NONE : NetMode.UNSET,
  };
}

async function pulled(bridge: FrontendBridge, source: string) {
  const reference = canonical(withDefaultTag(parseReference(source)));
  const asked = bridge.options['image-resolve-mode'];
  const resolveMode = asked === 'pull' || asked === 'local' ? asked : 'default';
  const logName = `resolve image config for docker-image://${reference}`;
  const { ref, digest, config } = await bridge.resolveImageConfig(reference, { resolveMode, logName });
  const name = ref.includes('@') ? ref : `${ref}@${digest}`;
  const { os, architecture, variant } = hostPlatform();
  const platform = { os, architecture, ...(variant === undefined ? {} : { variant }) };
  const definition = llb.marshal(llb.image(name, { platform, resolveMode }), platform);
  const { ref: result } = await bridge.solve({ definition });
  return { name, tree: (await result?.tree()) ?? emptyTree, config: parseConfig(config, name) };
}

/** A frontend image that is made by another frontend, for whoever develops it. */
async function built(bridge: FrontendBridge, frontend: string) {
  const own = Object.entries(bridge.options).filter(([key]) => key.startsWith(DEVELOPED_PREFIX) && key !== DEVELOPED);
  const frontendOptions = Object.fromEntries(own.map(([key, value]) => [key.slice(DEVELOPED_PREFIX.length), value]));
  const { ref, refs, metadata } = await bridge.solve({ frontend, frontendOptions, frontendInputs: bridge.inputs });
  const only = ref ?? refs.values().next().value;
  const name = `the frontend that ${frontend} makes`;
  const key = refs.size > 0 ? `containerimage.config/${formatPlatform(hostPlatform())}` : 'containerimage.config';
  return { name, tree: (await only?.tree()) ?? emptyTree, config: parseConfig(metadata.get(key), name) };
}

function parseConfig(bytes: Uint8Array | undefined, name: string): NonNullable<Config['config']> {
  if (bytes === undefined) return {};
  try {
    const { config } = JSON.parse(Buffer.from(bytes).toString('utf8')) as Config;
    const { Entrypoint = [], Env = [], WorkingDir = '', Labels = {} } = config ?? {};
    const texts = [...(Entrypoint ?? []), ...(Env ?? []), WorkingDir, ...Object.values(Labels ?? {})];
    if (texts.every((one) => typeof one === 'string')) return config ?? {};
  } catch {
    // told below
  }
  throw new TareError('InvalidArgument', `${name}: its configuration is none of an image`);
}

/** @throws {TareError} Unsupported */
function requireCapabilities({ options, inputs }: FrontendBridge, label: string): void {
  const known = namesIn(label);
  const wanted = [...namesIn(options['frontend.caps'] ?? ''), ...(inputs.size > 0 ? [INPUTS] : [])];
  const missing = wanted.find((one) => !known.includes(one));
  if (missing !== undefined) throw unsupportedCapability(missing);
}

/** `name+flag,name` → names. */
const namesIn = (text: string): string[] =>
  text
    .split(',')
    .map((one) => one.split('+', 1)[0]!)
    .filter((one) => one !== '');
