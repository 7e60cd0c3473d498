import { expect, test } from 'vitest';
import { humanDuration, timestamp } from './time.ts';

test.each([
  [0, '0001-01-01T00:00:00Z'],
  [1_700_000_000_000, '2023-11-14T22:13:20Z'],
  [1_700_000_000_500, '2023-11-14T22:13:20.5Z'],
  [1_700_000_000_000.25, '2023-11-14T22:13:20.00025Z'],
  [1_700_000_000_999.9998, '2023-11-14T22:13:21Z'],
])('timestamp %d', (ms, want) => expect(timestamp(ms)).toBe(want));

const minute = 60;
const hour = 60 * minute;
const day = 24 * hour;
test.each([
  [0.4, 'Less than a second'],
  [1, '1 second'],
  [59.9, '59 seconds'],
  [minute, 'About a minute'],
  [2 * minute, '2 minutes'],
  [59 * minute, '59 minutes'],
  [hour, 'About an hour'],
  [hour + 30 * minute, '2 hours'],
  [47 * hour, '47 hours'],
  [2 * day, '2 days'],
  [13 * day, '13 days'],
  [14 * day, '2 weeks'],
  [60 * day, '2 months'],
  [800 * day, '2 years'],
])('%d seconds', (seconds, want) => expect(humanDuration(seconds * 1000)).toBe(want));
