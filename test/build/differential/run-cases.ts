import type { Case } from './case.ts';

/** What runs, and how stages hang together. */
export const runCases: readonly Case[] = [
  {
    name: 'RUN writes, changes and removes',
    isOld: true,
    dockerfile:
      'FROM busybox:test\nRUN mkdir -p /a/b && echo 1 > /a/b/c && chmod 4750 /a/b/c && chown 7:8 /a/b/c\nRUN rm -r /a/b && echo 2 > /a/d && ln -s d /a/e && ln /a/d /a/f\n',
  },
  {
    name: 'RUN in JSON form',
    isOld: true,
    dockerfile: 'FROM busybox:test\nRUN ["/bin/sh", "-c", "echo \\"$0\\" > /f", "zero"]\n',
  },
  { name: 'RUN that changes nothing', dockerfile: 'FROM busybox:test\nRUN true\nRUN echo x > /f\nRUN true\n' },
  {
    name: 'RUN as a user in a folder',
    isOld: true,
    dockerfile:
      'FROM busybox:test\nRUN mkdir -m 777 /w\nWORKDIR /w\nUSER 1000:1001\nRUN id -u > who && id -g >> who && pwd >> who\n',
  },
  {
    name: 'RUN sees ENV and ARG',
    isOld: true,
    args: ['--build-arg', 'A=arg'],
    dockerfile: 'FROM busybox:test\nARG A\nENV E=env\nRUN echo "$A $E $HOME $PATH" > /f\n',
  },
  {
    name: 'RUN with a here-document',
    dockerfile: 'FROM busybox:test\nRUN <<EOF\necho one > /one\necho two > /two\nEOF\n',
  },
  {
    name: 'RUN with a here-document and a program',
    dockerfile:
      'FROM busybox:test\nRUN <<EOF sh -x\necho "$0" > /zero\nEOF\nRUN <<EOF\n#!/bin/sh -e\necho script > /script\nEOF\n',
  },
  {
    name: 'RUN with two here-documents',
    dockerfile: 'FROM busybox:test\nRUN cat <<A > /a && cat <<B > /b\nin a\nA\nin b\nB\n',
  },
  {
    name: 'RUN --mount=type=bind from a stage',
    dockerfile:
      'FROM busybox:test AS one\nRUN echo one > /f\nFROM busybox:test\nRUN --mount=type=bind,from=one,source=/f,target=/mnt/f cat /mnt/f > /g\n',
  },
  {
    name: 'RUN --mount=type=bind from the context, writable',
    files: { 'd/f': 'context' },
    dockerfile:
      'FROM busybox:test\nRUN --mount=type=bind,source=d,target=/mnt,rw cat /mnt/f > /g && echo gone > /mnt/new\nRUN ls -a /mnt > /after; true\n',
  },
  {
    name: 'RUN --mount=type=cache',
    dockerfile:
      'FROM busybox:test\nRUN --mount=type=cache,target=/cache,id=differential,uid=5,gid=6,mode=0700 stat -c "%u %g %a" /cache > /owner && echo x >> /cache/f\n',
  },
  {
    name: 'RUN --mount=type=tmpfs',
    dockerfile: 'FROM busybox:test\nRUN --mount=type=tmpfs,target=/t,size=1m echo x > /t/f && ls /t > /g\n',
  },
  {
    name: 'RUN --mount=type=secret leaves nothing',
    args: ['--secret', 'id=one,src=secret.txt'],
    files: { 'secret.txt': 'hidden' },
    dockerfile:
      'FROM busybox:test\nRUN --mount=type=secret,id=one,mode=0444,uid=3 stat -c "%u %a" /run/secrets/one > /who && wc -c < /run/secrets/one > /size\nRUN --mount=type=secret,id=none test ! -e /run/secrets/none\n',
  },
  {
    name: 'RUN --mount=type=secret as a variable',
    args: ['--secret', 'id=one,src=secret.txt'],
    files: { 'secret.txt': 'hidden' },
    dockerfile: 'FROM busybox:test\nRUN --mount=type=secret,id=one,env=TOKEN printf %s "$TOKEN" | wc -c > /size\n',
  },
  { name: 'RUN --network=none', dockerfile: 'FROM busybox:test\nRUN --network=none ls /sys/class/net > /links\n' },
  {
    name: 'mount points leave what they needed, and no more',
    dockerfile: 'FROM busybox:test\nRUN --mount=type=tmpfs,target=/deep/er/t --mount=type=cache,target=/c/x true\n',
  },
  {
    name: 'stages in a diamond',
    isOld: true,
    dockerfile:
      'FROM busybox:test AS base\nRUN echo base > /base\nFROM base AS left\nRUN echo left > /left\nFROM base AS right\nRUN echo right > /right\nFROM base\nCOPY --from=left /left /\nCOPY --from=right /right /\n',
  },
  {
    name: 'stages that nothing needs are not built',
    dockerfile: 'FROM busybox:test AS broken\nRUN false\nFROM busybox:test\nRUN echo fine > /f\n',
  },
  {
    name: 'a stage that is named after an image',
    isOld: true,
    dockerfile: 'FROM busybox:test AS busybox\nRUN echo own > /own\nFROM busybox\nRUN cat /own\n',
  },
  {
    name: 'scratch with one file',
    isOld: true,
    dockerfile:
      'FROM busybox:test AS build\nRUN echo x > /x\nFROM scratch\nCOPY --from=build /x /x\nENTRYPOINT ["/x"]\n',
  },
  {
    name: 'many layers',
    isOld: true,
    dockerfile: `FROM busybox:test\n${Array.from({ length: 20 }, (_, n) => `RUN echo ${n} > /f${n}\n`).join('')}`,
  },
  {
    name: 'opaque folders and whiteouts over stages',
    isOld: true,
    dockerfile:
      'FROM busybox:test AS a\nRUN mkdir -p /d/sub && touch /d/one /d/sub/two\nFROM a\nRUN rm -rf /d && mkdir /d && touch /d/new\n',
  },
  {
    name: 'names that are hard to write',
    dockerfile:
      'FROM busybox:test\nRUN touch "/a b" /\u00e4 "/q\'\\"" && mkdir "/.wh" && touch "/.wh/x" && ln -s "a b" /l\n',
  },
  {
    name: 'devices, pipes and sticky folders',
    isOld: true,
    dockerfile: 'FROM busybox:test\nRUN mkfifo -m 640 /pipe && mkdir -m 1777 /sticky && mkdir -m 2755 /setgid\n',
  },
  {
    name: 'extra hosts',
    args: ['--add-host', 'one.test:10.1.2.3'],
    dockerfile: 'FROM busybox:test\nRUN grep one.test /etc/hosts > /h\n',
  },
  {
    name: 'a file with a hole, and a long name',
    isOld: true,
    dockerfile: `FROM busybox:test\nRUN dd if=/dev/zero of=/hole bs=1 count=1 seek=1048576 2>/dev/null && mkdir -p /${'n'.repeat(90)}/${'m'.repeat(90)} && echo x > /${'n'.repeat(90)}/${'m'.repeat(90)}/${'o'.repeat(100)}\n`,
  },
];
