import { check, EINTR, errno, libc, SyscallError } from './ffi.ts';

const socketCall = libc.func('int socket(int domain, int type, int protocol)');
const setsockopt = libc.func('int setsockopt(int fd, int level, int name, const void *value, unsigned int length)');
const send = libc.func('long send(int fd, const void *data, size_t length, int flags)');
const recv = libc.func('long recv(int fd, _Out_ void *data, size_t length, int flags)');
const close = libc.func('int close(int fd)');

const AF_NETLINK = 16;
const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_RCVBUF = 8;
const SO_RCVTIMEO = 20;
const SOL_NETLINK = 270;
const NETLINK_CAP_ACK = 10;
const NETLINK_EXT_ACK = 11;
const NETLINK_GET_STRICT_CHK = 12;
const MSG_TRUNC = 0x20;

const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const NLM_F_REQUEST = 1;
const NLM_F_MULTI = 2;
const NLM_F_ACK = 4;
const NLM_F_DUMP_INTR = 0x10;
const NLM_F_CAPPED = 0x100;
const NLM_F_ACK_TLVS = 0x200;
const NLMSGERR_ATTR_MSG = 1;
const HEADER = 16;

/** Flags for {@link NetlinkSocket.request}. */
export const NLM_F_EXCL = 0x200;
export const NLM_F_CREATE = 0x400;
export const NLM_F_REPLACE = 0x100;
export const NLM_F_DUMP = 0x300;

export const NETLINK_ROUTE = 0;
export const NETLINK_SOCK_DIAG = 4;
export const NETLINK_NETFILTER = 12;

const NLA_F_NESTED = 0x8000;
const NLA_TYPE_MASK = 0x3fff;

/** A refused netlink request, with the kernel's own explanation (extended acknowledgement) when it gave one. */
export class NetlinkError extends SyscallError {
  readonly detail: string;
  constructor(subject: string, number: number, detail: string) {
    super('netlink', number, subject);
    this.name = 'NetlinkError';
    this.detail = detail;
    if (detail !== '') this.message += ` (${detail})`;
  }
}

/** Writes a message's body: a fixed header, then attributes, each padded to 4 bytes. */
export class NetlinkWriter {
  #bytes = Buffer.alloc(512);
  #length = 0;

  /** Everything written so far. */
  get bytes(): Buffer {
    return this.#bytes.subarray(0, this.#length);
  }

  /** Appends raw bytes, padded to 4. */
  raw(bytes: Uint8Array): this {
    const at = this.#grow(bytes.length);
    this.#bytes.set(bytes, at);
    return this;
  }

  attribute(type: number, value: Uint8Array): this {
    const at = this.#grow(4 + value.length);
    this.#bytes.writeUInt16LE(4 + value.length, at);
    this.#bytes.writeUInt16LE(type, at + 2);
    this.#bytes.set(value, at + 4);
    return this;
  }

  /** A NUL-terminated string attribute. */
  string(type: number, value: string): this {
    return this.attribute(type, Buffer.from(`${value}\0`));
  }

  u8(type: number, value: number): this {
    return this.attribute(type, Buffer.of(value));
  }

  /** In host order. */
  u16(type: number, value: number): this {
    const bytes = Buffer.alloc(2);
    bytes.writeUInt16LE(value);
    return this.attribute(type, bytes);
  }

  /** In host order. */
  u32(type: number, value: number): this {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(value >>> 0);
    return this.attribute(type, bytes);
  }

  nest(type: number, body: (writer: this) => void): this {
    const at = this.#grow(4);
    body(this);
    this.#bytes.writeUInt16LE(this.#length - at, at);
    this.#bytes.writeUInt16LE(type | NLA_F_NESTED, at + 2);
    return this;
  }

