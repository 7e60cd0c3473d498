import { TareError } from '../../errors/index.ts';
import { command } from '../command.ts';
import { createOptions } from '../create-options.ts';
import { parseSwap } from '../create-request.ts';
import { forEach, segment } from '../each.ts';
import { parseBandwidth } from '../grammar/bandwidth.ts';
import { parseRestartPolicy } from '../grammar/restart-policy.ts';
import { parseCpus, parseSize } from '../grammar/sizes.ts';

export default command({
  usage: '[OPTIONS] CONTAINER [CONTAINER...]',
  options: {
    'blkio-weight': createOptions['blkio-weight'],
    'cpu-period': createOptions['cpu-period'],
    'cpu-quota': createOptions['cpu-quota'],
    'cpu-rt-period': createOptions['cpu-rt-period'],
    'cpu-rt-runtime': createOptions['cpu-rt-runtime'],
    'cpu-shares': createOptions['cpu-shares'],
    cpus: createOptions.cpus,
    'cpuset-cpus': createOptions['cpuset-cpus'],
    'cpuset-mems': createOptions['cpuset-mems'],
    memory: createOptions.memory,
    'memory-reservation': createOptions['memory-reservation'],
    'memory-swap': createOptions['memory-swap'],
    'network-bandwidth': createOptions['network-bandwidth'],
    'pids-limit': createOptions['pids-limit'],
    restart: { ...createOptions.restart, default: '' },
  },
  args: [1, Number.POSITIVE_INFINITY],
  completes: 'containers',
  async run(context, options, names) {
    const size = (name: 'memory' | 'memory-reservation') => {
      const text = options[name];
      return text === undefined ? undefined : parseSize(text, `--${name}`);
    };
    const change = {
      BlkioWeight: options['blkio-weight'] || undefined,
      CpuPeriod: options['cpu-period'],
      CpuQuota: options['cpu-quota'],
      CpuRealtimePeriod: options['cpu-rt-period'],
      CpuRealtimeRuntime: options['cpu-rt-runtime'],
      CpuShares: options['cpu-shares'],
      NanoCpus: options.cpus === undefined ? undefined : parseCpus(options.cpus),
      CpusetCpus: options['cpuset-cpus'],
      CpusetMems: options['cpuset-mems'],
      Memory: size('memory'),
      MemoryReservation: size('memory-reservation'),
      MemorySwap: options['memory-swap'] === undefined ? undefined : parseSwap(options['memory-swap']),
      NetworkBandwidth:
        options['network-bandwidth'].length > 0 ? parseBandwidth(options['network-bandwidth']) : undefined,
      PidsLimit: options['pids-limit'],
      RestartPolicy: options.restart === '' ? undefined : parseRestartPolicy(options.restart, '--restart'),
    };
    if (Object.values(change).every((value) => value === undefined))
      throw new TareError('InvalidArgument', 'you must provide one or more flags when using this command');
    const client = await context.connect();
    return await forEach(context, names, async (name) => {
      const { Warnings } = await client.json<{ Warnings?: string[] | null }>(
        'POST',
        `/containers/${segment(name)}/update`,
        { body: change },
      );
      for (const warning of Warnings ?? []) context.err(`${warning}\n`);
      return name;
    });
  },
});
