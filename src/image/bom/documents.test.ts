import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type { Ajv as AjvClass } from 'ajv';
import type { default as AddFormats } from 'ajv-formats';
import { beforeAll, describe, expect, test } from 'vitest';
import type { DiffID, Digest } from '../../storage/index.ts';
import { cyclonedxDocument } from './cyclonedx.ts';
import { catalogueOf, zipOf } from './files.fixture.ts';
import { LicenseList } from './licenses.ts';
import type { Catalogue } from './package.ts';
import { spdxDocument } from './spdx.ts';
import { type BomSubject, imagePurl } from './subject.ts';

const require = createRequire(import.meta.url);

const sha = (digit: string) => `sha256:${digit.repeat(64)}`;
const subject: BomSubject = {
  name: 'registry.example:5000/team/app:1.0',
  digest: sha('a') as Digest,
  id: sha('b') as Digest,
  architecture: 'amd64',
  os: 'linux',
  layers: [0, 1].map((at) => ({ digest: sha(String(at)) as Digest, diffID: sha(String(at + 2)) as DiffID })),
};
const origin = { toolVersion: '1.2.3', created: new Date('2026-01-02T03:04:05.678Z') };

let catalogue: Catalogue;
let licenses: LicenseList;
beforeAll(async () => {
  licenses = await LicenseList.load();
  const pom = zipOf({ 'META-INF/maven/g/a/pom.properties': 'groupId=g\nartifactId=a\nversion=1\n' });
  catalogue = await catalogueOf(
    [
      {
        'etc/os-release': 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12"\n',
        'var/lib/dpkg/status':
          'Package: a\nVersion: 1:1+b1\nArchitecture: amd64\nMaintainer: A Team <a@b.org>\nSource: s (1)\n\nPackage: b\nVersion: 2\n\n',
        'usr/share/doc/a/copyright': 'Files: *\nLicense: GPL-2+ and strange\n',
        'usr/share/doc/b/copyright': 'Files: *\nLicense: Expat\n',
        'opt/x.jar': pom,
        'opt/all.war': zipOf({ 'WEB-INF/lib/x.jar': pom }),
      },
      {
        'app one/node_modules/@s/n/package.json':
          '{"name":"@s/n","version":"1.0.0","license":"(MIT OR Apache-2.0)","author":"Ä <x@y>"}',
        'app two/node_modules/@s/n/package.json': '{"name":"@s/n","version":"1.0.0","license":"My own"}',
      },
    ],
    { hashesFiles: true },
  );
});

const texts = () =>
  [spdxDocument, cyclonedxDocument].map((write) => JSON.stringify(write(subject, catalogue, origin, licenses)));

test('the same input gives the same bytes, another one another name', () => {
  expect(texts()).toEqual(texts());
  const other = { ...catalogue, packages: catalogue.packages.slice(1) };
  for (const write of [spdxDocument, cyclonedxDocument]) {
    const name = (of: Catalogue) => {
      const { documentNamespace, serialNumber } = write(subject, of, origin, licenses) as Record<string, string>;
      return documentNamespace ?? serialNumber;
    };
    expect(name(catalogue)).not.toBe(name(other));
  }
});

test('an image has a purl', () => {
  expect(imagePurl(subject)).toBe(
    `pkg:oci/app@sha256%3A${'a'.repeat(64)}?arch=amd64&repository_url=registry.example%3A5000%2Fteam%2Fapp`,
  );
});

