import { commands, type Entry, groups } from './catalogue.ts';
import { type Command, globalOptions } from './command.ts';
import type { Completes, Options } from './option.ts';

export type Shell = 'bash' | 'zsh' | 'fish';

/** What is asked of `tare` itself when the key is pressed, so that names are those of now. */
const questions: Record<string, string> = {
  containers: "ps --all --format '{{.Names}}'",
  'running-containers': "ps --format '{{.Names}}'",
  'working-containers': 'from --list --quiet',
  'all-containers': "ps --all --format '{{.Names}}' 2>/dev/null; tare from --list --quiet",
  images: "images --format '{{.Repository}}:{{.Tag}}'",
  volumes: 'volume ls --quiet',
  networks: "network ls --format '{{.Name}}'",
};

interface Place {
  path: string;
  summary: string;
  options: Options;
  completes?: Completes;
}

/** Loads the option tables of all commands that are shown. */
async function places(): Promise<Place[]> {
  const entries: [path: string, entry: Entry][] = [
    ...Object.entries(commands),
    ...Object.entries(groups).flatMap(([group, { commands: own }]) =>
      Object.entries(own).map(([name, entry]): [string, Entry] => [`${group} ${name}`, entry]),
    ),
  ];
  const shown = entries.filter(([, entry]) => !entry.hidden);
  return await Promise.all(
    shown.map(async ([path, entry]) => {
      const definition: Command = (await entry.load()).default;
      return { path, summary: entry.summary, options: definition.options, completes: definition.completes };
    }),
  );
}

/** A shell's completion script, whole. */
export async function completionScript(shell: Shell): Promise<string> {
  const all = await places();
  return { bash, zsh, fish }[shell](all);
}

/** Visible options, `--all` and `-a`. */
function optionWords(options: Options): string[] {
  return Object.entries(options)
    .filter(([, option]) => !option.hidden)
    .flatMap(([name, option]) => [`--${name}`, ...(option.short ? [`-${option.short}`] : [])]);
}

/** `--env|-e`, for options with a value. */
function valuePatterns(options: Options): { pattern: string; completes?: Completes }[] {
  return Object.entries(options)
    .filter(([, option]) => option.type !== 'bool')
    .map(([name, option]) => ({
      pattern: [`--${name}`, ...(option.short ? [`-${option.short}`] : [])].join('|'),
      completes: option.completes,
    }));
}

function bashAction(completes: Completes | undefined): string {
  if (completes === undefined) return 'COMPREPLY=()';
  if (completes === 'files') return 'compopt -o filenames; COMPREPLY=($(compgen -f -- "$cur"))';
  if (completes === 'directories') return 'compopt -o filenames; COMPREPLY=($(compgen -d -- "$cur"))';
  if (typeof completes === 'string')
    return `COMPREPLY=($(compgen -W "$(tare ${questions[completes]} 2>/dev/null)" -- "$cur"))`;
  return `COMPREPLY=($(compgen -W ${quote(completes.join(' '))} -- "$cur"))`;
}

function bash(all: Place[]): string {
  const global: Place = { path: '', summary: '', options: globalOptions };
  const subcommands = Object.entries(groups).map(
    ([group, { commands: own }]) => `    ${group}) words=${quote(visible(own).join(' '))} ;;`,
  );
  const top = [...visible(commands), ...Object.keys(groups)].sort().join(' ');
  const cases = [...all, global].map(({ path, options, completes }) => {
    const values = valuePatterns(options).map(
      ({ pattern, completes: of }) => `        ${pattern}) ${bashAction(of)}; return ;;`,
    );
    const rest = path === '' ? `COMPREPLY=($(compgen -W ${quote(top)} -- "$cur"))` : bashAction(completes);
    return [
      `    ${quote(path)})`,
      ...(values.length > 0 ? ['      case $prev in', ...values, '      esac'] : []),
      `      if [[ $cur == -* ]]; then COMPREPLY=($(compgen -W ${quote(optionWords(options).join(' '))} -- "$cur")); return; fi`,
      `      ${rest}`,
      '      ;;',
    ].join('\n');
  });
  const taking = valuePatterns(globalOptions).map(({ pattern }) => pattern);
  return `# bash completion for tare; made by: tare completion bash
_tare() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD-1]} path='' i=1 words
  # Past the options before the command.
  while (( i < COMP_CWORD )) && [[ \${COMP_WORDS[i]} == -* ]]; do
    case \${COMP_WORDS[i]} in ${taking.join('|')}) (( i++ )) ;; esac
    (( i++ ))
  done
  if (( i < COMP_CWORD )); then
    path=\${COMP_WORDS[i]}
    words=''
    case $path in
${subcommands.join('\n')}
    esac
    if [[ -n $words ]]; then
      if (( i + 1 == COMP_CWORD )); then COMPREPLY=($(compgen -W "$words" -- "$cur")); return; fi
      path="$path \${COMP_WORDS[i+1]}"
    fi
  fi
  case $path in
${cases.join('\n')}
  esac
}
complete -F _tare tare
`;
}

function visible(entries: Record<string, Entry>): string[] {
  return Object.entries(entries)
    .filter(([, entry]) => !entry.hidden)
    .map(([name]) => name);
}

