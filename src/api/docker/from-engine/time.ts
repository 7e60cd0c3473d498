const ZERO = '0001-01-01T00:00:00Z';

/** RFC 3339 as Go prints it: as many fraction digits as needed, Go's zero time for 0. */
export function timestamp(ms: number): string {
  if (!(ms > 0)) return ZERO;
  const seconds = Math.floor(ms / 1000);
  // A double holds today's time in milliseconds to a quarter of a microsecond.
  const micros = Math.round((ms - seconds * 1000) * 1000);
  const whole = new Date((seconds + Math.floor(micros / 1e6)) * 1000).toISOString().slice(0, 19);
  const fraction = String(micros % 1e6)
    .padStart(6, '0')
    .replace(/0+$/, '');
  return fraction ? `${whole}.${fraction}Z` : `${whole}Z`;
}

/** Docker's wording for a length of time (go-units' HumanDuration). */
export function humanDuration(ms: number): string {
  const seconds = Math.trunc(ms / 1000);
  if (seconds < 1) return 'Less than a second';
  if (seconds === 1) return '1 second';
  if (seconds < 60) return `${seconds} seconds`;
  const minutes = Math.trunc(seconds / 60);
  if (minutes === 1) return 'About a minute';
  if (minutes < 60) return `${minutes} minutes`;
  const hours = Math.floor(seconds / 3600 + 0.5);
  if (hours === 1) return 'About an hour';
  if (hours < 48) return `${hours} hours`;
  if (hours < 24 * 7 * 2) return `${Math.trunc(hours / 24)} days`;
  if (hours < 24 * 30 * 2) return `${Math.trunc(hours / 24 / 7)} weeks`;
  if (hours < 24 * 365 * 2) return `${Math.trunc(hours / 24 / 30)} months`;
  return `${Math.trunc(seconds / 3600 / 24 / 365)} years`;
}
