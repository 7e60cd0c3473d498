import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type ConfigFlags, configArguments, loadConfig } from './config.ts';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tare-config-'));
});

afterEach(() => rmSync(folder, { recursive: true }));

const load = (text: string, flags: ConfigFlags = {}) => {
  const configFile = join(folder, 'tare.toml');
  writeFileSync(configFile, text);
  return loadConfig({ configFile, ...flags }, ['tare']);
};

test("registries and transfers have docker's defaults, or more", () => {
  expect(load('')).toMatchObject({
    registries: { insecureRegistries: [], registryMirrors: [] },
    maxConcurrentDownloads: 6,
    maxConcurrentUploads: 5,
  });
});

test('flags add to lists of the file and take the place of its values', () => {
  const text = `
    registries-conf = "${'/etc/x.conf'}"
    insecure-registries = ["a.test"]
    registry-mirrors = ["https://m.test"]
    max-concurrent-downloads = 2
    max-concurrent-uploads = 3`;
  const config = load(text, {
    insecureRegistries: ['10.0.0.0/8'],
    registryMirrors: ['http://n.test'],
    maxConcurrentUploads: 9,
  });
  expect(config).toMatchObject({
    registries: {
      registriesConf: '/etc/x.conf',
      insecureRegistries: ['a.test', '10.0.0.0/8'],
      registryMirrors: ['https://m.test', 'http://n.test'],
    },
    maxConcurrentDownloads: 2,
    maxConcurrentUploads: 9,
  });
  const words = configArguments(config).join(' ');
  expect(words).toContain('--registries-conf /etc/x.conf --insecure-registry a.test --insecure-registry 10.0.0.0/8');
  expect(words).toContain('--registry-mirror https://m.test --registry-mirror http://n.test');
  expect(words).toContain('--max-concurrent-downloads 2 --max-concurrent-uploads 9');
});

test("address pools and the default network, with dockerd's names", () => {
  const text = `
    bip = "10.9.0.1/16"
    fixed-cidr = "10.9.1.0/24"
    default-gateway-v6 = "fd00:9::fe"
    mtu = 1400
    icc = false
    default-network-opts = { bridge = { "com.docker.network.driver.mtu" = "1234" } }
    default-address-pools = [{ base = "10.10.0.0/16", size = 24 }, { base = "fd00:10::/48", size = 64 }]`;
  const config = load(text, { network: { bip6: 'fd00:9::1/64', mtu: 1300 } });
  expect(config).toMatchObject({
    bridgeSubnet: '10.9.0.1/16',
    network: {
      pools: [
        { base: '10.10.0.0/16', size: 24 },
        { base: 'fd00:10::/48', size: 64 },
      ],
      defaultNetwork: {
        ...{ subnet6: 'fd00:9::1/64', range: '10.9.1.0/24', gateway6: 'fd00:9::fe', mtu: 1300, icc: false },
      },
    },
  });
  const words = configArguments(config).join(' ');
  expect(words).toContain('--default-address-pool base=10.10.0.0/16,size=24');
  expect(words).toContain('--default-address-pool base=fd00:10::/48,size=64');
  expect(words).toContain('--bip6 fd00:9::1/64 --fixed-cidr 10.9.1.0/24 --default-gateway-v6 fd00:9::fe --mtu 1300');
  expect(words).toContain('--icc=false');
  expect(words).toContain('--default-network-opt bridge=com.docker.network.driver.mtu=1234');
  const options = ['bridge=a.b=c=d', 'macvlan=parent=eth0', 'bridge=e=f'];
  expect(load('', { network: { 'default-network-opts': options } }).network.defaultOptions).toEqual({
    bridge: { 'a.b': 'c=d', e: 'f' },
    macvlan: { parent: 'eth0' },
  });
  const flags = { network: { 'default-address-pools': ['base=10.11.0.0/16,size=20'] } };
  expect(load(text, flags).network.pools).toEqual([{ base: '10.11.0.0/16', size: 20 }]);
});

