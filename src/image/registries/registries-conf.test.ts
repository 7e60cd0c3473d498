import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { kindOf, messageOf, TareError } from '../../errors/index.ts';
import { canonical, parseReference } from '../reference.ts';
import { TestHome } from './home.fixture.ts';
import { loadRegistriesConf, type RegistriesConf, type RegistriesOptions } from './registries-conf.ts';
import { parseRegistriesFile } from './registries-file.ts';

const digest = `sha256:${'a'.repeat(64)}`;

function confOf(text: string, more: RegistriesOptions = {}): RegistriesConf {
  using home = new TestHome({ 'etc/containers/registries.conf': text });
  return loadRegistriesConf({ ...home.machine, ...more });
}

/** `place` in order; `!` marks one that may be insecure, `~` a mirror. */
const sources = (conf: RegistriesConf, name: string) =>
  conf
    .lookup(parseReference(name))
    .map((source) => `${source.isMirror ? '~' : ''}${source.insecure ? '!' : ''}${canonical(source)}`);

test.each<{ what: string; conf: string; name: string; want: string[] | 'blocked' }>([
  { what: 'nothing configured', conf: '', name: 'busybox:1', want: ['docker.io/library/busybox:1'] },
  {
    what: 'mirrors in order, then the registry itself',
    conf: '[[registry]]\nlocation="docker.io"\n[[registry.mirror]]\nlocation="a.test/hub"\n[[registry.mirror]]\nlocation="b.test:5000"\ninsecure=true',
    name: 'busybox:1',
    want: ['~a.test/hub/library/busybox:1', '~!b.test:5000/library/busybox:1', 'docker.io/library/busybox:1'],
  },
  {
    what: 'a prefix that is moved elsewhere',
    conf: '[[registry]]\nprefix="example.com/foo"\nlocation="internal.test/bar/foo"',
    name: `example.com/foo/image@${digest}`,
    want: [`internal.test/bar/foo/image@${digest}`],
  },
  {
    what: 'the longest prefix alone',
    conf: '[[registry]]\nlocation="a.test"\ninsecure=true\n[[registry]]\nprefix="a.test/x"\nlocation="x.test"\n[[registry]]\nprefix="a.test/x/y"\nlocation="y.test"',
    name: 'a.test/x/y/z',
    want: ['y.test/z'],
  },
  {
    what: 'a prefix ends at a part of the name',
    conf: '[[registry]]\nprefix="a.test/foo"\nlocation="b.test"',
    name: 'a.test/foobar:1',
    want: ['a.test/foobar:1'],
  },
  {
    what: 'a prefix with a tag',
    conf: '[[registry]]\nprefix="a.test/foo:old"\nlocation="b.test/foo:old"',
    name: 'a.test/foo:old',
    want: ['b.test/foo:old'],
  },
  {
    what: 'a host without its port matches every port, as in containers/image',
    conf: '[[registry]]\nlocation="a.test"\ninsecure=true',
    name: 'a.test:5000/foo',
    want: ['!a.test:5000/foo'],
  },
  {
    what: 'slashes at the end of places',
    conf: '[[registry]]\nprefix="a.test/"\nlocation="b.test//"',
    name: 'a.test/foo',
    want: ['b.test/foo'],
  },
  {
    what: 'a wildcard without location',
    conf: '[[registry]]\nprefix="*.a.test"\ninsecure=true',
    name: 'x.a.test/i',
    want: ['!x.a.test/i'],
  },
  {
    what: 'a wildcard and a deeper host',
    conf: '[[registry]]\nprefix="*.a.test"\ninsecure=true',
    name: 'y.x.a.test:5/i',
    want: ['!y.x.a.test:5/i'],
  },
  {
    what: 'a wildcard and its own domain',
    conf: '[[registry]]\nprefix="*.a.test"\ninsecure=true',
    name: 'a.test/i',
    want: ['a.test/i'],
  },
  {
    what: 'a wildcard and a path',
    conf: '[[registry]]\nprefix="*.a.test"\ninsecure=true',
    name: 'b.test/x.a.test/i',
    want: ['b.test/x.a.test/i'],
  },
  {
    what: 'a wildcard and a longer domain',
    conf: '[[registry]]\nprefix="*.a.test"\ninsecure=true',
    name: 'x.a.testing/i',
    want: ['x.a.testing/i'],
  },
  {
    what: 'a wildcard that is moved: the whole host gives way',
    conf: '[[registry]]\nprefix="*.a.test"\nlocation="b.test/all"',
    name: 'x.a.test/i:1',
    want: ['b.test/all/i:1'],
  },
  {
    what: 'a blocked registry',
    conf: '[[registry]]\nlocation="a.test"\nblocked=true',
    name: 'a.test/i',
    want: 'blocked',
  },
  {
    what: 'a blocked wildcard',
    conf: '[[registry]]\nprefix="*.a.test"\nblocked=true',
    name: 'x.a.test/i',
    want: 'blocked',
  },
  {
    what: 'a blocked repository',
    conf: '[[registry]]\nlocation="a.test/x"\nblocked=true',
    name: 'a.test/y',
    want: ['a.test/y'],
  },
  {
    what: 'an exception in a blocked registry',
    conf: '[[registry]]\nlocation="a.test"\nblocked=true\n[[registry]]\nlocation="a.test/good"',
    name: 'a.test/good/i',
    want: ['a.test/good/i'],
  },
  {
    what: 'mirrors for digests alone, asked for a tag',
    conf: '[[registry]]\nlocation="a.test"\nmirror-by-digest-only=true\n[[registry.mirror]]\nlocation="m.test"',
    name: 'a.test/i:1',
    want: ['a.test/i:1'],
  },
  {
    what: 'mirrors for digests alone, asked for a digest',
    conf: '[[registry]]\nlocation="a.test"\nmirror-by-digest-only=true\n[[registry.mirror]]\nlocation="m.test"',
    name: `a.test/i@${digest}`,
    want: [`~m.test/i@${digest}`, `a.test/i@${digest}`],
  },
  {
    what: 'each mirror with a use of its own, asked for a tag',
    conf: '[[registry]]\nlocation="a.test"\n[[registry.mirror]]\nlocation="d.test"\npull-from-mirror="digest-only"\n[[registry.mirror]]\nlocation="t.test"\npull-from-mirror="tag-only"\n[[registry.mirror]]\nlocation="all.test"\npull-from-mirror="all"',
    name: 'a.test/i:1',
    want: ['~t.test/i:1', '~all.test/i:1', 'a.test/i:1'],
  },
  {
    what: 'each mirror with a use of its own, asked for a digest',
    conf: '[[registry]]\nlocation="a.test"\n[[registry.mirror]]\nlocation="d.test"\npull-from-mirror="digest-only"\n[[registry.mirror]]\nlocation="t.test"\npull-from-mirror="tag-only"',
    name: `a.test/i@${digest}`,
    want: [`~d.test/i@${digest}`, `a.test/i@${digest}`],
  },
  {
    what: 'a mirror with a table of its own',
    conf: '[[registry]]\nlocation="a.test"\n[[registry.mirror]]\nlocation="m.test"\n[[registry.mirror]]\nlocation="n.test"\n[[registry]]\nlocation="m.test"\ninsecure=true\n[[registry]]\nlocation="n.test"\nblocked=true',
    name: 'a.test/i',
    want: ['~!m.test/i', 'a.test/i'],
  },
  {
    what: 'a host in other letters',
    conf: '[[registry]]\nlocation="A.test"\nblocked=true',
    name: 'a.TEST/i',
    want: 'blocked',
  },
  {
    what: 'a wildcard whose domain stands twice in a host',
    conf: '[[registry]]\nprefix="*.a.TEST"\nblocked=true',
    name: 'x.a.test.A.test/i',
    want: 'blocked',
  },
  {
    what: 'a host that is no domain',
    conf: '[[registry]]\nprefix="a.test"\nlocation="registry:5000/x"',
    name: 'a.test/i',
    want: ['registry:5000/x/i'],
  },
])('lookup: $what', ({ conf, name, want }) => {
  const loaded = confOf(conf);
  if (want !== 'blocked') return expect(sources(loaded, name)).toEqual(want);
  expect(() => loaded.lookup(parseReference(name))).toThrow(/is blocked by registries.conf/);
  expect(() => loaded.refuseBlocked(name)).toThrow(/is blocked by registries.conf/);
});

