import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { BuildOptions, BuildOutput, SecretSource } from '../../engine/index.ts';
import { splitFields, splitPair } from '../grammar/fields.ts';
import { parseSize } from '../grammar/sizes.ts';
import { UsageError } from '../grammar/usage-error.ts';
import type { Values } from '../option.ts';
import type { buildFlags } from './options.ts';

type Flags = Values<typeof buildFlags>;

/** Outputs that write a file or a folder of the user's. */
const written = new Set(['local', 'tar', 'oci', 'docker']);

/**
 * The command line of a build as the engine's options.
 *
 * @param standardInput read when the context, the Dockerfile or an output is `-`
 * @throws {UsageError}
 */
export function readFlags(
  flags: Flags,
  context: string,
  streams: { input: AsyncIterable<Uint8Array>; output: NonNullable<BuildOutput['destination']> },
  env: NodeJS.ProcessEnv = process.env,
): BuildOptions {
  if (context === '-' && flags.file === '-')
    throw new UsageError('invalid argument: can not use stdin for both build context and Dockerfile');
  const epoch = flags['source-date-epoch'] ?? env['SOURCE_DATE_EPOCH'];
  const question = questionOf(flags);
  return {
    context: contextOf(context, streams),
    // Read by planBuild's caller when it is standard input.
    ...(flags.file === undefined || flags.file === '-'
      ? {}
      : { dockerfile: { path: dockerfilePath(flags.file, context) } }),
    ...(flags.target === undefined ? {} : { target: flags.target }),
    buildArgs: assignments('build-arg', flags['build-arg'], env),
    labels: assignments('label', flags.label, env),
    tags: flags.tag,
    platforms: flags.platform.flatMap((text) => text.split(',')),
    contexts: namedContexts(flags['build-context']),
    noCache: flags['no-cache'] ? true : flags['no-cache-filter'].flatMap((text) => text.split(',')),
    pull: flags.pull,
    network: flags.network,
    extraHosts: flags['add-host'],
    ...(flags['shm-size'] === undefined ? {} : { shmSizeBytes: parseSize(flags['shm-size'], 'shm-size') }),
    ulimits: flags.ulimit,
    ...(flags['cgroup-parent'] === undefined ? {} : { cgroupParent: flags['cgroup-parent'] }),
    devices: flags.device,
    allow: flags.allow.flatMap((text) => text.split(',')),
    secrets: Object.fromEntries(flags.secret.map((text) => secretOf(text, env))),
    sshAgents: Object.fromEntries(flags.ssh.map(agentOf)),
    ...(question === undefined ? {} : { question }),
    outputs: outputsOf(flags, streams.output),
    cacheFrom: flags['cache-from'].map((text) => typed('cache-from', text, 'registry', 'ref')),
    cacheTo: flags['cache-to'].map((text) => typed('cache-to', text, 'registry', 'ref')),
    annotations: flags.annotation,
    attestations: attestationsOf(flags),
    ...(epoch === undefined ? {} : { sourceDateEpoch: secondsOf(epoch) }),
  };
}

const questions: Record<string, string | undefined> = {
  build: undefined,
  check: 'frontend.lint',
  lint: 'frontend.lint',
  outline: 'frontend.outline',
  targets: 'frontend.targets',
};

function questionOf({ call, check }: Flags): string | undefined {
  const name = check ? 'check' : call.split(',')[0]!;
  if (!Object.hasOwn(questions, name))
    throw new UsageError(
      `invalid value ${JSON.stringify(name)} for --call: one of ${Object.keys(questions).join(', ')}`,
    );
  return questions[name];
}

function contextOf(text: string, streams: { input: AsyncIterable<Uint8Array> }): BuildOptions['context'] {
  if (text === '-') return { stream: streams.input };
  if (/^(https?|git|ssh):\/\//.test(text) || /^git@[^:]+:/.test(text) || /^github\.com\//.test(text))
    return { url: text };
  if (!existsSync(text)) throw new UsageError(`unable to prepare context: path ${JSON.stringify(text)} not found`);
  if (!statSync(text).isDirectory())
    throw new UsageError(`unable to prepare context: path ${JSON.stringify(text)} is not a folder`);
  return { folder: text };
}

/** As it stands from here; else, as docker has it, beneath the context. */
function dockerfilePath(file: string, context: string): string {
  if (existsSync(file) || !existsSync(context)) return file;
  const beneath = join(context, file);
  return existsSync(beneath) ? beneath : file;
}

/** `NAME=VALUE`, or `NAME` with its value in the environment; left out when it is not set there. */
function assignments(flag: string, texts: readonly string[], env: NodeJS.ProcessEnv): Record<string, string> {
  return Object.fromEntries(
    texts.flatMap((text) => {
      const [name, value] = splitPair(text);
      if (name === '') throw new UsageError(`invalid value ${JSON.stringify(text)} for --${flag}: want NAME=VALUE`);
      const known = value ?? (flag === 'label' ? '' : env[name]);
      return known === undefined ? [] : [[name, known]];
    }),
  );
}

function namedContexts(texts: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    texts.map((text) => {
      const [name, value] = splitPair(text);
      if (!name || !value) throw new UsageError(`invalid context value: ${text}, expected key=value`);
      return [name.toLowerCase(), value];
    }),
  );
}

