import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TransportPlace, transportContract } from './contract.ts';
import { openDestination, openSource } from './open-transport.ts';
import { parseTransport } from './transport-name.ts';

const none = () => Promise.reject(new Error('files only'));
const parts = { registries: none, localSource: none, localDestination: none };

/** @param form a transport with PATH for the place */
async function openPlace(form: string): Promise<TransportPlace> {
  const folder = mkdtempSync(join(tmpdir(), 'tare-transport-'));
  const name = parseTransport(form.replace('PATH', join(folder, 'image')));
  return {
    destination: () => openDestination(name, parts),
    source: () => openSource(name, parts),
    [Symbol.asyncDispose]: async () => rmSync(folder, { recursive: true, force: true }),
  };
}

for (const form of ['oci:PATH', 'oci:PATH:x', 'oci-archive:PATH:x', 'docker-archive:PATH:a:1', 'dir:PATH']) {
  transportContract(form, () => openPlace(form));
}
