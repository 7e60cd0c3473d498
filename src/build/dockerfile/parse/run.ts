import { TareError } from '../../../errors/index.ts';
import { parseJsonForm, type WrittenFlag, withSuggestion } from '../../../image/index.ts';
import { commaFields } from '../comma-fields.ts';
import type { CommandText } from './command-text.ts';
import type { CommandLine, DeviceFlag, RunInstruction } from './instruction.ts';
import { booleanOf, parseMountFlag } from './read-mount.ts';

const networks = ['default', 'none', 'host'] as const;
const securities = ['sandbox', 'insecure'] as const;
const broken = (message: string) => new TareError('InvalidArgument', message);

export function parseRun(text: CommandText): RunInstruction {
  const flags = text.flags({ mount: 'list', network: 'text', security: 'text', device: 'list' });
  const at = <T>(flag: WrittenFlag, read: (value: string) => T): T => {
    try {
      return read(flag.text);
    } catch (error) {
      if (error instanceof TareError) throw text.failAtFlag(error.message, flag.offset);
      throw error;
    }
  };
  const choice = <T extends string>(name: string, options: readonly T[]): T | undefined => {
    const value = flags.text(name);
    if (value === undefined) return undefined;
    const found = options.find((option) => option === value);
    if (found !== undefined) return found;
    const message = withSuggestion(`unsupported ${name} mode ${JSON.stringify(value)}`, value, options);
    throw text.failAtFlag(`${message}: want ${options.join(', ')}`, flags.offsetOf(name)!);
  };
  return {
    ...text.written,
    kind: 'run',
    command: parseCommandLine(text),
    mounts: flags.list('mount').map((flag) => at(flag, parseMountFlag)),
    network: choice('network', networks),
    security: choice('security', securities),
    devices: flags.list('device').map((flag) => at(flag, parseDevice)),
  };
}

/** JSON or shell form, with the here-documents of the line. */
export function parseCommandLine(text: CommandText): CommandLine {
  const list = parseJsonForm(text.rest);
  if (list !== undefined) return { form: 'json', words: list, hereDocuments: [] };
  return { form: 'shell', words: text.rest === '' ? [] : [text.rest], hereDocuments: text.hereDocuments };
}

/** `vendor.com/class=name`, `name=…`, `required`. */
function parseDevice(value: string): DeviceFlag {
  let name = '';
  let isRequired = false;
  for (const field of commaFields(value, 'failed to parse csv devices')) {
    const equals = field.indexOf('=');
    const key = (equals < 0 ? field : field.slice(0, equals)).toLowerCase();
    if (key === 'required') isRequired = equals < 0 || booleanOf(key, field.slice(equals + 1));
    else if (key === 'name' && equals >= 0) {
      if (name !== '') throw broken(`device name already set to ${name}`);
      name = field.slice(equals + 1);
    } else if (name === '') name = field;
    else if (equals < 0) throw broken(`invalid field '${field}' must be a key=value pair`);
    else throw broken(withSuggestion(`unexpected key '${key}' in '${field}'`, key, ['name', 'required']));
  }
  return { name, isRequired };
}
