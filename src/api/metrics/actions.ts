/** Upper bounds in seconds: those of Prometheus' clients. */
const BOUNDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

interface Histogram {
  /** How many took at most each bound. */
  counts: number[];
  count: number;
  sum: number;
}

/** docker's histogram and action of each route that has one. */
const actions: Record<string, [metric: string, label: string]> = {
  'POST /containers/create': ['engine_daemon_container_actions_seconds', 'action="create"'],
  'POST /containers/:id/start': ['engine_daemon_container_actions_seconds', 'action="start"'],
  'DELETE /containers/:name*': ['engine_daemon_container_actions_seconds', 'action="delete"'],
  'GET /containers/:id/changes': ['engine_daemon_container_actions_seconds', 'action="changes"'],
  'POST /commit': ['engine_daemon_container_actions_seconds', 'action="commit"'],
  'POST /networks/:id/connect': ['engine_daemon_network_actions_seconds', 'action="connect"'],
  'POST /networks/:id/disconnect': ['engine_daemon_network_actions_seconds', 'action="disconnect"'],
  'GET /info': ['engine_daemon_host_info_functions_seconds', 'function="system_info"'],
};

const help: Record<string, string> = {
  engine_daemon_container_actions_seconds: 'The number of seconds it takes to process each container action',
  engine_daemon_network_actions_seconds: 'The number of seconds it takes to process each network action',
  engine_daemon_host_info_functions_seconds:
    'The number of seconds it takes to call functions gathering info about the host',
};

/** How often each action was asked for, and how long it took. */
export class Actions {
  readonly #histograms = new Map<string, Map<string, Histogram>>();
  readonly #answers = new Map<string, number>();

  constructor() {
    for (const [metric, label] of Object.values(actions)) {
      const labels = this.#histograms.get(metric) ?? new Map<string, Histogram>();
      this.#histograms.set(metric, labels.set(label, { counts: BOUNDS.map(() => 0), count: 0, sum: 0 }));
    }
  }

  /** @param route `POST /containers/create` */
  note(route: string, status: number, seconds: number): void {
    const family = `${Math.trunc(status / 100)}xx`;
    this.#answers.set(family, (this.#answers.get(family) ?? 0) + 1);
    const [metric, label] = actions[route] ?? [];
    if (metric === undefined || label === undefined || status >= 400) return;
    const histogram = this.#histograms.get(metric)!.get(label)!;
    histogram.count += 1;
    histogram.sum += seconds;
    for (const [index, bound] of BOUNDS.entries()) if (seconds <= bound) histogram.counts[index]! += 1;
  }

  lines(): string[] {
    const lines: string[] = [];
    for (const [metric, labels] of this.#histograms) {
      lines.push(`# HELP ${metric} ${help[metric]}`, `# TYPE ${metric} histogram`);
      for (const [label, { counts, count, sum }] of labels) {
        for (const [index, bound] of BOUNDS.entries())
          lines.push(`${metric}_bucket{${label},le="${bound}"} ${counts[index]}`);
        lines.push(`${metric}_bucket{${label},le="+Inf"} ${count}`);
        lines.push(`${metric}_sum{${label}} ${sum}`, `${metric}_count{${label}} ${count}`);
      }
    }
    lines.push(
      '# HELP tare_api_answers_total Answers of the Docker API by class of status',
      '# TYPE tare_api_answers_total counter',
    );
    for (const [family, count] of this.#answers) lines.push(`tare_api_answers_total{status="${family}"} ${count}`);
    return lines;
  }
}
