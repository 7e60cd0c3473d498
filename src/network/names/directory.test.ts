import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { formatAddress } from '../../linux/index.ts';
import { NameDirectory, type NamedContainer, type NamedEndpoint, type NamedNetwork } from './directory.ts';
import { decide } from './local-answers.ts';
import { CLASS_IN, nameKey, type Query, RecordType } from './message.ts';

const network = (id: string, number: number, more: Partial<NamedNetwork> = {}): NamedNetwork => ({
  id,
  name: id,
  servers: [`10.${number}.0.1`],
  subnets: [`10.${number}.0.0/16`, `fd00:${number}::/64`],
  internal: false,
  ...more,
});
const end = (networkId: string, ipv4: string, more: Partial<NamedEndpoint> = {}): NamedEndpoint => ({
  networkId,
  ipv4,
  ipv6: '',
  aliases: [],
  links: [],
  ...more,
});
const container = (name: string, endpoints: NamedEndpoint[], otherNames: string[] = []): NamedContainer => ({
  id: `id-of-${name}`,
  name,
  otherNames,
  resolvers: [],
  endpoints,
});

const client = container('client', [
  end('back', '10.2.0.9', { links: ['web:site', 'gone:nobody'] }),
  end('front', '10.1.0.9'),
]);
const directory = directoryOf(
  [network('front', 1), network('back', 2), network('other', 3)],
  [
    container(
      'web',
      [end('front', '10.1.0.2', { ipv6: 'fd00:1::2', aliases: ['service'] }), end('back', '10.2.0.2')],
      ['abcdefabcdef', 'Webhost'],
    ),
    container('web2', [end('front', '10.1.0.3', { aliases: ['Service', 'x.y'] })]),
    container('six', [end('front', '', { ipv6: 'fd00:1::4' })]),
    container('stranger', [end('other', '10.3.0.2', { aliases: ['web'] })]),
    client,
  ],
);

function directoryOf(networks: NamedNetwork[], containers: NamedContainer[]): NameDirectory {
  return new NameDirectory({ networks, containers }, (subject, error) => {
    throw new Error(`${subject}: ${error}`);
  });
}

/** Texts of the answer, sorted; or its response code; or where else it goes. */
function asked(name: string, type: number = RecordType.A, as = client, query: Partial<Query> = {}): string {
  const whole = { id: 1, flags: 0, class: CLASS_IN, questionEnd: 0, udpSizeBytes: 512, edns: undefined, ...query };
  const asker = { container: as, isOpen: true };
  const decision = decide(directory, asker, { ...whole, name: nameKey(name), type });
  if (decision.kind === 'forward') return 'forward';
  if (decision.rcode !== 0) return `rcode ${decision.rcode}`;
  const text = (type: number, data: Uint8Array) =>
    type === RecordType.PTR
      ? Buffer.from(data)
          .toString('latin1')
          .replaceAll(/[\0-\x1f]/g, '.')
      : formatAddress(data);
  return decision.records
    .map(({ type, data }) => text(type, data))
    .sort()
    .join(' ');
}

describe('names', () => {
  test.each([
    ['a container', 'six', RecordType.AAAA, 'fd00:1::4'],
    ['without case', 'SIX', RecordType.AAAA, 'fd00:1::4'],
    ["on the asker's first network that knows it", 'web', RecordType.A, '10.2.0.2'],
    ['of one network by its name', 'web.front', RecordType.A, '10.1.0.2'],
    ['of a family that only a later network has', 'web', RecordType.AAAA, 'fd00:1::2'],
    ['a short id', 'abcdefabcdef', RecordType.A, '10.2.0.2'],
    ['a hostname', 'webhost', RecordType.A, '10.2.0.2'],
    ['an alias of several', 'service', RecordType.A, '10.1.0.2 10.1.0.3'],
    ['an alias with a network', 'service.front', RecordType.A, '10.1.0.2 10.1.0.3'],
    ['an alias with a dot', 'x.y', RecordType.A, '10.1.0.3'],
    ['a link', 'site', RecordType.A, '10.2.0.2'],
    ['oneself', 'client', RecordType.A, '10.2.0.9'],
    ['both families at once', 'web.front', RecordType.ANY, '10.1.0.2 fd00:1::2'],
  ])('%s: %s', (_what, name, type, want) => expect(asked(name, type)).toBe(want));

  test.each([
    ['another family than it has', 'six', RecordType.A],
    ['mail', 'web', 15],
    ['a name for an address', 'web', RecordType.PTR],
  ])('a known name has nothing else, and nobody else is asked: %s', (_what, name, type) => {
    expect(asked(name, type)).toBe('');
  });

  test.each([
    ['nobody', 'nobody-there'],
    ['a container of a network that the asker is not on', 'stranger'],
    ['a network alone', 'front'],
    ['a container on a network that it is not on', 'six.back'],
    ['a container on a network of others', 'stranger.other'],
    ['the world', 'example.org'],
    ['the root', ''],
    ['a link to a container that is gone', 'nobody'],
  ])('is asked of others: %s', (_what, name) => expect(asked(name)).toBe('forward'));

  test('a link is only for the container that has it', () => {
    expect(asked('site', RecordType.A, container('else', [end('back', '10.2.0.8')]))).toBe('forward');
  });

  test('addresses of an alias come in another order each time', () => {
    const orders = new Set<string>();
    for (let round = 0; round < 100; round += 1) {
      const query = { id: 1, flags: 0, class: 1, questionEnd: 0, udpSizeBytes: 512, edns: undefined };
      const decision = decide(directory, { container: client, isOpen: true }, { ...query, name: 'service', type: 1 });
      if (decision.kind === 'answer') orders.add(decision.records.map(({ data }) => formatAddress(data)).join(' '));
    }
    expect([...orders].sort()).toEqual(['10.1.0.2 10.1.0.3', '10.1.0.3 10.1.0.2']);
  });
});

