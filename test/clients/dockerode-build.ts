/** dockerode, unmodified, against the engine of DOCKER_HOST: building. */
import { deepEqual, equal, match, ok, rejects } from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import Docker from 'dockerode';
import { eventually } from '../support/execute.ts';
import { busybox } from '../support/image.ts';
import { running } from '../support/running.ts';
import { tar } from '../support/tar.ts';

const docker = new Docker();

interface Line {
  stream?: string;
  error?: string;
  errorDetail?: { code?: number; message: string };
  aux?: { ID?: string };
}

const followers = {
  modem: (stream: NodeJS.ReadableStream, done: (error: Error | null, output: Line[]) => void) =>
    docker.modem.followProgress(stream, done),
  // Reads BuildKit's messages as well; types do not know it.
  dockerode: (stream: NodeJS.ReadableStream, done: (error: Error | null, output: Line[]) => void) =>
    (docker as unknown as { followProgress: (typeof followers)['modem'] }).followProgress(stream, done),
};

function followed(stream: NodeJS.ReadableStream, by: keyof typeof followers = 'modem'): Promise<Line[]> {
  const { promise, resolve, reject } = Promise.withResolvers<Line[]>();
  followers[by](stream, (error, output) => (error === null ? resolve(output) : reject(error)));
  return promise;
}

const text = (output: readonly Line[]): string => output.map(({ stream = '' }) => stream).join('');
const dockerfile = (content: string): NodeJS.ReadableStream =>
  Readable.from([tar([{ path: 'Dockerfile', content: `FROM ${busybox}\n${content}` }])]);

export const cases: Record<string, () => Promise<void>> = {
  'buildImage: a tar, arguments, labels, a target, the id in the stream': async () => {
    const stream = await docker.buildImage(
      dockerfile('ARG A\nRUN echo said $A > /said\nFROM 0 AS last\nRUN exit 1\n'),
      {
        ...{ t: 'made/built:1', buildargs: { A: 'well' }, labels: { kind: 'built' }, target: '0' },
      },
    );
    const output = await followed(stream);
    const image = await docker.getImage('made/built:1').inspect();
    equal(output.find(({ aux }) => aux !== undefined)?.aux?.ID, image.Id);
    match(text(output), /Successfully built [0-9a-f]{12}\nSuccessfully tagged made\/built:1\n$/);
    equal(image.Config.Labels['kind'], 'built');
    const again = await followed(
      await docker.buildImage(dockerfile('ARG A\nRUN echo said $A > /said\n'), { buildargs: { A: 'well' } }),
    );
    match(text(again), / ---> Using cache\n/);
  },

  'buildImage: a context of files': async () => {
    const context = mkdtempSync(join(tmpdir(), 'context-'));
    for (const [name, content] of Object.entries({
      Dockerfile: `FROM ${busybox}\nCOPY taken /taken\nRUN ls /\n`,
      taken: 'taken',
    }))
      writeFileSync(join(context, name), content);
    const stream = await docker.buildImage(
      { context, src: ['Dockerfile', 'taken'] },
      { t: 'made/files', nocache: true },
    );
    match(text(await followed(stream)), /\ntaken\n/);
    rmSync(context, { recursive: true });
  },

  'buildImage: a command that fails, and what is wrong with the file': async () => {
    const failing = await followed(await docker.buildImage(dockerfile('RUN exit 5\n')));
    const message = "The command '/bin/sh -c exit 5' returned a non-zero code: 5";
    deepEqual(failing.at(-1), { errorDetail: { code: 5, message }, error: message });
    await rejects(docker.buildImage(dockerfile('RUNN\n')), /HTTP code 400.*unknown instruction: RUNN/);
  },

  'buildImage with BuildKit: a session, its messages, and the image’s id': async () => {
    const stream = await docker.buildImage(dockerfile('RUN --mount=type=tmpfs,target=/t echo told by BuildKit\n'), {
      ...{ t: 'made/session', version: '2', nocache: true },
    });
    const output = await followed(stream, 'dockerode');
    // It shows the bytes of a log as they are in its messages.
    ok(text(output).includes(Buffer.from('told by BuildKit\n').toString('base64')), text(output));
    const { Id } = await docker.getImage('made/session').inspect();
    ok(JSON.stringify(output).includes(Id), JSON.stringify(output).slice(-500));
  },

  'buildImage: a base for which credentials are needed, given with the request and over a session': async () => {
    const serveraddress = process.env['PRIVATE_REGISTRY']!;
    const auth = { username: 'ann', password: 'secret', serveraddress };
    const base = `FROM ${serveraddress}/private/base:1\nRUN echo in > /in\n`;
    const context = () => Readable.from([tar([{ path: 'Dockerfile', content: base }])]);
    const refused = await followed(await docker.buildImage(context()));
    match(refused.at(-1)?.error ?? '', /authorization|unauthorized|no basic auth|authentication/i);
    const given = { t: 'made/private', registryconfig: { [serveraddress]: auth } };
    match(
      text(await followed(await docker.buildImage(context(), given))),
      /Successfully tagged made\/private:latest\n$/,
    );
    const options = { t: 'made/private:2', version: '2' as const, nocache: true, pull: true, authconfig: auth };
    const output = await followed(await docker.buildImage(context(), options), 'dockerode');
    const { Id } = await docker.getImage('made/private:2').inspect();
    ok(JSON.stringify(output).includes(Id), JSON.stringify(output).slice(-500));
  },

  'buildImage: a build that its client leaves is over': async () => {
    const leaving = new AbortController();
    const stream = await docker.buildImage(dockerfile('RUN echo begun; exec sleep 1000.97\n'), {
      abortSignal: leaving.signal,
    });
    const { promise, resolve } = Promise.withResolvers<void>();
    stream.on('error', () => {});
    stream.on('data', (chunk: Buffer) => chunk.includes('begun') && resolve());
    await promise;
    await eventually('the command runs', () => running('sleep 1000.97').length > 0);
    leaving.abort();
    await eventually('the command is gone', () => running('sleep 1000.97').length === 0);
  },
};
