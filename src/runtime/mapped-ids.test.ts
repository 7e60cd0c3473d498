import { expect, test } from 'vitest';
import { lastMappedId, mapsEveryId } from './mapped-ids.ts';

test.each([
  { map: '         0       4321          1\n         1     200000      65536\n', want: 65_536 },
  { map: '0 0 4294967295\n', want: 4_294_967_294 },
  { map: '0 1000 1\n', want: 0 },
  { map: '0 1000 1\n5 200000 10\n', want: 0 },
  { map: '1 200000 10\n0 1000 1\n', want: 10 },
])('the last id of $map', ({ map, want }) => expect(lastMappedId(map)).toBe(want));

test.each([
  { map: '         0          0 4294967295\n', want: true },
  { map: '         0          0      65536\n', want: false },
  { map: '         0       4321          1\n         1     200000      65536\n', want: false },
  { map: '', want: false },
])('whether $map has every id', ({ map, want }) => expect(mapsEveryId(map)).toBe(want));
