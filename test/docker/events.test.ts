import { createInterface } from 'node:readline';
import { describe, expect, test } from 'vitest';
import { busybox } from '../support/engine.ts';
import { eventually } from '../support/execute.ts';
import { withEngine } from '../support/faces.ts';

interface Event {
  status?: string;
  id?: string;
  from?: string;
  Type: string;
  Action: string;
  Actor: { ID: string; Attributes: Record<string, string> };
  scope: string;
  time: number;
  timeNano: number;
}

describe('events, as docker’s client shows them', () => {
  const engine = withEngine({ face: 'docker' });
  const docker = (...args: string[]) => engine().docker(args, { expect: 'any' });
  const now = () => (Date.now() / 1000).toFixed(3);

  const between = async (since: string, until: string, ...filters: string[]): Promise<Event[]> => {
    const chosen = filters.flatMap((filter) => ['--filter', filter]);
    const { stdout } = await engine().docker(
      ['events', '--since', since, '--until', until, '--format', '{{json .}}', ...chosen],
      {},
    );
    return stdout
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as Event);
  };

  /** What happened while the body ran: `type action`, and the attributes that are not the container's own. */
  const during = async (body: () => Promise<unknown>): Promise<string[]> => {
    const since = now();
    await body();
    return (await between(since, now())).map(({ Type, Action, Actor: { Attributes } }) => {
      const { image: _image, name, container: _container, execID: _exec, ...rest } = Attributes;
      const shown = Object.entries({ ...rest, ...(Type === 'network' && name !== undefined && { name }) });
      return [`${Type} ${Action}`, ...shown.map(([key, value]) => `${key}=${value}`)].join(' ').trimEnd();
    });
  };

  const connect = 'network connect type=bridge name=bridge';
  const disconnect = 'network disconnect type=bridge name=bridge';
  const die = (exitCode: number) => expect.stringMatching(`^container die execDuration=\\d+ exitCode=${exitCode}$`);

  test('run, with its labels', async () => {
    expect(await during(() => docker('run', '--rm', '--label', 'x=y', busybox, 'true'))).toEqual([
      ...['container create x=y', 'container attach x=y', connect, 'container start x=y', disconnect],
      ...[expect.stringMatching(/^container die execDuration=0 exitCode=0 x=y$/), 'container destroy x=y'],
    ]);
  });

  test('a container’s life, verb by verb', async () => {
    const run = ['run', '-d', '--name', 'life', '-v', 'kept:/data', '-v', '/tmp:/host', busybox, 'sleep', '600'];
    const mount = 'volume mount destination=/data driver=local propagation= read/write=true';
    const unmount = 'volume unmount driver=local';
    expect(await during(() => docker(...run))).toEqual([
      ...['volume create driver=local', 'container create', connect, mount, 'container start'],
    ]);
    expect(await during(() => docker('exec', 'life', 'sh', '-c', 'exit 3'))).toEqual([
      ...['container exec_create: sh -c exit 3', 'container exec_start: sh -c exit 3', 'container exec_die exitCode=3'],
    ]);
    expect(await during(() => docker('exec', 'life', 'no-such-program'))).toEqual([
      ...['container exec_create: no-such-program', 'container exec_start: no-such-program'],
    ]);
    expect(await during(() => docker('pause', 'life'))).toEqual(['container pause']);
    expect(await during(() => docker('unpause', 'life'))).toEqual(['container unpause']);
    expect(await during(() => docker('rename', 'life', 'lived'))).toEqual(['container rename oldName=/life']);
    expect(await during(() => docker('update', '--cpu-shares', '512', 'lived'))).toEqual(['container update']);
    expect(await during(() => docker('top', 'lived'))).toEqual(['container top']);
    expect(await during(() => docker('kill', '-s', 'USR1', 'lived'))).toEqual(['container kill signal=10']);
    expect(await during(() => docker('cp', 'lived:/etc/passwd', '-'))).toEqual(['container archive-path']);
    const stopping = ['container kill signal=15', 'container kill signal=9', disconnect, unmount, die(137)];
    expect(await during(() => docker('stop', '-t', '0', 'lived'))).toEqual([...stopping, 'container stop']);
    expect(await during(() => docker('start', 'lived'))).toEqual([connect, mount, 'container start']);
    expect(await during(() => docker('restart', '-t', '0', 'lived'))).toEqual([
      ...[...stopping, 'container stop', connect, mount, 'container start', 'container restart'],
    ]);
    // A kill is no stop.
    const killed = ['container kill signal=9', disconnect, unmount, die(137)];
    expect(await during(() => docker('kill', 'lived'))).toEqual(killed);
    await docker('start', 'lived');
    expect(await during(() => docker('rm', '-f', 'lived'))).toEqual([...killed, 'container destroy']);
    expect(await during(() => docker('volume', 'rm', 'kept'))).toEqual(['volume destroy driver=local']);
  });

  test('networks', async () => {
    expect(await during(() => docker('network', 'create', 'net1'))).toEqual(['network create type=bridge name=net1']);
    await docker('run', '-d', '--name', 'joiner', '--network', 'none', busybox, 'sleep', '600');
    await docker('network', 'disconnect', 'none', 'joiner');
    expect(await during(() => docker('network', 'connect', 'net1', 'joiner'))).toEqual([
      'network connect type=bridge name=net1',
    ]);
    expect(await during(() => docker('network', 'disconnect', 'net1', 'joiner'))).toEqual([
      'network disconnect type=bridge name=net1',
    ]);
    await docker('rm', '-f', 'joiner');
    const none = await during(() => docker('run', '--rm', '--network', 'none', busybox, 'true'));
    expect(none).toContain('network connect type=null name=none');
    expect(await during(() => docker('network', 'prune', '-f'))).toEqual([
      ...['network destroy type=bridge name=net1', 'network prune reclaimed=0'],
    ]);
  });

  test('images, prunes and health', async () => {
    expect(await during(() => docker('tag', busybox, 'other:one'))).toEqual(['image tag']);
    expect(await during(() => docker('rmi', 'other:one'))).toEqual(['image untag']);
    expect(await during(() => docker('image', 'prune', '-f'))).toEqual(['image prune reclaimed=0']);
    expect(await during(() => docker('container', 'prune', '-f'))).toEqual(['container prune reclaimed=0']);
    expect(await during(() => docker('volume', 'prune', '-f'))).toEqual(['volume prune reclaimed=0']);
    const check = ['--health-cmd', 'true', '--health-interval', '200ms'];
    const since = now();
    await docker('run', '-d', '--name', 'sound', ...check, busybox, 'sleep', '600');
    await eventually('it is healthy', async () => {
      const told = await between(since, now(), 'event=health_status', 'container=sound');
      return told.length === 1 && told[0]!.Action === 'health_status: healthy';
    });
    await docker('rm', '-f', 'sound');
  });

  test('every field has docker’s form', async () => {
    const since = now();
    const id = (await docker('create', '--name', 'formed', busybox)).stdout.trim();
    await docker('volume', 'create', 'formed');
    const [created, volume] = await between(since, now());
    expect(created).toEqual({
      ...{ status: 'create', id, from: busybox, Type: 'container', Action: 'create', scope: 'local' },
      Actor: { ID: id, Attributes: { image: busybox, name: 'formed' } },
      ...{ time: expect.any(Number), timeNano: expect.any(Number) },
    });
    expect(Math.floor(created!.timeNano / 1e9)).toBe(created!.time);
    // What has no legacy has none of its fields.
    expect(Object.keys(volume!).sort()).toEqual(['Action', 'Actor', 'Type', 'scope', 'time', 'timeNano']);
    await docker('rm', 'formed');
    await docker('volume', 'rm', 'formed');
  });

  test('filters: by container, image, type, action, label; all of the keys, any of the values', async () => {
    const since = now();
    const id = (await docker('create', '--name', 'chosen', '--label', 'part=a', busybox)).stdout.trim();
    await docker('create', '--name', 'passed', '--label', 'part=b', busybox);
    await docker('rm', 'chosen', 'passed');
    const names = async (...filters: string[]) =>
      (await between(since, now(), ...filters))
        .map(({ Action, Actor }) => `${Action} ${Actor.Attributes['name']}`)
        .sort();
    const both = ['create chosen', 'destroy chosen'];
    expect(await names('container=chosen')).toEqual(both);
    expect(await names(`container=${id.slice(0, 12)}`)).toEqual(both);
    expect(await names('label=part=a')).toEqual(both);
    expect(await names('label=part', 'event=create')).toEqual(['create chosen', 'create passed']);
    expect(await names('container=chosen', 'container=passed', 'event=destroy')).toEqual([
      ...['destroy chosen', 'destroy passed'],
    ]);
    expect(await names(`image=${busybox.split(':')[0]}`, 'event=create')).toEqual(['create chosen', 'create passed']);
    expect(await names('type=network')).toEqual([]);
    expect(await names('scope=swarm')).toEqual([]);
    expect(await names('node=somewhere')).toEqual([]);
    const refused = await docker('events', '--until', '0s', '--filter', 'colour=red');
    expect(refused.stderr).toContain("invalid filter 'colour'");
  });

  test('a reader that follows sees all at once, and ends at its time', async () => {
    const reader = engine().spawnCli(['events', '--filter', 'type=volume', '--format', '{{.Action}} {{.Actor.ID}}']);
    const seen: string[] = [];
    createInterface({ input: reader.stdout }).on('line', (line) => seen.push(line));
    await eventually('the reader follows', async () => {
      await docker('volume', 'create', 'probe');
      await docker('volume', 'rm', 'probe');
      return seen.length > 0;
    });
    await docker('volume', 'create', 'seen');
    await docker('volume', 'rm', 'seen');
    await eventually('both came', () => seen.slice(-2).join() === 'create seen,destroy seen');
    reader.kill('SIGKILL');
  });

  test('what happened while no daemon was there is told by the next one', async () => {
    const since = now();
    await docker('run', '-d', '--name', 'orphan', busybox, 'sleep', '600');
    const pid = Number((await docker('inspect', '-f', '{{.State.Pid}}', 'orphan')).stdout);
    await engine().stopDaemon();
    process.kill(pid, 'SIGKILL');
    // By a command without a daemon, too.
    await engine().tare(['volume', 'create', 'alone']);
    await engine().serve();
    const told = async () =>
      (await between(since, now())).map(
        ({ Type, Action, Actor }) =>
          `${Type} ${Action} ${Actor.Attributes['exitCode'] ?? Actor.Attributes['name'] ?? ''}`,
      );
    await eventually('its end is told', async () => (await told()).includes('container die 137'));
    expect(await told()).toContain('volume create ');
    expect(await between(since, now(), 'volume=alone')).toHaveLength(1);
    await docker('rm', '-f', 'orphan');
  });
});