test.each([
  { option: 'a.test', domain: 'a.test', is: true },
  { option: 'a.test', domain: 'a.test:5000', is: false },
  { option: 'a.test:5000', domain: 'A.test:5000', is: true },
  { option: '10.0.0.0/8', domain: '10.1.2.3:5000', is: true },
  { option: '10.0.0.0/8', domain: '11.1.2.3', is: false },
  { option: 'fd00::/8', domain: '[fd00::1]:5000', is: true },
  { option: '10.0.0.0/8', domain: '10.example.test', is: false },
])('--insecure-registry $option: $domain is insecure: $is', ({ option, domain, is }) => {
  expect(confOf('', { insecureRegistries: [option] }).isInsecure(`${domain}/x`)).toBe(is);
});

test.each(['', 'http://a.test', 'a.test/path', '10.0.0.0/33', '10.0.0/8', 'a b', 'a.test\nb', '../x', 'fd00::/129'])(
  '--insecure-registry refuses %j',
  (option) => {
    expect(() => confOf('', { insecureRegistries: [option] })).toThrow(/invalid insecure registry/);
  },
);

test('docker mirrors stand before those of registries.conf, for docker.io alone', () => {
  const conf = confOf('[[registry]]\nlocation="docker.io"\n[[registry.mirror]]\nlocation="conf.test"', {
    registryMirrors: ['https://one.test', 'http://two.test:5000/'],
  });
  expect(sources(conf, 'a/b:1')).toEqual([
    '~one.test/a/b:1',
    '~!two.test:5000/a/b:1',
    '~conf.test/a/b:1',
    'docker.io/a/b:1',
  ]);
  expect(sources(conf, 'quay.io/a/b:1')).toEqual(['quay.io/a/b:1']);
});

