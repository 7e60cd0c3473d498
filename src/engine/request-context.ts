import { AsyncLocalStorage } from 'node:async_hooks';
import type { Caller } from './callers.ts';

/** What is known of a request while it is at work, in whatever it calls. */
export interface RequestContext {
  /** undefined: whoever runs this process. */
  caller?: Caller;
  /** What of an object was asked for, as it was understood; for the audit log. */
  subject?: Record<string, unknown>;
}

const storage = new AsyncLocalStorage<RequestContext>();

/** Does what a request asks for. What it starts and does not wait for is its doing as well. */
export const withinRequest = <T>(context: RequestContext, act: () => T): T => storage.run(context, act);

/** The request at work; undefined: the engine's own doing. */
export const currentRequest = (): RequestContext | undefined => storage.getStore();

/** Says for the audit log what was understood. Never what may be secret: values of variables, arguments, credentials. */
export function noteSubject(subject: () => Record<string, unknown>): void {
  const context = storage.getStore();
  if (context !== undefined) context.subject = { ...context.subject, ...subject() };
}
