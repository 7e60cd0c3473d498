/** dockerode, unmodified, against the engine of DOCKER_HOST: containers, files, networks, volumes, the engine itself. */
import { deepEqual, equal, match, ok, rejects } from 'node:assert/strict';
import { buffer } from 'node:stream/consumers';
import Docker from 'dockerode';
import { busybox } from '../support/image.ts';
import { tar } from '../support/tar.ts';
import { spoken } from './dockerode-streams.ts';

const docker = new Docker();

const idle = async (name: string, more: Docker.ContainerCreateOptions = {}): Promise<Docker.Container> => {
  const container = await docker.createContainer({ name, Image: busybox, Cmd: ['sleep', '1000'], ...more });
  await container.start();
  return container;
};

/** What a refusal is, as dockerode gives it. */
const refusal = (statusCode: number, words: RegExp) => (error: unknown) => {
  const { statusCode: actual, message } = error as { statusCode: number; message: string };
  match(message, words);
  equal(actual, statusCode);
  return true;
};

export const cases: Record<string, () => Promise<void>> = {
  'ping, version, info, df, and a client pinned to an old version': async () => {
    equal((await docker.ping()).toString(), 'OK');
    const version = await docker.version();
    deepEqual([version.ApiVersion, version.MinAPIVersion, version.Os], ['1.51', '1.24', 'linux']);
    const info = await docker.info();
    deepEqual(
      [info.OSType, info.NCPU > 0, info.MemTotal > 0, info.Swarm.LocalNodeState],
      ['linux', true, true, 'inactive'],
    );
    ok('runc' in info.Runtimes || 'crun' in info.Runtimes, Object.keys(info.Runtimes).join());
    ok(Array.isArray((await docker.df()).Images));
    for (const pinned of ['v1.24', 'v1.40', 'v1.51']) {
      const old = new Docker({ version: pinned });
      const container = await old.createContainer({ Image: busybox, Cmd: ['true'] });
      await old.getContainer(container.id).start();
      equal((await old.getContainer(container.id).wait()).StatusCode, 0);
      ok((await old.listContainers({ all: true })).some(({ Id }) => Id === container.id));
      ok((await old.listImages()).length > 0);
      await old.getContainer(container.id).remove();
    }
    await rejects(new Docker({ version: 'v1.99' }).version(), refusal(400, /client version 1\.99 is too new/));
  },

  'a container from creation to removal': async () => {
    const container = await idle('life', {
      Labels: { kind: 'one' },
      ExposedPorts: { '80/tcp': {} },
      HostConfig: { PublishAllPorts: true },
    });
    const seen = await container.inspect();
    deepEqual([seen.Name, seen.State.Status, seen.Config.Labels], ['/life', 'running', { kind: 'one' }]);
    match(seen.NetworkSettings.Ports['80/tcp']![0]!.HostPort, /^\d+$/);
    const [listed] = await docker.listContainers({ filters: { label: ['kind=one'], name: ['^/life$'] } });
    deepEqual([listed!.Names, listed!.State, listed!.Ports[0]!.PrivatePort], [['/life'], 'running', 80]);
    equal((await container.top()).Processes.length, 1);
    await container.pause();
    equal((await container.inspect()).State.Paused, true);
    await container.unpause();
    await container.update({ Memory: 64 << 20, MemorySwap: 128 << 20 });
    equal((await container.inspect()).HostConfig.Memory, 64 << 20);
    await container.rename({ name: 'lives' });
    await container.restart({ t: 0 });
    await rejects(container.start(), refusal(304, /container already started/));
    await rejects(
      container.remove(),
      refusal(409, /container is running: stop the container before removing or force remove/),
    );
    await container.kill({ signal: 'KILL' });
    equal((await container.wait()).StatusCode, 137);
    await rejects(container.stop(), refusal(304, /container already stopped/));
    await rejects(container.kill(), refusal(409, /is not running/));
    deepEqual((await docker.pruneContainers({ filters: { label: ['kind=one'] } })).ContainersDeleted, [container.id]);
    await rejects(container.inspect(), refusal(404, /no such container/));
  },

  'what cannot be created or started': async () => {
    const container = await docker.createContainer({ name: 'taken', Image: busybox });
    await rejects(
      docker.createContainer({ name: 'taken', Image: busybox }),
      refusal(409, /name "\/taken" is already in use by container/),
    );
    await rejects(docker.createContainer({ Image: 'absent:none' }), refusal(404, /No such image: absent:none/));
    await rejects(docker.createContainer({ name: '-', Image: busybox }), refusal(400, /Invalid container name/));
    await container.remove();
    const failing = await docker.createContainer({ Image: busybox, Cmd: ['/absent'] });
    await rejects(failing.start(), refusal(400, /no such file or directory/));
    equal((await failing.inspect()).State.ExitCode, 127);
    await failing.remove();
  },

  'putArchive, infoArchive, getArchive, changes, export, commit': async () => {
    const container = await idle('files');
    await container.putArchive(tar([{ path: 'note', content: 'hello', uid: 1000, mode: 0o640 }]), { path: '/tmp' });
    equal(await spoken(container, ['stat', '-c', '%u %a %s', '/tmp/note']), '1000 640 5\n');
    const info = await container.infoArchive({ path: '/tmp/note' });
    const stat = JSON.parse(Buffer.from(info.headers['x-docker-container-path-stat'], 'base64').toString());
    deepEqual([stat.name, stat.size], ['note', 5]);
    const archive = await buffer(await container.getArchive({ path: '/tmp/note' }));
    deepEqual([archive.subarray(0, 4).toString(), archive.subarray(512, 517).toString()], ['note', 'hello']);
    await rejects(
      container.getArchive({ path: '/absent' }),
      refusal(404, /Could not find the file \/absent in container/),
    );
    await rejects(container.putArchive(tar([]), { path: '/tmp/note' }), refusal(400, /not a directory/));
    const changes: { Path: string; Kind: number }[] = await container.changes();
    ok(changes.some(({ Path, Kind }) => Path === '/tmp/note' && Kind === 1));
    ok((await buffer(await container.export())).includes('tmp/note'));
    const { Id } = await container.commit({
      repo: 'dockerode/committed',
      tag: 'one',
      comment: 'a note',
      changes: 'ENV MADE=yes',
    });
    const image = await docker.getImage('dockerode/committed:one').inspect();
    deepEqual([image.Id, image.Comment, image.Config.Env?.includes('MADE=yes')], [Id, 'a note', true]);
    await container.remove({ force: true });
    await docker.getImage(Id).remove();
  },

  'putArchive at / of a created container; a missing folder': async () => {
    const container = await docker.createContainer({ Image: busybox, Cmd: ['cat', '/deep/note'] });
    await container.putArchive(
      tar([
        { path: 'deep', type: 'directory' },
        { path: 'deep/note', content: 'put' },
      ]),
      { path: '/' },
    );
    await rejects(
      container.putArchive(tar([]), { path: '/nowhere' }),
      refusal(404, /Could not find the file \/nowhere/),
    );
    await container.start();
    await container.wait();
    equal((await container.logs({ stdout: true })).subarray(8).toString(), 'put');
    await container.remove();
  },

  'networks: create with IPAM, connect, aliases, inspect, list, disconnect, prune': async () => {
    const network = await docker.createNetwork({
      Name: 'meshed',
      Labels: { who: 'dockerode' },
      IPAM: { Driver: 'default', Config: [{ Subnet: '10.92.0.0/24', Gateway: '10.92.0.1' }] },
    });
    const server = await idle('served', {
      Cmd: ['sh', '-c', 'mkdir -p /srv; echo found > /srv/index.html; httpd -f -h /srv'],
    });
    await network.connect({
      Container: server.id,
      EndpointConfig: { Aliases: ['web'], IPAMConfig: { IPv4Address: '10.92.0.7' } },
    });
    const { Containers } = await network.inspect();
    equal(Containers?.[server.id]?.IPv4Address, '10.92.0.7/24');
    const peer = await idle('asking', { HostConfig: { NetworkMode: 'meshed' } });
    equal(await spoken(peer, ['sh', '-c', 'until wget -q -O - http://web/; do sleep 0.1; done']), 'found\n');
    await rejects(network.remove(), refusal(403, /has active endpoints/));
    await rejects(docker.createNetwork({ Name: 'meshed' }), refusal(409, /network with name meshed already exists/));
    deepEqual(
      (await docker.listNetworks({ filters: { label: ['who=dockerode'] } })).map(({ Name }) => Name),
      ['meshed'],
    );
    await network.disconnect({ Container: server.id });
    await Promise.all([server, peer].map((one) => one.remove({ force: true })));
    deepEqual((await docker.pruneNetworks({ filters: { label: ['who=dockerode'] } })).NetworksDeleted, ['meshed']);
    await rejects(network.inspect(), refusal(404, /not found/));
  },

  'volumes: create, list, use, refuse, prune': async () => {
    await docker.createVolume({ Name: 'kept', Labels: { who: 'dockerode' } });
    const container = await idle('keeping', { HostConfig: { Binds: ['kept:/kept'] } });
    await spoken(container, ['touch', '/kept/here']);
    const volume = docker.getVolume('kept');
    deepEqual([(await volume.inspect()).Driver, (await volume.inspect()).Scope], ['local', 'local']);
    await rejects(volume.remove(), refusal(409, /volume is in use/));
    deepEqual(
      (await docker.listVolumes({ filters: { label: ['who=dockerode'] } })).Volumes.map(({ Name }) => Name),
      ['kept'],
    );
    await container.remove({ force: true });
    const pruned = await docker.pruneVolumes({ filters: { label: ['who=dockerode'], all: ['true'] } });
    deepEqual(pruned.VolumesDeleted, ['kept']);
    await rejects(volume.inspect(), refusal(404, /no such volume/));
  },

  'a swarm there is none, nor plugins': async () => {
    await rejects(docker.swarmInspect(), refusal(503, /This node is not a swarm manager/));
    await rejects(docker.listServices(), refusal(503, /This node is not a swarm manager/));
    await rejects(docker.listTasks(), refusal(503, /This node is not a swarm manager/));
    await rejects(docker.listNodes(), refusal(503, /This node is not a swarm manager/));
    await rejects(docker.listSecrets(), refusal(503, /This node is not a swarm manager/));
    await rejects(docker.listConfigs(), refusal(503, /This node is not a swarm manager/));
    await rejects(
      docker.swarmInit({ ListenAddr: '127.0.0.1:2377' }),
      (error: { statusCode: number }) => error.statusCode >= 400,
    );
    await rejects(docker.swarmLeave({}), refusal(503, /not part of a swarm/));
    deepEqual(await docker.listPlugins(), []);
  },
};