test('what is blocked has no mirrors either', () => {
  const conf = confOf('[[registry]]\nlocation="docker.io"\nblocked=true', { registryMirrors: ['https://one.test'] });
  expect(() => conf.lookup(parseReference('x'))).toThrow(/docker.io is blocked/);
});

test.each([
  'one.test',
  'ftp://one.test',
  'https://',
  'https://u:p@one.test',
  'https://one.test/v2',
  'https://one.test?x',
  'https://a b',
])('--registry-mirror refuses %j', (mirror) => {
  expect(() => confOf('', { registryMirrors: [mirror] })).toThrow(/invalid registry mirror/);
});

test.each<{ what: string; conf: string; name: string; want: string[] | RegExp }>([
  { what: 'docker.io unless told', conf: '', name: 'busybox', want: ['docker.io/library/busybox'] },
  {
    what: 'a name with a registry',
    conf: 'unqualified-search-registries=["a.test"]',
    name: 'b.test/i:1',
    want: ['b.test/i:1'],
  },
  {
    what: 'the search list in order, tag and digest kept',
    conf: 'unqualified-search-registries=["a.test", "docker.io", "b.test/sub"]',
    name: `i:1@${digest}`,
    want: [`a.test/i:1@${digest}`, `docker.io/library/i:1@${digest}`, `b.test/sub/i:1@${digest}`],
  },
  {
    what: 'an alias before the list',
    conf: 'unqualified-search-registries=["a.test"]\n[aliases]\n"i"="c.test/x/i"\n"ns/i"="c.test/ns"',
    name: 'i:1',
    want: ['c.test/x/i:1'],
  },
  {
    what: 'an alias with a namespace',
    conf: '[aliases]\n"ns/i"="c.test/y"',
    name: `ns/i@${digest}`,
    want: [`c.test/y@${digest}`],
  },
  {
    what: 'an alias in mode disabled',
    conf: 'short-name-mode="disabled"\n[aliases]\n"i"="c.test/y"',
    name: 'i',
    want: ['c.test/y'],
  },
  { what: 'an alias that is taken away', conf: '[aliases]\n"i"=""', name: 'i', want: ['docker.io/library/i'] },
  {
    what: 'an empty list',
    conf: 'unqualified-search-registries=[]',
    name: 'i',
    want: /unqualified-search-registries is empty/,
  },
  {
    what: 'a choice that nobody may make',
    conf: 'short-name-mode="enforcing"\nunqualified-search-registries=["a.test", "b.test"]',
    name: 'i',
    want: /short-name-mode is enforcing/,
  },
  {
    what: 'no choice to make',
    conf: 'short-name-mode="enforcing"\nunqualified-search-registries=["a.test"]',
    name: 'i',
    want: ['a.test/i'],
  },
  { what: 'no reference', conf: '', name: 'UPPER', want: /must be lowercase/ },
  { what: 'a name as in Object.prototype', conf: '', name: 'constructor', want: ['docker.io/library/constructor'] },
])('candidates: $what', ({ conf, name, want }) => {
  const loaded = confOf(conf);
  if (want instanceof RegExp) expect(() => loaded.candidates(name)).toThrow(want);
  else expect(loaded.candidates(name).map(canonical)).toEqual(want);
});

