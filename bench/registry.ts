import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { cache } from '../test/support/built.ts';
import type { Bench } from './bench.ts';
import type { Contender } from './contenders.ts';
import { archive, growthBytes } from './images.ts';
import { largeImage } from './large-image.ts';
import { interleaved } from './measure.ts';
import type { Row } from './report.ts';

const full = '127.0.0.1:5000';
const empty = '127.0.0.1:5001';
const image = `${full}/bench/image:latest`;
const copy = `${empty}/bench/copy:latest`;
const patience = { timeoutMs: 600_000 };
/** Images whose pull is weighed, not timed. */
const sizes = { small: 100e6, large: 5e9 };

/** Debian's docker-registry in a contender's namespaces; it ends with them. */
async function serveRegistry(contender: Contender, address: string, storage: string): Promise<void> {
  mkdirSync(storage, { recursive: true });
  const configuration = {
    version: '0.1',
    log: { level: 'error', accesslog: { disabled: true } },
    storage: { filesystem: { rootdirectory: storage }, delete: { enabled: true } },
    http: { addr: address },
  };
  writeFileSync(`${storage}.yml`, JSON.stringify(configuration));
  contender.beside(['docker-registry', 'serve', `${storage}.yml`]);
  for (;;) {
    const answers = await contender.timeBeside(['curl', '-sSf', '-o', '/dev/null', `http://${address}/v2/`]).then(
      () => true,
      () => false,
    );
    if (answers) return;
    await sleep(50);
  }
}

/** A registry's storage with the image, its layers compressed with gzip; made once. */
async function seeded(tare: Contender): Promise<string> {
  const storage = join(cache, 'bench', 'registry');
  if (existsSync(storage)) return storage;
  const fresh = `${storage}.new`;
  rmSync(fresh, { recursive: true, force: true });
  await serveRegistry(tare, '127.0.0.1:5009', fresh);
  const source = `docker-archive:${await archive()}`;
  await tare.timeBeside([
    ...['skopeo', 'copy', '--quiet', '--dest-tls-verify=false', source],
    'docker://127.0.0.1:5009/bench/image:latest',
  ]);
  for (const [name, bytes] of Object.entries(sizes)) {
    const layout = await largeImage(join(cache, 'bench', 'layout'), bytes);
    await tare.timeBeside([
      ...['skopeo', 'copy', '--quiet', '--dest-tls-verify=false', `oci:${layout}:latest`],
      `docker://127.0.0.1:5009/bench/${name}:latest`,
    ]);
    rmSync(layout, { recursive: true });
  }
  renameSync(fresh, storage);
  return storage;
}

/** What curl, gzip and GNU tar need for the same layers, one after another. */
function floorScript(folder: string): string {
  return `
set -e
rm -rf ${folder} && mkdir ${folder}
accept='Accept: application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json'
curl -sSf -H "$accept" http://${full}/v2/bench/image/manifests/latest |
  tr ',' '\\n' | sed -n 's/.*"digest" *: *"\\(sha256:[0-9a-f]*\\)".*/\\1/p' | tail -n +2 |
  while read -r digest; do
    curl -sSf http://${full}/v2/bench/image/blobs/$digest | gzip -d | tar -x -C ${folder}
  done`;
}

