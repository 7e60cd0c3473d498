import { createHash } from 'node:crypto';
import type { LicenseList } from './licenses.ts';
import type { Catalogue, CataloguedPackage, EvidenceFile } from './package.ts';
import {
  type BomFiles,
  type BomOrigin,
  type BomSubject,
  documentUuid,
  imagePurl,
  isImage,
  timestamp,
} from './subject.ts';

/** Letters, digits, dots and dashes, told apart by a hash of what it stands for (SPDX 2.3, 7.2). */
const idOf = (kind: string, label: string, ...identity: (string | number)[]): string => {
  const readable = label.replaceAll(/[^A-Za-z0-9.-]+/g, '-').slice(0, 60);
  const hash = createHash('sha256').update(identity.join('\0')).digest('hex').slice(0, 16);
  return `SPDXRef-${kind}-${readable}-${hash}`;
};

const rootId = (subject: BomFiles): string => (isImage(subject) ? 'SPDXRef-Image' : 'SPDXRef-Files');
const distributionId = 'SPDXRef-Distribution';
const fileId = (path: string, layer: number): string => idOf('File', path, path, layer);
/** Where an archive's own packages are found is the outermost file. */
const outermost = ({ path }: CataloguedPackage, files: ReadonlyMap<string, EvidenceFile>): EvidenceFile | undefined => {
  for (let end = path.length; end > 0; end = path.lastIndexOf(':', end - 1)) {
    const file = files.get(path.slice(0, end));
    if (file !== undefined) return file;
  }
  return undefined;
};

/** A catalogue as an SPDX 2.3 JSON document, of an image or of files that are none. The same input gives the same bytes. */
export function spdxDocument(
  subject: BomFiles | BomSubject,
  catalogue: Catalogue,
  origin: BomOrigin,
  licenses: LicenseList,
): object {
  const files = new Map(catalogue.files.map((file) => [file.path, file]));
  const extracted = new Map<string, string>();
  const root = rootId(subject);
  const relationships: object[] = [relation('SPDXRef-DOCUMENT', 'DESCRIBES', root)];
  const packages: object[] = [isImage(subject) ? imagePackage(subject) : filesPackage(subject)];
  if (catalogue.distribution?.id) {
    packages.push(distributionPackage(catalogue.distribution));
    relationships.push(relation(root, 'CONTAINS', distributionId));
  }
  for (const found of catalogue.packages) {
    const id = idOf('Package', `${found.type}-${found.name}`, found.purl, found.path, found.layer);
    const license = licenses.spdx(found.licenses);
    for (const [key, name] of license.extracted) extracted.set(key, name);
    packages.push(spdxPackage(id, found, subject, license.expression));
    relationships.push(relation(root, 'CONTAINS', id));
    const file = outermost(found, files);
    if (file !== undefined) {
      const comment = 'evident by: the file says that the package is installed';
      relationships.push({ ...relation(id, 'OTHER', fileId(file.path, file.layer)), comment });
    }
  }
  for (const file of catalogue.files) relationships.push(relation(root, 'CONTAINS', fileId(file.path, file.layer)));
  return {
    spdxVersion: 'SPDX-2.3',
    dataLicense: 'CC0-1.0',
    SPDXID: 'SPDXRef-DOCUMENT',
    name: subject.name,
    documentNamespace: `https://spdx.org/spdxdocs/tare-${documentUuid(subject, origin, catalogue, 'spdx')}`,
    creationInfo: { created: timestamp(origin.created), creators: [`Tool: tare-${origin.toolVersion}`] },
    packages,
    files: catalogue.files.map((file) => spdxFile(file, subject)),
    relationships,
    ...(extracted.size === 0 ? {} : { hasExtractedLicensingInfos: extractedLicenses(extracted) }),
  };
}

const relation = (spdxElementId: string, relationshipType: string, relatedSpdxElement: string) => ({
  spdxElementId,
  relationshipType,
  relatedSpdxElement,
});

const purlReference = (purl: string) => ({
  referenceCategory: 'PACKAGE-MANAGER',
  referenceType: 'purl',
  referenceLocator: purl,
});

const undeclared = {
  downloadLocation: 'NOASSERTION',
  filesAnalyzed: false,
  licenseConcluded: 'NOASSERTION',
  copyrightText: 'NOASSERTION',
};

const filesPackage = (subject: BomFiles) => ({
  SPDXID: rootId(subject),
  name: subject.name,
  primaryPackagePurpose: 'FILE',
  ...undeclared,
  licenseDeclared: 'NOASSERTION',
});

const imagePackage = (subject: BomSubject) => ({
  SPDXID: rootId(subject),
  name: subject.name,
  versionInfo: subject.digest,
  primaryPackagePurpose: 'CONTAINER',
  ...undeclared,
  licenseDeclared: 'NOASSERTION',
  checksums: [{ algorithm: 'SHA256', checksumValue: subject.digest.slice('sha256:'.length) }],
  externalRefs: [purlReference(imagePurl(subject))],
});

const distributionPackage = ({ id, versionId, prettyName }: NonNullable<Catalogue['distribution']>) => ({
  SPDXID: distributionId,
  name: id,
  ...(versionId === '' ? {} : { versionInfo: versionId }),
  ...(prettyName === '' ? {} : { summary: prettyName }),
  primaryPackagePurpose: 'OPERATING-SYSTEM',
  ...undeclared,
  licenseDeclared: 'NOASSERTION',
});

const spdxPackage = (id: string, found: CataloguedPackage, subject: BomFiles, license: string | undefined) => ({
  SPDXID: id,
  name: found.name,
  versionInfo: found.version,
  ...(found.supplier ? { supplier: supplierOf(found.supplier, found.type) } : {}),
  ...undeclared,
  licenseDeclared: license ?? 'NOASSERTION',
  sourceInfo: `found in /${found.path}${ofLayer(subject.layers[found.layer])}${
    found.ownedBy === undefined ? '' : `, which the package ${found.ownedBy} brought`
  }`,
  externalRefs: [purlReference(found.purl)],
});

const ofLayer = (layer: BomFiles['layers'][number]): string => (layer === undefined ? '' : ` of layer ${layer.diffID}`);

/** `Person: NAME (ADDRESS)` (SPDX 2.3, 7.5). Distributions' vendors and maintainers' teams are organisations. */
function supplierOf(text: string, type: CataloguedPackage['type']): string {
  const [, name, address] = /^(.*?)\s*<([^<>]+)>/.exec(text) ?? [];
  const kind =
    type === 'rpm' || /team|maintainers|developers|project|inc\b|group/i.test(text) ? 'Organization' : 'Person';
  return name ? `${kind}: ${name} (${address})` : `${kind}: ${text}`;
}

const spdxFile = (file: EvidenceFile, subject: BomFiles) => ({
  SPDXID: fileId(file.path, file.layer),
  fileName: `/${file.path}`,
  checksums: [
    { algorithm: 'SHA1', checksumValue: file.sha1 },
    { algorithm: 'SHA256', checksumValue: file.sha256 },
  ],
  licenseConcluded: 'NOASSERTION',
  copyrightText: 'NOASSERTION',
  ...placeOf(subject.layers[file.layer]),
});

const placeOf = (layer: BomFiles['layers'][number]) =>
  layer === undefined ? {} : { comment: `layer: ${layer.diffID} (blob ${layer.digest})` };

const extractedLicenses = (extracted: ReadonlyMap<string, string>) =>
  [...extracted]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([licenseId, name]) => ({ licenseId, name, extractedText: name }));