test.each<{ text: string; flags?: ConfigFlags; want: RegExp }>([
  { text: 'insecure-registries = "a.test"', want: /insecure-registries: want a list/ },
  { text: 'insecure-registries = ["http://a.test"]', want: /invalid insecure registry "http:\/\/a.test"/ },
  { text: 'registry-mirrors = ["m.test"]', want: /invalid registry mirror "m.test"/ },
  { text: 'registries-conf = 1', want: /registries-conf: want a path/ },
  {
    text: 'max-concurrent-downloads = 0',
    want: /invalid max-concurrent-downloads 0: want a whole number from 1 to 64/,
  },
  { text: 'max-concurrent-uploads = 1.5', want: /max-concurrent-uploads: want a whole number/ },
  { text: '', flags: { maxConcurrentDownloads: 65 }, want: /invalid max-concurrent-downloads 65/ },
  { text: '', flags: { insecureRegistries: ['a b'] }, want: /invalid insecure registry "a b"/ },
  { text: 'bip6 = "10.0.0.1/24"', want: /invalid bip6 "10\.0\.0\.1\/24": want IPv6/ },
  { text: 'fixed-cidr = "10.0.0.0"', want: /invalid fixed-cidr/ },
  { text: 'mtu = 20', want: /invalid mtu 20/ },
  { text: 'icc = "no"', want: /icc: want true or false/ },
  { text: 'default-network-opts = { bridge = "x" }', want: /default-network-opts: want tables by driver/ },
  { text: '', flags: { network: { 'default-network-opts': ['mtu=1'] } }, want: /want DRIVER=OPTION=VALUE/ },
  { text: 'default-address-pools = [{ base = "10.0.0.0/16" }]', want: /default-address-pools: want tables/ },
  { text: 'default-address-pools = [{ base = "10.0.0.0/16", size = 12 }]', want: /size 12 is not between 16 and 30/ },
  { text: 'default-address-pools = [{ base = "ten", size = 24 }]', want: /invalid subnet "ten"/ },
  {
    text: '',
    flags: { network: { 'default-address-pools': ['10.0.0.0/16,size=24'] } },
    want: /want base=SUBNET,size=PREFIX/,
  },
])('tare.toml %o is refused', ({ text, flags, want }) => {
  expect(() => load(text, flags)).toThrow(want);
});

test('the example in packaging/ shows every key, in a form that is read', () => {
  const example = readFileSync(join(import.meta.dirname, '../../packaging/tare.toml'), 'utf8');
  const lines = example.split('\n').filter((line) => /^# (\[|[a-zA-Z0-9-]+ = )/.test(line));
  let keys: string[] = [];
  try {
    load('no-such-key = 1');
  } catch (error) {
    keys = /one of (.*)$/.exec((error as Error).message)![1]!.split(', ');
  }
  const tables = lines.findIndex((line) => line.startsWith('# ['));
  const shown = (key: string): boolean =>
    lines.slice(0, tables).some((line) => line.startsWith(`# ${key} = `)) ||
    lines.slice(tables).some((line) => /^# \[([\w-]+)/.exec(line)?.[1] === key);
  expect(keys).toContain('data-root');
  expect(keys.filter((key) => !shown(key))).toEqual([]);
  expect(() => load(lines.map((line) => line.slice(2)).join('\n'))).not.toThrow();
});

test('the address that ports are published on: the flag before the file, and passed on', () => {
  expect(load('').defaultBinding).toBeUndefined();
  expect(load('ip = "127.0.0.1"').defaultBinding).toBe('127.0.0.1');
  const config = load('ip = "127.0.0.1"', { defaultBinding: '::1' });
  expect(config.defaultBinding).toBe('::1');
  expect(configArguments(config).join(' ')).toContain('--ip ::1');
});

test.each(['localhost', '10.0.0.0/8', 'fe80::1%eth0', '0'])('no address to publish ports on: %s', (text) => {
  expect(() => load(`ip = "${text}"`)).toThrow(`invalid ip "${text}": want the address`);
});

test('how long events are kept is said by the file and by flags, and passed on', () => {
  expect(load('').events).toEqual({ maxAgeSeconds: 604_800, maxBytes: 32 * 1024 ** 2 });
  const config = load('[events]\nmax-age = "2h"\nmax-size = "1m"', { eventsMaxSize: '100k' });
  expect(config.events).toEqual({ maxAgeSeconds: 7200, maxBytes: 102_400 });
  expect(configArguments(config).slice(-4)).toEqual(['--events-max-age', '7200s', '--events-max-size', '102400']);
  for (const eventsMaxAge of ['0', 'soon', '1ms', '-1h']) expect(() => load('', { eventsMaxAge })).toThrow(/max-age/);
  for (const eventsMaxSize of ['0', '1k', 'big']) expect(() => load('', { eventsMaxSize })).toThrow(/max-size/);
});

test('arguments of a runtime reach the processes that open the same engine', () => {
  const file = '[runtimes.own]\npath = "/bin/own"\nruntimeArgs = ["--one", "--two=a=b"]';
  const config = load(file, { defaultRuntime: 'own', runtimeArgs: ['own=-v'] });
  const own = { name: 'own', path: '/bin/own', args: ['--one', '--two=a=b', '-v'] };
  expect(config.runtimes).toContainEqual(own);
  const words = configArguments(config);
  const given = (name: string) => words.flatMap((word, index) => (words[index - 1] === name ? [word] : []));
  const flags = { addRuntimes: given('--add-runtime'), runtimeArgs: given('--runtime-arg') };
  expect(load(file, { defaultRuntime: 'own', ...flags }).runtimes).toContainEqual(own);
  expect(load('', { defaultRuntime: 'own', ...flags }).runtimes).toContainEqual(own);
  for (const bad of ['none=-v', 'own', '=x'])
    expect(() => load(file, { runtimeArgs: [bad] })).toThrow(`invalid runtime argument "${bad}": want NAME=ARGUMENT`);
});
