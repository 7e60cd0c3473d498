import { domainToASCII } from 'node:url';
import { TareError } from '../../errors/index.ts';
import { isIP } from '../../linux/index.ts';
import { parseSubnet, subnetText } from '../subnet.ts';

/** Where a rule's packets go. `neighbours` are containers on the same network; `any` is everything but them. */
export type EgressDestination =
  | { kind: 'any' | 'host' | 'neighbours' }
  /** In CIDR form. */
  | { kind: 'subnet'; subnet: string }
  /** Lower case; `*.` before it stands for one label or more. */
  | { kind: 'name'; name: string };

export type EgressProtocol = 'tcp' | 'udp' | 'sctp' | 'icmp';

export interface EgressRule {
  verdict: 'allow' | 'deny';
  to: EgressDestination;
  /** Whether addresses of private ranges count that a name is answered with. */
  mayBePrivate: boolean;
  /** '' for all; with ports, all that have ports. */
  protocol: EgressProtocol | '';
  /** First and last; empty for all. */
  ports: [first: number, last: number][];
}

/** Of the rules the first that fits decides. */
export interface EgressPolicy {
  rules: EgressRule[];
  /** What becomes of the rest; `learn` lets it through and records it. */
  otherwise: 'allow' | 'deny' | 'learn';
}

export const MAX_RULES = 256;
const MAX_TEXT = 65_536;
const MAX_NAME = 253;
const MAX_PORT_RANGES = 32;

const refuse = (text: string, reason: string): TareError =>
  new TareError('InvalidArgument', `invalid egress rule ${JSON.stringify(text)}: ${reason}`);

const shapes =
  'write allow, allow-private or deny, then any, host, neighbours, an address, a subnet or a name, with [:PORTS][/tcp|udp|sctp|icmp]; or default allow, deny or learn';

/**
 * Reads a policy: rules as `allow example.com:443` or `allow=example.com:443`, several in one text on lines of their own or
 * parted by semicolons; `#` begins a comment. Without a `default` it is deny if anything is allowed, else allow.
 *
 * @throws {TareError} InvalidArgument: the rule, and what would be right
 */
export function parseEgressPolicy(texts: readonly string[]): EgressPolicy {
  const lines = texts.flatMap(egressLines);
  const defaults = lines.filter(({ word }) => word === 'default');
  const rules = lines
    .filter(({ word }) => word !== 'default')
    .map(({ word, rest, line }) => ruleFrom(word, rest, line));
  if (defaults.length > 1) throw refuse(defaults[1]?.line ?? '', 'the default is given twice');
  checkSize(rules);
  const [first] = defaults;
  return { rules, otherwise: first === undefined ? impliedDefault(rules) : defaultFrom(first.rest, first.line) };
}

/** @throws {TareError} InvalidArgument: more rules than a policy may have */
export function checkSize(rules: readonly EgressRule[]): void {
  if (rules.length <= MAX_RULES) return;
  throw new TareError('InvalidArgument', `an egress policy of ${rules.length} rules: at most ${MAX_RULES}`);
}

/** One rule, without its default. @throws {TareError} InvalidArgument */
export function parseEgressRule(text: string): EgressRule {
  const [line, ...more] = egressLines(text);
  if (line === undefined || more.length > 0) throw refuse(text, 'one rule is expected');
  return ruleFrom(line.word, line.rest, line.line);
}

export function defaultFrom(text: string, line = `default ${text}`): EgressPolicy['otherwise'] {
  if (text === 'allow' || text === 'deny' || text === 'learn') return text;
  throw refuse(line, 'the default is allow, deny or learn');
}

export const impliedDefault = (rules: readonly EgressRule[]): 'allow' | 'deny' =>
  rules.some(({ verdict }) => verdict === 'allow') ? 'deny' : 'allow';

interface Line {
  word: string;
  rest: string;
  line: string;
}

