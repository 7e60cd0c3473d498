import { create } from '@bufbuild/protobuf';
import { execOperation } from '../../src/build/operations/exec.ts';
import { CacheSharingOpt, ExecOpSchema, MountType, NetMode } from '../../src/protocol/index.ts';
import { BuilderLab, operationContext } from './builder-lab.ts';

// A second process of a lab: holds a locked cache in a step with mounts of several kinds, and says so.
const [, , root, script] = process.argv;
await using lab = await BuilderLab.open(root!);
const context = operationContext({ secrets: { key: 'hidden' }, allowed: ['network.host'] });
const log = context.progress.log;
context.progress.log = (stream, bytes) => {
  log(stream, bytes);
  process.stdout.write(bytes);
};
const none = { input: -1n, output: -1n };
const op = create(ExecOpSchema, {
  meta: { args: ['/bin/sh', '-c', script!], env: ['PATH=/bin'], cwd: '/' },
  mounts: [
    { input: 0n, dest: '/', output: 0n },
    { ...none, dest: '/c', mountType: MountType.CACHE, cacheOpt: { ID: 'one', sharing: CacheSharingOpt.LOCKED } },
    { ...none, dest: '/run/secrets/key', mountType: MountType.SECRET, secretOpt: { ID: 'key', mode: 0o400 } },
    { input: 0n, dest: '/view', output: -1n, readonly: true },
    { input: 0n, selector: '/www', dest: '/part', output: -1n, readonly: true },
  ],
  network: NetMode.HOST,
});
const inputs = [lab.base];
await execOperation(lab.parts, op, { digest: '', inputs, platform: undefined }).run(inputs, context);
