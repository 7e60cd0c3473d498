import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { decodeMulti } from '@msgpack/msgpack';
import { afterEach, describe, expect, test } from 'vitest';
import { busybox } from './support/engine.ts';
import { eventually } from './support/execute.ts';
import { withEngine } from './support/faces.ts';

interface Sent {
  log: string;
  container_name: string;
  source: string;
  partial_message?: string;
}

/** A fluentd that takes what comes on a unix socket. */
class Collector {
  readonly path: string;
  readonly records: Sent[] = [];
  #server: Server | undefined;

  constructor(path: string) {
    this.path = path;
  }

  get lines(): string[] {
    return this.records.map(({ log }) => log);
  }

  async open(): Promise<this> {
    const server = createServer((socket) => {
      let bytes = Buffer.alloc(0);
      socket.on('error', () => undefined);
      socket.on('data', (chunk: Buffer) => {
        bytes = Buffer.concat([bytes, chunk]);
      });
      socket.on('data', () => {
        let messages: unknown[];
        try {
          messages = [...decodeMulti(bytes)];
        } catch {
          return; // not whole yet
        }
        bytes = Buffer.alloc(0);
        for (const [, entries] of messages as [string, [number, Sent][]][])
          this.records.push(...entries.map(([, record]) => record));
      });
      this.#sockets.push(socket);
    });
    await new Promise<void>((resolve) => server.listen(this.path, resolve));
    this.#server = server;
    return this;
  }
  readonly #sockets: { destroy(): void }[] = [];