function egressLines(text: string): Line[] {
  if (text.length > MAX_TEXT) {
    throw new TareError('InvalidArgument', `an egress policy of ${text.length} characters: at most ${MAX_TEXT}`);
  }
  return text
    .split(/[\n;]/)
    .map((line) => line.replace(/#.*/, '').trim())
    .filter((line) => line !== '')
    .map((line) => {
      const [, word = '', rest = ''] = /^([a-z-]+)(?:\s*=\s*|\s+)(\S+)$/.exec(line) ?? [];
      if (!['allow', 'allow-private', 'deny', 'default'].includes(word)) throw refuse(line, shapes);
      return { word, rest, line };
    });
}

function ruleFrom(word: string, text: string, line: string): EgressRule {
  const [, rest = '', protocolText = ''] = /^(.*?)(?:\/(tcp|udp|sctp|icmp))?$/.exec(text) ?? [];
  const protocol = protocolText as EgressRule['protocol'];
  const { target, portText } = splitPorts(rest);
  const to = destinationFrom(target, line);
  const ports = portText === undefined ? [] : portsFrom(portText, line);
  if (protocol === 'icmp' && ports.length > 0) throw refuse(line, 'icmp has no ports');
  const mayBePrivate = word === 'allow-private';
  if (mayBePrivate && to.kind !== 'name') {
    throw refuse(line, 'allow-private is for names; an address or a subnet is allowed as it is');
  }
  return { verdict: word === 'deny' ? 'deny' : 'allow', to, mayBePrivate, protocol, ports };
}

/** Parts `HOST:PORTS`; IPv6 with ports stands in brackets. */
function splitPorts(text: string): { target: string; portText?: string } {
  const [, inside, portText] = /^\[([^\]]*)\](?::(.*))?$/.exec(text) ?? [];
  if (inside !== undefined) return portText === undefined ? { target: inside } : { target: inside, portText };
  const at = text.lastIndexOf(':');
  if (at < 0 || isIP(text.split('/', 1)[0] ?? '') === 6) return { target: text };
  return { target: text.slice(0, at), portText: text.slice(at + 1) };
}

function destinationFrom(text: string, line: string): EgressDestination {
  if (text === 'any' || text === 'host' || text === 'neighbours') return { kind: text };
  const [address = '', ...prefix] = text.split('/');
  const family = isIP(address);
  if (family !== 0 && !address.includes('%')) {
    return {
      kind: 'subnet',
      subnet: subnetOf(prefix.length > 0 ? text : `${address}/${family === 4 ? 32 : 128}`, line),
    };
  }
  const bare = text.startsWith('*.') ? text.slice(2) : text;
  const ascii = (/^[\x20-\x7e]*$/.test(bare) ? bare : domainToASCII(bare)).toLowerCase().replace(/\.$/, '');
  if (!isRuleName(ascii)) throw refuse(line, shapes);
  return { kind: 'name', name: text.startsWith('*.') ? `*.${ascii}` : ascii };
}

/** Whether a name is one that a rule can be about, in lower case; what is asked for may be any bytes. */
export function isRuleName(name: string): boolean {
  const labels = name.split('.');
  // What ends in a number is meant as an address (WHATWG URL, "ends in a number").
  if (name.length > MAX_NAME || /^\d+$/.test(labels.at(-1) ?? '')) return false;
  return labels.every((label) => /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/.test(label));
}

function subnetOf(text: string, line: string): string {
  try {
    return subnetText(parseSubnet(text));
  } catch (error) {
    throw refuse(line, error instanceof Error ? error.message : shapes);
  }
}

function portsFrom(text: string, line: string): [number, number][] {
  const ranges = text.split(',').map((part): [number, number] => {
    const [, first = '', last = first] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(part) ?? [];
    const range: [number, number] = [Number(first || Number.NaN), Number(last || Number.NaN)];
    if (!(range[0] >= 1 && range[1] <= 65_535 && range[0] <= range[1])) {
      throw refuse(line, `invalid port ${JSON.stringify(part)}: 1 to 65535, or FIRST-LAST`);
    }
    return range;
  });
  if (ranges.length > MAX_PORT_RANGES) throw refuse(line, `at most ${MAX_PORT_RANGES} ports and ranges`);
  return merged(ranges);
}

/** Sorted and without overlaps, as sets of the kernel must be. */
function merged(ranges: readonly [number, number][]): [number, number][] {
  const result: [number, number][] = [];
  for (const [first, last] of ranges.toSorted((a, b) => a[0] - b[0])) {
    const previous = result.at(-1);
    if (previous !== undefined && first <= previous[1] + 1) previous[1] = Math.max(previous[1], last);
    else result.push([first, last]);
  }
  return result;
}

export const portsText = (ports: EgressRule['ports']): string =>
  ports.map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`)).join(',');

/** A rule as {@link parseEgressRule} reads it. */
export function egressRuleText({ verdict, to, mayBePrivate, protocol, ports }: EgressRule): string {
  const target = targetText(to);
  const host = ports.length > 0 && target.includes(':') ? `[${target}]` : target;
  const suffix = `${ports.length > 0 ? `:${portsText(ports)}` : ''}${protocol === '' ? '' : `/${protocol}`}`;
  return `${mayBePrivate ? 'allow-private' : verdict} ${host}${suffix}`;
}

function targetText(to: EgressDestination): string {
  if (to.kind === 'name') return to.name;
  if (to.kind !== 'subnet') return to.kind;
  return to.subnet.replace(to.subnet.includes(':') ? /\/128$/ : /\/32$/, '');
}

/** A policy as {@link parseEgressPolicy} reads it, a rule a line. */
export const egressPolicyLines = ({ rules, otherwise }: EgressPolicy): string[] => [
  ...rules.map(egressRuleText),
  `default ${otherwise}`,
];
