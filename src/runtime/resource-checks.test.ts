import { expect, test } from 'vitest';
import { parseCpuList } from './resource-checks.ts';

test.each([
  ['0-2,7', [0, 1, 2, 7]],
  ['3', [3]],
  ['0, 1', [0, 1]],
])('parseCpuList %s', (list, numbers) => expect([...parseCpuList(list)!]).toEqual(numbers));
test.each(['', '2-1', 'x', '0-', '0-99999', '1,,2', '-1'])('parseCpuList refuses %j', (list) => {
  expect(parseCpuList(list)).toBeUndefined();
});
