import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { built } from '../support/built.ts';
import { dockerClient } from '../support/engine.ts';
import { execute, type Result } from '../support/execute.ts';
import { CannedDaemon, type Recorded } from './canned-daemon.ts';

/*
 * The same command line must ask the same of a daemon, whether docker's client reads it or ours. Each line is given to both, and
 * what arrives at the daemon is compared; fields that are empty either way (null, '', 0, false, [], {}) count as left out.
 */

const docker = existsSync(join(dockerClient, 'usr/bin/docker')) ? join(dockerClient, 'usr/bin/docker') : 'docker';
const id = 'a'.repeat(64);
const image = { Id: `sha256:${id}`, Config: {} };
let daemon: CannedDaemon;
let folder: string;

beforeAll(async () => {
  daemon = await CannedDaemon.start({
    'GET /info': { OSType: 'linux' },
    'GET /version': { Os: 'linux', ApiVersion: '1.51', Version: '1' },
    'POST /containers/create': { Id: id, Warnings: [] },
    'GET /containers/json': [],
    'GET /containers/c/json': { Id: id, Name: '/c', State: {}, Config: { Tty: true }, HostConfig: {} },
    'GET /containers/c/changes': [],
    'GET /images/json': [],
    'GET /images/img/json': image,
    'GET /images/img/history': [],
    'DELETE /images/img': [],
    'GET /networks': [],
    'GET /volumes': { Volumes: [] },
    'POST /volumes/create': { Name: 'v' },
    'POST /networks/create': { Id: id },
    'POST /images/create': '{"status":"sha256:1"}\n',
    'POST /images/*': '{"status":"The push refers to repository [x]"}\n',
    'GET /images/search': [],
    'POST /auth': { Status: 'Login Succeeded', IdentityToken: '' },
    'POST /containers/c/wait': { StatusCode: 0 },
    'POST /containers/c/exec': { Id: 'e' },
    'GET /containers/c/top': { Titles: ['PID'], Processes: [['1']] },
    'POST /containers/prune': { SpaceReclaimed: 0 },
    'POST /images/prune': { SpaceReclaimed: 0 },
    'POST /volumes/prune': { SpaceReclaimed: 0 },
    'GET /events': '',
    'GET /containers/c/logs': '',
  });
  folder = mkdtempSync(join(tmpdir(), 'tare-cli-'));
  writeFileSync(join(folder, 'env'), '# comment\nA=1\n  B=2 \nFOO\nNOT_THERE\n');
  writeFileSync(join(folder, 'labels'), 'x=1\ny\n');
  writeFileSync(join(folder, 'seccomp.json'), '{ "defaultAction": "SCMP_ACT_ALLOW" }\n');
  writeFileSync(join(folder, 'rootfs.tar'), Buffer.alloc(1024));
});

afterAll(async () => {
  await daemon[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
});

async function ask(argv: string[], words: string[]): Promise<Result & { requests: Recorded[] }> {
  daemon.take();
  const env = { FOO: 'from outside', DOCKER_CONFIG: join(folder, 'docker'), TARE_HOST: '', DOCKER_HOST: '' };
  const result = await execute([...argv, '-H', daemon.address, ...words], { env, cwd: folder, expect: 'any' });
  // What a client asks of its own accord before the matter itself is its own business.
  const own = ['GET /info', 'GET /version', 'GET /containers/c/json', 'GET /networks/n', 'POST /build/prune'];
  const requests = daemon
    .take()
    .filter(
      ({ method, path, query }) => !own.includes(`${method} ${path}`) && !(words.includes('-d') && query['condition']),
    )
    .map((request) => ({ ...request, path: request.path.replace(id, 'c') }));
  return { ...result, requests };
}

/** Without what is empty; lists that are sets, and JSON inside the query, in one order. */
function plain(value: unknown): unknown {
  if (Array.isArray(value)) return value.length === 0 ? undefined : value.map(plain);
  if (typeof value === 'object' && value !== null) {
    const entries = Object.entries(value)
      .map(([key, inner]) => [key, plain(inner)] as const)
      .filter(([, inner]) => inner !== undefined)
      .sort(([a], [b]) => (a < b ? -1 : 1));
    return entries.length === 0 ? undefined : Object.fromEntries(entries);
  }
  return value === null || value === '' || value === 0 || value === false ? undefined : value;
}

/** Spellings of one wish: docker writes filters as {"a":{"b":true}}, 1 and 0 for bools, and some defaults. */
function comparable(request: Recorded): unknown {
  const query: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(request.query)) {
    if (value === 'false' || value === '0' || value === '') continue;
    if (name === 'filters') {
      const filters = JSON.parse(value) as Record<string, string[] | Record<string, boolean>>;
      query[name] = Object.fromEntries(
        Object.entries(filters).map(([key, values]) => [
          key,
          (Array.isArray(values) ? values : Object.keys(values)).sort(),
        ]),
      );
    } else query[name] = value === '1' ? 'true' : value;
  }
  // docker's client keeps binds and what -e says in Go maps, whose order is any. Ours is tested below.
  (request.body as { HostConfig?: { Binds?: string[] | null } } | undefined)?.HostConfig?.Binds?.sort();
  (request.body as { Env?: string[] | null } | undefined)?.Env?.sort();
  const pools = (request.body as { IPAM?: { Config?: { Subnet: string }[] } } | undefined)?.IPAM?.Config;
  // docker's client sends them in whatever order its map has.
  pools?.sort((a, b) => (a.Subnet < b.Subnet ? -1 : 1));
  return plain({ ...request, query });
}

