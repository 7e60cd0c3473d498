import type { Entry, ZipFile } from 'yauzl';
import { TareError } from '../errors/index.ts';

export type ZipEntry = Entry;

/** A foreign zip file, read through its central directory. Sizes that its entries claim are held against what they inflate to. */
export class ZipReader {
  readonly #zip: ZipFile;
  readonly #what: string;

  private constructor(zip: ZipFile, what: string) {
    this.#zip = zip;
    this.#what = what;
  }

  /**
   * @param fd stays the caller's
   * @param what names the file in errors
   * @throws {TareError} InvalidArgument: no zip file, or more than `maxEntries`
   */
  static async open(fd: number, what: string, maxEntries: number): Promise<ZipReader> {
    const yauzl = await import('yauzl');
    const zip = await new Promise<ZipFile>((resolve, reject) => {
      const options = { lazyEntries: true, autoClose: false, decodeStrings: true, validateEntrySizes: true };
      yauzl.fromFd(fd, options, (error, opened) => {
        if (error) reject(invalid(what, error));
        else resolve(opened);
      });
    });
    if (zip.entryCount > maxEntries) throw new TareError('InvalidArgument', `${what}: more than ${maxEntries} entries`);
    return new ZipReader(zip, what);
  }

  /** All entries in the directory's order. @throws {TareError} InvalidArgument: the directory is damaged */
  async *entries(): AsyncGenerator<ZipEntry, void, void> {
    for (let entry = await this.#next(); entry !== undefined; entry = await this.#next()) yield entry;
  }

  #next(): Promise<ZipEntry | undefined> {
    const zip = this.#zip;
    return new Promise((resolve, reject) => {
      const done = () => {
        zip.off('entry', onEntry).off('end', onEnd).off('error', onError);
      };
      const onEntry = (entry: Entry) => {
        done();
        resolve(entry);
      };
      const onEnd = () => {
        done();
        resolve(undefined);
      };
      const onError = (error: Error) => {
        done();
        reject(invalid(this.#what, error));
      };
      zip.on('entry', onEntry).on('end', onEnd).on('error', onError);
      zip.readEntry();
    });
  }

  /**
   * An entry's inflated bytes.
   * @param count told of each chunk before it comes; throws to stop
   * @throws {TareError} InvalidArgument: damaged, encrypted, or longer than `limitBytes`
   */
  async *bytes(entry: ZipEntry, limitBytes: number, count?: (sizeBytes: number) => void): AsyncGenerator<Buffer> {
    const where = `${this.#what}: ${JSON.stringify(entry.fileName)}`;
    const stream = await new Promise<NodeJS.ReadableStream>((resolve, reject) => {
      this.#zip.openReadStream(entry, (error, opened) => {
        if (error) reject(invalid(where, error));
        else resolve(opened);
      });
    });
    let size = 0;
    try {
      for await (const chunk of stream as AsyncIterable<Buffer>) {
        size += chunk.length;
        if (size > limitBytes) throw new TareError('InvalidArgument', `${where}: more than ${limitBytes} bytes`);
        count?.(chunk.length);
        yield chunk;
      }
    } catch (error) {
      throw error instanceof TareError ? error : invalid(where, error as Error);
    }
  }

  /** A small entry whole. */
  async read(entry: ZipEntry, limitBytes: number, count?: (sizeBytes: number) => void): Promise<Buffer> {
    return Buffer.concat(await Array.fromAsync(this.bytes(entry, limitBytes, count)));
  }
}

const invalid = (what: string, cause: Error): TareError =>
  new TareError('InvalidArgument', `${what}: no valid zip file: ${cause.message}`, { cause });