describe('CycloneDX', () => {
  test('is valid by its own schema', () => {
    const { Ajv } = require('ajv') as { Ajv: typeof AjvClass };
    const addFormats = require('ajv-formats') as typeof AddFormats;
    const folder = join(dirname(require.resolve('@cyclonedx/cyclonedx-library/package.json')), 'res/schema');
    const schema = (name: string) => JSON.parse(readFileSync(join(folder, name), 'utf8')) as object;
    const ajv = new Ajv({ strict: false, allErrors: true });
    addFormats.default(ajv);
    // Their own, which no package of formats knows; nothing of ours is of these.
    for (const format of ['idn-email', 'iri-reference']) ajv.addFormat(format, true);
    for (const name of [
      'spdx.SNAPSHOT.schema.json',
      'jsf-0.82.SNAPSHOT.schema.json',
      'cryptography-defs.SNAPSHOT.schema.json',
    ]) {
      ajv.addSchema(schema(name), `http://cyclonedx.org/schema/${name}`);
    }
    const validate = ajv.compile(schema('bom-1.6.SNAPSHOT.schema.json'));
    const document = cyclonedxDocument(subject, catalogue, origin, licenses);
    expect(validate(JSON.parse(JSON.stringify(document))), JSON.stringify(validate.errors)).toBe(true);
    expect(validate({ ...document, specVersion: 6 })).toBe(false);
  });

  test('says what, from where and with which licence', () => {
    const { components, dependencies, metadata } = cyclonedxDocument(subject, catalogue, origin, licenses) as {
      components: Record<string, unknown>[];
      dependencies: { ref: string; dependsOn?: string[] }[];
      metadata: { timestamp: string };
    };
    expect(metadata.timestamp).toBe('2026-01-02T03:04:05Z');
    expect(components[0]).toMatchObject({ type: 'operating-system', name: 'debian', version: '12' });
    const references = components.map((component) => component['bom-ref']);
    expect(new Set(references).size).toBe(references.length);
    expect(dependencies[0]!.dependsOn).toEqual(references);
    expect(components.find(({ name }) => name === 'a')).toMatchObject({
      supplier: { name: 'A Team <a@b.org>' },
      licenses: [{ license: { name: 'GPL-2+' } }, { license: { name: 'strange' } }],
      evidence: { occurrences: [{ location: '/var/lib/dpkg/status' }] },
      properties: expect.arrayContaining([
        { name: 'tare:layer:diffID', value: sha('2') },
        { name: 'tare:package:source', value: 's@1' },
      ]),
    });
    expect(components.find(({ group }) => group === '@s')).toMatchObject({
      name: 'n',
      purl: 'pkg:npm/%40s/n@1.0.0',
      licenses: [{ expression: '(MIT OR Apache-2.0)' }],
    });
  });
});

