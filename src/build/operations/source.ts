import { TareError } from '../../errors/index.ts';
import type { SourceOp } from '../../protocol/index.ts';
import type { Platform } from '../../storage/index.ts';
import type { BuilderParts } from '../builder-parts.ts';
import type { Operation } from '../operation.ts';
import { gitSource } from '../sources/git.ts';
import { httpSource } from '../sources/http.ts';
import { imageSource, layoutSource } from '../sources/image.ts';
import { localSource } from '../sources/local.ts';

/** What of a vertex a source needs. */
export interface SourceVertex {
  digest: string;
  /** Of the machine that the build is for; undefined: the builder's own. */
  platform?: Platform;
}

/**
 * Where a build begins: an image, a client's folder, a repository, a file of a web server. Nothing is fetched before it is run.
 * @throws {TareError} InvalidArgument: the identifier or an attribute, and what would be right
 */
export function sourceOperation(parts: BuilderParts, { identifier, attrs }: SourceOp, vertex: SourceVertex): Operation {
  const [, scheme, rest = ''] = /^([a-z+-]+):\/\/(.*)$/s.exec(identifier) ?? [];
  const platform = vertex.platform ?? { os: 'linux', architecture: process.arch === 'x64' ? 'amd64' : process.arch };
  switch (scheme) {
    case 'docker-image':
      return imageSource(parts, rest, attrs, platform);
    case 'oci-layout':
      return layoutSource(parts, rest, attrs, platform);
    case 'local':
      return localSource(parts, rest, attrs);
    case 'git':
      return gitSource(parts, rest, attrs);
    case 'http':
    case 'https':
      return httpSource(parts, identifier, attrs);
    default:
      throw new TareError(
        'InvalidArgument',
        `unknown source ${JSON.stringify(identifier.slice(0, 200))}: want docker-image://, local://, git://, http(s):// or oci-layout://`,
      );
  }
}
