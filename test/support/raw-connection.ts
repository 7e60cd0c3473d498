import { connect, type Socket } from 'node:net';
import { eventually } from './execute.ts';

/** One connection that speaks HTTP by hand, as clients do that use the raw stream. */
export class RawConnection {
  readonly socket: Socket;
  bytes = Buffer.alloc(0);
  isEnded = false;
  constructor(path: string) {
    this.socket = connect({ path, allowHalfOpen: true });
    this.socket.on('data', (chunk: Buffer) => {
      this.bytes = Buffer.concat([this.bytes, chunk]);
    });
    this.socket.on('end', () => {
      this.isEnded = true;
    });
  }
  get text(): string {
    return this.bytes.toString('latin1');
  }
  async has(text: string): Promise<void> {
    await eventually(`the answer has ${JSON.stringify(text)}`, () => this.text.includes(text));
  }
  /** All that came, once the other side has ended. */
  async end(): Promise<string> {
    await eventually('the connection ended', () => this.isEnded);
    this.socket.destroy();
    return this.text;
  }
}
