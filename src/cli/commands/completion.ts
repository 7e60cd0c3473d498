import { TareError } from '../../errors/index.ts';
import { command } from '../command.ts';

const shells = ['bash', 'zsh', 'fish'] as const;

export default command({
  usage: 'bash|zsh|fish',
  description:
    'Write it where your shell looks for completions, for example: tare completion bash > /etc/bash_completion.d/tare',
  options: {},
  args: [1, 1],
  completes: shells,
  async run(context, _options, [wanted]) {
    const shell = shells.find((known) => known === wanted);
    if (!shell)
      throw new TareError(
        'InvalidArgument',
        `no completion for the shell ${JSON.stringify(wanted)}: one of ${shells.join(', ')}`,
      );
    const { completionScript } = await import('../completion.ts');
    context.out(await completionScript(shell));
    return 0;
  },
});
