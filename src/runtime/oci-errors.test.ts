import { expect, test } from 'vitest';
import { runtimeError, runtimeMessage } from './oci-errors.ts';

test.each([
  { what: 'crun', output: 'executable file `x` not found in $PATH: No such file or directory\n' },
  {
    what: 'a later crun',
    output: '2024-01-01T00:00:00Z: executable file `x` not found in $PATH: No such file or directory',
  },
  { what: 'crun in JSON', output: '{"msg":"executable file `x` not found in $PATH", "level": "error", "time": "0"}\n' },
  {
    what: 'runc',
    output:
      'time="2024-01-01T00:00:00Z" level=warning msg="something"\n' +
      'time="2024-01-01T00:00:00Z" level=error msg="runc create failed: unable to start container process: exec: \\"x\\": executable file not found in $PATH"\n',
  },
  {
    what: 'runc in JSON',
    output: '{"level":"error","msg":"exec failed: exec: \\"x\\": executable file not found in $PATH"}',
  },
  {
    what: 'runsc',
    output: 'creating container: error finding executable "x" in PATH [/bin]: no such file or directory',
  },
])('$what: a program that is not there', ({ output }) => {
  expect(runtimeError('create', 'r', output, 'x')).toMatchObject({
    kind: 'CommandNotFound',
    message: expect.stringContaining('exec: "x": executable file not found in $PATH'),
  });
});

test.each([
  { output: 'open executable: Permission denied', reason: 'permission denied' },
  { output: 'open executable: Operation not permitted', reason: 'not a regular file: permission denied' },
  { output: 'msg="exec failed: exec: \\"/x\\": is a directory: permission denied"', reason: 'is a directory' },
  { output: 'exec container process `/x`: Exec format error', reason: 'exec format error' },
  { output: 'chdir to cwd ("/x") set in config.json failed: permission denied', reason: 'chdir to cwd' },
])('$output: a program that can not be run', ({ output, reason }) => {
  expect(runtimeError('exec', 'r', output, '/x')).toMatchObject({
    kind: 'NotExecutable',
    message: expect.stringContaining(reason),
  });
});

test.each([
  { output: 'container `x` does not exist', kind: 'Conflict' },
  { output: "cannot open directory '/run/x': No such file or directory", kind: 'Conflict' },
  { output: 'error opening file `/run/x/status`: No such file or directory', kind: 'Conflict' },
  { output: 'container not running', kind: 'Conflict' },
  { output: 'mount `proc` to `proc`: Operation not permitted', kind: 'Internal' },
  { output: 'error mounting "/x" to rootfs at "/y": mount /x:/y: no such file or directory', kind: 'Internal' },
  { output: '', kind: 'Internal' },
])('$output is $kind', ({ output, kind }) => expect(runtimeError('create', 'r', output, 'sh').kind).toBe(kind));

test('the last line counts, and what is no JSON is taken as it is', () => {
  expect(runtimeMessage('one\n{"broken\n\n')).toBe('{"broken');
});
