import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { allowsName, decidingRule, nameMatches } from './decide.ts';
import { isReserved } from './followed-names.ts';
import { learnedPolicy } from './learned.ts';
import { egressPolicyLines, egressRuleText, parseEgressPolicy, parseEgressRule } from './policy.ts';
import { isPrivate } from './rules.ts';

test.each([
  ['allow example.com:443', 'allow example.com:443'],
  ['allow=*.Example.COM.:443/tcp', 'allow *.example.com:443/tcp'],
  ['deny 10.1.2.3/8', 'deny 10.0.0.0/8'],
  ['deny 203.0.113.7/32:25', 'deny 203.0.113.7:25'],
  ['allow 2001:DB8::1', 'allow 2001:db8::1'],
  ['allow [2001:db8::/32]:80,443,8000-8100/udp', 'allow [2001:db8::/32]:80,443,8000-8100/udp'],
  ['allow 8.8.8.8/icmp', 'allow 8.8.8.8/icmp'],
  ['allow any:443-450,449-460,461', 'allow any:443-461'],
  ['deny neighbours', 'deny neighbours'],
  ['allow host:8080/tcp', 'allow host:8080/tcp'],
  ['allow-private git.corp', 'allow-private git.corp'],
  ['allow bücher.example', 'allow xn--bcher-kva.example'],
  ['deny any/sctp', 'deny any/sctp'],
])('%s is read, and written as %s', (text, want) => {
  expect(egressRuleText(parseEgressRule(text))).toBe(want);
  expect(parseEgressRule(want)).toEqual(parseEgressRule(text));
});

test.each([
  ['permit example.com', 'write allow'],
  ['allow', 'write allow'],
  ['allow a b', 'write allow'],
  ['allow example.com:0', 'invalid port "0"'],
  ['allow example.com:70000', 'invalid port "70000"'],
  ['allow example.com:9-8', 'invalid port "9-8"'],
  ['allow example.com:', 'invalid port ""'],
  ['allow example.com:53/icmp', 'icmp has no ports'],
  ['allow 10.0.0.0/33', 'invalid subnet'],
  ['allow 1.2.3', 'write allow'],
  ['allow 1.2.3.4.5', 'write allow'],
  ['allow fe80::1%eth0', 'write allow'],
  ['allow *.*.com', 'write allow'],
  ['allow *', 'write allow'],
  ['allow -x.com', 'write allow'],
  [`allow ${'a'.repeat(64)}.com`, 'write allow'],
  ['allow "x"; flush ruleset', 'write allow'],
  ['allow-private 10.0.0.1', 'allow-private is for names'],
  [`allow any:${Array.from({ length: 33 }, (_, n) => 2 * n + 1).join(',')}`, 'at most 32'],
])('%s is refused', (text, why) => expect(() => parseEgressPolicy([text])).toThrow(why));

describe('a policy', () => {
  test('of several texts, with comments, and the default that follows from its rules', () => {
    const file = '# shop\nallow example.com # its partner\n\n deny=any:25 ; allow 192.0.2.1\n';
    expect(egressPolicyLines(parseEgressPolicy([file]))).toEqual([
      ...['allow example.com', 'deny any:25', 'allow 192.0.2.1', 'default deny'],
    ]);
    expect(parseEgressPolicy(['deny any:25']).otherwise).toBe('allow');
    expect(parseEgressPolicy(['deny any:25', 'default=learn']).otherwise).toBe('learn');
    expect(() => parseEgressPolicy(['default deny', 'default allow'])).toThrow('given twice');
    expect(() => parseEgressPolicy(['default=maybe'])).toThrow('allow, deny or learn');
    expect(() => parseEgressPolicy(Array.from({ length: 257 }, () => 'deny any'))).toThrow('at most 256');
    expect(() => parseEgressPolicy(['#'.repeat(70_000)])).toThrow('at most 65536');
  });

  test('whatever is read is written so that it is read the same, and goes into no rule but as itself', () => {
    const word = fc.constantFrom('allow', 'deny', 'allow-private', 'default', 'x');
    const piece = fc.constantFrom(
      'a.b',
      '*.',
      '10.0.0.0',
      '/8',
      ':',
      '443',
      '-',
      ',',
      '[',
      ']',
      '::1',
      '/tcp',
      ' ',
      '"',
      '}',
      '\\',
      'é',
    );
    const text = fc
      .tuple(word, fc.constantFrom(' ', '='), fc.array(piece, { maxLength: 6 }))
      .map(([a, b, c]) => a + b + c.join(''));
    fc.assert(
      fc.property(text, (line) => {
        let lines: string[];
        try {
          lines = egressPolicyLines(parseEgressPolicy([line]));
        } catch {
          return;
        }
        expect(egressPolicyLines(parseEgressPolicy(lines))).toEqual(lines);
        for (const one of lines) expect(one).toMatch(/^[a-z-]+ [a-z0-9_.:*/[\],-]+$/);
      }),
      { numRuns: 3_000 },
    );
  });
});

