import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

/** A file's text, or its text and mode. */
type Content = string | Buffer | { text: string; mode: number };

/** A machine's and a user's configuration in a folder of the test: `home/…` is the user's, all else the system's. */
export class TestHome implements Disposable {
  readonly root: string;
  readonly home: string;

  constructor(files: Record<string, Content> = {}) {
    this.root = realpathSync(mkdtempSync(join(tmpdir(), 'tare-registries-')));
    this.home = join(this.root, 'home');
    mkdirSync(this.home);
    for (const [path, content] of Object.entries(files)) this.write(path, content);
  }

  write(path: string, content: Content): string {
    const full = join(this.root, path);
    const isPlain = typeof content === 'string' || Buffer.isBuffer(content);
    mkdirSync(dirname(full), { recursive: true });
    writeFileSync(full, isPlain ? content : content.text, { mode: isPlain ? 0o644 : content.mode });
    return full;
  }

  /** For `loadRegistriesConf` and `tlsFor`: nothing of the machine that runs the test counts. */
  get machine(): { home: string; systemRoot: string; env: NodeJS.ProcessEnv } {
    return { home: this.home, systemRoot: this.root, env: {} };
  }

  /** For credentials; programs of the test stand in `bin`. */
  get user(): { home: string; uid: number; env: NodeJS.ProcessEnv } {
    const env = {
      XDG_RUNTIME_DIR: join(this.root, 'run'),
      PATH: `${join(this.root, 'bin')}:/usr/bin:/bin`,
      HOME: this.home,
    };
    return { home: this.home, uid: 1234, env };
  }

  [Symbol.dispose](): void {
    rmSync(this.root, { recursive: true, force: true });
  }
}