describe('reverse look-ups', () => {
  test.each([
    ['IPv4', '2.0.1.10.in-addr.arpa', '.web.front.'],
    ['IPv6', `2.${'0.'.repeat(15)}${'0.'.repeat(8)}1.0.0.0.0.0.d.f.ip6.arpa`, '.web.front.'],
    ['an address that nobody has', '77.0.1.10.in-addr.arpa', 'rcode 3'],
    ["an address of others' networks", '2.0.3.10.in-addr.arpa', 'forward'],
    ['an address of the world', '1.2.0.192.in-addr.arpa', 'forward'],
    ['a piece of an address', '1.10.in-addr.arpa', 'forward'],
    ['a number that is none', '2.0.1.010.in-addr.arpa', 'forward'],
    ['a number that is too large', '2.0.1.256.in-addr.arpa', 'forward'],
    ['nibbles that are none', `${'g.'.repeat(32)}ip6.arpa`, 'forward'],
  ])('%s', (_what, name, want) => expect(asked(name, RecordType.PTR)).toBe(want));

  test('an address has a name, and no other records', () => {
    expect(asked('2.0.1.10.in-addr.arpa', RecordType.A)).toBe('');
  });
});

test.each([
  ['another class', { class: 3 }, 'rcode 5'],
  ['a transfer of all names', { type: RecordType.AXFR }, 'rcode 5'],
  ['a later EDNS', { edns: 1 }, 'rcode 16'],
])('refused: %s', (_what, query, want) => {
  expect(asked('web', 'type' in query ? query.type : RecordType.A, client, query)).toBe(want);
});

describe('who asks', () => {
  const networks = [network('front', 1), network('shut', 2, { internal: true })];
  const open = container('open', [end('shut', '10.2.0.2'), end('front', '10.1.0.2')]);
  const shut = container('shut', [end('shut', '10.2.0.3', { ipv6: 'fd00:2::3' })]);
  const remote = container('remote', [end('shut', '10.2.0.4'), end('a-macvlan', '192.0.2.9')]);
  const known = directoryOf(networks, [open, shut, remote]);

  test.each([
    ['shut', '10.2.0.2', 'open', true],
    ['front', '10.1.0.2', 'open', true],
    ['shut', '10.2.0.3', 'shut', false],
    ['shut', 'fd00:2::3', 'shut', false],
    ['shut', '10.2.0.4', 'remote', true],
  ])('%s %s is %s', (networkId, address, name, isOpen) => {
    expect(known.asker(networkId, address)).toMatchObject({ container: { name }, isOpen });
  });

  test.each([
    ['front', '10.2.0.3'],
    ['front', '10.1.0.77'],
    ['no-such-network', '10.1.0.2'],
  ])('on %s nobody is %s', (networkId, address) => expect(known.asker(networkId, address)).toBeUndefined());

  test('what belongs to a network', () => {
    expect(known.belongs('front', '10.1.255.1')).toBe(true);
    expect(known.belongs('front', '10.2.0.3')).toBe(false);
    expect(known.belongs('front', 'fd00:1::99')).toBe(true);
    expect(known.belongs('no-such-network', '10.1.0.1')).toBe(false);
  });
});

test('a bad record of one network or container silences no other', () => {
  const complaints: string[] = [];
  const known = new NameDirectory(
    {
      networks: [network('front', 1), network('broken', 2, { subnets: ['nonsense'] })],
      containers: [
        container('bad', [end('front', '10.1.0.999')]),
        container('worse', [end('front', '10.1.0.8', { aliases: null as unknown as string[] })]),
        container('on-broken', [end('broken', '10.2.0.2'), end('front', '10.1.0.7')]),
        container('web', [end('front', '10.1.0.2')]),
      ],
    },
    (subject) => complaints.push(subject),
  );
  expect(complaints).toEqual([
    'names of network broken',
    'names of container id-of-bad',
    'names of container id-of-worse',
  ]);
  const web = known.asker('front', '10.1.0.2')!.container;
  expect([...known.find(web, 'web')]).toHaveLength(1);
  expect([...known.find(web, 'on-broken')]).toHaveLength(1);
});

test('whatever is asked, an answer is found', () => {
  fc.assert(
    fc.property(fc.string(), fc.nat(65_535), (name, type) => {
      asked(name, type);
      asked(`${name}.in-addr.arpa`, type);
      asked(`${name}.ip6.arpa`, type);
    }),
    { numRuns: 2_000 },
  );
});