  close(): void {
    for (const socket of this.#sockets.splice(0)) socket.destroy();
    this.#server?.close();
    rmSync(this.path, { force: true });
  }
}

describe('output goes to a collector', () => {
  const engine = withEngine();
  const docker = (...args: string[]) => engine().docker(args);
  let collector: Collector | undefined;
  afterEach(() => collector?.close());
  const fluentd = async () => {
    collector = await new Collector(join(engine().root, 'fluentd.sock')).open();
    return ['--log-driver', 'fluentd', '--log-opt', `fluentd-address=unix://${collector.path}`];
  };

  test('all of a container that lives for a moment and is removed at once', async () => {
    const options = await fluentd();
    await docker('run', '--rm', '--name', 'short', ...options, busybox, 'sh', '-c', 'seq 1 500; echo error >&2');
    expect(collector?.lines.filter((line) => line !== 'error')).toEqual(
      Array.from({ length: 500 }, (_, at) => `${at + 1}`),
    );
    expect(collector?.records.find(({ source }) => source === 'stderr')).toMatchObject({
      log: 'error',
      container_name: '/short',
    });
  });

  test('`logs` works beside it; the collector and the keeper go away and nothing is lost', async () => {
    const options = await fluentd();
    const program = 'n=0; while [ $n -lt 400 ]; do n=$((n+1)); echo line $n; usleep 10000; done; sleep 600';
    await docker('run', '-d', '--name', 'steady', ...options, busybox, 'sh', '-c', program);
    await eventually('lines come', async () => (collector?.records.length ?? 0) > 20);
    collector?.close();
    const before = collector?.lines ?? [];
    await eventually('it goes on', async () => (await docker('logs', '--tail', '1', 'steady')).stdout.length > 0);
    const { stdout } = await engine().run(['pgrep', '-f', `${engine().dataRoot}.* keeper`], { expect: 'any' });
    for (const pid of stdout.split('\n').filter((text) => text !== '')) process.kill(Number(pid), 'SIGKILL');
    collector = await new Collector(join(engine().root, 'fluentd.sock')).open();
    await eventually('all lines came', async () => collector?.lines.includes('line 400') === true, 60_000);
    const all = [...before, ...(collector?.lines ?? [])];
    // At least once, in order.
    expect([...new Set(all)]).toEqual(Array.from({ length: 400 }, (_, at) => `line ${at + 1}`));
    expect((await docker('logs', 'steady')).stdout.split('\n')).toHaveLength(401);
    await docker('rm', '-f', 'steady');
  });

  test('a collector that is not there: no start, and the reason', async () => {
    const options = ['--log-driver', 'fluentd', '--log-opt', 'fluentd-address=127.0.0.1:9'];
    const { code, stderr } = await engine().docker(['run', '--rm', ...options, busybox, 'true'], { expect: 'any' });
    expect(code).not.toBe(0);
    expect(stderr).toMatch(/failed to initialize logging driver: dial tcp 127\.0\.0\.1:9: .*ECONNREFUSED/);
  });

  test("rsyslog takes both of syslog's forms, by UDP and by TCP", async () => {
    const out = join(engine().root, 'syslog.txt');
    const config = join(engine().root, 'rsyslog.conf');
    writeFileSync(
      config,
      `module(load="imudp") module(load="imtcp")
       template(name="t" type="string" string="%syslogfacility-text%.%syslogseverity-text% %programname%|%msg%\\n")
       ruleset(name="r") { action(type="omfile" file="${out}" template="t") }
       input(type="imudp" address="127.0.0.1" port="5514" ruleset="r")
       input(type="imtcp" address="127.0.0.1" port="5514" ruleset="r")`,
    );
    engine().spawn(['rsyslogd', '-n', '-f', config, '-i', join(engine().root, 'rsyslog.pid')]);
    await eventually(
      'rsyslog listens',
      async () => (await engine().run(['ss', '-Hltn', 'sport = 5514'])).stdout !== '',
    );
    const run = async (address: string, format: string, tag: string) => {
      const opts = { 'syslog-address': address, 'syslog-format': format, tag, 'syslog-facility': 'local3' };
      const flags = Object.entries(opts).flatMap(([name, value]) => ['--log-opt', `${name}=${value}`]);
      await docker('run', '--rm', '--log-driver', 'syslog', ...flags, busybox, 'sh', '-c', 'echo out; echo err >&2');
    };
    await run('udp://127.0.0.1:5514', 'rfc3164', 'udp');
    await run('tcp://127.0.0.1:5514', 'rfc5424', 'tcp');
    const lines = () =>
      existsSync(out)
        ? readFileSync(out, 'utf8')
            .split('\n')
            .filter((text) => text !== '')
        : [];
    await eventually('four lines', async () => lines().length === 4);
    expect(
      lines()
        .map((text) => text.replace('| ', '|'))
        .sort(),
    ).toEqual(['local3.err tcp|err', 'local3.err udp|err', 'local3.info tcp|out', 'local3.info udp|out']);
  });

  test('journald keeps it under the names that journalctl is asked with', async () => {
    const setUp = `
      mkdir -p /run/systemd/journal && mount -t tmpfs tmpfs /run/systemd && mkdir /run/systemd/journal
      mkdir -p /run/log && mount -t tmpfs tmpfs /run/log && mkdir /run/log/journal
      echo 0123456789abcdef0123456789abcdef >/run/log/machine-id && mount --bind /run/log/machine-id /etc/machine-id
      printf '[Journal]\\nStorage=volatile\\nReadKMsg=no\\nAudit=no\\n' >/run/log/conf
      mount --bind /run/log/conf /etc/systemd/journald.conf`;
    await engine().run(['sh', '-e', '-c', setUp]);
    engine().spawn(['/lib/systemd/systemd-journald']);
    await eventually(
      'journald listens',
      async () => (await engine().run(['test', '-S', '/run/systemd/journal/socket'], { expect: 'any' })).code === 0,
    );
    const options = ['--log-driver', 'journald', '--log-opt', 'labels=team', '--label', 'team=blue'];
    await docker('run', '--rm', '--name', 'noted', ...options, busybox, 'sh', '-c', 'echo out; echo err >&2');
    const journal = ['journalctl', '-D', '/run/log/journal', '-o', 'json', '--no-pager', 'CONTAINER_NAME=noted'];
    await eventually('both lines', async () => (await engine().run(journal)).stdout.trim().split('\n').length === 2);
    const entries = (await engine().run(journal)).stdout
      .trim()
      .split('\n')
      .map((text) => JSON.parse(text));
    expect(entries.map(({ MESSAGE, PRIORITY, TEAM }) => [MESSAGE, PRIORITY, TEAM]).sort()).toEqual([
      ['err', '3', 'blue'],
      ['out', '6', 'blue'],
    ]);
  });

  test('details of lines, without a collector', async () => {
    const options = [
      '--label',
      'team=blue sea',
      '-e',
      'STAGE=prod',
      '--log-opt',
      'labels=team',
      '--log-opt',
      'env=STAGE',
    ];
    await docker('run', '--name', 'detailed', ...options, busybox, 'echo', 'hello');
    expect((await docker('logs', '--details', 'detailed')).stdout).toBe('STAGE=prod,team=blue+sea hello\n');
    await docker('rm', 'detailed');
  });
});
