import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** The longest files, the longest first. A file's size tells it of none of them, and a new machine has no earlier run to go by. */
const longest = [
  'test/build/differential/differential.test.ts',
  'test/bad-input.test.ts',
  'test/network/names.test.ts',
  'test/clients/compose-shop.test.ts',
  'test/lifecycle.test.ts',
  'test/clients/compose-1.test.ts',
  'test/clients/devcontainers.test.ts',
  'test/network/endpoints.test.ts',
  'test/network/egress-faces.test.ts',
  'test/rootless.test.ts',
  'test/network/isolation.test.ts',
  'test/build/working.test.ts',
  'test/keeper.test.ts',
  'test/clients/testcontainers.test.ts',
  'test/build/real/real-builds.test.ts',
];

/** Begins with the longest files, so that at the end no worker is left alone with one. */
export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification) => {
      const place = longest.findIndex((name) => moduleId.endsWith(`/${name}`));
      return place === -1 ? longest.length : place;
    };
    return (await super.sort(files)).toSorted((a, b) => rank(a) - rank(b));
  }
}
