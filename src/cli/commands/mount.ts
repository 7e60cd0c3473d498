import { command } from '../command.ts';
import { table } from '../output/table.ts';

export default command({
  usage: '[OPTIONS] [CONTAINER...]',
  description:
    "Shows a working container's files at the path printed, to be changed, until it is unmounted or the machine is started anew. Without a container, lists what is mounted.",
  options: { json: { type: 'bool', help: 'Print names and paths as one JSON document' } },
  args: [0, Number.POSITIVE_INFINITY],
  completes: 'working-containers',
  async run(context, options, names) {
    const { withBuilds } = await import('../local/working.ts');
    const mounts = await withBuilds(context.globals, async (builds) => {
      if (names.length === 0)
        return (await builds.workingContainers()).flatMap(({ name, mountPath }) =>
          mountPath === undefined ? [] : [{ name, path: mountPath }],
        );
      const made: { name: string; path: string }[] = [];
      for (const ref of names) {
        const container = await builds.workingContainer(ref);
        made.push({ name: container.name, path: (await container.mount()).path });
      }
      return made;
    });
    if (options.json) context.out(`${JSON.stringify(mounts, null, 2)}\n`);
    else if (names.length === 1) context.out(`${mounts[0]!.path}\n`);
    else context.out(table(mounts.map(({ name, path }) => [name, path])));
    return 0;
  },
});
