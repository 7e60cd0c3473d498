import { describe, expect, test } from 'vitest';
import { buildExecProcess } from './exec-process.ts';
import type { OciProcess } from './oci-spec.ts';

describe('buildExecProcess', () => {
  const container: OciProcess = {
    terminal: true,
    consoleSize: { height: 1, width: 1 },
    user: { uid: 0, gid: 0, additionalGids: [0] },
    args: ['/bin/server'],
    env: ['PATH=/bin', 'HOME=/root', 'A=1'],
    cwd: '/srv',
    capabilities: { bounding: ['CAP_KILL'], effective: ['CAP_KILL'], permitted: ['CAP_KILL'] },
    noNewPrivileges: true,
    apparmorProfile: 'docker-default',
    oomScoreAdj: 5,
  };
  const exec = { command: ['ps'], env: [], workingDir: '', tty: false, privileged: false };

  test('inherits what is not said', () => {
    expect(buildExecProcess(container, exec, undefined, ['CAP_KILL', 'CAP_SYS_ADMIN'])).toEqual({
      terminal: false,
      user: { uid: 0, gid: 0, additionalGids: [0] },
      args: ['ps'],
      env: ['PATH=/bin', 'HOME=/root', 'A=1'],
      cwd: '/srv',
      capabilities: { bounding: ['CAP_KILL'], effective: ['CAP_KILL'], permitted: ['CAP_KILL'] },
      noNewPrivileges: true,
      apparmorProfile: 'docker-default',
      oomScoreAdj: 5,
    });
  });
  test('another user has a home and no capabilities of its own', () => {
    const user = { uid: 7, gid: 8, additionalGids: [8, 9], home: '/home/u' };
    const process = buildExecProcess(container, { ...exec, env: ['A=2'] }, user, []);
    expect(process.user).toEqual({ uid: 7, gid: 8, additionalGids: [8, 9] });
    expect(process.env).toEqual(['PATH=/bin', 'HOME=/home/u', 'A=2']);
    expect(process.capabilities.effective).toEqual([]);
  });
  test('privileged has all capabilities and no profile', () => {
    const process = buildExecProcess(container, { ...exec, privileged: true }, undefined, [
      'CAP_KILL',
      'CAP_SYS_ADMIN',
    ]);
    expect(process.capabilities.effective).toEqual(['CAP_KILL', 'CAP_SYS_ADMIN']);
    expect(process.apparmorProfile).toBe('unconfined');
  });
  test('a terminal has a size and a type', () => {
    const process = buildExecProcess(container, { ...exec, tty: true, consoleSize: [24, 80] }, undefined, []);
    expect(process).toMatchObject({ terminal: true, consoleSize: { height: 24, width: 80 } });
    expect(process.env).toContain('TERM=xterm');
  });
  test('refuses no command and a relative folder', () => {
    expect(() => buildExecProcess(container, { ...exec, command: [] }, undefined, [])).toThrow(
      'No exec command specified',
    );
    expect(() => buildExecProcess(container, { ...exec, workingDir: 'x' }, undefined, [])).toThrow("'x' is invalid");
  });
});
