import fc from 'fast-check';
import { expect, test } from 'vitest';
import { kindOf } from '../errors/index.ts';
import { applyChanges } from './changes.ts';
import type { ImageProcessConfig } from './config.ts';

const second = 1e9;

test.each<{ changes: string[]; want: ImageProcessConfig }>([
  { changes: ['CMD ["/bin/sh", "-l"]'], want: { Cmd: ['/bin/sh', '-l'] } },
  { changes: ['cmd echo $HOME "a b"'], want: { Cmd: ['/bin/sh', '-c', 'echo $HOME "a b"'] } },
  { changes: ['CMD [not json'], want: { Cmd: ['/bin/sh', '-c', '[not json'] } },
  { changes: ['CMD []'], want: { Cmd: [] } },
  { changes: ['ENTRYPOINT ["/x"]'], want: { Entrypoint: ['/x'] } },
  { changes: ['CMD a', 'ENTRYPOINT ["/x"]'], want: { Cmd: ['/bin/sh', '-c', 'a'], Entrypoint: ['/x'] } },
  { changes: ['ENV A=b C="d e" F=\'$A\' G=h\\ i'], want: { Env: ['A=b', 'C=d e', 'F=$A', 'G=h i'] } },
  { changes: ['ENV A one  two'], want: { Env: ['A=one  two'] } },
  {
    // biome-ignore lint/suspicious/noTemplateCurlyInString: that is how a Dockerfile spells a variable
    changes: ['ENV A=1', 'ENV B=$A-${A}-${X:-none}-${A:+set}-${X+unset} A=2'],
    want: { Env: ['A=2', 'B=1-1-none-set-'] },
  },
  { changes: ['ENV A=\\$B'], want: { Env: ['A=$B'] } },
  {
    changes: ['EXPOSE 80 53/udp 8000-8002'],
    want: { ExposedPorts: ports('80/tcp', '53/udp', '8000/tcp', '8001/tcp', '8002/tcp') },
  },
  { changes: ['EXPOSE 127.0.0.1:8080:80'], want: { ExposedPorts: ports('80/tcp') } },
  { changes: ['LABEL a=b "c d"="e f"'], want: { Labels: { a: 'b', 'c d': 'e f' } } },
  { changes: ['LABEL __proto__=x'], want: { Labels: JSON.parse('{"__proto__":"x"}') } },
  { changes: ['ONBUILD RUN  make', 'ONBUILD ADD . /'], want: { OnBuild: ['RUN  make', 'ADD . /'] } },
  { changes: ['USER 1000:1000'], want: { User: '1000:1000' } },
  { changes: ['VOLUME /a /b'], want: { Volumes: { '/a': {}, '/b': {} } } },
  { changes: ['VOLUME ["/a b"]'], want: { Volumes: { '/a b': {} } } },
  { changes: ['WORKDIR /a', 'WORKDIR b/../c'], want: { WorkingDir: '/a/c' } },
  { changes: ['WORKDIR x'], want: { WorkingDir: '/x' } },
  { changes: ['STOPSIGNAL SIGUSR1'], want: { StopSignal: 'SIGUSR1' } },
  { changes: ['STOPSIGNAL 9'], want: { StopSignal: '9' } },
  { changes: ['STOPSIGNAL RTMIN+3'], want: { StopSignal: 'RTMIN+3' } },
  { changes: ['HEALTHCHECK NONE'], want: { Healthcheck: { Test: ['NONE'] } } },
  {
    changes: [
      'HEALTHCHECK --interval=1m30s --timeout=5s --start-period=1s --start-interval=500ms --retries=4 CMD ["/x", "y"]',
    ],
    want: {
      Healthcheck: {
        Test: ['CMD', '/x', 'y'],
        Interval: 90 * second,
        Timeout: 5 * second,
        StartPeriod: second,
        StartInterval: second / 2,
        Retries: 4,
      },
    },
  },
  {
    changes: ['HEALTHCHECK CMD curl -f localhost'],
    want: { Healthcheck: { Test: ['CMD-SHELL', 'curl -f localhost'] } },
  },
  { changes: ['ENV A=b \\\n  C=d', '# nothing', ''], want: { Env: ['A=b', 'C=d'] } },
])('applyChanges: $changes', ({ changes, want }) => expect(applyChanges({}, changes)).toEqual(want));

function ports(...names: string[]): Record<string, object> {
  return Object.fromEntries(names.map((name) => [name, {}]));
}

