import { TareError } from '../../errors/index.ts';

/** A device that an administrator described, by CDI's rules (container-device-interface SPEC.md). */
export interface CdiSpec {
  /** `vendor.com/class` */
  kind: string;
  devices: { name: string; edits: CdiEdits }[];
  /** For every container that has any of its devices. */
  edits: CdiEdits;
}

/** What a container with a device gets. */
export interface CdiEdits {
  env: string[];
  deviceNodes: CdiDeviceNode[];
  mounts: { hostPath: string; containerPath: string; type: string; options: string[] }[];
  hooks: CdiHook[];
  intelRdt: Record<string, unknown> | undefined;
  additionalGids: number[];
}

export interface CdiDeviceNode {
  path: string;
  hostPath: string;
  /** '' : what the node on the host is. */
  type: string;
  major: number | undefined;
  minor: number | undefined;
  fileMode: number | undefined;
  /** Some of `rwm`. */
  permissions: string;
  uid: number | undefined;
  gid: number | undefined;
}

export interface CdiHook {
  hookName: (typeof hookNames)[number];
  path: string;
  args: string[];
  env: string[];
  timeout: number | undefined;
}

export const noEdits: CdiEdits = {
  ...{ env: [], deviceNodes: [], mounts: [], hooks: [], intelRdt: undefined, additionalGids: [] },
};

const versions = ['0.2.0', '0.3.0', '0.4.0', '0.5.0', '0.6.0', '0.7.0', '0.8.0', '1.0.0', '1.1.0'];
const hookNames = [
  ...(['prestart', 'createRuntime', 'createContainer', 'startContainer', 'poststart', 'poststop'] as const),
] as const;
const kindPattern = /^[A-Za-z]([A-Za-z0-9_.-]*[A-Za-z0-9])?\/[A-Za-z]([A-Za-z0-9_-]*[A-Za-z0-9])?$/;
const namePattern = /^[A-Za-z0-9]([A-Za-z0-9_.:-]*[A-Za-z0-9])?$/;

/** Whether a `--device` is the name of a CDI device: `vendor.com/class=name`. */
export function isQualifiedName(text: string): boolean {
  const at = text.indexOf('=');
  return at > 0 && kindPattern.test(text.slice(0, at)) && namePattern.test(text.slice(at + 1));
}

/**
 * Checks a specification's document.
 * @throws {TareError} InvalidArgument: the field, and what would be right
 */
export function parseCdiSpec(document: unknown, path: string): CdiSpec {
  const read = new Reader(path);
  const top = read.object(document, 'the document');
  read.only(top, ['cdiVersion', 'kind', 'annotations', 'devices', 'containerEdits'], 'the document');
  const version = read.text(top['cdiVersion'], 'cdiVersion').replace(/^v/, '');
  if (!versions.includes(version)) throw read.wrong('cdiVersion', `one of ${versions.join(', ')}`);
  const kind = read.text(top['kind'], 'kind');
  if (!kindPattern.test(kind)) throw read.wrong('kind', 'VENDOR/CLASS');
  const devices = read.list(top['devices'], 'devices').map((item, index) => {
    const device = read.object(item, `devices[${index}]`);
    read.only(device, ['name', 'annotations', 'containerEdits'], `devices[${index}]`);
    const name = read.text(device['name'], `devices[${index}].name`);
    if (!namePattern.test(name)) throw read.wrong(`devices[${index}].name`, 'letters, digits, _, -, . and :');
    return { name, edits: edits(read, device['containerEdits'], `devices[${index}].containerEdits`) };
  });
  if (new Set(devices.map(({ name }) => name)).size < devices.length) throw read.wrong('devices', 'each name once');
  return { kind, devices, edits: edits(read, top['containerEdits'], 'containerEdits') };
}

