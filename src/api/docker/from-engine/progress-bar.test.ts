import { expect, test } from 'vitest';
import { progressBar } from './progress-bar.ts';

test.each([
  { current: 0, total: 0, want: '' },
  { current: 512, total: 0, want: '    512B' },
  { current: 0, total: 100, want: `[>${' '.repeat(50)}]       0B/100B` },
  { current: 1_500, total: 3_000, want: `[${'='.repeat(25)}>${' '.repeat(25)}]    1.5kB/3kB` },
  { current: 1_234_567, total: 1_234_567, want: `[${'='.repeat(50)}>]  1.235MB/1.235MB` },
  { current: 20, total: 10, want: `[${'='.repeat(50)}>]      20B` },
  { current: 2e9, total: 4e18, want: `[>${' '.repeat(50)}]      2GB/4000PB` },
])('progressBar($current, $total)', ({ current, total, want }) => expect(progressBar(current, total)).toBe(want));
