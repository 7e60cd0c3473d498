import { TareError } from '../../errors/index.ts';
import type { VisibleFile } from '../../storage/index.ts';
import type { CataloguedPackage, CatalogueProblem, FoundPackage, OsRelease } from './package.ts';
import { purlOf } from './purl.ts';

const MAX_PACKAGES = 200_000;
const MAX_PROBLEMS = 1_000;
const MAX_NAME = 1_024;
const MAX_TEXT = 512;
const MAX_LICENSES = 64;

type Draft = Omit<CataloguedPackage, 'purl'>;

const control = /[\u0000-\u001f\u007f-\u009f]/;
const controls = new RegExp(control, 'g');

/** Packages found so far, each once, with what is known of where they come from. Checks all foreign text. */
export class Collection {
  readonly #packages = new Map<string, Draft>();
  readonly #problems: CatalogueProblem[] = [];
  readonly #evidence = new Map<string, VisibleFile>();
  /** Packages of applications by the file they were found in, which the distribution may own. */
  readonly #ownable = new Map<string, Draft[]>();

  get hasOwnable(): boolean {
    return this.#ownable.size > 0;
  }

  /** @param inside where in the file, when it is an archive of archives: `:inner.jar` */
  add(found: FoundPackage | undefined, file: VisibleFile, inside = ''): void {
    if (found === undefined) return;
    const { type, name, version, architecture, source } = found;
    if (![name, version, architecture ?? '-', source?.name ?? '-', source?.version ?? '-'].every(isName)) {
      this.problem(file.path, `a ${type} package whose name or version is empty, too long or no text`);
      return;
    }
    const path = `${file.path}${inside}`;
    const key = [type, name, version, architecture, path].join('\0');
    if (this.#packages.has(key)) return;
    if (this.#packages.size >= MAX_PACKAGES) {
      throw new TareError('InvalidArgument', `${file.path}: more than ${MAX_PACKAGES} packages in the image`);
    }
    const licenses = (found.licenses ?? []).map(clean).filter((license) => license !== '');
    const draft: Draft = {
      type,
      name,
      version,
      ...(architecture === undefined ? {} : { architecture }),
      ...(source === undefined ? {} : { source }),
      licenses: [...new Set(licenses)].slice(0, MAX_LICENSES),
      ...(found.supplier === undefined ? {} : { supplier: clean(found.supplier) }),
      path,
      layer: file.layer,
    };
    this.#packages.set(key, draft);
    this.#evidence.set(file.path, file);
    if (type === 'deb' || type === 'apk' || type === 'rpm') return;
    const place = canonicalPath(file.path);
    const others = this.#ownable.get(place);
    if (others === undefined) this.#ownable.set(place, [draft]);
    else others.push(draft);
  }

  /** A package of the distribution brought this file. */
  own(path: string, owner: string): void {
    for (const draft of this.#ownable.get(canonicalPath(path)) ?? []) draft.ownedBy ??= owner;
  }

  problem(path: string, message: string): void {
    if (this.#problems.length < MAX_PROBLEMS) {
      this.#problems.push({ path, message: message.replace(controls, '\uFFFD').slice(0, 2 * MAX_TEXT) });
    }
  }

  /** Files that packages were found in, by path. */
  evidence(): VisibleFile[] {
    return [...this.#evidence.values()].sort((a, b) => compare(a.path, b.path));
  }

  finish(distribution: OsRelease | undefined): { packages: CataloguedPackage[]; problems: CatalogueProblem[] } {
    const packages = [...this.#packages.values()].map((draft) => ({ ...draft, purl: purlOf(draft, distribution) }));
    packages.sort(
      (a, b) =>
        compare(a.type, b.type) ||
        compare(a.name, b.name) ||
        compare(a.version, b.version) ||
        compare(a.purl, b.purl) ||
        compare(a.path, b.path),
    );
    return { packages, problems: this.#problems.toSorted((a, b) => compare(a.path, b.path)) };
  }
}

const isName = (text: string): boolean => text !== '' && text.length <= MAX_NAME && !control.test(text);
const clean = (text: string): string => text.replace(controls, ' ').trim().slice(0, MAX_TEXT);
/** By code units, so that the order is the same everywhere. */
const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** A path as it is since `/bin`, `/lib` and `/sbin` are links into `/usr`: databases still have both. */
function canonicalPath(path: string): string {
  const bare = path.replace(/^(?:\.?\/)+/, '');
  return /^(?:bin|sbin|lib|lib32|lib64|libx32)\//.test(bare) ? `usr/${bare}` : bare;
}
