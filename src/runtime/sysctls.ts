import { TareError } from '../errors/index.ts';

/** Sysctls that the IPC namespace keeps apart (ipc_namespaces(7)). */
const ipcSysctls = new Set([
  'kernel.msgmax',
  'kernel.msgmnb',
  'kernel.msgmni',
  'kernel.sem',
  'kernel.shmall',
  'kernel.shmmax',
  'kernel.shmmni',
  'kernel.shm_rmid_forced',
]);

/**
 * Refuses sysctls that would change the host, because no namespace of the container's own keeps them apart.
 *
 * @param own which namespaces the container does not share with the host
 * @throws {TareError} InvalidArgument
 */
export function checkSysctls(
  sysctls: Readonly<Record<string, string>>,
  own: { network: boolean; ipc: boolean; uts: boolean },
): void {
  for (const [given, value] of Object.entries(sysctls)) {
    const refused = (why: string) => new TareError('InvalidArgument', `sysctl '${given}' ${why}`);
    // Names may be written with slashes; a dot then belongs to an interface's name, as in net/ipv4/conf/eth0.1/forwarding.
    if (!/^[a-zA-Z0-9_-]+([./][a-zA-Z0-9_.@:+-]+)+$/.test(given) || given.includes('..')) {
      throw refused('is not allowed');
    }
    if (value.includes('\0') || value.includes('\n')) throw refused('has a value of more than one line');
    const name = given.replaceAll('/', '.');
    if (name.startsWith('net.')) {
      if (!own.network) throw refused('not allowed in host network namespace');
    } else if (ipcSysctls.has(name) || name.startsWith('fs.mqueue.')) {
      if (!own.ipc) throw refused('not allowed in host ipc namespace');
    } else if (name === 'kernel.domainname') {
      if (!own.uts) throw refused('not allowed in host uts namespace');
    } else {
      throw refused('is not allowed: no namespace keeps it apart from the host');
    }
  }
}
