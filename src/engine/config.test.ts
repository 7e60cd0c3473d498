import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
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
])('tare.toml %o is refused', ({ text, flags, want }) => {
  expect(() => load(text, flags)).toThrow(want);
});
