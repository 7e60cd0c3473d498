import { TareError } from '../../../errors/index.ts';
import type { StoredNetwork } from '../../records.ts';
import { type Conflist, conflistId, readConflists } from './conflist.ts';

/** Where CNI's files are. */
export interface CniPaths {
  /** Folder of configurations. */
  confDir: string;
  /** Folders of plugins; the first that has one counts. */
  binDirs: string[];
}

export const standardCniPaths: CniPaths = { confDir: '/etc/cni/net.d', binDirs: ['/opt/cni/bin', '/usr/lib/cni'] };

/** The networks that conflists describe. Nothing is remembered: the folder is the truth, read when it is asked. */
export class CniCatalogue {
  readonly paths: CniPaths;

  constructor(paths: CniPaths) {
    this.paths = paths;
  }

  list(): StoredNetwork[] {
    return readConflists(this.paths.confDir).files.map(({ list, path, changedMs }) => networkOf(list, path, changedMs));
  }

  /** @param ref name, id, or an id's beginning that fits one alone */
  find(ref: string): StoredNetwork | undefined {
    const networks = this.list();
    const exact = networks.find(({ id, name }) => name === ref || id === ref);
    if (exact !== undefined) return exact;
    const byPrefix = /^[0-9a-f]+$/.test(ref) ? networks.filter(({ id }) => id.startsWith(ref)) : [];
    return byPrefix.length === 1 ? byPrefix[0] : undefined;
  }

  /** @throws {TareError} NotFound: its file is gone, or makes no sense any more */
  conflist(name: string): Conflist {
    const { files, problems } = readConflists(this.paths.confDir);
    const found = files.find(({ list }) => list.name === name);
    if (found !== undefined) return found.list;
    const hint = problems.length === 0 ? '' : `; not usable there: ${problems.join('; ')}`;
    throw new TareError('NotFound', `network ${name}: no conflist of this name in ${this.paths.confDir}${hint}`);
  }

  /** Why files of the folder are no networks. */
  problems(): string[] {
    return readConflists(this.paths.confDir).problems;
  }
}

function networkOf(list: Conflist, path: string, changedMs: number): StoredNetwork {
  return {
    id: conflistId(list.name),
    name: list.name,
    driver: 'cni',
    createdMs: Math.floor(changedMs),
    bridge: '',
    internal: false,
    enableIPv4: true,
    enableIPv6: false,
    mtu: 0,
    ipam: [],
    icc: true,
    masquerade: false,
    options: {
      'cni.conflist': path,
      'cni.plugins': list.plugins.map(({ type }) => type).join(','),
      'cni.version': list.cniVersion,
    },
    labels: {},
    cursorIpv4: '',
    cursorIpv6: '',
    ownsBridge: false,
    isAutomatic: false,
  };
}
