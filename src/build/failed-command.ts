import { create } from '@bufbuild/protobuf';
import { MetaSchema } from '../protocol/index.ts';
import type { BridgeContext } from './bridge.ts';
import type { FailedCommand } from './build-types.ts';
import type { FailedStep } from './executor/failed-step.ts';
import type { StepContainer } from './executor/step-container.ts';
import { openTreeContainer } from './executor/tree-container.ts';
import { silentProgress } from './progress.ts';

/** A failed step for who looks into it. Its container is made when he first runs something; dispose it afterwards. */
export function failedCommand(
  { parts, graph }: Pick<BridgeContext, 'parts' | 'graph'>,
  error: unknown,
  step: FailedStep,
): FailedCommand & AsyncDisposable {
  const { exec, architecture } = step;
  const meta = exec.meta ?? create(MetaSchema);
  let opened: Promise<StepContainer> | undefined;
  const open = () => {
    const mounts = exec.mounts.map((mount, index) => ({ mount, tree: step.mounts[index] }));
    const request = { mounts, cwd: meta.cwd, network: exec.network, architecture };
    return openTreeContainer(parts, request, graph.member(silentProgress));
  };
  return {
    error,
    args: meta.args,
    async start(args, { terminal }) {
      opened ??= open();
      const own = create(MetaSchema, { ...meta, args: [...args] });
      const how = { security: exec.security, secretEnv: exec.secretenv, terminal, stdin: true };
      return await (await opened).start({ meta: own, ...how });
    },
    async [Symbol.asyncDispose]() {
      const container = await opened?.catch(() => undefined);
      await container?.[Symbol.asyncDispose]();
    },
  };
}