test.each([
  { what: 'no TOML', text: 'a = = 1', want: /registries.conf is not valid TOML/ },
  {
    what: 'v1',
    text: '[registries.search]\nregistries=["a"]',
    want: /is in the v1 format.*unqualified-search-registries/,
  },
  {
    what: 'v1 and v2',
    text: 'unqualified-search-registries=["a.test"]\n[registries.block]\nregistries=["a"]',
    want: /is in the v1 format/,
  },
  {
    what: 'an empty table',
    text: '[[registry]]\ninsecure=true',
    want: /registry 1: neither prefix nor location is set/,
  },
  { what: 'a prefix alone', text: '[[registry]]\nprefix="a.test"', want: /location is not set/ },
  {
    what: 'a URL',
    text: '[[registry]]\nlocation="https://a.test"',
    want: /must not begin with http:\/\/ or https:\/\//,
  },
  { what: 'slashes alone', text: '[[registry]]\nlocation="//"', want: /location: it is empty/ },
  {
    what: 'a mirror without location',
    text: '[[registry]]\nlocation="a.test"\n[[registry.mirror]]\ninsecure=true',
    want: /mirror 1: location: it is empty/,
  },
  {
    what: 'a use of mirrors outside of them',
    text: '[[registry]]\nlocation="a.test"\npull-from-mirror="all"',
    want: /belongs into its \[\[registry.mirror\]\]/,
  },
  {
    what: 'an unknown use',
    text: '[[registry]]\nlocation="a.test"\n[[registry.mirror]]\nlocation="b.test"\npull-from-mirror="never"',
    want: /want all, digest-only, tag-only, not "never"/,
  },
  {
    what: 'two uses',
    text: '[[registry]]\nlocation="a.test"\nmirror-by-digest-only=true\n[[registry.mirror]]\nlocation="b.test"\npull-from-mirror="all"',
    want: /cannot both be set/,
  },
  {
    what: 'a contradiction',
    text: '[[registry]]\nprefix="x.test"\nlocation="a.test"\n[[registry]]\nlocation="a.test"\ninsecure=true',
    want: /a.test is given several times, with different settings of insecure/,
  },
  {
    what: 'a wildcard in the middle',
    text: '[[registry]]\nprefix="a.*.test"\nlocation="b.test"',
    want: /a wildcard is \*.DOMAIN/,
  },
  {
    what: 'a wildcard path',
    text: '[[registry]]\nprefix="*.a.test/x"\nlocation="b.test"',
    want: /a wildcard is \*.DOMAIN/,
  },
  { what: 'a line break in a host', text: '[[registry]]\nlocation="a.test\\nb"', want: /want HOST\[:PORT\]\[\/PATH\]/ },
  { what: 'a way out in a host', text: '[[registry]]\nlocation="../a"', want: /want HOST\[:PORT\]\[\/PATH\]/ },
  {
    what: 'a flag that is text',
    text: '[[registry]]\nlocation="a.test"\ninsecure="true"',
    want: /insecure: want true or false/,
  },
  {
    what: 'a list that is text',
    text: 'unqualified-search-registries="a.test"',
    want: /unqualified-search-registries: want a list/,
  },
  {
    what: 'an unknown mode',
    text: 'short-name-mode="ask"',
    want: /short-name-mode: want enforcing, permissive, disabled/,
  },
  {
    what: 'an alias with a tag',
    text: '[aliases]\n"a:1"="docker.io/a"',
    want: /alias "a:1": want a name without registry/,
  },
  {
    what: 'an alias with a registry',
    text: '[aliases]\n"a.test/b"="docker.io/a"',
    want: /want a name without registry/,
  },
  { what: 'an alias to a short name', text: '[aliases]\n"a"="b"', want: /its value needs a registry/ },
  { what: 'an alias to a tag', text: '[aliases]\n"a"="docker.io/a:1"', want: /must have no tag and no digest/ },
])('a file is refused: $what', ({ text, want }) => {
  expect(() => confOf(text)).toThrow(want);
  try {
    confOf(text);
  } catch (error) {
    expect(kindOf(error)).toBe('InvalidArgument');
    expect(messageOf(error)).toContain('registries.conf');
  }
});

