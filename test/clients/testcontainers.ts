/** testcontainers, unmodified, against the engine of DOCKER_HOST and the registry of REGISTRY. Each case has a reaper of its own. */
import { deepEqual, equal, match, notEqual, ok, rejects } from 'node:assert/strict';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer, text } from 'node:stream/consumers';
import {
  DockerComposeEnvironment,
  GenericContainer,
  getContainerRuntimeClient,
  getReaper,
  ImageName,
  Network,
  PullPolicy,
  type StartedTestContainer,
  TestContainers,
  Wait,
} from 'testcontainers';
import { busybox } from '../support/image.ts';
import { tar } from '../support/tar.ts';

const script = (text: string): GenericContainer => new GenericContainer(busybox).withCommand(['sh', '-c', text]);
const idle = (): GenericContainer => new GenericContainer(busybox).withCommand(['sleep', '1000']);
/** A web server with one page. */
const web = (): GenericContainer =>
  script('mkdir -p /srv && echo served > /srv/index.html && echo ready && exec httpd -f -h /srv').withExposedPorts(80);
const page = async (container: StartedTestContainer): Promise<string> =>
  await (await fetch(`http://${container.getHost()}:${container.getMappedPort(80)}/`)).text();
const folder = (): string => mkdtempSync(join(tmpdir(), 'copied-'));

