import { describe, expect, test } from 'vitest';
import { type ImageDefaults, mergeImageDefaults, overrideEnv } from './merge-image-defaults.ts';
import type { ContainerConfig } from './settings.ts';

describe('mergeImageDefaults', () => {
  const merge = (own: Partial<ContainerConfig>, image: ImageDefaults) =>
    mergeImageDefaults(
      {
        env: [],
        volumes: [],
        exposedPorts: [],
        labels: {},
        cmd: null,
        entrypoint: null,
        healthcheck: null,
        ...own,
      } as ContainerConfig,
      image,
    );
  const image: ImageDefaults = { Entrypoint: ['/entry'], Cmd: ['serve'] };

  test.each([
    { own: {}, entrypoint: ['/entry'], cmd: ['serve'] },
    { own: { cmd: ['sh'] }, entrypoint: ['/entry'], cmd: ['sh'] },
    { own: { entrypoint: ['/mine'] }, entrypoint: ['/mine'], cmd: null },
    { own: { entrypoint: ['/mine'], cmd: ['x'] }, entrypoint: ['/mine'], cmd: ['x'] },
    { own: { entrypoint: [''] }, entrypoint: null, cmd: null },
    { own: { entrypoint: [''], cmd: ['sh'] }, entrypoint: null, cmd: ['sh'] },
    { own: { entrypoint: [], cmd: null }, entrypoint: [], cmd: ['serve'] },
    { own: { cmd: [] }, entrypoint: ['/entry'], cmd: ['serve'] },
  ])('$own', ({ own, entrypoint, cmd }) => expect(merge(own, image)).toMatchObject({ entrypoint, cmd }));

  test('variables by name, the user’s first', () => {
    expect(merge({ env: ['A=mine', 'B'] }, { Env: ['A=theirs', 'B=theirs', 'C=theirs'] }).env).toEqual([
      'A=mine',
      'B',
      'C=theirs',
    ]);
  });

  test('labels, ports, volumes, user, folder and signal', () => {
    const merged = merge(
      { labels: { a: 'mine' }, exposedPorts: ['80/tcp'], volumes: ['/v'], user: 'me' },
      {
        Labels: { a: 'theirs', b: 'theirs' },
        ExposedPorts: { '80/tcp': {}, '443/tcp': {} },
        Volumes: { '/v': {}, '/w': {} },
        User: 'them',
        WorkingDir: '/srv',
        StopSignal: 'SIGINT',
        StopTimeout: 3,
      },
    );
    expect(merged).toMatchObject({
      labels: { a: 'mine', b: 'theirs' },
      exposedPorts: ['80/tcp', '443/tcp'],
      volumes: ['/v', '/w'],
      user: 'me',
      workingDir: '/srv',
      stopSignal: 'SIGINT',
      stopTimeoutSeconds: 3,
    });
  });

  test('a health check field by field', () => {
    const own = { test: [], intervalNs: 5, timeoutNs: 0, startPeriodNs: 0, startIntervalNs: 0, retries: 0 };
    const theirs = { Test: ['CMD', 'check'], Interval: 1, Timeout: 2, Retries: 4 };
    expect(merge({ healthcheck: own }, { Healthcheck: theirs }).healthcheck).toEqual({
      test: ['CMD', 'check'],
      intervalNs: 5,
      timeoutNs: 2,
      startPeriodNs: 0,
      startIntervalNs: 0,
      retries: 4,
    });
    expect(merge({ healthcheck: own }, {}).healthcheck).toBe(own);
    expect(merge({}, { Healthcheck: theirs }).healthcheck?.intervalNs).toBe(1);
  });

  test('overrideEnv replaces in place, appends, and removes what has no value', () => {
    expect(overrideEnv(['A=1', 'B=2', 'C=3'], ['B=x', 'A', 'D=4', 'D=5', '__proto__=1'])).toEqual([
      'B=x',
      'C=3',
      'D=5',
      '__proto__=1',
    ]);
  });
});
