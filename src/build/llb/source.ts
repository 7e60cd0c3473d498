import type { OperationPlatform, Output, Vertex, VertexNotes } from './vertex.ts';

const source = (
  identifier: string,
  attributes: Record<string, string>,
  capabilities: readonly string[],
  notes: VertexNotes,
  platform: OperationPlatform | 'none' | undefined,
): Output => {
  const vertex: Vertex = {
    inputs: [],
    notes,
    capabilities,
    platform,
    encode: () => ({
      case: 'source',
      // A map's bytes follow its order.
      value: {
        $typeName: 'pb.SourceOp',
        identifier,
        attrs: Object.fromEntries(Object.entries(attributes).sort(([a], [b]) => (a < b ? -1 : 1))),
      },
    }),
  };
  return { vertex, index: 0 };
};

/** @param reference canonical, with a tag or a digest */
export function image(
  reference: string,
  options: {
    platform: OperationPlatform | undefined;
    resolveMode?: 'default' | 'pull' | 'local';
    isInternal?: boolean;
  },
  notes: VertexNotes = {},
): Output {
  const attributes: Record<string, string> = {};
  const capabilities = ['source.image'];
  if (options.resolveMode !== undefined && options.resolveMode !== 'default') {
    attributes['image.resolvemode'] = options.resolveMode;
    if (options.resolveMode === 'pull') capabilities.push('source.image.resolvemode');
  }
  if (options.isInternal === true) attributes['image.recordtype'] = 'internal';
  return source(`docker-image://${reference}`, attributes, capabilities, notes, options.platform);
}

export interface LocalOptions {
  sessionID: string;
  /** Keeps what was sent under a name, so that the next build sends what changed. */
  sharedKeyHint?: string;
  includePatterns?: readonly string[];
  excludePatterns?: readonly string[];
  followPaths?: readonly string[];
  /** `none`: all is sent anew. */
  differ?: 'none' | 'metadata';
}

/** A client's folder. */
export function local(name: string, options: LocalOptions, notes: VertexNotes = {}): Output {
  const attributes: Record<string, string> = { 'local.session': options.sessionID };
  const capabilities = ['source.local', 'source.local.sessionid'];
  const list = (key: string, capability: string, values: readonly string[] | undefined) => {
    if (values === undefined || values.length === 0) return;
    attributes[key] = JSON.stringify(values);
    capabilities.push(capability);
  };
  list('local.includepattern', 'source.local.includepatterns', options.includePatterns);
  list('local.followpaths', 'source.local.followpaths', options.followPaths);
  list('local.excludepatterns', 'source.local.excludepatterns', options.excludePatterns);
  if (options.sharedKeyHint !== undefined && options.sharedKeyHint !== '') {
    attributes['local.sharedkeyhint'] = options.sharedKeyHint;
    capabilities.push('source.local.sharedkeyhint');
  }
  if (options.differ !== undefined) attributes['local.differ'] = options.differ;
  return source(`local://${name}`, attributes, capabilities, notes, 'none');
}

export interface GitOptions {
  /** A branch, a tag, a commit; undefined: what the remote's HEAD names. */
  ref?: string;
  subdirectory?: string;
  keepsGitDirectory?: boolean;
  checksum?: string;
  skipsSubmodules?: boolean;
}

/** @param remote as git takes it, with its host and path, which name it whatever the protocol */
export function git(
  remote: { url: string; host: string; path: string; isSsh: boolean },
  options: GitOptions = {},
  notes: VertexNotes = {},
): Output {
  const attributes: Record<string, string> = {
    'git.fullurl': remote.url,
    'git.authtokensecret': 'GIT_AUTH_TOKEN',
    'git.authheadersecret': 'GIT_AUTH_HEADER',
  };
  const capabilities = ['source.git', 'source.git.fullurl'];
  if (remote.isSsh) {
    attributes['git.mountsshsock'] = 'default';
    capabilities.push('source.git.mountsshsock');
  }
  if (options.keepsGitDirectory === true) {
    attributes['git.keepgitdir'] = 'true';
    capabilities.push('source.git.keepgitdir');
  }
  if (options.checksum !== undefined) {
    attributes['git.checksum'] = options.checksum;
    capabilities.push('source.git.checksum');
  }
  if (options.skipsSubmodules === true) {
    attributes['git.skipsubmodules'] = 'true';
    capabilities.push('source.git.skipsubmodules');
  }
  const { ref = '', subdirectory = '' } = options;
  const fragment = ref === '' && subdirectory === '' ? '' : `#${ref}${subdirectory === '' ? '' : `:${subdirectory}`}`;
  const path = remote.path.startsWith('/') ? remote.path : `/${remote.path}`;
  return source(`git://${remote.host}${path}${fragment}`, attributes, capabilities, notes, 'none');
}

/** One file, downloaded. */
export function http(
  url: string,
  options: { filename: string; checksum?: string | undefined },
  notes: VertexNotes = {},
): Output {
  const attributes: Record<string, string> = { 'http.filename': options.filename };
  const capabilities = ['source.http'];
  if (options.checksum !== undefined) {
    attributes['http.checksum'] = options.checksum;
    capabilities.push('source.http.checksum');
  }
  return source(url, attributes, capabilities, notes, 'none');
}

/** An image of a client's OCI layout. @param reference any name, with a digest */
export function ociLayout(
  reference: string,
  options: { sessionID: string; storeID: string; platform: OperationPlatform | undefined },
  notes: VertexNotes = {},
): Output {
  const attributes = { 'oci.session': options.sessionID, 'oci.store': options.storeID };
  return source(`oci-layout://${reference}`, attributes, ['source.ocilayout'], notes, options.platform);
}
