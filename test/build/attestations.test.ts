import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { withEngine } from '../support/faces.ts';
import { busyboxEntries } from '../support/image.ts';
import { startRegistry, type TestRegistry } from '../support/registry.ts';
import { tunnel } from '../support/registry-tunnel.ts';
import { tar } from '../support/tar.ts';

interface Listed {
  digest: string;
  mediaType: string;
  size: number;
  platform?: { os: string; architecture: string };
  annotations?: Record<string, string>;
}

describe('docker buildx build: what is said about an image', { timeout: 240_000 }, () => {
  const engine = withEngine({ face: 'docker' });
  let registry: TestRegistry;
  const open: AsyncDisposable[] = [];
  let folders = 0;

  beforeAll(async () => {
    registry = await startRegistry();
    open.push(registry, await tunnel(engine(), registry.port));
    const layers = [tar(busyboxEntries())];
    const { manifest } = await registry.seed('base', undefined, { layers });
    const foreign = { architecture: 'arm64', os: 'linux' };
    const other = await registry.seed('base', undefined, { layers, platform: foreign });
    await registry.seedIndex('base', '1', [
      { ...manifest, platform: { architecture: 'amd64', os: 'linux' } },
      { ...other.manifest, platform: foreign },
    ]);
  });
  afterAll(async () => {
    for (const one of open.reverse()) await one[Symbol.asyncDispose]();
  });

  const at = (name: string) => `${registry.address}/${name}`;
  const context = (dockerfile: string, files: Record<string, string> = {}): string => {
    folders += 1;
    const folder = join(engine().root, `context${folders}`);
    mkdirSync(folder);
    for (const [name, text] of Object.entries({ Dockerfile: dockerfile, ...files })) {
      writeFileSync(join(folder, name), text);
    }
    return folder;
  };
  const buildx = (...args: string[]) =>
    engine().docker(['buildx', 'build', '--progress', 'plain', ...args], { timeoutMs: 120_000 });
  const inspect = async (name: string, format: string) =>
    JSON.parse((await engine().docker(['buildx', 'imagetools', 'inspect', at(name), '--format', format])).stdout);
  const index = async (name: string): Promise<{ manifests: Listed[]; annotations?: object }> =>
    JSON.parse((await engine().docker(['buildx', 'imagetools', 'inspect', '--raw', at(name)])).stdout);

  const manifestOf = async (repository: string, { digest, mediaType }: Listed): Promise<{ layers: Listed[] }> => {
    const { body } = await registry.request('GET', `/v2/${repository}/manifests/${digest}`, { accept: mediaType });
    return JSON.parse(body.toString());
  };

  test('provenance of the smallest kind is there by default, and buildx shows it', async () => {
    const folder = context(`FROM ${at('base:1')}\nARG TOKEN\nRUN echo a > /a\n`);
    const metadata = join(folder, 'metadata.json');
    const args = ['--push', '-t', at('app:1'), '--build-arg', 'TOKEN=hush', '--metadata-file', metadata, folder];
    await buildx(...args);
    const { manifests } = await index('app:1');
    expect(manifests.map(({ platform }) => platform?.architecture)).toEqual(['amd64', 'unknown']);
    expect(manifests[1]!.annotations).toEqual({
      'vnd.docker.reference.digest': manifests[0]!.digest,
      'vnd.docker.reference.type': 'attestation-manifest',
    });
    const { SLSA } = await inspect('app:1', '{{json .Provenance}}');
    expect(SLSA.buildDefinition.externalParameters.request).toMatchObject({ frontend: 'dockerfile.v0' });
    expect(JSON.stringify(SLSA)).not.toContain('hush');
    expect(SLSA.buildDefinition.resolvedDependencies).toEqual([
      {
        uri: expect.stringMatching(/^pkg:docker\/.*base@1\?platform=linux%2Famd64$/),
        digest: { sha256: expect.any(String) },
      },
    ]);
    const told = JSON.parse(readFileSync(metadata, 'utf8'))['buildx.build.provenance'];
    expect(told).toMatchObject({ invocation: { parameters: { frontend: 'dockerfile.v0' } } });
  });

  test('all of it, and a bill of materials of our own', async () => {
    const status = 'Package: tool\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.2-3\n\n';
    const folder = context(
      [
        `FROM ${at('base:1')} AS base`,
        'RUN --mount=type=secret,id=key --network=none echo a > /a',
        'FROM base',
        'COPY status /var/lib/dpkg/status',
      ].join('\n'),
      { status },
    );
    const args = ['--provenance', 'mode=max,version=v0.2,builder-id=https://example.org/b', '--sbom=true'];
    await buildx('--push', '-t', at('app:2'), ...args, '--label', 'of=max', folder);
    const { SLSA } = await inspect('app:2', '{{json .Provenance}}');
    expect(SLSA).toMatchObject({
      buildType: 'https://mobyproject.org/buildkit@v1',
      builder: { id: 'https://example.org/b' },
      invocation: {
        configSource: { entryPoint: 'Dockerfile' },
        parameters: {
          args: { 'label:of': 'max' },
          secrets: [{ id: 'key', optional: true }],
          locals: [{ name: 'context' }, { name: 'dockerfile' }],
        },
      },
      metadata: {
        completeness: { parameters: true, environment: true, materials: false },
        reproducible: false,
        'https://mobyproject.org/buildkit@v1#hermetic': false,
      },
    });
    const steps: { id: string; op: { Op: Record<string, object> }; inputs?: string[] }[] =
      SLSA.buildConfig.llbDefinition;
    const run = steps.find(({ op }) => 'exec' in op.Op)!;
    expect(run).toMatchObject({
      op: { Op: { exec: { meta: { args: ['/bin/sh', '-c', 'echo a > /a'] }, network: 2 } } },
    });
    expect(steps.at(-1)).toEqual({ id: `step${steps.length - 1}`, op: { Op: {} }, inputs: [expect.any(String)] });
    const told = SLSA.metadata['https://mobyproject.org/buildkit@v1#metadata'];
    const [{ data, filename }] = told.source.infos;
    expect([filename, Buffer.from(data, 'base64').toString()]).toEqual([
      'Dockerfile',
      expect.stringContaining('FROM base'),
    ]);
    expect(told.source.locations[run.id].locations[0].ranges[0].start.line).toBe(2);
    const { manifests } = await index('app:2');
    const image = await manifestOf('app', manifests[0]!);
    expect(told.layers[`${run.id}:0`]).toEqual([image.layers.slice(0, 2)]);
    const { SPDX } = await inspect('app:2', '{{json .SBOM}}');
    expect(SPDX.spdxVersion).toBe('SPDX-2.3');
    const found = SPDX.packages.find(({ name }: { name: string }) => name === 'tool');
    expect(found).toMatchObject({
      versionInfo: '1.2-3',
      sourceInfo: expect.stringMatching(/^found in \/var\/lib\/dpkg\/status of layer sha256:/),
    });
  });

  test('a scanner of the user’s writes the bill, and sees what the Dockerfile lets it see', async () => {
    const scan = [
      '#!/bin/sh',
      'cd "$BUILDKIT_SCAN_SOURCE_EXTRAS" && extras=$(ls | tr "\\n" " ")',
      'for tree in core/sbom extras/sbom-context extras/sbom-tools; do',
      '  seen="$seen $tree:$(cd /run/src/$tree && ls -d made used here 2>/dev/null | tr "\\n" "+")"; done',
      'printf \'{"_type":"https://in-toto.io/Statement/v0.1","predicateType":"https://spdx.dev/Document","subject":[],"predicate":',
      '{"spdxVersion":"SPDX-2.3","name":"%s","comment":"%s|%s|%s"}}\' "$BUILDKIT_SCAN_NAME" "$BUILDKIT_SCAN_SOURCE" "$extras" "$seen" \\',
      '  > "$BUILDKIT_SCAN_DESTINATION/own.spdx.json"',
    ];
    const scanner = context(`FROM ${at('base:1')}\nCOPY --chmod=755 scan /scan\nENTRYPOINT ["/scan"]\n`, {
      scan: scan.join('\n'),
    });
    await buildx('--push', '-t', at('scanner:1'), scanner);
    const folder = context(
      [
        'ARG BUILDKIT_SBOM_SCAN_CONTEXT=true',
        `FROM ${at('base:1')} AS tools`,
        'ARG BUILDKIT_SBOM_SCAN_STAGE=true',
        'RUN touch /used',
        `FROM ${at('base:1')}`,
        'ARG BUILDKIT_SBOM_SCAN_CONTEXT',
        'COPY --from=tools /used /made',
      ].join('\n'),
      { here: '' },
    );
    const sbom = `generator=${at('scanner:1')},NAME=of-the-user`;
    await buildx('--push', '-t', at('app:4'), '--attest', `type=sbom,${sbom}`, '--provenance=false', folder);
    const { SPDX } = await inspect('app:4', '{{json .SBOM}}');
    expect(SPDX).toMatchObject({
      name: 'of-the-user',
      comment:
        '/run/src/core/sbom|sbom-context sbom-tools | core/sbom:made+ extras/sbom-context:here+ extras/sbom-tools:used+',
    });
  });

  test('our own bill of a folder, and of the context if the Dockerfile lets it be seen', async () => {
    const lock = { lockfileVersion: 3, packages: { '': {}, 'node_modules/dep': { version: '4.5.6' } } };
    const folder = context(
      `FROM ${at('base:1')}\nARG BUILDKIT_SBOM_SCAN_CONTEXT=true\nCOPY package-lock.json /other\n`,
      {
        'package-lock.json': JSON.stringify(lock),
      },
    );
    const out = join(folder, 'out');
    await buildx('--sbom=true', '--provenance=false', '--output', out, folder);
    const read = (name: string) => JSON.parse(readFileSync(join(out, name), 'utf8'));
    const names = (statement: { predicate: { packages: { name: string }[] } }) =>
      statement.predicate.packages.map(({ name }) => name);
    expect(names(read('sbom.spdx.json'))).toEqual(['sbom']);
    expect(names(read('sbom-context.spdx.json'))).toEqual(['sbom-context', 'dep']);
    expect(read('sbom.spdx.json').subject).toContainEqual({
      name: 'other',
      digest: { sha256: expect.any(String) },
    });
  });

  test('two platforms become one index, here and in a registry', async () => {
    const folder = context(
      [
        `FROM --platform=$BUILDPLATFORM ${at('base:1')} AS make`,
        'ARG TARGETPLATFORM BUILDPLATFORM',
        'RUN echo $BUILDPLATFORM to $TARGETPLATFORM > /made',
        `FROM ${at('base:1')}`,
        'COPY --from=make /made /made',
        'CMD ["cat", "/made"]',
      ].join('\n'),
    );
    const platforms = ['--platform', 'linux/amd64,linux/arm64'];
    await buildx('--push', '-t', at('app:3'), ...platforms, '--provenance=false', folder);
    const { manifests } = await index('app:3');
    expect(manifests.map(({ platform }) => platform?.architecture)).toEqual(['amd64', 'arm64']);
    const metadata = join(folder, 'metadata.json');
    await buildx('-t', 'local:3', ...platforms, '--metadata-file', metadata, folder);
    expect(Object.keys(JSON.parse(readFileSync(metadata, 'utf8')))).toContain('buildx.build.provenance/linux/arm64');
    const { stdout } = await engine().docker(['image', 'ls', '--tree', 'local:3']);
    expect(stdout).toMatch(/linux\/amd64.*linux\/arm64/s);
    expect((await engine().docker(['run', '--rm', '--network', 'none', 'local:3'])).stdout).toBe(
      'linux/amd64 to linux/amd64\n',
    );
    const { stdout: architecture } = await engine().docker([
      ...['image', 'inspect', '--platform', 'linux/arm64', '--format', '{{.Architecture}}', 'local:3'],
    ]);
    expect(architecture).toBe('arm64\n');
    // The index goes where the image goes, with what is said about it.
    await engine().docker(['tag', 'local:3', at('pushed:3')]);
    await engine().docker(['push', '--quiet', at('pushed:3')]);
    const pushed = await index('pushed:3');
    expect(pushed.manifests.map(({ platform }) => platform?.architecture)).toEqual([
      'amd64',
      'arm64',
      'unknown',
      'unknown',
    ]);
    const out = join(engine().root, 'out');
    await buildx('--output', out, ...platforms, '--provenance=mode=min', folder);
    expect(readFileSync(join(out, 'linux_arm64/made'), 'utf8')).toBe('linux/amd64 to linux/arm64\n');
    const { subject, predicateType } = JSON.parse(readFileSync(join(out, 'linux_arm64/provenance.json'), 'utf8'));
    expect(predicateType).toBe('https://slsa.dev/provenance/v1');
    expect(subject).toContainEqual({ name: 'made', digest: { sha256: expect.any(String) } });
  });

  test('annotations stand where they are asked for, and attestations may be artifacts', async () => {
    const folder = context(`FROM ${at('base:1')}\nCOPY Dockerfile /\n`);
    const annotations = ['manifest:a=1', 'index:b=2', 'manifest-descriptor[linux/amd64]:c=3'];
    const output = `type=image,name=${at('app:5')},push=true,oci-artifact=true,compression=zstd,compression-level=3,force-compression=true`;
    await buildx('--provenance=mode=min', ...annotations.flatMap((one) => ['--annotation', one]), '-o', output, folder);
    const { annotations: own, manifests } = await index('app:5');
    expect(own).toEqual({ b: '2' });
    expect(manifests[0]!.annotations).toEqual({ c: '3' });
    const [image, said] = await Promise.all(manifests.map((one) => manifestOf('app', one)));
    expect(image).toMatchObject({ annotations: { a: '1' } });
    expect(image!.layers.map(({ mediaType }) => mediaType)).toEqual(
      Array.from({ length: 2 }, () => 'application/vnd.oci.image.layer.v1.tar+zstd'),
    );
    expect(said).toMatchObject({
      artifactType: 'application/vnd.docker.attestation.manifest.v1+json',
      config: { mediaType: 'application/vnd.oci.empty.v1+json', size: 2 },
      subject: { digest: manifests[0]!.digest },
    });
    expect(await inspect('app:5', '{{json .Provenance}}')).toMatchObject({
      SLSA: { runDetails: { builder: { id: '' } } },
    });
  });

  test('an image without a name is known by its digest, if a repository is given for that', async () => {
    const folder = context(`FROM ${at('base:1')}\nLABEL of=${folders}\n`);
    await buildx('-o', 'type=image,dangling-name-prefix=dangling.test/x', '--provenance=false', folder);
    await buildx('-o', 'type=image,name=named.test/y:1,name-canonical=true', '--provenance=false', folder);
    const { stdout } = await engine().docker([
      ...['image', 'inspect', '--format', '{{json .RepoDigests}} {{json .RepoTags}}', 'named.test/y:1'],
    ]);
    expect(stdout).toMatch(/^\["dangling.test\/x@sha256:\w+","named.test\/y@sha256:\w+"\] \["named.test\/y:1"\]\n$/);
  });

  test('a step for a platform that nothing here can run is refused, with what would help', async () => {
    const dockerfile = `FROM ${at('base:1')}\nRUN true\n`;
    const { stderr } = await engine().docker(['buildx', 'build', '--platform', 'linux/arm64', '-'], {
      input: dockerfile,
      expect: 1,
    });
    expect(stderr).toContain('steps for linux/arm64 cannot run on this host (linux/amd64): install an emulator');
  });
});