/** Pulling, pushing, saving and loading the image of 500 MB. */
export async function registry({ tare, daemonless, docker, podman, long }: Bench): Promise<Row[]> {
  const storage = await seeded(tare);
  const contenders: Partial<Record<'Tare' | 'Tare, no daemon' | 'Docker' | 'Podman', Contender>> = {
    Tare: tare,
    'Tare, no daemon': daemonless,
    ...(docker && { Docker: docker }),
    ...(podman && { Podman: podman }),
  };
  const homes = new Map<Contender, string>();
  for (const [name, contender] of Object.entries(contenders)) {
    const home = join(cache, 'bench', `registries-${name.replaceAll(/\W+/g, '-')}`);
    rmSync(home, { recursive: true, force: true });
    mkdirSync(home);
    // Only read: links will do.
    execFileSync('cp', ['--archive', '--link', storage, join(home, 'full')]);
    await serveRegistry(contender, full, join(home, 'full'));
    await serveRegistry(contender, empty, join(home, 'empty'));
    homes.set(contender, home);
  }
  const insecure = (contender: Contender) => (contender === podman ? ['--tls-verify=false'] : []);
  const each = (work: (contender: Contender) => Promise<number>) =>
    Object.fromEntries(Object.entries(contenders).map(([name, contender]) => [name, () => work(contender)])) as Partial<
      Record<keyof typeof contenders, () => Promise<number>>
    >;
  const time = async (contender: Contender, args: string[]) => (await contender.cli(args, patience)).ms;

  const scratch = join(homes.get(tare)!, 'floor');
  const pull = await interleaved(
    {
      floor: () => tare.timeBeside(['sh', '-c', floorScript(scratch)]),
      ...each(async (contender) => {
        const ms = await time(contender, ['pull', '--quiet', ...insecure(contender), image]);
        await contender.cli(['rmi', '--force', image]);
        return ms;
      }),
    },
    long,
  );
  rmSync(scratch, { recursive: true, force: true });

  const pullOnce = (contender: Contender) =>
    contender.cli(['pull', '--quiet', ...insecure(contender), image], patience);
  const growths: Row[] = [];
  for (const [name, bytes] of Object.entries(sizes)) {
    const other = `${full}/bench/${name}:latest`;
    const growth = await growthBytes(tare, () => tare.cli(['pull', '--quiet', other], patience));
    await tare.cli(['rmi', '--force', other]);
    growths.push({
      what: `the daemon's memory (PSS) grows during a pull of ${bytes / 1e6} MB by`,
      unit: 'MB',
      values: { Tare: growth / 1e6 },
      promises: [{ who: 'Tare', bound: 'at most', times: 150 }],
    });
  }
  for (const contender of Object.values(contenders)) await pullOnce(contender);
  const again = await interleaved(
    {
      floor: () =>
        tare.timeBeside(['curl', '-sSfI', '-o', '/dev/null', `http://${full}/v2/bench/image/manifests/latest`]),
      ...each((contender) => time(contender, ['pull', '--quiet', ...insecure(contender), image])),
    },
    long,
  );

  for (const contender of Object.values(contenders)) await contender.cli(['tag', image, copy]);
  const push = await interleaved(
    each(async (contender) => {
      const ms = await time(contender, ['push', '--quiet', ...insecure(contender), copy]);
      // All that was pushed goes, so that the next one has to send it again.
      rmSync(join(homes.get(contender)!, 'empty', 'docker'), { recursive: true, force: true });
      return ms;
    }),
    long,
  );

  const saved = (contender: Contender) => join(homes.get(contender)!, 'saved.tar');
  const save = await interleaved(
    each(async (contender) => {
      rmSync(saved(contender), { force: true });
      return await time(contender, ['save', '--output', saved(contender), image]);
    }),
    long,
  );
  for (const contender of Object.values(contenders)) await contender.cli(['rmi', '--force', image, copy]);
  const load = await interleaved(
    each(async (contender) => {
      const ms = await time(contender, ['load', '--quiet', '--input', saved(contender)]);
      await contender.cli(['rmi', '--force', image]);
      return ms;
    }),
    long,
  );
  for (const home of homes.values()) rmSync(home, { recursive: true, force: true });

  const seconds = (values: Partial<Record<string, number>>) =>
    Object.fromEntries(Object.entries(values).map(([name, ms]) => [name, ms! / 1000]));
  return [
    {
      what: 'pull of 500 MB, 6 layers, 20,000 files',
      unit: 's',
      values: seconds(pull),
      note: 'floor: curl, gzip and GNU tar in a pipe, one layer after another',
      promises: [
        { who: 'Tare', bound: 'at most', times: 0.45, than: 'Docker' },
        { who: 'Tare', bound: 'at most', times: 0.4, than: 'Podman' },
        { who: 'Tare', bound: 'at most', times: 1.3, than: 'floor' },
      ],
    },
    ...growths,
    {
      what: 'pull when all is here',
      unit: 'ms',
      values: again,
      note: 'floor: curl asks for the manifest',
      promises: [{ who: 'Tare', bound: 'at most', times: Math.round(100 + (again.floor ?? 0)) }],
    },
    {
      what: 'push of the pulled image to an empty registry',
      unit: 's',
      values: seconds(push),
      promises: [{ who: 'Tare', bound: 'at most', times: 0.5, than: 'Docker' }],
    },
    {
      what: 'save of it',
      unit: 's',
      values: seconds(save),
      promises: [{ who: 'Tare', bound: 'at most', times: 0.4, than: 'Docker' }],
    },
    {
      what: 'load of what was saved',
      unit: 's',
      values: seconds(load),
      promises: [{ who: 'Tare', bound: 'at most', times: 0.4, than: 'Docker' }],
    },
  ];
}
