/** Whose rules name and version a package; the purl type. */
export type PackageType = 'deb' | 'apk' | 'rpm' | 'npm' | 'pypi' | 'golang' | 'maven';

/** What a cataloguer read about one package. All of it is foreign text. */
export interface FoundPackage {
  type: PackageType;
  /** As its ecosystem writes it: `@scope/name`, `group:artifact`, a module's path. */
  name: string;
  version: string;
  architecture?: string;
  /** What it was built from, where that has a name or version of its own. */
  source?: { name: string; version: string };
  /** As declared, in the ecosystem's own words. */
  licenses?: string[];
  supplier?: string;
}

/** A package of an image, with where it was found. */
export interface CataloguedPackage extends FoundPackage {
  licenses: string[];
  purl: string;
  /** The file that says it is there, with archives on the way after a colon: `app.war:WEB-INF/lib/x.jar`. */
  path: string;
  /** Index of the layer that file comes from, base first. */
  layer: number;
  /** The distribution's package that brought the file, if one did: its fixes come from the distribution, too. */
  ownedBy?: string;
}

/** A file that packages were found in. */
export interface EvidenceFile {
  path: string;
  layer: number;
  sizeBytes: number;
  sha1: string;
  sha256: string;
}

/** What could not be read, so that the list may lack something. */
export interface CatalogueProblem {
  path: string;
  message: string;
}

/** What an image says of its distribution (os-release(5)). */
export interface OsRelease {
  id: string;
  idLike: string[];
  versionId: string;
  name: string;
  prettyName: string;
  versionCodename: string;
}

/** Everything installed in an image, in a stable order. */
export interface Catalogue {
  distribution: OsRelease | undefined;
  packages: CataloguedPackage[];
  files: EvidenceFile[];
  problems: CatalogueProblem[];
}
