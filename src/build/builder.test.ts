import { expect, test } from 'vitest';
import { Locks } from '../state/index.ts';
import { openBuilder } from './builder.ts';
import type { BuilderParts } from './builder-parts.ts';
import { openExportLab } from './exporters/export-lab.fixture.ts';

test('an image of a layout is looked for by the whole platform', async () => {
  await using lab = await openExportLab();
  const { session, signal } = lab.context();
  const asked: object[] = [];
  const resolve: BuilderParts['images']['resolve'] = async (ref, { platform }) => {
    asked.push(platform);
    const document = { digest: `sha256:${'1'.repeat(64)}`, mediaType: '', size: 1 } as never;
    return { ref, indexOrManifest: `sha256:${'1'.repeat(64)}` as never, manifest: document, config: Buffer.from('{}') };
  };
  await using builder = await openBuilder({
    ...lab.parts,
    ...{ images: { ...lab.parts.images, resolve }, locks: new Locks(`${lab.folder}/locks`) },
    ...{ directory: lab.folder, parallelism: () => 1, ended: () => {}, report: () => {} },
  });
  const gone = new AbortController().signal;
  await builder.build(
    {
      ...{ ref: 'one', exporters: [], cacheExports: [], cacheImports: [], entitlements: [], isInternal: true },
      session: { ...session, ended: gone, contentStore: () => ({}) as never },
      drive: async (bridge) => {
        await bridge.resolveImageConfig(`base@sha256:${'1'.repeat(64)}`, {
          ...{ resolveMode: 'default', logName: 'base', store: { sessionID: session.id, storeID: 'layout' } },
          platform: { os: 'linux', architecture: 'arm', variant: 'v6' },
        });
        return { refs: new Map(), metadata: new Map(), attestations: new Map() };
      },
    },
    () => {},
    signal,
  );
  expect(asked).toEqual([{ os: 'linux', architecture: 'arm', variant: 'v6' }]);
});