function zshAction(completes: Completes | undefined): string {
  if (completes === undefined) return ' ';
  if (completes === 'files') return '_files';
  if (completes === 'directories') return '_files -/';
  if (typeof completes === 'string') return `_tare_${completes.replace('-', '_')}`;
  return `(${completes.join(' ')})`;
}

function zshSpecs(options: Options): string[] {
  return Object.entries(options)
    .filter(([, option]) => !option.hidden)
    .flatMap(([name, option]) => {
      const help = option.help.split('\n')[0]!.replace(/[[\]:\\]/g, '\\$&');
      const value = option.type === 'bool' ? '' : `:${option.value ?? option.type}:${zshAction(option.completes)}`;
      const many = option.type === 'list' ? '*' : '';
      const long = `${many}--${name}${option.type === 'bool' ? '' : '='}[${help}]${value}`;
      return option.short
        ? [long, `${many}-${option.short}${option.type === 'bool' ? '' : '+'}[${help}]${value}`]
        : [long];
    })
    .map(quote);
}

function zsh(all: Place[]): string {
  const functions = Object.entries(questions).map(
    ([name, question]) =>
      `_tare_${name.replace('-', '_')}() { local -a found; found=(\${(f)"$(tare ${question} 2>/dev/null)"}); compadd -a found }`,
  );
  const described = (entries: [string, string][]) =>
    entries.map(([name, summary]) => quote(`${name}:${summary}`)).join(' ');
  const top: [string, string][] = [
    ...Object.entries(commands)
      .filter(([, entry]) => !entry.hidden)
      .map(([name, entry]): [string, string] => [name, entry.summary]),
    ...Object.entries(groups).map(([name, group]): [string, string] => [name, group.summary]),
  ];
  const inGroups = Object.entries(groups).map(([group, { commands: own }]) => {
    const entries = Object.entries(own).filter(([, entry]) => !entry.hidden);
    return `      ${group}) local -a own=(${described(entries.map(([name, entry]) => [name, entry.summary]))}); if (( CURRENT == 2 )); then _describe command own; return; fi; path_="$words[1] $words[2]"; shift words; (( CURRENT-- )) ;;`;
  });
  const cases = all.map(
    ({ path, options, completes }) =>
      `      ${quote(path)}) _arguments -s -S ${zshSpecs(options).join(' ')} ${quote(`*:argument:${zshAction(completes)}`)} ;;`,
  );
  return `#compdef tare
# zsh completion for tare; made by: tare completion zsh
${functions.join('\n')}
_tare() {
  local context state line path_
  local -a top=(${described(top)})
  _arguments -C ${zshSpecs(globalOptions).join(' ')} '1:command:->command' '*::argument:->argument'
  case $state in
    command) _describe command top ;;
    argument)
      path_=$words[1]
      case $path_ in
${inGroups.join('\n')}
      esac
      case $path_ in
${cases.join('\n')}
      esac ;;
  esac
}
compdef _tare tare
`;
}

function fishAction(completes: Completes | undefined): string {
  if (completes === undefined) return '-x';
  if (completes === 'files') return '-r -F';
  if (completes === 'directories') return `-x -a ${quote('(__fish_complete_directories)')}`;
  if (typeof completes === 'string') return `-x -a ${quote(`(tare ${questions[completes]} 2>/dev/null)`)}`;
  return `-x -a ${quote(completes.join(' '))}`;
}

function fish(all: Place[]): string {
  const lines = ['# fish completion for tare; made by: tare completion fish', 'complete -c tare -f'];
  const optionLines = (condition: string, options: Options) => {
    for (const [name, option] of Object.entries(options)) {
      if (option.hidden) continue;
      const value = option.type === 'bool' ? '' : ` ${fishAction(option.completes)}`;
      const short = option.short ? ` -s ${option.short}` : '';
      lines.push(
        `complete -c tare -n ${quote(condition)}${short} -l ${name} -d ${quote(option.help.split('\n')[0]!)}${value}`,
      );
    }
  };
  optionLines('__fish_use_subcommand', globalOptions);
  for (const [name, group] of Object.entries(groups))
    lines.push(`complete -c tare -n __fish_use_subcommand -a ${name} -d ${quote(group.summary)}`);
  for (const { path, summary, options, completes } of all) {
    const [first, second] = path.split(' ');
    let condition = `__fish_seen_subcommand_from ${first}`;
    if (second === undefined) lines.push(`complete -c tare -n __fish_use_subcommand -a ${first} -d ${quote(summary)}`);
    else {
      const own = visible(groups[first!]!.commands).join(' ');
      lines.push(
        `complete -c tare -n ${quote(`${condition}; and not __fish_seen_subcommand_from ${own}`)} -a ${second} -d ${quote(summary)}`,
      );
      condition += `; and __fish_seen_subcommand_from ${second}`;
    }
    optionLines(condition, options);
    if (completes !== undefined) lines.push(`complete -c tare -n ${quote(condition)} ${fishAction(completes)}`);
  }
  return `${lines.join('\n')}\n`;
}

/** For any of the three shells. */
function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
