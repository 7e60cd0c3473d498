import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { busybox } from '../support/engine.ts';
import { withEngine } from '../support/faces.ts';
import { tar } from '../support/tar.ts';
import { Caller } from './endpoints/caller.ts';

/** Copies each way; `make soak` sets more. */
const rounds = Number(process.env['TARE_COPIES'] ?? 25);

/**
 * Swaps folders, files and links below /play as fast as perl can, for ever: whatever is looked at may be another thing, a link out
 * of the container among them, at the next system call.
 */
const rival = (outside: string) => `
use strict;
my @ways = ("${outside}", "/../../../../../../../..${outside}", "../../../../../../../..${outside}", "/proc/1/root${outside}", "/proc/self/cwd");
chdir "/play" or die;
mkdir "target"; mkdir "target/sub"; mkdir "deep"; mkdir "deep/a"; mkdir "deep/a/b"; mkdir "other";
for my $path ("target/file", "target/sub/file", "deep/a/b/file", "other/file") { open(my $f, ">", $path) or die; print $f "mine"; }
mkdir "trash";
my $i = 0;
# What a copy put in the way meanwhile goes aside.
sub move { my ($from, $to) = @_; rename $from, $to or (rename $to, "trash/" . $i++ and rename $from, $to); }
for (my $turn = 0; ; $turn++) {
  my $way = $ways[$turn % @ways];
  # A folder and a link take turns at one name.
  move "target", "aside"; symlink $way, "target"; unlink "target"; move "aside", "target";
  # So do a file and a link to the host's.
  move "target/file", "target/kept"; symlink "$way/secret", "target/file"; unlink "target/file"; move "target/kept", "target/file";
  move "target/sub", "target/moved"; symlink $way, "target/sub"; unlink "target/sub"; move "target/moved", "target/sub";
  # Folders move to other places while one is in them.
  move "deep/a/b", "b"; move "b", "other/b"; move "other/b", "deep/a/b"; move "deep/a", "a"; move "a", "deep/a";
}
`;

describe('copying against a rival in the container', () => {
  const engine = withEngine();
  const api = new Caller(() => engine().socket);

  test('nothing outside is read or written', { timeout: 300_000 }, async () => {
    const outside = join(engine().root, 'outside');
    mkdirSync(join(outside, 'sub'), { recursive: true });
    const secret = 'what the host keeps to itself';
    for (const path of ['secret', 'file', 'sub/file']) writeFileSync(join(outside, path), secret);
    const before = shapeOf(outside);
    const folders = ['/lib', '/lib64'].filter((path) => existsSync(path)).map((path) => `${path}:${path}:ro`);
    const create = async (name: string, cmd: string[]) => {
      const Binds = ['play:/play', '/usr/bin/perl:/perl:ro', '/usr/lib:/usr/lib:ro', ...folders];
      const body = { Image: busybox, Cmd: cmd, HostConfig: { NetworkMode: 'none', Binds } };
      await api.call('POST /containers/create', { query: { name }, body });
    };
    await create('rival', ['/perl', '-e', rival(outside)]);
    // It has the rival's volume, and no process that could show its tree.
    await create('still', ['true']);
    await api.call('POST /containers/{id}/start', { of: 'rival' });

    const upload = tar([
      { path: 'file', content: 'written' },
      { path: 'sub/', type: 'directory' },
      { path: 'sub/file', content: 'written' },
      { path: 'sub/link', type: 'symlink', target: '../file' },
      { path: 'sub/same', type: 'link', target: 'file' },
    ]);
    const seen = { folders: 0, links: 0, written: 0 };
    /** Refusals that a client could do nothing with. */
    const broken = new Set<string>();
    const note = (status: number, message: string) => {
      if (![200, 400, 404, 409].includes(status)) broken.add(`${status} ${message}`);
    };
    const get = async (of: string, path: string) => {
      const { status, bytes, message } = await api.send('GET /containers/{id}/archive', { of, query: { path } });
      note(status, message);
      if (status !== 200) return;
      expect(bytes.includes(secret), `${path} of ${of} has the host's bytes`).toBe(false);
      if (path !== '/play/target') return;
      // The type of the first entry.
      if (bytes[156] === 0x32) seen.links += 1;
      else seen.folders += 1;
    };
    const put = async (of: string, path: string) => {
      const query = { path, noOverwriteDirNonDir: 0 };
      const { status, message } = await api.send('PUT /containers/{id}/archive', { of, query, body: upload });
      note(status, message);
      if (status === 200) seen.written += 1;
    };
    const stat = async (of: string, path: string) => {
      const { status } = await api.send('HEAD /containers/{id}/archive', { of, query: { path } });
      note(status, `HEAD of ${path}`);
    };
    const isEnough = (round: number) => round >= rounds && Object.values(seen).every((count) => count > 0);
    for (let round = 0; !isEnough(round) && round < 20 * rounds; round++) {
      await Promise.all(
        ['rival', ...(round % 4 === 0 ? ['still'] : [])].flatMap((of) => [
          ...['/play', '/play/target', '/play/target/file', '/play/target/sub/', '/play/deep', '/play/other/b/'].map(
            (path) => get(of, path),
          ),
          ...['/play', '/play/target', '/play/target/sub', '/play/deep/a/b'].map((path) => put(of, path)),
          stat(of, '/play/target'),
          stat(of, '/play/target/file'),
        ]),
      );
    }
    // The rival was quick enough to matter.
    for (const [what, count] of Object.entries(seen)) expect(count, what).toBeGreaterThan(0);
    // What it could not do has a reason that a client can show: a thing is gone, moved, or another.
    expect([...broken]).toEqual([]);
    expect(shapeOf(outside)).toEqual(before);
    const running = await api.call('GET /containers/{id}/json', { of: 'rival' });
    expect(running.body).toMatchObject({ State: { Running: true } });
    for (const of of ['rival', 'still']) await api.call('DELETE /containers/{id}', { of, query: { force: 1, v: 1 } });
  });
});

/** Every name below a folder with what a write would change. */
function shapeOf(folder: string): Record<string, string> {
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' }).sort();
  return Object.fromEntries(
    ['', ...names].map((name) => {
      const path = join(folder, name);
      const { mode, uid, gid, ino, nlink, mtimeNs, ctimeNs } = statSync(path, { bigint: true });
      const content = statSync(path).isFile() ? readFileSync(path, 'utf8') : '';
      return [name, [mode, uid, gid, ino, nlink, mtimeNs, ctimeNs, content].join(' ')];
    }),
  );
}