const lines = `
create img
create img cmd -x --y
create --name n -it img
create -a stdout img
create -a STDIN -i img
create -p 80 img
create -p 8080:80 -p 127.0.0.1:9000:90/udp -p 127.0.0.1::91 -p [::1]:5000:5000/sctp img
create -p 8000-8005:80 img
create -p 8000-8002:80-82 img
create -p 80-82 img
create -p published=8080,target=80,protocol=udp img
create --expose 99 --expose 100-102/udp img
create -P img
create -v /a img
create -v /a:/b -v vol:/c:ro -v ./rel:/d img
create --mount type=bind,src=/a,dst=/b,readonly --mount type=volume,source=v,target=/t,volume-nocopy,volume-label=a=b,volume-opt=type=nfs,volume-driver=local img
create --mount type=tmpfs,dst=/tm,tmpfs-size=1m,tmpfs-mode=1770 --mount dst=/anon img
create --mount type=bind,src=/a,dst=/b,bind-propagation=rshared,bind-recursive=disabled img
create --mount type=bind,src=/a,dst=/b,ro=false img
create --mount type=image,source=foo,target=/x,image-subpath=sub img
create --tmpfs /t --tmpfs /u:size=1m,mode=700 img
create -e A=1 -e FOO -e UNSET --env-file env img
create -l a=b -l c --label-file labels img
create --entrypoint /bin/sh img -c x
create --entrypoint= img
create -m 512m --memory-reservation 1.5g --memory-swap -1 --memory-swappiness 10 --cpus 1.5 -c 512 --pids-limit 10 img
create --cpu-quota 5000 --cpu-period 10000 --cpuset-cpus 0-1 --cpuset-mems 0 --cpus .5 img
create --memory-swap 1g -m 1g --oom-kill-disable --oom-score-adj 500 --blkio-weight 300 img
create --blkio-weight-device /dev/sda:100 --device-read-bps /dev/sda:1mb --device-write-iops /dev/sda:100 img
create --device /dev/null --device /dev/zero:/dev/z:r --device /dev/full:rw img
create --device-cgroup-rule=c_1:3_mr img
create --ulimit nofile=10:20 --ulimit nproc=5 --sysctl net.ipv4.ip_forward=1 --shm-size 128m img
create --health-cmd curl --health-interval 5s --health-retries 3 --health-timeout 1m30s --health-start-period 2s --health-start-interval 1s img
create --no-healthcheck img
create --restart on-failure:3 img
create --restart always img
create --restart unless-stopped img
create --rm --init --privileged --read-only img
create --cap-add NET_ADMIN --cap-drop all --security-opt no-new-privileges --security-opt seccomp=unconfined img
create --cap-add net_admin --cap-add CAP_CHOWN --cap-drop CHOWN --cap-drop kill img
create --security-opt seccomp=seccomp.json --security-opt systempaths=unconfined img
create --network host img
create --network none img
create --network container:abc img
create --net n1 --network-alias a1 --ip 10.0.0.2 --ip6 fd00::2 --mac-address 92:d0:c6:0a:29:33 img
create --network name=n1,alias=a,alias=b,ip=10.0.0.3,driver-opt=k=v --network n2 img
create --ip 10.1.1.1 img
create --link a:b img
create --dns 1.1.1.1 --dns-option ndots:1 --dns-search ex.com --add-host h:1.2.3.4 --add-host g=::1 --add-host k:[::2] img
create --pid host --ipc host --uts host --userns host --cgroupns private --cgroup-parent /x img
create --log-driver json-file --log-opt max-size=1m --log-opt max-file=3 img
create -h host --domainname dom -u 1000:1000 -w /w --stop-signal SIGINT --stop-timeout 5 img
create --group-add audio --group-add 44 --runtime runc --annotation a=b --storage-opt size=1G --volumes-from x:ro --volume-driver foo img
create --platform linux/amd64 --isolation default img
run -d --name x img
run -d -it --rm img sh
ps
ps -a -q --no-trunc -s
ps -n 3 -f name=x -f label=a=b -f label=c -f status=exited
ps -l
ps --format {{.Size}}
container ls -a
stop c
stop -t 3 -s INT c
stop --time 3 c
kill -s HUP c
restart -t 1 c
pause c
unpause c
rename c d
rm -fv c
rm -l c/alias
start c
wait c
exec -d -e A=1 -e FOO -w /tmp -u app --privileged c ls -la
logs --tail 5 -t --since 2013-01-02T13:23:37Z --until 1357133100.5 c
logs -f c
top c -o pid,cmd
update -m 1g --memory-swap -1 --cpus 2 --pids-limit 5 --restart always c
diff c
images -a --digests -f dangling=true
images busybox:test
rmi -f --no-prune img
tag img host:5000/repo:v2
tag img docker.io/library/repo:latest
history img
image inspect img
image prune -f
image prune -af --filter until=1h
import -m hello -c ENV=a=b -c CMD=x --platform linux/amd64 rootfs.tar repo:tag
import rootfs.tar
volume create
volume create -d local -o type=tmpfs -o device=x --label a=b v
volume ls -f dangling=true
volume inspect v
volume rm -f v
volume prune -f
volume prune -af
network create n
network create -d bridge --subnet 10.1.0.0/24 --subnet fd00::/64 --gateway 10.1.0.1 --ip-range 10.1.0.128/25 --aux-address a=10.1.0.5 --ipv6 --internal --label a=b -o x=y n
network ls -f driver=bridge
network connect --alias a --ip 10.1.0.7 --link x:y n c
network disconnect -f n c
network rm n
network prune -f
container prune -f --filter label=a
events --since 1357133100 --until 1357133101.25 -f type=container -f event=start
system prune -f
system prune -af --volumes
pull localhost:5000/x
pull -q localhost:5000/ns/x:1
pull -a localhost:5000/x
pull --platform linux/arm64/v8 localhost:5000/x
pull localhost:5000/x@sha256:69860bda5563ac81e3c0057d654b5253219618a22ec3a346306239bba8cfa1a6
push localhost:5000/x
push -q localhost:5000/x:1
push -a localhost:5000/ns/x
push --platform linux/arm64/v8 localhost:5000/x:1
push x
search busy
search --limit 3 -f is-official=true -f stars=4 busy
create --pull always localhost:5000/img
create --pull always -q localhost:5000/img:2
login -u me -p secret localhost:5000
login -u you -p word
push localhost:5000/x:mine
pull localhost:5000/x:mine
pull docker.io/library/x
search busy
logout localhost:5000
logout
push localhost:5000/x:theirs
`;