test.each([
  ['*.example.com', 'www.example.com', true],
  ['*.example.com', 'a.b.example.com', true],
  ['*.example.com', 'example.com', false],
  ['*.example.com', 'badexample.com', false],
  ['example.com', 'example.com', true],
  ['example.com', 'www.example.com', false],
])('%s means %s: %s', (pattern, name, want) => expect(nameMatches(pattern, name)).toBe(want));

test.each([
  [['allow example.com:443'], 'example.com', true],
  [['allow example.com'], 'example.org', false],
  [['deny ads.example.com', 'allow *.example.com'], 'ads.example.com', false],
  [['deny ads.example.com'], 'example.com', true],
  [['deny ads.example.com'], 'ads.example.com', false],
  [['allow any:443'], 'whoever.org', true],
  [['deny any'], 'whoever.org', false],
  [['deny any:25'], 'whoever.org', true],
  [['deny any', 'default learn'], 'whoever.org', false],
  [['allow 192.0.2.1', 'default deny'], 'whoever.org', false],
])('under %j, %s may be asked for: %s', (rules, name, want) => {
  expect(allowsName(parseEgressPolicy(rules), name)).toBe(want);
});

test('the rule that decides is the first that fits address, protocol and port', () => {
  const policy = parseEgressPolicy(['deny 10.0.0.0/8:22', 'allow host:80/tcp', 'allow 10.0.0.0/8', 'allow any/icmp']);
  const of = (address: string, protocol: number, port: number, isHost = false) => {
    const rule = decidingRule(policy, { address, protocol, port, isHost, isNamed: () => false });
    return rule === undefined ? '' : egressRuleText(rule);
  };
  expect(of('10.1.1.1', 6, 22)).toBe('deny 10.0.0.0/8:22');
  expect(of('10.1.1.1', 47, 0)).toBe('allow 10.0.0.0/8');
  expect(of('192.0.2.1', 6, 80, true)).toBe('allow host:80/tcp');
  expect(of('192.0.2.1', 17, 80, true)).toBe('');
  expect(of('192.0.2.1', 1, 0)).toBe('allow any/icmp');
  expect(of('2001:db8::1', 58, 0)).toBe('allow any/icmp');
  expect(of('2001:db8::1', 1, 0)).toBe('');
});

test('names that could end a line, or be a rule of their own, are in no policy that is learned', () => {
  const seen = { isDenied: false, containerId: 'c', count: 1, firstMs: 1, lastMs: 1 };
  const evil = 'x\nallow any';
  const { policy, namesOnly } = learnedPolicy(
    undefined,
    [
      { ...seen, destination: '192.0.2.1', protocol: 'tcp', port: 443 },
      { ...seen, destination: evil, protocol: 'dns', port: 0 },
      { ...seen, destination: 'asked.example', protocol: 'dns', port: 0 },
    ],
    [{ name: evil, address: '192.0.2.1', expiresMs: 1 }],
    new Set(),
  );
  expect(egressPolicyLines(policy)).toEqual(['allow 192.0.2.1:443/tcp', 'default deny']);
  expect(namesOnly).toEqual(['asked.example']);
});

test('addresses that no name opens, or only one that may', () => {
  for (const address of [
    '127.0.0.1',
    '0.0.0.0',
    '169.254.1.1',
    '224.0.0.1',
    '255.255.255.255',
    '::1',
    '::',
    'fe80::1',
    'ff02::1',
  ])
    expect(isReserved(address), address).toBe(true);
  for (const address of ['192.0.2.1', '10.0.0.1', '2001:db8::1', 'fd00::1'])
    expect(isReserved(address), address).toBe(false);
  for (const address of ['10.0.0.1', '172.31.0.1', '192.168.1.1', '100.64.0.1', 'fd00::1', 'fc00::1'])
    expect(isPrivate(address), address).toBe(true);
  for (const address of ['172.32.0.1', '192.0.2.1', '100.128.0.1', '2001:db8::1'])
    expect(isPrivate(address), address).toBe(false);
});