test('unknown keys are told of and are not in the way', () => {
  const conf = confOf(
    'nonsense=1\n[[registry]]\nlocation="a.test"\nsecure=true\n[[registry.mirror]]\nlocation="b.test"\nweight=2',
  );
  expect(conf.warnings.map((text) => text.replace(/^.*: /, ''))).toEqual([
    'unknown key "nonsense"',
    'unknown key "secure" in registry 1',
    'unknown key "weight" in a mirror of registry 1',
  ]);
  expect(sources(conf, 'a.test/i:1')).toEqual(['~b.test/i:1', 'a.test/i:1']);
});

test('drop-ins add to the file, in the order of their names, the user last', () => {
  using home = new TestHome({
    'etc/containers/registries.conf':
      'unqualified-search-registries=["main.test"]\n[[registry]]\nlocation="a.test"\ninsecure=true\n[aliases]\n"one"="a.test/one"\n"two"="a.test/two"',
    'etc/containers/registries.conf.d/20-b.conf':
      '[[registry]]\nlocation="a.test"\nblocked=true\n[aliases]\n"one"="b.test/one"',
    'etc/containers/registries.conf.d/10-a.conf':
      'unqualified-search-registries=["a.test"]\n[[registry]]\nlocation="a.test"\n[aliases]\n"two"=""',
    'etc/containers/registries.conf.d/30-c.conf.disabled': 'no TOML',
    'home/.config/containers/registries.conf.d/00.conf':
      'credential-helpers=["x"]\nshort-name-mode="disabled"\n[[registry]]\nlocation="u.test"\ninsecure=true',
    'home/.cache/containers/short-name-aliases.conf': '[aliases]\n"chosen"="c.test/chosen"',
  });
  const conf = loadRegistriesConf(home.machine);
  expect(conf.files.map((path) => path.slice(home.root.length + 1))).toEqual([
    'etc/containers/registries.conf',
    'etc/containers/registries.conf.d/10-a.conf',
    'etc/containers/registries.conf.d/20-b.conf',
    'home/.config/containers/registries.conf.d/00.conf',
    'home/.cache/containers/short-name-aliases.conf',
  ]);
  // A table replaces the earlier one of its prefix as a whole.
  expect(() => conf.lookup(parseReference('a.test/i'))).toThrow(/blocked/);
  expect(conf.isInsecure('u.test')).toBe(true);
  expect(conf.candidates('one').map(canonical)).toEqual(['b.test/one']);
  expect(conf.candidates('two').map(canonical)).toEqual(['a.test/two']);
  expect(conf.candidates('chosen').map(canonical)).toEqual(['c.test/chosen']);
  expect(conf.credentialHelpers).toEqual(['x']);
});

