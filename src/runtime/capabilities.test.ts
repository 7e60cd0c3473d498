import { describe, expect, test } from 'vitest';
import {
  allCapabilities,
  capabilitiesOfMask,
  capabilitySets,
  containerCapabilities,
  defaultCapabilities,
} from './capabilities.ts';

describe('containerCapabilities', () => {
  const of = (add: string[], drop: string[], privileged = false) =>
    containerCapabilities({ add, drop, privileged }, allCapabilities);
  test('docker’s default set', () => {
    expect(of([], [])).toEqual(defaultCapabilities);
    expect(defaultCapabilities).toHaveLength(14);
  });
  test.each([
    [['all'], [], 41],
    [['ALL'], ['chown', 'CAP_KILL'], 39],
    [['ALL'], ['ALL'], 0],
    [['SYS_TIME'], ['ALL'], 1],
    [['SYS_TIME', 'cap_sys_time'], [], 15],
    [['CHOWN'], ['MKNOD'], 13],
  ])('add %j, drop %j: %d', (add, drop, count) => expect(of(add, drop)).toHaveLength(count));
  test('added after dropped', () => expect(of(['MKNOD'], ['MKNOD'])).toContain('CAP_MKNOD'));
  test('privileged has what the host has', () => {
    expect(containerCapabilities({ add: [], drop: ['ALL'], privileged: true }, ['CAP_KILL'])).toEqual(['CAP_KILL']);
  });
  test('masks as /proc shows them', () => {
    expect(capabilitiesOfMask('0000000000000001')).toEqual(['CAP_CHOWN']);
    expect(capabilitiesOfMask('000001fffeffffff')).not.toContain('CAP_SYS_RESOURCE');
    expect(capabilitiesOfMask('000001ffffffffff')).toEqual(allCapabilities);
  });
  test('only root has effective ones', () => {
    expect(capabilitySets(['CAP_KILL'], false)).toEqual({ bounding: ['CAP_KILL'], effective: [], permitted: [] });
    expect(capabilitySets(['CAP_KILL'], true).effective).toEqual(['CAP_KILL']);
  });
});
