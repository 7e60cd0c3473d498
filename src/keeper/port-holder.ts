import type { Engine } from '../engine/index.ts';
import { holdPublished, type PublishedPort } from '../network/index.ts';
import type { Duty } from './duty.ts';

/**
 * Keeps the host's side of published ports: bound, so that no other program takes them (the kernel's tables carry the
 * traffic), and on `[::1]` a proxy where the container has no IPv6 of its own.
 */
export class PortHolder implements Duty {
  readonly #engine: Engine;
  readonly #held = new Map<string, Disposable>();
  readonly #refused = new Set<string>();

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  look(): void {
    const wanted = new Map(this.#engine.publishedPorts().map((port) => [keyOf(port), port]));
    for (const [key, held] of this.#held) {
      if (wanted.has(key)) continue;
      held[Symbol.dispose]();
      this.#held.delete(key);
    }
    for (const key of this.#refused) if (!wanted.has(key)) this.#refused.delete(key);
    for (const [key, port] of wanted) {
      if (this.#held.has(key) || this.#refused.has(key)) continue;
      try {
        this.#held.set(key, holdPublished(port));
      } catch (error) {
        // Another program was quicker: the port's traffic still goes to the container.
        this.#refused.add(key);
        this.#engine.report(`reservation of port ${port.hostPort}/${port.protocol}`, error);
      }
    }
  }

  [Symbol.dispose](): void {
    for (const held of this.#held.values()) held[Symbol.dispose]();
    this.#held.clear();
  }
}

const keyOf = (port: PublishedPort): string =>
  [port.containerId, port.protocol, port.hostIp, port.hostPort, port.containerIp, port.containerPort].join(' ');
