import { TareError } from '../../errors/index.ts';
import { formatPlatform, normalized, parsePlatform } from '../../image/index.ts';
import type { Platform } from '../../storage/index.ts';
import type { Attributes } from './attributes.ts';

/** Where an annotation stands in an image. */
type Place = 'manifest' | 'manifest-descriptor' | 'index' | 'index-descriptor';

interface Annotation {
  place: Place;
  /** Of the manifest that it is for; undefined: all. */
  platform: string | undefined;
  key: string;
  value: string;
}

const MAX_ANNOTATIONS = 1000;
/** A manifest with all of them must stay one that registries take. */
const MAX_TOTAL_BYTES = 1 << 20;

const pattern = /^annotation(?:-(manifest|manifest-descriptor|index|index-descriptor))?(?:\[([^\]]*)\])?\.(.*)$/s;

/** Annotations that a client or a frontend asks for. */
export class Annotations {
  readonly #all: Annotation[] = [];
  #bytes = 0;

  /** @throws {TareError} InvalidArgument: a malformed key or platform; too many */
  static of(attributes: Attributes, metadata: ReadonlyMap<string, Uint8Array>): Annotations {
    const annotations = new Annotations();
    // The client's word comes after the frontend's and counts.
    for (const [key, value] of metadata) {
      if (key.startsWith('annotation')) annotations.#add(key, Buffer.from(value).toString('utf8'));
    }
    for (const [rest, value] of attributes.startingWith('annotation')) annotations.#add(`annotation${rest}`, value);
    return annotations;
  }

  /** @returns undefined: none, so that documents do not have an empty object */
  at(place: Place, platform?: Platform): Record<string, string> | undefined {
    const wanted = platform === undefined ? undefined : formatPlatform(normalized(platform));
    const found = this.#all
      .filter((one) => one.place === place && (one.platform === undefined || one.platform === wanted))
      .map(({ key, value }) => [key, value] as const);
    return found.length === 0 ? undefined : Object.fromEntries(found);
  }

  /** Some stand in an index: then one is made even of a single manifest. */
  get wantsIndex(): boolean {
    return this.#all.some(({ place }) => place === 'index');
  }

  /** @throws {TareError} InvalidArgument: one is for a platform that is none of several */
  requirePlatforms(platforms: readonly Platform[]): void {
    // Of a single image the others' are left out: one set of them is given to builds of one platform, too.
    if (platforms.length < 2) return;
    const known = platforms.map((one) => formatPlatform(normalized(one)));
    const lost = this.#all.find(({ platform }) => platform !== undefined && !known.includes(platform));
    if (lost === undefined) return;
    throw new TareError(
      'InvalidArgument',
      `invalid annotation: no platform ${lost.platform} found in source: want one of ${known.join(', ')}`,
    );
  }

  #add(text: string, value: string): void {
    const [, place = 'manifest', platform, key = ''] = pattern.exec(text) ?? [];
    if (key === '' || (place.startsWith('index') && platform !== undefined)) {
      throw new TareError(
        'InvalidArgument',
        `invalid annotation ${JSON.stringify(text.slice(0, 80))}: want annotation.KEY, annotation-index.KEY, annotation-manifest[PLATFORM].KEY, annotation-manifest-descriptor[PLATFORM].KEY or annotation-index-descriptor.KEY`,
      );
    }
    this.#bytes += key.length + Buffer.byteLength(value);
    if (this.#all.length >= MAX_ANNOTATIONS || this.#bytes > MAX_TOTAL_BYTES) {
      throw new TareError(
        'InvalidArgument',
        `too many annotations: at most ${MAX_ANNOTATIONS} and ${MAX_TOTAL_BYTES} bytes of them are allowed`,
      );
    }
    this.#all.push({
      place: place as Place,
      platform: platform === undefined ? undefined : formatPlatform(parsePlatform(platform)),
      key,
      value,
    });
  }
}
