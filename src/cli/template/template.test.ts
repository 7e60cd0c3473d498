import fc from 'fast-check';
import { expect, test } from 'vitest';
import { TareError } from '../../errors/index.ts';
import { execute } from './execute.ts';
import { parseTemplate } from './parse.ts';

const render = (template: string, data: unknown) => execute(parseTemplate(template), data);

const container = {
  Id: 'abcdef',
  Name: '/web',
  State: { Running: true, Pid: 42, Error: '' },
  Config: { Env: ['A=1', 'B=2'], Labels: { 'com.example': 'x', b: 'y' }, Cmd: null },
  Ports: { '80/tcp': [{ HostPort: '8080' }], '90/tcp': null },
};

test.each([
  ['{{.Id}}', 'abcdef'],
  ['{{.State.Pid}}/{{.State.Running}}', '42/true'],
  ['{{json .Config.Env}}', '["A=1","B=2"]'],
  ['{{.Config.Env}}', '[A=1 B=2]'],
  ['{{.Config.Labels}}', 'map[b:y com.example:x]'],
  ['{{.Config.Cmd}}', '<nil>'],
  ['{{index .Config.Labels "com.example"}}', 'x'],
  ['{{index .Config.Labels "absent"}}', ''],
  ['{{(index (index .Ports "80/tcp") 0).HostPort}}', '8080'],
  ['{{range .Config.Env}}[{{.}}]{{end}}', '[A=1][B=2]'],
  ['{{range $i, $v := .Config.Env}}{{$i}}:{{$v}} {{end}}', '0:A=1 1:B=2 '],
  ['{{range $k, $v := .Config.Labels}}{{$k}}={{$v}};{{end}}', 'b=y;com.example=x;'],
  ['{{range .Config.Cmd}}x{{else}}none{{end}}', 'none'],
  ['{{range .Config.Env}}{{.}}{{break}}{{end}}', 'A=1'],
  ['{{if .State.Error}}bad{{else if .State.Running}}up{{else}}down{{end}}', 'up'],
  ['{{with .State}}{{.Pid}}{{$.Id}}{{end}}', '42abcdef'],
  ['{{with .Config.Cmd}}x{{else}}y{{end}}', 'y'],
  ['{{$x := .Id}}{{range .Config.Env}}{{$x = .}}{{end}}{{$x}}', 'B=2'],
  ['{{upper .Id}} {{.Name | lower}} {{title "ab cd"}}', 'ABCDEF /web Ab Cd'],
  ['{{join .Config.Env ", "}} {{len .Config.Env}} {{len .Id}}', 'A=1, B=2 2 6'],
  ['{{split "a,b" ","}} {{truncate .Id 3}} {{pad .Id 1 2}}|', '[a b] abc  abcdef  |'],
  ['{{eq .Id "x" "abcdef"}} {{ne 1 2}} {{lt 1 2}} {{ge "b" "a"}}', 'true true true true'],
  ['{{and .State.Running .State.Pid}} {{or "" "x"}} {{not .Id}}', '42 x false'],
  ['{{printf "%s-%05d|%-4s|%q" .Id 42 "a" "b"}}', 'abcdef-00042|a   |"b"'],
  ['{{printf "%d" "x"}}', '%!d(string=x)'],
  ['{{slice .Id 1 3}} {{print 1 2 "a" 3}}', 'bc 1 2a3'],
  ['a {{- .Id -}} b', 'aabcdefb'],
  ['{{/* nothing */}}x{{- /* also */ -}} y', 'xy'],
  ['{{"quo\\"ted\\n"}}{{`raw\\n`}}', 'quo"ted\nraw\\n'],
  ['{{println .Id}}', 'abcdef\n'],
  ['no action', 'no action'],
])('%s', (template, want) => expect(render(template, container)).toBe(want));

test.each([
  ['{{.Nosuch}}', /no entry for key "Nosuch"/],
  ['{{.Id.More}}', /can't evaluate field More/],
  ['{{.Config.Cmd.X}}', /nil data/],
  ['{{nosuch .Id}}', /function "nosuch" not defined/],
  ['{{constructor}}', /function "constructor" not defined/],
  ['{{.constructor}}', /no entry for key "constructor"/],
  ['{{.Id', /unclosed action/],
  ['{{if .Id}}x', /has no \{\{end\}\}/],
  ['{{end}}', /unexpected "end"/],
  ['{{else}}', /unexpected "else"/],
  ['{{}}', /missing value/],
  ['{{break}}', /outside \{\{range\}\}/],
  ['{{index .Config.Env 9}}', /out of range/],
  ['{{$x}}', /undefined variable \$x/],
  ['{{template "x"}}', /not supported/],
  ['{{lt 1 "a"}}', /incompatible types/],
  ['{{pad .Id 9999999 0}}', /out of range/],
  [`${'{{if .Id}}'.repeat(200)}`, /nested more than 100/],
])('%s is refused', (template, message) => expect(() => render(template, container)).toThrow(message));

test('any template is rendered or refused', () => {
  const piece = fc.constantFrom(
    '{{',
    '}}',
    '{{-',
    '-}}',
    ' ',
    '.',
    '.Id',
    '$x',
    ':=',
    '|',
    'range',
    'if',
    'end',
    'else',
    '(',
    ')',
    '"a"',
    '1',
    'json',
    'index',
    'x',
  );
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.array(piece).map((pieces) => pieces.join('')),
      ),
      (template) => {
        try {
          render(template, container);
        } catch (error) {
          expect(error).toBeInstanceOf(TareError);
        }
      },
    ),
    { numRuns: 500 },
  );
});
