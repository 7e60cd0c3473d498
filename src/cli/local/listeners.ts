import { mkdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type Listener, readTls, type TlsFiles } from '../../api/docker/http/index.ts';
import type { ServeSettings } from '../../engine/index.ts';
import { TareError } from '../../errors/index.ts';
import { userFolders } from '../rootless.ts';
import type { TlsValues } from '../tls-options.ts';
import { parseHost } from '../transport/host.ts';

/** What flags say of where a daemon listens; what is not given is the file's word. */
export interface ListenValues extends TlsValues {
  group?: string | undefined;
  host: string[];
  'insecure-tcp': string[];
  'socket-mode'?: string | undefined;
}

const UNIX_DEFAULT_MODE = 0o660;

/**
 * Where to listen: the flags' word, the configuration file's, or the engine root's own socket.
 * @throws {TareError} InvalidArgument: an address, a group, a mode, a certificate; or TCP where anybody could call
 */
export function listenersOf(values: ListenValues, file: ServeSettings, execRoot: string): Listener[] {
  const configured = values.host.length > 0 ? values.host : (file.hosts ?? []);
  const hosts = configured.length > 0 ? configured : [`unix://${execRoot}/tare.sock`];
  const verifies = values.tlsverify || file.tlsverify === true;
  const secures = verifies || values.tls || file.tls === true;
  return hosts.map((text): Listener => {
    if (text === 'fd://') return { fd: activatedSocket() };
    const address = parseHost(text, secures ? SECURE_PORT : undefined);
    if ('path' in address) {
      mkdirSync(dirname(address.path), { recursive: true, mode: 0o700 });
      const group = groupOf(values.group ?? file.group);
      return {
        ...address,
        mode: socketMode(values['socket-mode'] ?? file['socket-mode']),
        ...(group === undefined ? {} : { gid: group }),
      };
    }
    if (!verifies) requireSaidTwice(text, [...values['insecure-tcp'], ...(file['insecure-tcp'] ?? [])]);
    return {
      ...address,
      allowedHosts: file['allowed-hosts'] ?? [],
      allowedOrigins: file['allowed-origins'] ?? [],
      ...(secures ? { tls: readTls(tlsFiles(values, file, verifies)) } : {}),
    };
  });
}

/** As docker's clients have it for TLS. */
const SECURE_PORT = 2376;

/** Whoever can reach a port that asks for no certificate is root here: it has to be named once more. */
function requireSaidTwice(text: string, insecure: readonly string[]): void {
  if (insecure.includes(text)) return;
  throw new TareError(
    'InvalidArgument',
    `refusing to listen on ${text} without --tlsverify: whoever reaches that port is root here; use --tlsverify, or a unix socket ` +
      `through ssh, or say the address once more, --insecure-tcp ${text}, if only trusted programs can reach it`,
  );
}

function tlsFiles(values: ListenValues, file: ServeSettings, verifies: boolean): TlsFiles {
  const folder = dirname(userFolders()?.configFile ?? '/etc/tare/tare.toml');
  return {
    cert: values.tlscert ?? file.tlscert ?? join(folder, 'cert.pem'),
    key: values.tlskey ?? file.tlskey ?? join(folder, 'key.pem'),
    ...(verifies ? { ca: values.tlscacert ?? file.tlscacert ?? join(folder, 'ca.pem') } : {}),
  };
}

/** 0 in an ordinary user's namespaces is his own group, and the only one of the host's there. */
const groupOf = (name: string | undefined): number | undefined =>
  userFolders() !== undefined ? 0 : name === undefined ? undefined : groupId(name);

/** @throws {TareError} InvalidArgument: not an octal mode, or one that lets everybody in */
function socketMode(text: string | undefined): number {
  if (text === undefined) return UNIX_DEFAULT_MODE;
  const mode = /^0?[0-7]{3}$/.test(text) ? Number.parseInt(text, 8) : -1;
  if (mode >= 0 && (mode & 0o007) === 0) return mode;
  const why =
    mode < 0
      ? 'want an octal mode such as 0660'
      : 'it lets every user of this host be root; give --group to those who may';
  throw new TareError('InvalidArgument', `invalid --socket-mode ${JSON.stringify(text)}: ${why}`);
}

/** @throws {TareError} InvalidArgument: no such group */
function groupId(name: string): number {
  if (/^\d{1,9}$/.test(name)) return Number(name);
  for (const line of readFileSync('/etc/group', 'utf8').split('\n')) {
    const [group, , gid] = line.split(':');
    if (group === name && gid) return Number(gid);
  }
  throw new TareError(
    'InvalidArgument',
    `no group ${JSON.stringify(name)} for --group: add it with groupadd, or give another`,
  );
}

/** The first socket that systemd opened for us (sd_listen_fds(3)). @throws {TareError} InvalidArgument: there is none */
function activatedSocket(): number {
  const { LISTEN_PID, LISTEN_FDS } = process.env;
  if (Number(LISTEN_PID) !== process.pid || !(Number(LISTEN_FDS) > 0))
    throw new TareError(
      'InvalidArgument',
      'host "fd://": no socket was handed over; start the service through its systemd socket unit',
    );
  return 3;
}