export function secretOf(text: string, env: NodeJS.ProcessEnv): [string, SecretSource] {
  const fields = new Map(splitFields(text).map(splitPair));
  for (const key of fields.keys())
    if (!['id', 'src', 'source', 'env', 'type'].includes(key))
      throw new UsageError(`unexpected key '${key}' in '${text}': want id, src, env or type`);
  const id = fields.get('id');
  if (!id) throw new UsageError(`invalid secret ${JSON.stringify(text)}: id is missing`);
  const file = fields.get('src') ?? fields.get('source');
  const variable = fields.get('env');
  const type = fields.get('type');
  if (type !== undefined && type !== 'file' && type !== 'env')
    throw new UsageError(`unsupported secret type ${JSON.stringify(type)}`);
  if (variable !== undefined) return [id, { variable }];
  if (file !== undefined) return [id, type === 'env' ? { variable: file } : { file }];
  // docker's order: a variable of this name, else a file.
  return [id, type === 'env' || (type === undefined && env[id] !== undefined) ? { variable: id } : { file: id }];
}

export function agentOf(text: string): [string, string | undefined] {
  const [id, path] = splitPair(text);
  return [id === '' ? 'default' : id, path];
}

/** `type=…,key=value`; a plain word is the value of `key` for the type that is meant without one. */
function typed(
  flag: string,
  text: string,
  plainType: string,
  key: string,
): { type: string; attributes: Record<string, string> } {
  const fields = splitFields(text).map(splitPair);
  if (fields.length === 1 && fields[0]![1] === undefined) return { type: plainType, attributes: { [key]: text } };
  const attributes: Record<string, string> = {};
  for (const [name, value] of fields) {
    if (value === undefined) throw new UsageError(`invalid value ${text} for --${flag}: ${name} has no value`);
    attributes[name.toLowerCase()] = value;
  }
  const { type, ...rest } = attributes;
  if (type === undefined) throw new UsageError(`type required for --${flag}: ${text}`);
  return { type, attributes: rest };
}

function outputsOf(flags: Flags, standardOutput: NonNullable<BuildOutput['destination']>): BuildOutput[] {
  const outputs = flags.output.map((text) => outputOf(text, standardOutput));
  if (flags.push) pushed(outputs);
  if (flags.load && !outputs.some(({ type }) => type === 'image')) outputs.push({ type: 'image', attributes: {} });
  return outputs.length === 0 ? [{ type: 'image', attributes: {} }] : outputs;
}

/** An image output that is also pushed; made when there is none. */
function pushed(outputs: BuildOutput[]): void {
  const image = outputs.findIndex(({ type }) => type === 'image');
  const attributes = { ...(image < 0 ? {} : outputs[image]!.attributes), push: 'true' };
  if (image < 0) outputs.push({ type: 'image', attributes });
  else outputs[image] = { type: 'image', attributes };
}

function outputOf(text: string, standardOutput: NonNullable<BuildOutput['destination']>): BuildOutput {
  if (text === '-') return { type: 'tar', attributes: {}, destination: standardOutput };
  const { type, attributes } = typed('output', text, 'local', 'dest');
  if (type === 'registry') return { type: 'image', attributes: { ...attributes, push: 'true' } };
  if (type === 'moby') return { type: 'image', attributes };
  if (!written.has(type)) return { type, attributes };
  const { dest, ...rest } = attributes;
  if (dest === undefined || dest === '') {
    // As docker: without a file the image goes into the store.
    if (type === 'docker') return { type: 'image', attributes: rest };
    if (type === 'local') throw new UsageError('dest is required for local output');
  }
  if (dest === undefined || dest === '' || dest === '-') return { type, attributes: rest, destination: standardOutput };
  const isFolder = type === 'local' || rest['tar'] === 'false';
  return { type, attributes: rest, destination: isFolder ? { folder: dest } : { file: dest } };
}

function attestationsOf(flags: Flags): Record<string, string> {
  const found: Record<string, string> = {};
  for (const text of flags.attest) {
    const fields = splitFields(text).map(splitPair);
    const type = fields.find(([name]) => name === 'type')?.[1];
    if (!type) throw new UsageError(`attestation type not specified: ${text}`);
    found[type] = fields
      .filter(([name]) => name !== 'type')
      .map(([name, value]) => `${name}=${value ?? ''}`)
      .join(',');
  }
  for (const type of ['provenance', 'sbom'] as const) {
    const value = flags[type];
    if (value === undefined) continue;
    if (value === 'false') found[type] = 'disabled=true';
    else found[type] = value === 'true' || value === '' ? '' : value;
  }
  return Object.fromEntries(Object.entries(found).filter(([, value]) => !/(^|,)disabled=true(,|$)/.test(value)));
}

function secondsOf(text: string): number {
  if (!/^\d{1,12}$/.test(text))
    throw new UsageError(`invalid SOURCE_DATE_EPOCH ${JSON.stringify(text)}: want seconds since 1970`);
  return Number(text);
}
