import { createWriteStream, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import { cache } from '../test/support/built.ts';
import { busyboxImage, dockerArchive, sha256 } from '../test/support/image.ts';
import { type TarEntry, tar } from '../test/support/tar.ts';
import type { Bench } from './bench.ts';
import { type Contender, proportionalBytes } from './contenders.ts';
import { interleaved } from './measure.ts';
import type { Row } from './report.ts';

const layers = 6;
const files = 20_000;
const bytes = 500e6;
const name = 'bench-load:latest';

/** An archive of 500 MB in 20,000 files, made once: half of each file repeats itself, as programs do, half does not. */
export async function archive(): Promise<string> {
  const path = join(cache, 'bench', 'load.tar');
  if (existsSync(path)) return path;
  mkdirSync(join(cache, 'bench'), { recursive: true });
  let seed = 1;
  const content = () => {
    const file = Buffer.alloc(bytes / files);
    for (let at = 0; at + 4 <= file.length / 2; at += 4) {
      seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
      file.writeUInt32LE(seed, at);
    }
    return file;
  };
  const perLayer = Math.ceil(files / layers);
  const tars = Array.from({ length: layers }, (_, layer) => {
    const entries: TarEntry[] = [{ path: `layer${layer}`, type: 'directory' }];
    for (let i = 0; i < perLayer; i++) {
      if (i % 100 === 0) entries.push({ path: `layer${layer}/${i / 100}`, type: 'directory' });
      entries.push({ path: `layer${layer}/${Math.floor(i / 100)}/file${i}`, content: content() });
    }
    return tar(entries);
  });
  const file = createWriteStream(`${path}.new`);
  file.end(dockerArchive({ name, layers: tars }));
  await new Promise((resolve, reject) => file.once('close', () => resolve(undefined)).once('error', reject));
  await rename(`${path}.new`, path);
  return path;
}

/** Largest growth of the daemon's memory while the body runs. */
export async function growthBytes(contender: Contender, body: () => Promise<unknown>): Promise<number> {
  const weigh = () => proportionalBytes(contender.processes().filter(({ command }) => /\bserve\b/.test(command)));
  const before = weigh();
  let most = before;
  const timer = setInterval(() => {
    most = Math.max(most, weigh());
  }, 50);
  try {
    await body();
  } finally {
    clearInterval(timer);
  }
  return most - before;
}

/** An archive of a thousand images that share their one layer. */
function thousand(): string {
  const path = join(cache, 'bench', 'thousand.tar');
  if (existsSync(path)) return path;
  mkdirSync(join(cache, 'bench'), { recursive: true });
  const layer = tar([{ path: 'file', content: 'the same for all' }]);
  const images = Array.from({ length: 1000 }, (_, number) => ({
    config: `${number}.json`,
    names: [`bench-many:${number}`],
    text: JSON.stringify({
      architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
      os: 'linux',
      created: '2024-01-01T00:00:00Z',
      config: { Cmd: ['sh'], Labels: { number: String(number) } },
      rootfs: { type: 'layers', diff_ids: [sha256(layer)] },
    }),
  }));
  const manifest = images.map(({ config, names }) => ({ Config: config, RepoTags: names, Layers: ['layer.tar'] }));
  writeFileSync(
    path,
    tar([
      { path: 'layer.tar', content: layer },
      ...images.map(({ config, text }) => ({ path: config, content: text })),
      { path: 'manifest.json', content: JSON.stringify(manifest) },
    ]),
  );
  return path;
}

/** Listing many images. */
export async function list({ tare, docker, rounds }: Bench): Promise<Row[]> {
  const contenders = { Tare: tare, ...(docker && { Docker: docker }) };
  for (const contender of Object.values(contenders)) {
    await contender.cli(['load', '--quiet', '--input', thousand()], { timeoutMs: 300_000 });
  }
  const values = await interleaved(
    Object.fromEntries(Object.entries(contenders).map(([name, contender]) => [name, () => contender.time(['images'])])),
    rounds,
  );
  for (const contender of Object.values(contenders)) {
    await contender.cli(['image', 'prune', '--all', '--force'], { timeoutMs: 300_000 });
    await contender.cli(['load', '--quiet', '--input', busyboxImage().docker]);
  }
  return [
    {
      what: '`images` with 1,000 images',
      unit: 'ms',
      values,
      promises: [{ who: 'Tare', bound: 'at most', times: 150 }],
    },
  ];
}

export async function load({ tare, daemonless, docker, podman, long }: Bench): Promise<Row[]> {
  const path = await archive();
  const once = (contender: Contender | undefined) =>
    contender &&
    (async () => {
      const { ms } = await contender.cli(['load', '--quiet', '--input', path], { timeoutMs: 300_000 });
      await contender.cli(['rmi', '--force', name]);
      return ms / 1000;
    });
  const contenders = {
    Tare: once(tare),
    'Tare, no daemon': once(daemonless),
    ...(docker && { Docker: once(docker) }),
    ...(podman && { Podman: once(podman) }),
  };
  const values = await interleaved(contenders, long);
  const growth = await growthBytes(tare, () => tare.cli(['load', '--quiet', '--input', path], { timeoutMs: 300_000 }));
  await tare.cli(['rmi', '--force', name]);
  return [
    {
      what: `load of ${bytes / 1e6} MB, ${layers} layers, ${files.toLocaleString('en')} files`,
      unit: 's',
      values,
      promises: [{ who: 'Tare', bound: 'at most', times: 0.6, than: 'Docker' }],
    },
    {
      what: "the daemon's memory (PSS) grows meanwhile by",
      unit: 'MB',
      values: { Tare: growth / 1e6 },
      promises: [{ who: 'Tare', bound: 'at most', times: 100 }],
    },
  ];
}