/** What SPDX 2.3 says of JSON documents (spdx-schema.json and chapters 6 to 11), as far as ours has it. */
describe('SPDX', () => {
  interface Element {
    SPDXID: string;
    [key: string]: unknown;
  }
  interface Document extends Element {
    packages: Element[];
    files: Element[];
    relationships: { spdxElementId: string; relationshipType: string; relatedSpdxElement: string; comment?: string }[];
    hasExtractedLicensingInfos: { licenseId: string; extractedText: string }[];
    creationInfo: { created: string; creators: string[] };
  }
  const document = () => JSON.parse(JSON.stringify(spdxDocument(subject, catalogue, origin, licenses))) as Document;

  test('the document', () => {
    const {
      packages: _,
      files: _files,
      relationships: _relationships,
      hasExtractedLicensingInfos: _infos,
      ...head
    } = document();
    expect(head).toEqual({
      spdxVersion: 'SPDX-2.3',
      dataLicense: 'CC0-1.0',
      SPDXID: 'SPDXRef-DOCUMENT',
      name: subject.name,
      documentNamespace: expect.stringMatching(
        /^https:\/\/spdx\.org\/spdxdocs\/tare-[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
      ),
      creationInfo: { created: '2026-01-02T03:04:05Z', creators: ['Tool: tare-1.2.3'] },
    });
  });

  test('no key that SPDX does not know, and all that it wants', () => {
    const { packages, files, relationships, hasExtractedLicensingInfos } = document();
    const isMadeOf = (elements: readonly object[], required: string[], optional: string[]) => {
      expect(elements.length).toBeGreaterThan(0);
      for (const element of elements) {
        const keys = Object.keys(element);
        expect(keys).toEqual(expect.arrayContaining(required));
        expect([...required, ...optional]).toEqual(expect.arrayContaining(keys));
      }
    };
    const licences = ['licenseConcluded', 'copyrightText'];
    isMadeOf(
      packages,
      ['SPDXID', 'name', 'downloadLocation', 'filesAnalyzed', 'licenseDeclared', ...licences],
      ['versionInfo', 'supplier', 'summary', 'sourceInfo', 'checksums', 'externalRefs', 'primaryPackagePurpose'],
    );
    isMadeOf(files, ['SPDXID', 'fileName', 'checksums'], ['comment', ...licences]);
    isMadeOf(relationships, ['spdxElementId', 'relationshipType', 'relatedSpdxElement'], ['comment']);
    isMadeOf(hasExtractedLicensingInfos, ['licenseId', 'extractedText'], ['name']);
  });

  test('every element has an id of its own, and every relationship leads to one', () => {
    const { packages, files, relationships } = document();
    const ids = ['SPDXRef-DOCUMENT', ...[...packages, ...files].map(({ SPDXID }) => SPDXID)];
    expect(new Set(ids).size).toBe(ids.length);
    for (const id of ids) expect(id).toMatch(/^SPDXRef-[A-Za-z0-9.-]+$/);
    for (const { spdxElementId, relatedSpdxElement, relationshipType } of relationships) {
      expect(ids).toContain(spdxElementId);
      expect(ids).toContain(relatedSpdxElement);
      expect(['DESCRIBES', 'CONTAINS', 'OTHER']).toContain(relationshipType);
    }
    const contained = relationships.filter(({ relationshipType }) => relationshipType === 'CONTAINS');
    expect(new Set(contained.map(({ relatedSpdxElement }) => relatedSpdxElement)).size).toBe(ids.length - 2);
  });

  test('packages', () => {
    const { packages, hasExtractedLicensingInfos } = document();
    for (const found of packages) {
      expect(found).toMatchObject({
        downloadLocation: 'NOASSERTION',
        filesAnalyzed: false,
        copyrightText: 'NOASSERTION',
      });
      expect(found.name).not.toBe('');
      if (found.supplier !== undefined) expect(found.supplier).toMatch(/^(Person|Organization): \S/);
      for (const { referenceCategory, referenceType, referenceLocator } of (found.externalRefs ?? []) as Record<
        string,
        string
      >[]) {
        expect([referenceCategory, referenceType]).toEqual(['PACKAGE-MANAGER', 'purl']);
        expect(referenceLocator).toMatch(/^pkg:[a-z]+\/\S+@\S+$/);
      }
      const references = String(found.licenseDeclared).match(/LicenseRef-[A-Za-z0-9.-]+/g) ?? [];
      for (const reference of references) {
        expect(hasExtractedLicensingInfos.map(({ licenseId }) => licenseId)).toContain(reference);
      }
    }
    expect(
      packages.map(({ name, primaryPackagePurpose }) => `${primaryPackagePurpose ?? 'library'} ${name}`).slice(0, 2),
    ).toEqual([`CONTAINER ${subject.name}`, 'OPERATING-SYSTEM debian']);
    expect(packages.find(({ name }) => name === 'a')).toMatchObject({
      versionInfo: '1:1+b1',
      supplier: 'Organization: A Team (a@b.org)',
      licenseDeclared: 'GPL-2.0-or-later AND LicenseRef-strange',
      sourceInfo: `found in /var/lib/dpkg/status of layer ${sha('2')}`,
    });
  });

  test('files, with the layer they come from, and what they say is installed', () => {
    const { packages, files, relationships } = document();
    expect(files.map(({ fileName }) => fileName)).toEqual([
      '/app one/node_modules/@s/n/package.json',
      '/app two/node_modules/@s/n/package.json',
      '/opt/all.war',
      '/opt/x.jar',
      '/var/lib/dpkg/status',
    ]);
    for (const file of files) {
      expect(file.checksums).toEqual([
        { algorithm: 'SHA1', checksumValue: expect.stringMatching(/^[0-9a-f]{40}$/) },
        { algorithm: 'SHA256', checksumValue: expect.stringMatching(/^[0-9a-f]{64}$/) },
      ]);
    }
    expect(files[0]!.comment).toBe(`layer: ${sha('3')} (blob ${sha('1')})`);
    const inside = packages.find(({ sourceInfo }) => String(sourceInfo).includes('all.war:WEB-INF'))!;
    const evidence = relationships.find(
      ({ spdxElementId, relationshipType }) => spdxElementId === inside.SPDXID && relationshipType === 'OTHER',
    );
    expect(evidence).toMatchObject({
      relatedSpdxElement: files[2]!.SPDXID,
      comment: expect.stringContaining('evident by'),
    });
  });
});