export const cases: Record<string, () => Promise<void>> = {
  'a container with a published port, waited for; names, labels, addresses; restart and stop': async () => {
    const container = await web().withName('waited').withLabels({ kind: 'web' }).withHostname('named').start();
    equal(await page(container), 'served\n');
    deepEqual(
      [container.getName(), container.getHostname(), container.getLabels()['kind']],
      ['/waited', 'named', 'web'],
    );
    deepEqual(container.getNetworkNames(), ['bridge']);
    match(container.getIpAddress('bridge'), /^\d+(\.\d+){3}$/);
    equal(container.getLabels()['org.testcontainers'], 'true');
    await container.restart({ timeout: 0 });
    equal(await page(container), 'served\n');
    const stopped = await container.stop({ remove: false });
    match(
      (await buffer(await stopped.copyArchiveFromContainer('/srv/index.html'))).toString(),
      /^index\.html.*served\n/s,
    );
    const { container: containers } = await getContainerRuntimeClient();
    const left = containers.getById(stopped.getId());
    await containers.remove(left, { removeVolumes: true });
    await rejects(containers.inspect(left), /no such container/);
  },

  'wait strategies: log, HTTP, command, health, one shot, all together, and what is late': async () => {
    await using _log = await script('echo one; sleep 0.1; echo two; sleep 1000')
      .withWaitStrategy(Wait.forLogMessage(/^two/))
      .start();
    await using _twice = await script('for n in 1 2; do echo again >&2; sleep 0.1; done; sleep 1000')
      .withWaitStrategy(Wait.forLogMessage('again', 2))
      .start();
    await using _http = await web()
      .withWaitStrategy(
        Wait.forHttp('/', 80)
          .forStatusCode(200)
          .forResponsePredicate((body) => body === 'served\n'),
      )
      .start();
    await using _command = await script('sleep 0.2; touch /there; sleep 1000')
      .withWaitStrategy(Wait.forSuccessfulCommand('test -e /there'))
      .start();
    await using _health = await script('sleep 0.2; touch /there; sleep 1000')
      .withHealthCheck({ test: ['CMD-SHELL', 'test -e /there'], interval: 100, timeout: 5_000, retries: 50 })
      .withWaitStrategy(Wait.forHealthCheck())
      .start();
    await using _shot = await script('exit 0').withWaitStrategy(Wait.forOneShotStartup()).start();
    await using _all = await web()
      .withWaitStrategy(Wait.forAll([Wait.forListeningPorts(), Wait.forLogMessage('ready')]))
      .start();
    await rejects(
      script('exit 3').withWaitStrategy(Wait.forOneShotStartup()).start(),
      /exit code 3|Container failed to start/,
    );
    await rejects(
      script('sleep 1000').withWaitStrategy(Wait.forLogMessage('never').withStartupTimeout(500)).start(),
      /Log message "never" not received after 500ms/,
    );
    await rejects(
      script('sleep 1000')
        .withHealthCheck({ test: ['CMD', 'false'], interval: 50, retries: 1 })
        .withWaitStrategy(Wait.forHealthCheck())
        .start(),
      /Health check failed: unhealthy/,
    );
  },

  'exec: both streams, exit code, environment, user, folder': async () => {
    await using container = await idle().start();
    deepEqual(await container.exec(['sh', '-c', 'echo out; echo err >&2; exit 4']), {
      ...{ output: 'out\nerr\n', stdout: 'out\n', stderr: 'err\n', exitCode: 4 },
    });
    const options = { env: { WORD: 'spoken' }, user: 'app', workingDir: '/tmp' };
    equal((await container.exec(['sh', '-c', 'echo $WORD $(id -u) $(pwd)'], options)).stdout, 'spoken 1000 /tmp\n');
    equal((await container.exec(['absent'])).exitCode, 127);
    const many = await Promise.all(Array.from({ length: 10 }, (_, n) => container.exec(['echo', `${n}`])));
    deepEqual(many.map(({ stdout }) => stdout).join(''), '0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n');
  },

  'copy: files, folders, content and archives, before the start and after; and back': async () => {
    const source = folder();
    writeFileSync(join(source, 'one'), 'first');
    writeFileSync(join(source, 'two'), 'second');
    await using container = await script('cat /put/one /put/said /all/two /arch/three > /seen; sleep 1000')
      .withCopyFilesToContainer([{ source: join(source, 'one'), target: '/put/one', mode: 0o640 }])
      .withCopyContentToContainer([{ content: ' said ', target: '/put/said' }])
      .withCopyDirectoriesToContainer([{ source, target: '/all' }])
      .withCopyArchivesToContainer([
        {
          tar: Readable.from([
            tar([
              { path: 'arch', type: 'directory' },
              { path: 'arch/three', content: ' third' },
            ]),
          ]),
          target: '/',
        },
      ])
      .withWaitStrategy(Wait.forSuccessfulCommand('grep -q third /seen'))
      .start();
    equal((await container.exec('cat /seen')).stdout, 'first said second third');
    equal((await container.exec(['stat', '-c', '%a', '/put/one'])).stdout, '640\n');
    await container.copyFilesToContainer([{ source: join(source, 'two'), target: '/later/two' }]);
    await container.copyContentToContainer([{ content: 'content', target: '/later/content', mode: 0o755 }]);
    await container.copyDirectoriesToContainer([{ source, target: '/later/folder' }]);
    await container.copyArchiveToContainer(Readable.from([tar([{ path: 'archived', content: 'packed' }])]), '/tmp');
    equal(
      (await container.exec('cat /later/two /later/content /later/folder/one /tmp/archived')).stdout,
      'secondcontentfirstpacked',
    );
    match((await buffer(await container.copyArchiveFromContainer('/later/two'))).toString(), /^two.*second/s);
  },

  'commit: an image of what was done, with changes': async () => {
    await using container = await idle().start();
    await container.exec('touch /done');
    const id = await container.commit({
      repo: 'testcontainers/committed',
      tag: 'one',
      author: 'me',
      changes: ['ENV MADE=yes'],
    });
    match(id, /^sha256:[0-9a-f]{64}$/);
    await using again = await new GenericContainer('testcontainers/committed:one')
      .withCommand(['sleep', '1000'])
      .start();
    equal((await again.exec(['sh', '-c', 'ls /done; echo $MADE'])).stdout, '/done\nyes\n');
    const kept = await container.commit({ repo: 'testcontainers/kept', tag: 'one', deleteOnExit: false });
    const { image } = await getContainerRuntimeClient();
    ok(await image.exists(ImageName.fromString('testcontainers/kept:one')));
    notEqual(kept, id);
  },

  'networks: aliases, two containers that find each other, and removal': async () => {
    const network = await new Network().start();
    const server = await web().withNetwork(network).withNetworkAliases('web', 'server').start();
    const client = await idle().withNetwork(network).start();
    for (const name of ['web', 'server'])
      equal((await client.exec(['wget', '-q', '-O', '-', `http://${name}/`])).stdout, 'served\n');
    ok(server.getNetworkNames().includes(network.getName()));
    equal(server.getNetworkId(network.getName()), network.getId());
    await rejects(network.stop(), /has active endpoints/);
    await Promise.all([server.stop(), client.stop()]);
    await network.stop();
  },

  'compose: up with wait strategies, profiles and environment, containers of services, stop, down': async () => {
    const project = folder();
    const services = {
      web: {
        image: busybox,
        command: ['sh', '-c', 'mkdir -p /srv; echo $$WORD > /srv/index.html; exec httpd -f -h /srv'],
        environment: { WORD: '$SAID' },
        ports: ['80'],
        healthcheck: {
          test: ['CMD', 'wget', '-q', '-O', '/dev/null', 'http://localhost/'],
          interval: '200ms',
          retries: 50,
        },
        volumes: ['kept:/kept'],
        init: true,
      },
      worker: { image: busybox, command: ['sh', '-c', 'echo working; sleep 1000'], depends_on: ['web'], init: true },
      extra: { image: busybox, command: ['sleep', '1000'], profiles: ['more'], init: true },
    };
    writeFileSync(join(project, 'compose.yaml'), JSON.stringify({ services, volumes: { kept: {} } }));
    const environment = await new DockerComposeEnvironment(project, 'compose.yaml')
      .withEnvironment({ SAID: 'composed' })
      .withProfiles('more')
      .withWaitStrategy('web-1', Wait.forHealthCheck())
      .withWaitStrategy('worker-1', Wait.forLogMessage('working'))
      .up();
    const server = environment.getContainer('web-1');
    equal(await page(server), 'composed\n');
    equal(
      (await environment.getContainer('worker-1').exec(['wget', '-q', '-O', '-', 'http://web/'])).stdout,
      'composed\n',
    );
    equal((await environment.getContainer('extra-1').exec('true')).exitCode, 0);
    const stopped = await environment.stop();
    await stopped.down();
    const { container } = await getContainerRuntimeClient();
    await rejects(container.inspect(container.getById(server.getId())), /no such container/);
  },

  'options: environment, user, limits, tmpfs, binds, capabilities, hosts, memory': async () => {
    const source = folder();
    writeFileSync(join(source, 'bound'), 'bound');
    await using container = await idle()
      .withEnvironment({ WORD: 'spoken' })
      .withUser('app')
      .withWorkingDir('/tmp')
      .withTmpFs({ '/scratch': 'rw,size=1m' })
      .withUlimits({ nofile: { hard: 128, soft: 64 } })
      .withBindMounts([{ source: join(source, 'bound'), target: '/bound', mode: 'ro' }])
      .withDroppedCapabilities('ALL')
      .withAddedCapabilities('NET_ADMIN')
      .withExtraHosts([{ host: 'far', ipAddress: '192.0.2.1' }])
      .withResourcesQuota({ memory: 0.0625, cpu: 0.5 })
      .withSharedMemorySize(1 << 20)
      .withPrivilegedMode()
      .start();
    const said =
      'echo $WORD $(id -u) $(pwd) $(ulimit -n) $(cat /bound) $(grep -c far /etc/hosts) $(stat -f -c %T /scratch)';
    equal((await container.exec(['sh', '-c', said])).stdout, 'spoken 1000 /tmp 64 bound 1 tmpfs\n');
    const { container: containers } = await getContainerRuntimeClient();
    const { HostConfig } = await containers.inspect(containers.getById(container.getId()));
    deepEqual([HostConfig.Memory, HostConfig.NanoCpus, HostConfig.ShmSize], [64 << 20, 500_000_000, 1 << 20]);
  },

  'logs: since, tail, a consumer from the first line': async () => {
    const consumed: string[] = [];
    await using container = await script('for n in 1 2 3; do echo line $n; done; echo wrong >&2; sleep 1000')
      .withLogConsumer((stream) => stream.on('data', (line: string) => consumed.push(line)))
      .withWaitStrategy(Wait.forLogMessage('wrong'))
      .start();
    const logs = await container.logs();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    let seen = '';
    logs.once('end', () => reject(new Error(`it ended after ${seen}`)));
    logs.on('data', (lines: string) => {
      seen += lines;
      if (seen.split('\n').length === 5) resolve();
    });
    await promise;
    deepEqual(seen.trim().split('\n').sort(), ['line 1', 'line 2', 'line 3', 'wrong']);
    await container.stop({ remove: false });
    equal((await text(await container.logs({ tail: 1 }))).split('\n').filter(Boolean).length, 1);
    ok(consumed.join('').includes('line 1'));
  },

  'images: pulled when missing, always, and not to be had': async () => {
    const name = `${process.env['REGISTRY']}/testcontainers/served:1`;
    await using first = await new GenericContainer(name).withCommand(['sleep', '1000']).start();
    await using second = await new GenericContainer(name)
      .withCommand(['sleep', '1000'])
      .withPullPolicy(PullPolicy.alwaysPull())
      .start();
    notEqual(first.getId(), second.getId());
    await rejects(
      new GenericContainer(`${process.env['REGISTRY']}/testcontainers/absent:1`).start(),
      /manifest for [\d.:]+\/testcontainers\/absent:1 not found: manifest unknown/,
    );
  },

  'fromDockerfile: arguments, a target, the cache, what is left out, a pull policy, BuildKit': async () => {
    const context = folder();
    const files = {
      'my.Dockerfile': `ARG BASE\nFROM \${BASE} AS first\nARG WORD\nCOPY . /c\nRUN echo "$WORD $(cat /proc/sys/kernel/random/uuid)" > /said\nFROM first\nRUN exit 1\n`,
      '.dockerignore': 'left\n',
      left: '',
      taken: '',
    };
    for (const [name, content] of Object.entries(files)) writeFileSync(join(context, name), content);
    const builder = (word: string, base = busybox) =>
      GenericContainer.fromDockerfile(context, 'my.Dockerfile')
        .withBuildArgs({ WORD: word, BASE: base })
        .withTarget('first');
    const said = async (image: GenericContainer): Promise<string> => {
      await using container = await image.withCommand(['sleep', '1000']).start();
      return (await container.exec(['sh', '-c', 'cat /said; ls /c'])).output;
    };
    const one = await said(await builder('one').build());
    match(one, /^one \S+\nmy\.Dockerfile\ntaken\n$/);
    equal(await said(await builder('one').build()), one);
    notEqual(await said(await builder('one').withCache(false).build()), one);
    const served = `${process.env['REGISTRY']}/testcontainers/served:1`;
    match(
      await said(await builder('two', served).withPullPolicy(PullPolicy.alwaysPull()).build('tests/two:1')),
      /^two /,
    );
    match(await said(await builder('three').withBuildkit().withPlatform('linux/amd64').build()), /^three /);
    // It shows no output, and looks for the image.
    await rejects(
      GenericContainer.fromDockerfile(context, 'my.Dockerfile').withBuildArgs({ WORD: '', BASE: busybox }).build(),
      /Failed to build image/,
    );
  },

  'exposeHostPorts: a server of the test answers in containers, on networks of theirs too': async () => {
    const server = createServer((_, response) => response.end('from the test\n'));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    await TestContainers.exposeHostPorts(port);
    await using network = await new Network().start();
    await using plain = await idle().start();
    await using own = await idle().withNetwork(network).start();
    const ask = ['wget', '-q', '-O', '-', `http://host.testcontainers.internal:${port}/`];
    for (const container of [plain, own]) equal((await container.exec(ask)).output, 'from the test\n');
    server.close();
  },

  'reuse: the same container for the same options': async () => {
    const one = await idle().withName('reused').withReuse().start();
    const two = await idle().withName('reused').withReuse().start();
    equal(one.getId(), two.getId());
    await one.stop();
    await rejects(idle().withName('reused').withCommand(['/absent']).start(), /no such file or directory/);
  },
};

/** What a killed process leaves to the reaper: containers, a network, a volume, an image, and a compose project. */
export async function leave(): Promise<void> {
  const client = await getContainerRuntimeClient();
  const { sessionId, containerId } = await getReaper(client);
  const network = await new Network().start();
  const container = await web().withNetwork(network).withNetworkAliases('web').start();
  await container.commit({ repo: 'testcontainers/left', tag: 'one' });
  const project = folder();
  const services = {
    one: { image: busybox, command: ['sleep', '1000'], init: true, volumes: ['kept:/kept', '/anonymous'] },
  };
  writeFileSync(join(project, 'compose.yaml'), JSON.stringify({ services, volumes: { kept: {} } }));
  await new DockerComposeEnvironment(project, 'compose.yaml').withProjectName('left').up();
  console.log(JSON.stringify({ sessionId, containerId }));
  setInterval(() => {}, 1000);
}
