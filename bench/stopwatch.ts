/**
 * Runs commands from inside a contender's namespaces and says how long each took: so that what is timed is the command, not
 * the way into the namespaces.
 *
 * Reads lines `{"argv": […], "env": {…}}`, answers each with `{"ms": …, "code": …, "stderr": "…"}`.
 */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

interface Order {
  id: number;
  argv: string[];
  env: Record<string, string>;
}

function run({ id, argv, env }: Order): void {
  const started = performance.now();
  const child = spawn(argv[0]!, argv.slice(1), {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let stderr = '';
  child.stderr.on('data', (chunk: Buffer) => {
    stderr = (stderr + chunk.toString()).slice(-2000);
  });
  const answer = (code: number | null) => {
    const ms = performance.now() - started;
    process.stdout.write(`${JSON.stringify({ id, ms, code, stderr })}\n`);
  };
  child.once('error', (error) => {
    stderr = error.message;
    answer(null);
  });
  child.once('exit', answer);
}

for await (const line of createInterface({ input: process.stdin })) run(JSON.parse(line) as Order);
