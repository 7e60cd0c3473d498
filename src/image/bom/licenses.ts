/** Debian's short names that SPDX spells otherwise (copyright-format 1.0, "Short name"). */
const debianNames = new Map(
  Object.entries({
    expat: 'MIT',
    'bsd-2-clause': 'BSD-2-Clause',
    'bsd-3-clause': 'BSD-3-Clause',
    'bsd-4-clause': 'BSD-4-Clause',
    artistic: 'Artistic-1.0-Perl',
    'artistic-2': 'Artistic-2.0',
    zlib: 'Zlib',
    'python-2': 'Python-2.0',
    psf: 'PSF-2.0',
    'psf-2': 'PSF-2.0',
    'mit license': 'MIT',
    'bsd license': 'BSD-3-Clause',
    'apache 2': 'Apache-2.0',
    'apache 2.0': 'Apache-2.0',
    'apache license 2.0': 'Apache-2.0',
    'apache license, version 2.0': 'Apache-2.0',
    'apache software license': 'Apache-2.0',
  }),
);

/** Licences of a package as SPDX writes them. */
export interface SpdxLicense {
  /** An SPDX license expression (annex D); undefined: nothing is declared. */
  expression: string | undefined;
  /** References in it that are not on SPDX's list, with the name that the package used. */
  extracted: Map<string, string>;
}

/** Turns what packages declare into SPDX expressions. `ids` is SPDX's list. */
export class LicenseList {
  /** By lower case: matching is case-insensitive (annex D.2), writing is not. */
  readonly #ids: Map<string, string>;

  private constructor(ids: readonly string[]) {
    this.#ids = new Map(ids.map((id) => [id.toLowerCase(), id]));
  }

  static async load(): Promise<LicenseList> {
    const [current, deprecated] = await Promise.all([
      import('spdx-license-ids/index.json', { with: { type: 'json' } }),
      import('spdx-license-ids/deprecated.json', { with: { type: 'json' } }),
    ]);
    return new LicenseList([...current.default, ...deprecated.default]);
  }

  /** All that apply: joined by AND. */
  spdx(declared: readonly string[]): SpdxLicense {
    const extracted = new Map<string, string>();
    const parts = declared.map((text) => this.#expression(text, extracted));
    const unique = [...new Set(parts)];
    const joined = unique.map((part) => (unique.length > 1 && / OR /.test(part) ? `(${part})` : part)).join(' AND ');
    return { expression: joined === '' ? undefined : joined, extracted };
  }

  #expression(text: string, extracted: Map<string, string>): string {
    const known = this.#id(text);
    if (known !== undefined) return known;
    return this.#compound(text) ?? reference(text, extracted);
  }

  #id(text: string): string | undefined {
    const lower = text.toLowerCase();
    const name = debianNames.get(lower) ?? this.#ids.get(lower);
    if (name !== undefined) return name;
    // GPL-2+ is GPL-2.0-or-later, GPL-2 is GPL-2.0-only, Apache-2 is Apache-2.0.
    const [, family, major, rest, later] = /^([a-z][a-z-]*?)-(?:v)?(\d+)((?:\.\d+)*)(\+?)$/.exec(lower) ?? [];
    if (family === undefined) return undefined;
    const version = `${major}${rest === '' ? '.0' : rest}`;
    const suffixes = later === '+' ? ['-or-later', ''] : ['-only', ''];
    return suffixes.map((suffix) => this.#ids.get(`${family}-${version}${suffix}`)).find((id) => id !== undefined);
  }

  /** An expression of known parts, as it is; a part that is not known makes it free text. */
  #compound(text: string): string | undefined {
    const tokens = text.match(/\(|\)|[^\s()]+/g) ?? [];
    if (tokens.length < 2 || tokens.length > 100) return undefined;
    const written: string[] = [];
    let depth = 0;
    let wantsName = true;
    for (const token of tokens) {
      const operator = /^(and|or)$/i.test(token) ? token.toUpperCase() : undefined;
      if (token === '(' && wantsName) depth += 1;
      else if (token === ')' && !wantsName && depth > 0) depth -= 1;
      else if (operator !== undefined && !wantsName) wantsName = true;
      else if (operator === undefined && wantsName) {
        const id = this.#id(token);
        if (id === undefined) return undefined;
        written.push(id);
        wantsName = false;
        continue;
      } else return undefined;
      written.push(operator ?? token);
    }
    if (wantsName || depth !== 0) return undefined;
    return written.join(' ').replaceAll('( ', '(').replaceAll(' )', ')');
  }
}

function reference(text: string, extracted: Map<string, string>): string {
  const id = `LicenseRef-${
    text
      .replaceAll(/[^A-Za-z0-9.-]+/g, '-')
      .replaceAll(/^-+|-+$/g, '')
      .slice(0, 100) || 'unnamed'
  }`;
  extracted.set(id, text);
  return id;
}
