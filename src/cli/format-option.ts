import type { Option } from './option.ts';

/** `--format` of lists. */
export const formatOption = {
  type: 'string',
  help: [
    'Format output using a custom template:',
    "'table':            Print output in table format with column headers (default)",
    "'table TEMPLATE':   Print output in table format using the given Go template",
    "'json':             Print in JSON format",
    "'TEMPLATE':         Print output using the given Go template",
  ].join('\n'),
  completes: ['json', 'table'],
} as const satisfies Option;

/** `--format` of single objects. */
export const inspectFormatOption = {
  type: 'string',
  short: 'f',
  help: [
    'Format output using a custom template:',
    "'json':             Print in JSON format",
    "'TEMPLATE':         Print output using the given Go template",
  ].join('\n'),
  completes: ['json'],
} as const satisfies Option;
