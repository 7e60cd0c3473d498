import type { LineRange } from '../progress.ts';
import type { Converted } from './convert.ts';
import { agentOf, secretOf } from './mount-words.ts';
import type { Dockerfile } from './parse/index.ts';

/** A place as BuildKit's JSON has it. */
export const locationOf = (ranges: readonly LineRange[]) => ({
  ranges: ranges.map(({ start, end }) => ({
    start: { line: start.line, ...(start.character === 0 ? {} : { character: start.character }) },
    end: { line: end.line, ...(end.character === 0 ? {} : { character: end.character }) },
  })),
});

interface Parameter {
  name: string;
  location: ReturnType<typeof locationOf>;
}

/** What a build takes: arguments with their values, secrets and agents. */
export interface Outline {
  args: (Parameter & { value?: string; description?: string })[];
  secrets: (Parameter & { required?: boolean })[];
  ssh: (Parameter & { required?: boolean })[];
}

/** Of the stages that a target needs. */
export function outlineOf(dockerfile: Dockerfile, converted: Converted): Outline {
  const outline: Outline = { args: [], secrets: [], ssh: [] };
  const seen = new Set<string>();
  const isFirst = (kind: string, name: string): boolean => {
    const key = `${kind} ${name}`;
    if (seen.has(key)) return false;
    seen.add(key);
    return true;
  };
  const addArg = (
    name: string,
    value: string | undefined,
    description: string | undefined,
    ranges: readonly LineRange[],
  ) => {
    if (!isFirst('arg', name)) return;
    outline.args.push({
      name,
      ...(value === undefined ? {} : { value }),
      ...(description === undefined ? {} : { description }),
      location: locationOf(ranges),
    });
  };
  for (const { args, ranges } of dockerfile.metaArgs) {
    for (const { key, value, description } of args)
      addArg(key, converted.globalArgs.get(key) ?? value, description, ranges);
  }
  const isWritten = new Set(converted.stages.map((stage) => stage.written));
  for (const stage of converted.stages.filter((candidate) => isWritten.has(candidate.written))) {
    for (const { instruction } of stage.commands) {
      if (instruction.kind === 'arg') {
        for (const { key, description } of instruction.args) {
          const value = stage.buildArgs.findLast((arg) => arg.key === key)?.value;
          addArg(key, value, description, instruction.ranges);
        }
      } else if (instruction.kind === 'run') {
        for (const mount of stage.mountsOf.get(instruction) ?? []) {
          if (mount.type !== 'secret' && mount.type !== 'ssh') continue;
          const name = mount.type === 'ssh' ? agentOf(mount).id || 'default' : secretOf(mount).id;
          if (!isFirst(mount.type, name)) continue;
          const entry = {
            name,
            ...(mount.isRequired ? { required: true } : {}),
            location: locationOf(instruction.ranges),
          };
          outline[mount.type === 'ssh' ? 'ssh' : 'secrets'].push(entry);
        }
      }
    }
  }
  const byLine = (a: Parameter, b: Parameter) =>
    (a.location.ranges[0]?.start.line ?? 0) - (b.location.ranges[0]?.start.line ?? 0);
  outline.args.sort(byLine);
  outline.secrets.sort(byLine);
  outline.ssh.sort(byLine);
  return outline;
}