test('what is there already is kept, replaced or cleared as a Dockerfile would', () => {
  const before: ImageProcessConfig = {
    Cmd: ['old'],
    Env: ['A=1', 'B=2'],
    Labels: { x: 'y' },
    Shell: ['/bin/ash', '-ec'],
  };
  const copy = structuredClone(before);
  expect(applyChanges(before, ['ENTRYPOINT run', 'ENV A=3', 'LABEL z=1'])).toEqual({
    Entrypoint: ['/bin/ash', '-ec', 'run'],
    Env: ['A=3', 'B=2'],
    Labels: { x: 'y', z: '1' },
    Shell: ['/bin/ash', '-ec'],
  });
  expect(before).toEqual(copy);
});

test.each([
  ['RUN make', 'RUN is not a valid change command'],
  ['nonsense', 'nonsense is not a valid change command'],
  ['CMD [1]', 'when using JSON array syntax, arrays must be comprised of strings only'],
  ['CMD', 'CMD requires at least one argument'],
  ['USER', 'USER requires exactly one argument'],
  ['ENV A', 'ENV must have two arguments'],
  ['ENV A=b C', 'Syntax error - can\'t find = in "C". Must be of the form: name=value'],
  ['ENV =b', 'ENV names can not be blank'],
  ["ENV A='b", 'unexpected end of statement while looking for matching single-quote'],
  ['ENV A="b', 'unexpected end of statement while looking for matching double-quote'],
  ['ENV A=${B', "syntax error: missing '}'"],
  // biome-ignore lint/suspicious/noTemplateCurlyInString: that is how a Dockerfile spells a variable
  ['ENV A=${B?x}', 'B: x'],
  ['EXPOSE http', 'invalid containerPort: http'],
  ['EXPOSE 70000', 'invalid containerPort: 70000'],
  ['EXPOSE 9-8', 'invalid containerPort: 9-8'],
  ['EXPOSE 80/icmp', 'invalid proto: icmp'],
  ['VOLUME [""]', 'VOLUME specified can not be an empty string'],
  ['STOPSIGNAL SIGNOTHING', 'invalid signal: SIGNOTHING'],
  ['STOPSIGNAL 65', 'invalid signal: 65'],
  ['ONBUILD ONBUILD RUN x', "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"],
  ['ONBUILD FROM x', "FROM isn't allowed as an ONBUILD trigger"],
  ['HEALTHCHECK curl', 'Unknown type "CURL" in HEALTHCHECK (try CMD)'],
  ['HEALTHCHECK NONE x', 'HEALTHCHECK NONE takes no arguments'],
  ['HEALTHCHECK CMD', 'Missing command after HEALTHCHECK CMD'],
  ['HEALTHCHECK --interval=1us CMD x', 'cannot be less than 1ms'],
  ['HEALTHCHECK --interval=soon CMD x', 'invalid duration'],
  ['HEALTHCHECK --retries=-1 CMD x', 'cannot be negative (-1)'],
  ['HEALTHCHECK --colour=red CMD x', 'unknown flag: --colour'],
  ['LABEL a=\0', 'NUL'],
])('applyChanges refuses %s', (change, want) => {
  expect(() => applyChanges({}, [change])).toThrow(want);
});

test('any text is applied or refused as InvalidArgument', () => {
  const instruction = fc.constantFrom(
    'CMD',
    'ENV',
    'LABEL',
    'EXPOSE',
    'HEALTHCHECK',
    'VOLUME',
    'WORKDIR',
    'ONBUILD',
    'USER',
  );
  const piece = fc.constantFrom(
    'a',
    '=',
    '"',
    "'",
    '$',
    '{',
    '}',
    ':-',
    '\\',
    ' ',
    '[',
    ']',
    '--interval=1s',
    'CMD',
    '80',
    '\n',
  );
  const text = fc.array(piece, { maxLength: 20 }).map((pieces) => pieces.join(''));
  fc.assert(
    fc.property(instruction, text, (name, rest) => {
      try {
        applyChanges({ Env: ['a=1'] }, [`${name} ${rest}`]);
      } catch (error) {
        expect(kindOf(error)).toBe('InvalidArgument');
      }
    }),
    { numRuns: 3000 },
  );
});

test('substitutions nested without end are refused', () => {
  expect(() => applyChanges({}, [`ENV A=${'${B:-'.repeat(5000)}`])).toThrow(/nested more than 50 deep/);
});
