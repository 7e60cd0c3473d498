import { expect, test } from 'vitest';
import { parseBuilderConfig } from './builder-config.ts';
import { cacheQuestion } from './cache-filters.ts';

const hour = 3_600_000;

test('the table builder, in dockerd’s words', () => {
  expect(parseBuilderConfig({})).toEqual({ gc: { isEnabled: true, limits: {} } });
  expect(
    parseBuilderConfig({
      'max-parallelism': 3,
      gc: {
        ...{ enabled: false, defaultKeepStorage: '20GB', defaultMaxUsedSpace: '60%', defaultMinFreeSpace: 1000 },
        policy: [
          { filter: ['unused-for=48h', 'type=source.local'], keepStorage: '1GiB' },
          { all: true, filters: ['type==regular', 'inuse'], keepDuration: '1h', maxUsedSpace: '5%' },
        ],
      },
    }),
  ).toEqual({
    maxParallelism: 3,
    gc: {
      isEnabled: false,
      limits: { reservedSpace: { bytes: 2e10 }, maxUsedSpace: { percent: 60 }, minFreeSpace: { bytes: 1000 } },
      rules: [
        {
          ...{ filters: ['type=="source.local"'], all: false, reservedSpace: { bytes: 2 ** 30 } },
          keepDurationMs: expect.closeTo(48 * hour, -4),
        },
        { filters: ['type==regular', 'inuse'], all: true, keepDurationMs: hour, maxUsedSpace: { percent: 5 } },
      ],
    },
  });
});

test.each([
  [{ 'max-parallelism': 0 }, /builder\.max-parallelism 0: want a whole number from 1/],
  [{ gcc: {} }, /unknown key builder\.gcc: one of gc, max-parallelism/],
  [{ gc: [] }, /invalid builder\.gc \[\]: want a table/],
  [{ gc: { enabled: 'yes' } }, /builder\.gc\.enabled "yes": want true or false/],
  [{ gc: { defaultMaxUsedSpace: 'much' } }, /builder\.gc\.maxUsedSpace "much": want bytes/],
  [{ gc: { policy: {} } }, /builder\.gc\.policy \{\}: want a list/],
  [{ gc: { policy: [{ keepStorage: '-1' }] } }, /policy\[0\]\.keepStorage "-1": want bytes/],
  [{ gc: { policy: [{ keepDuration: 'long' }] } }, /policy\[0\]\.keepDuration "long": want a duration/],
  [{ gc: { policy: [{ filter: 'inuse' }] } }, /policy\[0\]\.filter "inuse": want a list/],
  [{ gc: { policy: [{ filter: ['label=a'] }] } }, /it has no labels/],
  [{ gc: { policy: [{ filter: ['color=red'] }] } }, /invalid filter 'color'/],
  [{ gc: { policy: [{ size: 1 }] } }, /unknown key builder\.gc\.policy\[0\]\.size/],
])('%j is refused', (table, message) => {
  expect(() => parseBuilderConfig(table)).toThrow(message);
});

test.each([
  [{}, { filters: [] }],
  [{ id: ['ab'], type: ['regular'] }, { filters: ['id~="ab",type=="regular"'] }],
  [{ inuse: [], 'type!': ['regular'] }, { filters: ['type!="regular",inuse'] }],
  [{ 'description~': ['a,"b"'] }, { filters: ['description~="a,\\"b\\""'] }],
  [{ until: ['2h'] }, { filters: [], keepDurationMs: 2 * hour }],
  [{ 'unused-for': ['1970-01-01T00:00:00Z'] }, { filters: [], keepDurationMs: 10 * hour }],
  [{ label: ['a=b'] }, 'nothing'],
  [{ 'label!': ['a=b'] }, { filters: [] }],
])('%j asks of the cache', (filters, question) => {
  expect(cacheQuestion(filters, 10 * hour)).toEqual(question);
});
