import type { LicenseList } from './licenses.ts';
import type { Catalogue, CataloguedPackage } from './package.ts';
import { type BomOrigin, type BomSubject, documentUuid, imagePurl, timestamp } from './subject.ts';

/** A catalogue as a CycloneDX 1.6 JSON document. The same input gives the same bytes. */
export function cyclonedxDocument(
  subject: BomSubject,
  catalogue: Catalogue,
  origin: BomOrigin,
  licenses: LicenseList,
): object {
  const image = imagePurl(subject);
  const references = bomRefs(catalogue.packages);
  const components: object[] = catalogue.packages.map((found, at) =>
    component(found, references[at]!, subject, licenses),
  );
  if (catalogue.distribution?.id) components.unshift(distribution(catalogue.distribution));
  const contained = components.map((each) => (each as { 'bom-ref': string })['bom-ref']);
  return {
    $schema: 'http://cyclonedx.org/schema/bom-1.6.schema.json',
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    serialNumber: `urn:uuid:${documentUuid(subject, origin, catalogue, 'cyclonedx')}`,
    version: 1,
    metadata: {
      timestamp: timestamp(origin.created),
      tools: { components: [{ type: 'application', name: 'tare', version: origin.toolVersion }] },
      component: {
        'bom-ref': image,
        type: 'container',
        name: subject.name,
        version: subject.digest,
        purl: image,
        properties: [
          { name: 'tare:image:id', value: subject.id },
          { name: 'tare:image:os', value: subject.os },
          { name: 'tare:image:architecture', value: subject.architecture },
          ...subject.layers.map(({ diffID }, at) => ({ name: `tare:image:layer:${at}:diffID`, value: diffID })),
        ],
      },
    },
    components,
    dependencies: [{ ref: image, dependsOn: contained }, ...contained.map((ref) => ({ ref }))],
  };
}

/** bom-refs must differ: a package that lies in two places gets the place behind its purl. */
function bomRefs(packages: readonly CataloguedPackage[]): string[] {
  const seen = new Set<string>();
  return packages.map(({ purl, path }) => {
    const reference = seen.has(purl) ? `${purl}#${encodeURI(path.toWellFormed())}` : purl;
    seen.add(purl);
    return reference;
  });
}

const distribution = ({ id, versionId, prettyName }: NonNullable<Catalogue['distribution']>) => ({
  'bom-ref': `os:${id}@${versionId}`,
  type: 'operating-system',
  name: id,
  version: versionId,
  ...(prettyName === '' ? {} : { description: prettyName }),
});

function component(found: CataloguedPackage, reference: string, subject: BomSubject, licenses: LicenseList): object {
  const { digest, diffID } = subject.layers[found.layer]!;
  const [group, name] = groupAndName(found);
  const properties = [
    { name: 'tare:package:type', value: found.type },
    { name: 'tare:layer:diffID', value: diffID },
    { name: 'tare:layer:digest', value: digest },
    ...(found.source ? [{ name: 'tare:package:source', value: `${found.source.name}@${found.source.version}` }] : []),
    ...(found.ownedBy ? [{ name: 'tare:package:ownedBy', value: found.ownedBy }] : []),
  ];
  return {
    'bom-ref': reference,
    type: 'library',
    ...(found.supplier ? { supplier: { name: found.supplier } } : {}),
    ...(group === '' ? {} : { group }),
    name,
    version: found.version,
    ...licensesOf(found, licenses),
    purl: found.purl,
    evidence: { occurrences: [{ location: `/${found.path}` }] },
    properties,
  };
}

function groupAndName({ type, name }: CataloguedPackage): [group: string, name: string] {
  const at = type === 'maven' ? name.indexOf(':') : type === 'npm' && name.startsWith('@') ? name.indexOf('/') : -1;
  return at === -1 ? ['', name] : [name.slice(0, at), name.slice(at + 1)];
}

/** An expression where SPDX knows all of it, else the names as declared. */
function licensesOf(found: CataloguedPackage, licenses: LicenseList): { licenses?: object[] } {
  const { expression, extracted } = licenses.spdx(found.licenses);
  if (expression === undefined) return {};
  if (extracted.size === 0) return { licenses: [{ expression }] };
  return { licenses: found.licenses.map((name) => ({ license: { name } })) };
}
