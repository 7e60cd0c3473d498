import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { execOperation } from '../../src/build/operations/exec.ts';
import { runnablePlatforms } from '../../src/build/platforms.ts';
import { ExecOpSchema, NetMode } from '../../src/protocol/index.ts';
import { tar } from '../support/tar.ts';
import { BuilderLab, operationContext } from './builder-lab.ts';

// Runs a program for another machine in a step, in a process that has emulators of its own (a user namespace).
const [, , architecture, program] = process.argv;
const folder = mkdtempSync(join(tmpdir(), 'tare-emulated-'));
const lab = await BuilderLab.open();
try {
  const archive = join(folder, 'layer.tar');
  writeFileSync(archive, tar([{ path: 'program', content: Buffer.from(program!, 'hex'), mode: 0o755 }]));
  const { diffID } = await lab.parts.layers.apply({ path: archive });
  const op = create(ExecOpSchema, {
    meta: { args: ['/program', 'of', 'another', 'machine'], cwd: '/' },
    mounts: [{ input: 0n, dest: '/', output: 0n }],
    network: NetMode.HOST,
  });
  const platform = { OS: 'linux', Architecture: architecture! };
  const inputs = [{ layers: [...lab.base.layers, diffID] }];
  const context = operationContext({ allowed: ['network.host'] });
  const vertex = { digest: '', inputs, platform } as unknown as Parameters<typeof execOperation>[2];
  const outcome = await execOperation(lab.parts, op, vertex)
    .run(inputs, context)
    .then(() => 'done')
    .catch((error: unknown) => String(error));
  const platforms = runnablePlatforms().map((one) => one.architecture);
  // Over a pipe: what is written must be out before the end.
  writeFileSync(1, JSON.stringify({ outcome, output: context.output(), platforms }));
} finally {
  await lab[Symbol.asyncDispose]();
  lab.remove();
  rmSync(folder, { recursive: true });
}