function edits(read: Reader, given: unknown, at: string): CdiEdits {
  if (given === undefined || given === null) return noEdits;
  const object = read.object(given, at);
  read.only(object, ['env', 'deviceNodes', 'mounts', 'hooks', 'intelRdt', 'additionalGids'], at);
  const env = read.texts(object['env'], `${at}.env`);
  if (env.some((variable) => !/^[^=\0]+=/.test(variable))) throw read.wrong(`${at}.env`, 'NAME=VALUE');
  const { intelRdt } = object;
  return {
    env,
    deviceNodes: read
      .list(object['deviceNodes'], `${at}.deviceNodes`)
      .map((item, index) => deviceNode(read, item, `${at}.deviceNodes[${index}]`)),
    mounts: read.list(object['mounts'], `${at}.mounts`).map((item, index) => {
      const place = `${at}.mounts[${index}]`;
      const mount = read.object(item, place);
      return {
        hostPath: read.path(mount['hostPath'], `${place}.hostPath`),
        containerPath: read.path(mount['containerPath'], `${place}.containerPath`),
        type: mount['type'] === undefined ? '' : read.text(mount['type'], `${place}.type`),
        options: read.texts(mount['options'], `${place}.options`),
      };
    }),
    hooks: read.list(object['hooks'], `${at}.hooks`).map((item, index) => hook(read, item, `${at}.hooks[${index}]`)),
    intelRdt: intelRdt === undefined || intelRdt === null ? undefined : read.object(intelRdt, `${at}.intelRdt`),
    additionalGids: read
      .list(object['additionalGids'], `${at}.additionalGids`)
      .map((gid) => read.number(gid, `${at}.additionalGids`)!),
  };
}

function deviceNode(read: Reader, given: unknown, at: string): CdiDeviceNode {
  const node = read.object(given, at);
  const path = read.path(node['path'], `${at}.path`);
  const type = node['type'] === undefined ? '' : read.text(node['type'], `${at}.type`);
  if (!['', 'b', 'c', 'u', 'p'].includes(type)) throw read.wrong(`${at}.type`, 'b, c, u or p');
  const permissions = node['permissions'] === undefined ? 'rwm' : read.text(node['permissions'], `${at}.permissions`);
  if (!/^[rwm]{1,3}$/.test(permissions)) throw read.wrong(`${at}.permissions`, 'some of r, w and m');
  return {
    ...{ path, type, permissions },
    hostPath: node['hostPath'] === undefined ? path : read.path(node['hostPath'], `${at}.hostPath`),
    major: read.number(node['major'], `${at}.major`),
    minor: read.number(node['minor'], `${at}.minor`),
    fileMode: read.number(node['fileMode'], `${at}.fileMode`),
    uid: read.number(node['uid'], `${at}.uid`),
    gid: read.number(node['gid'], `${at}.gid`),
  };
}

function hook(read: Reader, given: unknown, at: string): CdiHook {
  const object = read.object(given, at);
  const name = read.text(object['hookName'], `${at}.hookName`);
  const hookName = hookNames.find((known) => known === name);
  if (hookName === undefined) throw read.wrong(`${at}.hookName`, `one of ${hookNames.join(', ')}`);
  return {
    hookName,
    path: read.path(object['path'], `${at}.path`),
    args: read.texts(object['args'], `${at}.args`),
    env: read.texts(object['env'], `${at}.env`),
    timeout: read.number(object['timeout'], `${at}.timeout`),
  };
}

/** Reads a document's fields, and names the one that is wrong. */
class Reader {
  readonly #path: string;
  constructor(path: string) {
    this.#path = path;
  }

  wrong(field: string, want: string): TareError {
    return new TareError('InvalidArgument', `CDI specification ${this.#path}: ${field}: want ${want}`);
  }

  object(value: unknown, field: string): Record<string, unknown> {
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
    throw this.wrong(field, 'an object');
  }

  only(object: Record<string, unknown>, known: readonly string[], field: string): void {
    const unknown = Object.keys(object).find((key) => !known.includes(key));
    if (unknown !== undefined) throw this.wrong(`${field} has ${JSON.stringify(unknown)}`, known.join(', '));
  }

  text(value: unknown, field: string): string {
    if (typeof value === 'string' && !value.includes('\0')) return value;
    throw this.wrong(field, 'text');
  }

  path(value: unknown, field: string): string {
    const path = this.text(value, field);
    if (path.startsWith('/')) return path;
    throw this.wrong(field, 'an absolute path');
  }

  list(value: unknown, field: string): unknown[] {
    if (value === undefined || value === null) return [];
    if (Array.isArray(value)) return value;
    throw this.wrong(field, 'a list');
  }

  texts(value: unknown, field: string): string[] {
    return this.list(value, field).map((item, index) => this.text(item, `${field}[${index}]`));
  }

  number(value: unknown, field: string): number | undefined {
    if (value === undefined || value === null) return undefined;
    if (Number.isSafeInteger(value) && (value as number) >= 0) return value as number;
    throw this.wrong(field, 'a whole number');
  }
}
