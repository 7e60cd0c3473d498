import type { ExecRecord } from '../../../engine/index.ts';

export function execInspectOf(exec: ExecRecord) {
  const [entrypoint = '', ...rest] = exec.config.command;
  return {
    ID: exec.id,
    Running: exec.running,
    ExitCode: exec.exitCode,
    ProcessConfig: {
      tty: exec.config.tty,
      entrypoint,
      arguments: rest,
      privileged: exec.config.privileged,
      ...(exec.config.user !== '' && { user: exec.config.user }),
    },
    OpenStdin: exec.config.attachStdin,
    OpenStderr: exec.config.attachStderr,
    OpenStdout: exec.config.attachStdout,
    CanRemove: false,
    ContainerID: exec.containerId,
    DetachKeys: exec.config.detachKeys,
    Pid: exec.pid,
  };
}
