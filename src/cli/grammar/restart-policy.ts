import { UsageError } from './usage-error.ts';

/** `no`, `always`, `unless-stopped`, `on-failure[:MAX]`. @throws {UsageError} */
export function parseRestartPolicy(text: string, flag: string): { Name: string; MaximumRetryCount: number } {
  const [, name = '', count] = /^([a-z-]*)(?::(\d{1,9}))?$/.exec(text) ?? [];
  const known = ['', 'no', 'always', 'unless-stopped', 'on-failure'].includes(name);
  if (!known || (text !== '' && name === '') || (count !== undefined && name !== 'on-failure'))
    throw new UsageError(
      `invalid restart policy ${JSON.stringify(text)} for ${flag}: no, always, unless-stopped or on-failure[:MAX_RETRIES]`,
    );
  return { Name: name, MaximumRetryCount: Number(count ?? 0) };
}
