import type { Options, Values } from './option.ts';

/** TLS between a daemon and its clients, in docker's words: before a command for the client's side, behind `serve` for the daemon's. */
export const tlsOptions = {
  tls: { type: 'bool', help: 'Use TLS; implied by --tlsverify' },
  tlscacert: { type: 'string', help: 'Trust certs signed only by this CA', completes: 'files' },
  tlscert: { type: 'string', help: 'Path to TLS certificate file', completes: 'files' },
  tlskey: { type: 'string', help: 'Path to TLS key file', completes: 'files' },
  tlsverify: { type: 'bool', help: 'Use TLS and verify the remote' },
} as const satisfies Options;

export type TlsValues = Values<typeof tlsOptions>;