  #grow(length: number): number {
    const at = this.#length;
    this.#length += (length + 3) & ~3;
    if (this.#length > this.#bytes.length) {
      const larger = Buffer.alloc(this.#length * 2);
      larger.set(this.#bytes);
      this.#bytes = larger;
    }
    return at;
  }
}

/** The attributes of a message or nest by type; of a repeated one the last. Stops at the first malformed one. */
export function readAttributes(bytes: Buffer): Map<number, Buffer> {
  const found = new Map<number, Buffer>();
  for (let at = 0; at + 4 <= bytes.length; ) {
    const length = bytes.readUInt16LE(at);
    if (length < 4 || at + length > bytes.length) break;
    found.set(bytes.readUInt16LE(at + 2) & NLA_TYPE_MASK, bytes.subarray(at + 4, at + length));
    at += (length + 3) & ~3;
  }
  return found;
}

/** A NUL-terminated string attribute's text, '' when it is absent. */
export const attributeText = (bytes: Buffer | undefined): string =>
  bytes === undefined ? '' : bytes.toString('utf8', 0, bytes.indexOf(0) === -1 ? bytes.length : bytes.indexOf(0));

export const attributeU32 = (bytes: Buffer | undefined): number =>
  bytes === undefined || bytes.length < 4 ? 0 : bytes.readUInt32LE(0);

interface Reply {
  sequence: number;
  type: number;
  flags: number;
  body: Buffer;
}

// Large enough for any message of a dump (the kernel fills at most 32 KB); one for all sockets, as requests are synchronous.
const RECEIVE_BYTES = 64 * 1024;
const received = Buffer.alloc(RECEIVE_BYTES);

/**
 * A netlink socket for synchronous requests. It belongs to the network namespace that the thread was in when it was
 * opened, wherever the thread goes later.
 */
export class NetlinkSocket implements Disposable {
  readonly #fd: number;
  readonly #background = new Map<number, (reply: Reply) => void>();
  #sequence = 0;
  #open = true;

