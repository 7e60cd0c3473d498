import { statSync } from 'node:fs';
import { TareError } from '../../errors/index.ts';
import { deviceNumbers } from '../devices.ts';
import { overrideEnv } from '../merge-image-defaults.ts';
import type { OciDevice, OciSpec } from '../oci-spec.ts';
import type { CdiDeviceNode, CdiEdits } from './cdi-spec.ts';

/**
 * Makes a container's specification one with devices (container-device-interface SPEC.md, "OCI Edits").
 * @throws {TareError} InvalidArgument: a device node is not on this host
 */
export function applyCdiEdits(spec: OciSpec, edits: CdiEdits): void {
  spec.process.env = overrideEnv(spec.process.env, edits.env);
  for (const node of edits.deviceNodes) addNode(spec, node);
  for (const { hostPath, containerPath, type, options } of edits.mounts) {
    spec.mounts = spec.mounts.filter(({ destination }) => destination !== containerPath);
    const isBind = type === '' || type === 'bind';
    const plain = options.length > 0 ? options : ['rbind'];
    spec.mounts.push({
      destination: containerPath,
      type: type || 'bind',
      source: hostPath,
      options: isBind && !plain.some((option) => /^r?bind$/.test(option)) ? ['rbind', ...plain] : plain,
    });
  }
  for (const { hookName, path, args, env, timeout } of edits.hooks) {
    spec.hooks ??= {};
    spec.hooks[hookName] ??= [];
    spec.hooks[hookName].push({
      path,
      ...(args.length > 0 && { args }),
      ...(env.length > 0 && { env }),
      ...(timeout !== undefined && { timeout }),
    });
  }
  if (edits.intelRdt !== undefined) spec.linux.intelRdt = edits.intelRdt;
  const gids = [...(spec.process.user.additionalGids ?? []), ...edits.additionalGids.filter((gid) => gid !== 0)];
  if (gids.length > 0) spec.process.user.additionalGids = [...new Set(gids)];
}

function addNode(spec: OciSpec, node: CdiDeviceNode): void {
  const device = deviceOf(node, spec.process.user);
  spec.linux.devices = [...(spec.linux.devices ?? []).filter(({ path }) => path !== device.path), device];
  if (device.type === 'p') return;
  spec.linux.resources.devices ??= [];
  spec.linux.resources.devices.push({
    ...{ allow: true, type: device.type, access: node.permissions },
    ...(device.major !== undefined && { major: device.major }),
    ...(device.minor !== undefined && { minor: device.minor }),
  });
}

function deviceOf(node: CdiDeviceNode, user: OciSpec['process']['user']): OciDevice {
  // u is an unbuffered character device: the same to the kernel.
  let type = node.type === 'u' ? 'c' : node.type;
  let { major, minor } = node;
  if (type === '' || (type !== 'p' && (major === undefined || minor === undefined))) {
    const status = statSync(node.hostPath, { throwIfNoEntry: false });
    const found = status?.isBlockDevice() ? 'b' : status?.isCharacterDevice() ? 'c' : status?.isFIFO() ? 'p' : '';
    if (status === undefined || found === '' || (type !== '' && type !== found)) {
      throw new TareError(
        'InvalidArgument',
        `CDI device injection failed: ${node.hostPath} is not a device node${type === '' ? '' : ` of type ${type}`} of this host`,
      );
    }
    type = found;
    if (found !== 'p') [major, minor] = deviceNumbers(status.rdev);
  }
  const uid = node.uid ?? (user.uid > 0 ? user.uid : undefined);
  const gid = node.gid ?? (user.gid > 0 ? user.gid : undefined);
  return {
    type: type as OciDevice['type'],
    path: node.path,
    ...(major !== undefined && { major }),
    ...(minor !== undefined && { minor }),
    ...(node.fileMode !== undefined && { fileMode: node.fileMode }),
    ...(uid !== undefined && { uid }),
    ...(gid !== undefined && { gid }),
  };
}
