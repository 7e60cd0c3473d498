// biome-ignore-all lint/suspicious/noTemplateCurlyInString: variables of Dockerfiles
import type { Case } from './case.ts';

/** What changes the image's configuration. */
export const configCases: readonly Case[] = [
  { name: 'a base as it is', isOld: true, dockerfile: 'FROM busybox:test\n' },
  {
    name: 'ENV, both forms',
    isOld: true,
    dockerfile: 'FROM busybox:test\nENV A=1 B="two words" C=a\\ b\nENV OLD the whole rest\nENV PATH=$PATH:/opt\n',
  },
  {
    name: 'ENV of one line does not see itself',
    isOld: true,
    dockerfile: 'FROM busybox:test\nENV abc=hello\nENV abc=bye def=$abc\nENV ghi=$abc\n',
  },
  {
    name: 'expansion with operators',
    dockerfile:
      'FROM busybox:test\nARG SET=value\nARG EMPTY=\nENV A=${SET:-x} B=${EMPTY:-x} C=${EMPTY-x} D=${NONE:-x} E=${SET:+y} F=${EMPTY:+y} G=${NONE+y} H=\\$SET I=\'$SET\' J="${SET}s"\n',
  },
  {
    name: 'expansion with patterns',
    dockerfile:
      'FROM busybox:test\nARG P=foobarfoo.tar.gz\nENV A=${P#foo} B=${P##*o} C=${P%.*} D=${P%%.*} E=${P/foo/x} F=${P//foo/x} G=${P#*b}\n',
  },
  {
    name: 'LABEL in many forms',
    isOld: true,
    dockerfile: 'FROM busybox:test\nLABEL a=b "c d"="e f" g=\'h i\'\nLABEL multi="one \\\ntwo"\nLABEL $NOT=x\n',
  },
  {
    name: 'WORKDIR, relative and absolute',
    dockerfile: 'FROM busybox:test\nWORKDIR /a\nWORKDIR b/../c\nWORKDIR d\n',
  },
  { name: 'WORKDIR with a variable', dockerfile: 'FROM busybox:test\nENV BASE=/srv\nWORKDIR $BASE/app\n' },
  { name: 'USER with and without a group', isOld: true, dockerfile: 'FROM busybox:test\nUSER 1000:1000\nUSER 12\n' },
  {
    name: 'EXPOSE with protocols and ranges',
    dockerfile: 'FROM busybox:test\nARG P=90\nEXPOSE 80 53/udp 8000-8003 $P/tcp\n',
  },
  {
    name: 'VOLUME, both forms',
    dockerfile: 'FROM busybox:test\nVOLUME /data /more\nVOLUME ["/json", "/with space"]\n',
  },
  { name: 'CMD, shell form', isOld: true, dockerfile: 'FROM busybox:test\nCMD echo hello | cat\n' },
  { name: 'CMD, JSON form', isOld: true, dockerfile: 'FROM busybox:test\nCMD ["echo", "a b", "\\u00e4"]\n' },
  { name: 'CMD, JSON that is not', isOld: true, dockerfile: "FROM busybox:test\nCMD ['echo', 'x']\n" },
  {
    name: 'ENTRYPOINT takes an inherited CMD away',
    isOld: true,
    dockerfile: 'FROM busybox:test\nCMD ["a"]\nENTRYPOINT ["/bin/echo"]\n',
  },
  {
    name: 'ENTRYPOINT before CMD',
    isOld: true,
    dockerfile: 'FROM busybox:test\nENTRYPOINT ["/bin/echo"]\nCMD ["a"]\n',
  },
  {
    name: 'SHELL counts for RUN, CMD and ENTRYPOINT',
    dockerfile:
      'FROM busybox:test\nSHELL ["/bin/sh", "-e", "-c"]\nRUN false; true || echo never\nCMD x y\nENTRYPOINT z\n'.replace(
        'false; true',
        'true',
      ),
  },
  {
    name: 'STOPSIGNAL by name and number',
    isOld: true,
    dockerfile: 'FROM busybox:test\nSTOPSIGNAL SIGKILL\nSTOPSIGNAL 9\n',
  },
  {
    name: 'HEALTHCHECK with all its flags',
    dockerfile:
      'FROM busybox:test\nHEALTHCHECK --interval=5m --timeout=3s --start-period=1s --start-interval=2s --retries=4 CMD wget -q localhost || exit 1\n',
  },
  {
    name: 'HEALTHCHECK in JSON form, then NONE in a stage after it',
    dockerfile: 'FROM busybox:test AS a\nHEALTHCHECK CMD ["true"]\nFROM a\nHEALTHCHECK NONE\n',
  },
  { name: 'ONBUILD is kept', dockerfile: 'FROM busybox:test\nONBUILD RUN echo hi > /onbuild\nONBUILD COPY a /a\n' },
  {
    name: 'ONBUILD of a stage fires in the next',
    dockerfile:
      'FROM busybox:test AS base\nONBUILD RUN echo hi > /onbuild\nONBUILD ENV X=1\nFROM base\nRUN cat /onbuild\n',
  },
  { name: 'MAINTAINER', isOld: true, dockerfile: 'FROM busybox:test\nMAINTAINER Somebody <a@b.c>\n' },
  {
    name: 'ARG has scopes',
    dockerfile:
      'ARG TAG=test\nARG GLOBAL=g\nFROM busybox:$TAG AS one\nARG LOCAL=l\nRUN echo "$LOCAL $GLOBAL" > /one\nFROM busybox:${TAG}\nARG GLOBAL\nCOPY --from=one /one /one\nRUN echo "$LOCAL $GLOBAL" > /two\n',
  },
  {
    name: 'ARG from outside, and one that ENV hides',
    isOld: true,
    args: ['--build-arg', 'A=outside', '--build-arg', 'B=outside'],
    dockerfile: 'FROM busybox:test\nARG A=inside\nARG B\nENV B=env\nRUN echo "$A $B" > /args\n',
  },
  {
    name: 'ARG with several, one after the other',
    dockerfile: 'FROM busybox:test\nARG A=1 B=${A}2 C\nENV R=$A-$B-$C\n',
  },
  {
    name: 'platform arguments',
    dockerfile:
      'FROM --platform=$BUILDPLATFORM busybox:test\nARG TARGETPLATFORM TARGETOS TARGETARCH BUILDARCH\nRUN echo "$TARGETPLATFORM $TARGETOS $TARGETARCH $BUILDARCH" > /platform\n',
  },
  {
    name: 'labels from outside win',
    isOld: true,
    args: ['--label', 'a=outside', '--label', 'z=1'],
    dockerfile: 'FROM busybox:test\nLABEL a=inside b=2\n',
  },
  {
    name: 'a target in the middle',
    isOld: true,
    args: ['--target', 'two'],
    dockerfile: 'FROM busybox:test AS one\nENV S=1\nFROM one AS two\nENV S=2\nFROM two AS three\nRUN false\n',
  },
  {
    name: 'comments, continuations and case',
    isOld: true,
    dockerfile: '# a comment\nfrom busybox:test\n# between\nrun echo one \\\n# inside\n  && echo two > /f\n  env X=1\n',
  },
  {
    name: 'another escape character',
    dockerfile: '# escape=`\nFROM busybox:test\nENV A=one` two B=C:\\dir\nRUN echo a `\n  b > /f\n',
  },
  { name: 'CRLF and a byte order mark', dockerfile: '\ufeffFROM busybox:test\r\nENV A=1\r\nRUN echo x > /f\r\n' },
];