test.each(lines.trim().split('\n'))('tare %s asks what docker asks', async (line) => {
  // An underscore stands for a blank inside a word, so that the lines can be split at blanks.
  const words = line.split(' ').map((word) => (word.includes('device-cgroup-rule') ? word.replaceAll('_', ' ') : word));
  const theirs = await ask([docker], words);
  const ours = await ask([join(built(), 'bin/tare')], words);
  // Credentials stay with the client, where the lines after these look for them.
  if (!line.startsWith('logout')) expect(theirs.requests.length, theirs.stderr).toBeGreaterThan(0);
  expect(ours.requests.map(comparable), ours.stderr).toEqual(theirs.requests.map(comparable));
  expect(ours.code).toBe(theirs.code);
});

test('our variables come in the order given, the file of them first', async () => {
  const words = 'create -e A=1 -e FOO -e UNSET --env-file env img'.split(' ');
  const { requests, stderr } = await ask([join(built(), 'bin/tare')], words);
  const { Env } = requests.find(({ body }) => body !== undefined)!.body as { Env: string[] };
  expect(Env.slice(-3), stderr).toEqual(['A=1', 'FOO=from outside', 'UNSET']);
  expect(Env.slice(0, -3)).toContain('FOO=from outside');
});

const refused = `
create -p 99999 img
create -p 80:80:80:80 img
create -p 1-3:5-6 img
create -p 80/icmp img
create --mount type=bind,src=/a img
create --mount type=bind,dst=/a,volume-nocopy img
create --mount foo=bar,dst=/a img
create -m 1x img
create --cpus abc img
create --cpus 1.0000000001 img
create --memory-swappiness 101 img
create --restart always --rm img
create --ulimit nofile=20:10 img
create --ulimit nosuch=1 img
create --device-read-bps /sda:1 img
create --blkio-weight-device /dev/sda:9 img
create --env-file missing img
create -a nothing img
create --network-alias a img
create --add-host nothing img
create --health-cmd x --no-healthcheck img
create --health-interval x img
create --security-opt seccomp=missing.json img
create --nosuch img
create --pull sometimes img
pull -a localhost:5000/x:1
pull X
push x@sha256:69860bda5563ac81e3c0057d654b5253219618a22ec3a346306239bba8cfa1a6
push -a x:1
login --password-stdin localhost:5000
login -u me localhost:5000
search -f nothing x
create -m
create
run --rm
exec c
ps extra
ps --filter nothing
logs
logs --since yesterday c
tag a
rename a
update c
network create --gateway 10.0.0.1 n
`;

test.each(refused.trim().split('\n'))('tare %s is refused as docker refuses it', async (line) => {
  const words = line.split(' ');
  const theirs = await ask([docker], words);
  const ours = await ask([join(built(), 'bin/tare')], words);
  expect(ours.requests.filter(({ method }) => method !== 'GET')).toEqual([]);
  expect(theirs.code).not.toBe(0);
  expect(ours.code, ours.stderr).toBe(theirs.code);
  expect(ours.stderr).toMatch(/^tare: .{10}/);
});
