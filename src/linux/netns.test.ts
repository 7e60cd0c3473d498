import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { RouteSocket } from './netlink-route.ts';
import { createNetworkNamespace, networkNamespaceId, removeNetworkNamespace, withNamespaceAt } from './netns.ts';

let folder: string;
beforeAll(async () => {
  await stat('/');
  folder = mkdtempSync(join(tmpdir(), 'tare-netns-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

const linkNames = (): string[] => {
  using route = new RouteSocket();
  return route.links().map(({ name }) => name);
};

test('a namespace is made, entered, left, kept by its file, and removed', () => {
  const path = join(folder, 'one');
  const home = networkNamespaceId();
  const outside = linkNames();
  createNetworkNamespace(path, () => expect(networkNamespaceId()).not.toBe(home));
  try {
    expect(networkNamespaceId()).toBe(home);
    expect(withNamespaceAt(path, () => networkNamespaceId())).toBe(networkNamespaceId(path));
    expect(withNamespaceAt(path, linkNames)).toContain('lo');
    expect(linkNames()).toEqual(outside);
  } finally {
    removeNetworkNamespace(path);
  }
  expect(existsSync(path)).toBe(false);
  removeNetworkNamespace(path);
});

test('what the body throws comes out at home', () => {
  const path = join(folder, 'two');
  const home = networkNamespaceId();
  const failing = () => {
    throw new Error('inside');
  };
  expect(() => createNetworkNamespace(path, failing)).toThrow('inside');
  expect(existsSync(path)).toBe(false);
  expect(networkNamespaceId()).toBe(home);
});

test('entering from inside another is refused', () => {
  const path = join(folder, 'three');
  createNetworkNamespace(path, () => {});
  try {
    expect(() => withNamespaceAt(path, () => withNamespaceAt(path, () => {}))).toThrow(/lose the way back/);
  } finally {
    removeNetworkNamespace(path);
  }
});

test('a file that is no namespace is refused', () => {
  const path = join(folder, 'plain');
  writeFileSync(path, '');
  expect(() => withNamespaceAt(path, () => {})).toThrow(/setns.*EINVAL/);
});