test.each([
  { what: 'the user', files: ['home/.config/containers', 'etc/containers', 'usr/share/containers'] },
  { what: 'the machine', files: ['etc/containers', 'usr/share/containers'] },
  { what: 'the distribution', files: ['usr/share/containers'] },
])('the main file: $what', ({ files }) => {
  using home = new TestHome(
    Object.fromEntries(
      files.map((folder) => [
        `${folder}/registries.conf`,
        `unqualified-search-registries=["${folder.replaceAll(/\W/g, '')}.test"]`,
      ]),
    ),
  );
  expect(loadRegistriesConf(home.machine).candidates('i').map(canonical)).toEqual([
    `${files[0]!.replaceAll(/\W/g, '')}.test/i`,
  ]);
});

test('a file that is named is the only one, by option or environment', () => {
  using home = new TestHome({
    'etc/containers/registries.conf': 'no TOML',
    'etc/containers/registries.conf.d/a.conf': 'no TOML',
    'mine.conf': 'unqualified-search-registries=["mine.test"]',
    'other.conf': 'unqualified-search-registries=["other.test"]',
  });
  const env = { CONTAINERS_REGISTRIES_CONF: join(home.root, 'mine.conf') };
  expect(
    loadRegistriesConf({ ...home.machine, env })
      .candidates('i')
      .map(canonical),
  ).toEqual(['mine.test/i']);
  const both = { ...home.machine, env, registriesConf: join(home.root, 'other.conf') };
  expect(loadRegistriesConf(both).candidates('i').map(canonical)).toEqual(['other.test/i']);
  expect(() => loadRegistriesConf({ ...both, registriesConf: join(home.root, 'gone.conf') })).toThrow(
    /there is no registries configuration .*gone.conf/,
  );
});

test('a file that cannot be one is refused', () => {
  using home = new TestHome({ 'big.conf': `#${' '.repeat(1024 * 1024)}` });
  mkdirSync(join(home.root, 'folder.conf'));
  const load = (name: string) => loadRegistriesConf({ ...home.machine, registriesConf: join(home.root, name) });
  expect(() => load('big.conf')).toThrow(/larger than 1 MiB/);
  expect(() => load('folder.conf')).toThrow(/not a regular file/);
  // A device would never end.
  expect(() => loadRegistriesConf({ ...home.machine, registriesConf: '/dev/zero' })).toThrow(/not a regular file/);
});

test('whatever stands in a file, it is read or refused with its name', () => {
  const word = fc.constantFrom(
    'a.test',
    '*.a.test',
    'a.test/x',
    '',
    'x:1',
    '..',
    '*',
    'localhost:5000',
    '\u0000',
    'docker.io',
  );
  const table = fc.record(
    {
      prefix: word,
      location: word,
      insecure: fc.boolean(),
      blocked: fc.boolean(),
      mirrors: fc.array(word, { maxLength: 2 }),
    },
    { requiredKeys: [] },
  );
  fc.assert(
    fc.property(
      fc.array(table, { maxLength: 3 }),
      fc.constantFrom('a.test/x/y:1', 'b.a.test/x', 'docker.io/library/x', 'localhost:5000/x'),
      (tables, name) => {
        const text = tables
          .map(({ mirrors, ...plain }) =>
            [
              '[[registry]]',
              ...Object.entries(plain).map(([key, value]) => `${key} = ${JSON.stringify(value)}`),
              ...(mirrors ?? []).flatMap((location) => [
                '[[registry.mirror]]',
                `location = ${JSON.stringify(location)}`,
              ]),
            ].join('\n'),
          )
          .join('\n');
        try {
          const conf = confOf(text);
          for (const source of conf.lookup(parseReference(name))) {
            expect(source.domain).toMatch(/^[\w.:-]+$/);
            expect(source.path).not.toMatch(/\.\.|^\/|\/$/);
          }
        } catch (error) {
          if (!(error instanceof TareError)) throw error;
          expect(error.message).toContain('registries.conf');
        }
      },
    ),
    { numRuns: 500 },
  );
});

test('random text is read or refused', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 300 }), (text) => {
      try {
        parseRegistriesFile(text, 'f.conf');
      } catch (error) {
        if (!(error instanceof TareError)) throw error;
        expect(error.message).toContain('f.conf');
      }
    }),
  );
});