  constructor(protocol: number) {
    this.#fd = check(socketCall(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol), 'socket', `netlink ${protocol}`);
    const on = Buffer.from([1, 0, 0, 0]);
    for (const option of [NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK]) {
      setsockopt(this.#fd, SOL_NETLINK, option, on, 4);
    }
    const size = Buffer.alloc(4);
    size.writeInt32LE(1 << 20);
    setsockopt(this.#fd, SOL_SOCKET, SO_RCVBUF, size, 4);
    // The kernel answers within the send; the time-out only turns a lost answer into an error instead of a hang.
    const timeout = Buffer.alloc(16);
    timeout.writeBigInt64LE(10n);
    setsockopt(this.#fd, SOL_SOCKET, SO_RCVTIMEO, timeout, 16);
  }

  [Symbol.dispose](): void {
    if (!this.#open) return;
    this.#open = false;
    close(this.#fd);
  }

  /**
   * One request and its acknowledgement, or a whole dump (with NLM_F_DUMP in `flags`).
   *
   * @param subject what is asked, for the error's message: `add link tare0`
   * @returns the bodies of the answers, without netlink headers
   * @throws {NetlinkError} the kernel refused
   */
  request(type: number, flags: number, body: Uint8Array, subject: string): Buffer[] {
    const dump = (flags & NLM_F_DUMP) === NLM_F_DUMP;
    for (let attempt = 0; ; attempt += 1) {
      const answer = this.#exchange(type, flags | NLM_F_REQUEST | (dump ? 0 : NLM_F_ACK), body, subject);
      // A dump that was overtaken by a change is inconsistent (netlink(7), NLM_F_DUMP_INTR); the last one has to do.
      if (!answer.interrupted || attempt === 4) return answer.bodies;
    }
  }

  /**
   * Several requests in one message, that take effect together or not at all (nfnetlink's batches).
   * @throws {NetlinkError} the first that the kernel refused
   */
  batch(requests: readonly { type: number; flags: number; body: Uint8Array }[], subject: string): void {
    const last = requests.length - 2; // the end of a batch is not acknowledged
    const messages = requests.map(({ type, flags, body }, index) => {
      return this.#message(type, flags | NLM_F_REQUEST | (index === last ? NLM_F_ACK : 0), body);
    });
    // Answers are told by their number: that of the request that was to be acknowledged, or of an earlier one that failed.
    const final = (this.#sequence - 1) >>> 0;
    const whole = Buffer.concat(messages);
    check(Number(send(this.#fd, whole, whole.length, 0)), 'send', subject);
    let failure: NetlinkError | undefined;
    for (let isDone = false; !isDone; ) {
      for (const reply of this.#receive(
        subject,
        (sequence) => sequence <= final && final - sequence < requests.length,
      )) {
        const code = reply.type === NLMSG_ERROR ? reply.body.readInt32LE(0) : 0;
        if (code !== 0) failure ??= new NetlinkError(subject, -code, explanation(reply, 4 + HEADER));
        if (code !== 0 || reply.sequence === final) isDone = true;
      }
    }
    if (failure !== undefined) throw failure;
  }

  /**
   * A request whose work the kernel does slowly, within the send: made in a thread of libuv's pool, while synchronous
   * requests go on here. Its answer is told from theirs by its number.
   */
  async requestInBackground(type: number, flags: number, body: Uint8Array, subject: string): Promise<void> {
    const message = this.#message(type, flags | NLM_F_REQUEST | NLM_F_ACK, body);
    const sequence = this.#sequence;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#background.set(sequence, (reply) => {
      const code = reply.body.readInt32LE(0);
      if (code === 0) resolve();
      else reject(new NetlinkError(subject, -code, explanation(reply, 4 + HEADER)));
    });
    send.async(this.#fd, message, message.length, 0, (error: Error | null, sent: number) => {
      try {
        if (error !== null) throw error;
        if (Number(sent) === -1 || !this.#open) throw new Error(`netlink ${subject}: not sent`);
        // A synchronous request may have read our answer meanwhile, and passed it on.
        while (this.#background.has(sequence)) this.#receive(subject);
      } catch (failure) {
        this.#background.delete(sequence);
        reject(failure);
      }
    });
    return await promise;
  }

  #message(type: number, flags: number, body: Uint8Array): Buffer {
    this.#sequence = (this.#sequence + 1) >>> 0;
    const message = Buffer.alloc(HEADER + body.length);
    message.writeUInt32LE(message.length, 0);
    message.writeUInt16LE(type, 4);
    message.writeUInt16LE(flags, 6);
    message.writeUInt32LE(this.#sequence, 8);
    message.set(body, HEADER);
    return message;
  }

  #exchange(type: number, flags: number, body: Uint8Array, subject: string) {
    const message = this.#message(type, flags, body);
    check(Number(send(this.#fd, message, message.length, 0)), 'send', subject);
    const bodies: Buffer[] = [];
    let interrupted = false;
    for (;;) {
      for (const reply of this.#receive(subject)) {
        if ((reply.flags & NLM_F_DUMP_INTR) !== 0) interrupted = true;
        if (reply.type === NLMSG_DONE) {
          const code = reply.body.length >= 4 ? reply.body.readInt32LE(0) : 0;
          if (code < 0) throw new NetlinkError(subject, -code, explanation(reply, 4));
          return { bodies, interrupted };
        }
        if (reply.type === NLMSG_ERROR) {
          const code = reply.body.readInt32LE(0);
          if (code === 0) return { bodies, interrupted };
          throw new NetlinkError(subject, -code, explanation(reply, 4 + HEADER));
        }
        bodies.push(reply.body);
      }
    }
  }

  /** The next datagram's messages that answer the current request. */
  #receive(subject: string, isAwaited = (sequence: number) => sequence === this.#sequence): Reply[] {
    let length = -1;
    for (;;) {
      length = Number(recv(this.#fd, received, RECEIVE_BYTES, MSG_TRUNC));
      if (length !== -1) break;
      const number = errno();
      if (number !== EINTR) throw new SyscallError('recv', number, subject);
    }
    if (length > RECEIVE_BYTES) throw new Error(`netlink ${subject}: an answer of ${length} bytes was cut`);
    const replies: Reply[] = [];
    for (let at = 0; at + HEADER <= length; ) {
      const size = received.readUInt32LE(at);
      if (size < HEADER || at + size > length) break;
      const sequence = received.readUInt32LE(at + 8);
      const reply: Reply = {
        sequence,
        type: received.readUInt16LE(at + 4),
        flags: received.readUInt16LE(at + 6),
        body: Buffer.from(received.subarray(at + HEADER, at + size)),
      };
      const awaited = this.#background.get(sequence);
      if (awaited !== undefined) {
        this.#background.delete(sequence);
        awaited(reply);
      } else if (isAwaited(sequence)) {
        replies.push(reply);
      }
      at += (size + 3) & ~3;
    }
    return replies;
  }
}

/** The extended acknowledgement's text; `fixed` bytes stand before its attributes, more when the request is echoed. */
function explanation(reply: Reply, fixed: number): string {
  if (reply.type === NLMSG_ERROR && (reply.flags & NLM_F_ACK_TLVS) === 0) return '';
  if (reply.type === NLMSG_DONE && (reply.flags & NLM_F_MULTI) === 0) return '';
  let at = fixed;
  if (reply.type === NLMSG_ERROR && (reply.flags & NLM_F_CAPPED) === 0) {
    at = 4 + ((reply.body.readUInt32LE(4) + 3) & ~3);
  }
  return attributeText(readAttributes(reply.body.subarray(at)).get(NLMSGERR_ATTR_MSG));
}
