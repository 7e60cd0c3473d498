import { parseSize } from './sizes.ts';
import { UsageError } from './usage-error.ts';

const refuse = (text: string, flag: string, want: string) =>
  new UsageError(`invalid argument ${JSON.stringify(text)} for ${flag}: expected ${want}`);

/** `HOST[:CONTAINER][:rwm]` @throws {UsageError} */
export function parseDevice(text: string): { PathOnHost: string; PathInContainer: string; CgroupPermissions: string } {
  const want = 'HOST_DEVICE[:CONTAINER_DEVICE][:rwm]';
  const parts = text.split(':');
  const isMode = (word: string) => /^(?=.)(?!.*(.).*\1)[rwm]+$/.test(word);
  const [host = '', second, third] = parts;
  if (parts.length > 3 || !host.startsWith('/')) throw refuse(text, '--device', want);
  if (third !== undefined && !isMode(third)) throw refuse(text, '--device', want);
  const secondIsMode = second !== undefined && third === undefined && isMode(second);
  const inside = second === undefined || secondIsMode ? host : second;
  if (!inside.startsWith('/')) throw refuse(text, '--device', want);
  return { PathOnHost: host, PathInContainer: inside, CgroupPermissions: third ?? (secondIsMode ? second : 'rwm') };
}

/** `a|b|c MAJOR:MINOR rwm` @throws {UsageError} */
export function parseDeviceRule(text: string): string {
  if (!/^[acb] (\d+|\*):(\d+|\*) [rwm]{1,3}$/.test(text))
    throw refuse(text, '--device-cgroup-rule', 'TYPE MAJOR:MINOR MODE, such as "c 1:3 mr"');
  return text;
}

/** `PATH:WEIGHT` @throws {UsageError} */
export function parseWeightDevice(text: string): { Path: string; Weight: number } {
  const [path, weight] = devicePair(text, '--blkio-weight-device', 'PATH:WEIGHT with a weight of 10 to 1000');
  if (!/^\d+$/.test(weight) || (Number(weight) !== 0 && (Number(weight) < 10 || Number(weight) > 1000)))
    throw refuse(text, '--blkio-weight-device', 'PATH:WEIGHT with a weight of 10 to 1000');
  return { Path: path, Weight: Number(weight) };
}

/** `PATH:RATE`; bytes a second with a unit. @throws {UsageError} */
export function parseBpsDevice(text: string, flag: string): { Path: string; Rate: number } {
  const [path, rate] = devicePair(text, flag, 'PATH:RATE with kb, mb or gb, such as /dev/sda:1mb');
  return { Path: path, Rate: parseSize(rate, flag) };
}

/** `PATH:RATE`; operations a second. @throws {UsageError} */
export function parseIopsDevice(text: string, flag: string): { Path: string; Rate: number } {
  const [path, rate] = devicePair(text, flag, 'PATH:RATE with a whole number, such as /dev/sda:1000');
  if (!/^\d{1,15}$/.test(rate)) throw refuse(text, flag, 'PATH:RATE with a whole number, such as /dev/sda:1000');
  return { Path: path, Rate: Number(rate) };
}

function devicePair(text: string, flag: string, want: string): [string, string] {
  const colon = text.lastIndexOf(':');
  const path = text.slice(0, Math.max(colon, 0));
  if (!path.startsWith('/dev/')) throw refuse(text, flag, want);
  return [path, text.slice(colon + 1)];
}

/** `NAME=SOFT[:HARD]`, -1 for no limit. @throws {UsageError} */
export function parseUlimit(text: string): { Name: string; Soft: number; Hard: number } {
  const [, name, softText, hardText] = /^([a-z]+)=(-?\d{1,15})(?::(-?\d{1,15}))?$/.exec(text) ?? [];
  const names = [
    'core',
    'cpu',
    'data',
    'fsize',
    'locks',
    'memlock',
    'msgqueue',
    'nice',
    'nofile',
    'nproc',
    'rss',
    'rtprio',
    'rttime',
    'sigpending',
    'stack',
  ];
  if (name === undefined || !names.includes(name))
    throw refuse(text, '--ulimit', `NAME=SOFT[:HARD], where NAME is one of ${names.join(', ')}`);
  const soft = Number(softText);
  const hard = Number(hardText ?? softText);
  const lower = (a: number, b: number) => b === -1 || (a !== -1 && a <= b);
  if (soft < -1 || hard < -1 || !lower(soft, hard))
    throw refuse(text, '--ulimit', 'a soft limit that is not above the hard one');
  return { Name: name, Soft: soft, Hard: hard };
}
