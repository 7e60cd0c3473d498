import { createServer } from 'node:http';
import type { EngineMetrics, EngineServices } from '../../engine/index.ts';
import { messageOf, TareError } from '../../errors/index.ts';
import type { Actions } from './actions.ts';

/**
 * Answers `GET /metrics` for Prometheus until it is disposed. Nothing in it says what runs, but how much.
 * @throws {TareError} Conflict: the address is in use
 */
export async function serveMetrics(
  engine: Pick<EngineServices, 'system'>,
  actions: Actions,
  address: { host: string; port: number },
): Promise<AsyncDisposable> {
  const server = createServer({ maxHeaderSize: 16_384, headersTimeout: 10_000, requestTimeout: 10_000 });
  server.maxConnections = 32;
  server.on('request', async (request, response) => {
    if (request.url?.split('?', 1)[0] !== '/metrics' || request.method !== 'GET')
      return void response.writeHead(404).end('GET /metrics\n');
    try {
      const text = metricsText(await engine.system.metrics(), actions);
      response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' }).end(text);
    } catch (error) {
      response.writeHead(500).end(`${messageOf(error)}\n`);
    }
  });
  await new Promise<void>((resolve, reject) => {
    const where = `${address.host}:${address.port}`;
    server.once('error', (cause) =>
      reject(new TareError('Conflict', `cannot serve metrics on ${where}: ${messageOf(cause)}`, { cause })),
    );
    server.listen(address, resolve);
  });
  return {
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

type Sample = [labels: string, value: number];

function metricsText(metrics: EngineMetrics, actions: Actions): string {
  const { containers, cpus, memoryBytes, events, version, processes } = metrics;
  const { rss } = process.memoryUsage();
  const usage = process.cpuUsage();
  const one = (value: number): Sample[] => [['', value]];
  const lines = [
    ...actions.lines(),
    ...family('engine_daemon_container_states_containers', 'gauge', 'The count of containers in various states', [
      ['{state="paused"}', containers.paused],
      ['{state="running"}', containers.running],
      ['{state="stopped"}', containers.stopped],
    ]),
    ...family(
      'engine_daemon_engine_cpus_cpus',
      'gauge',
      'The number of cpus that the host system of the engine has',
      one(cpus),
    ),
    ...family(
      'engine_daemon_engine_memory_bytes',
      'gauge',
      'The number of bytes of memory that the host system of the engine has',
      one(memoryBytes),
    ),
    ...family(
      'engine_daemon_engine_info',
      'gauge',
      'The information related to the engine and the OS it is running on',
      [[`{version=${JSON.stringify(version)},os_type="linux"}`, 1]],
    ),
    ...family('engine_daemon_events_total', 'counter', 'The number of events logged', one(events)),
    ...family('tare_process_resident_memory_bytes', 'gauge', 'Resident memory of the processes of the engine', [
      ['{process="daemon"}', rss],
      ...processes.map(({ process: name, residentBytes }): Sample => [`{process="${name}"}`, residentBytes]),
    ]),
    ...family('process_resident_memory_bytes', 'gauge', 'Resident memory size in bytes', one(rss)),
    ...family(
      'process_cpu_seconds_total',
      'counter',
      'Total user and system CPU time spent in seconds',
      one((usage.user + usage.system) / 1e6),
    ),
    ...family(
      'process_start_time_seconds',
      'gauge',
      'Start time of the process since unix epoch in seconds',
      one(performance.timeOrigin / 1000),
    ),
  ];
  return `${lines.join('\n')}\n`;
}

const family = (name: string, type: 'gauge' | 'counter', help: string, samples: readonly Sample[]): string[] => [
  `# HELP ${name} ${help}`,
  `# TYPE ${name} ${type}`,
  ...samples.map(([labels, value]) => `${name}${labels} ${value}`),
];
