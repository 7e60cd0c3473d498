/** dockerode, unmodified, against the engine of DOCKER_HOST and the registry of REGISTRY: images. */
import { deepEqual, equal, match, ok, rejects } from 'node:assert/strict';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import Docker from 'dockerode';
import { busybox } from '../support/image.ts';
import { tar } from '../support/tar.ts';

const docker = new Docker();
const registry = process.env['REGISTRY'];

interface Progress {
  status?: string;
  id?: string;
  stream?: string;
  aux?: { Digest?: string };
}

/** Every line of a stream of progress, to its end. @throws the error that a line tells */
function followed(stream: NodeJS.ReadableStream): Promise<{ output: Progress[]; seen: number }> {
  const { promise, resolve, reject } = Promise.withResolvers<{ output: Progress[]; seen: number }>();
  let seen = 0;
  docker.modem.followProgress(
    stream,
    (error: Error | null, output: Progress[]) => (error === null ? resolve({ output, seen }) : reject(error)),
    () => {
      seen++;
    },
  );
  return promise;
}

/** What was said of the whole, without the layers. */
const told = (output: readonly Progress[]): string =>
  output.map(({ status, stream }) => status ?? stream ?? '').join('\n');

export const cases: Record<string, () => Promise<void>> = {
  'push and pull with progress; the distribution of both': async () => {
    const reference = `${registry}/dockerode/pushed`;
    await docker.getImage(busybox).tag({ repo: reference, tag: 'one' });
    const pushed = await followed(await docker.getImage(`${reference}:one`).push());
    match(told(pushed.output), /The push refers to repository \[[\d.:]+\/dockerode\/pushed\]/);
    const digest = /one: digest: (sha256:[0-9a-f]{64}) size: \d+/.exec(told(pushed.output))?.[1];
    equal(pushed.output.find(({ aux }) => aux !== undefined)?.aux?.Digest, digest);
    equal((await docker.getImage(`${reference}:one`).distribution()).Descriptor.digest, digest);
    await docker.getImage(`${reference}:one`).remove();

    const pulled = await followed(await docker.pull(`${reference}:one`));
    match(told(pulled.output), /Pulling from dockerode\/pushed/);
    match(
      told(pulled.output),
      new RegExp(
        `Digest: ${digest}\nStatus: (Downloaded newer image|Image is up to date) for [\\d.:]+/dockerode/pushed:one`,
      ),
    );
    ok(pulled.seen === pulled.output.length);
    await followed(await docker.createImage({ fromImage: reference, tag: digest }));
    deepEqual((await docker.getImage(`${reference}@${digest}`).inspect()).RepoDigests, [`${reference}@${digest}`]);
    await docker.getImage(`${reference}:one`).remove({ force: true });

    await rejects(
      docker.pull(`${registry}/dockerode/pushed:absent`),
      /manifest for [\d.:]+\/dockerode\/pushed:absent not found: manifest unknown/,
    );
  },

  'tag, list, history, inspect, remove': async () => {
    const image = docker.getImage(busybox);
    await image.tag({ repo: 'dockerode/tagged', tag: 'two' });
    const { Id } = await image.inspect();
    const [listed] = await docker.listImages({ filters: { reference: ['dockerode/*'] } });
    equal(listed?.Id, Id);
    ok(listed?.RepoTags?.includes('dockerode/tagged:two'));
    equal((await image.history())[0].CreatedBy, 'layer 0');
    deepEqual(await docker.getImage('dockerode/tagged:two').remove(), [{ Untagged: 'dockerode/tagged:two' }]);
    await rejects(docker.getImage('dockerode/tagged:two').inspect(), /No such image: dockerode\/tagged:two/);
    await rejects(image.tag({ repo: 'Upper' }), /invalid reference format/);
  },

  'save and load': async () => {
    await docker.getImage(busybox).tag({ repo: 'dockerode/saved', tag: 'one' });
    const saved = await buffer(await docker.getImage('dockerode/saved:one').get());
    await docker.getImage('dockerode/saved:one').remove();
    const { output } = await followed(await docker.loadImage(Readable.from([saved])));
    match(told(output), /Loaded image: dockerode\/saved:one/);
    await docker.getImage('dockerode/saved:one').remove();
    await rejects(docker.loadImage(Readable.from([Buffer.from('no archive')])).then(followed), Error);
  },

  'import, and run what was imported': async () => {
    const files = tar([{ path: 'only', content: 'a file' }]);
    const stream = await docker.importImage(Readable.from([files]), {
      repo: 'dockerode/imported',
      tag: 'one',
      changes: 'LABEL who=dockerode',
    });
    match(told((await followed(stream)).output), /^sha256:[0-9a-f]{64}$/);
    equal((await docker.getImage('dockerode/imported:one').inspect()).Config.Labels['who'], 'dockerode');
    await docker.getImage('dockerode/imported:one').remove();
  },

  'prune by label leaves the others': async () => {
    const files = tar([{ path: 'only', content: 'pruned' }]);
    const stream = await docker.importImage(Readable.from([files]), {
      repo: 'dockerode/pruned',
      tag: 'one',
      changes: 'LABEL pruned=yes',
    });
    await followed(stream);
    const dangling = await docker.pruneImages({ filters: { label: ['pruned=yes'] } });
    deepEqual([dangling.ImagesDeleted ?? [], dangling.SpaceReclaimed], [[], 0]);
    const all = await docker.pruneImages({ filters: { label: ['pruned=yes'], dangling: ['false'] } });
    ok(all.ImagesDeleted.some(({ Untagged }) => Untagged === 'dockerode/pruned:one'));
    ok((await docker.getImage(busybox).inspect()).Id);
  },
};
