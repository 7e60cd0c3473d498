import { openSync } from 'node:fs';
import { type ChildLinkKind, RouteSocket } from '../../src/linux/index.ts';

/** Asks the kernel for a link on lan0, whatever it says. */
const wanted = JSON.parse(process.argv[2] ?? '') as ChildLinkKind | { kind: 'vlan'; vlanId: number };
using route = new RouteSocket();
const parent = route.link('lan0')?.index ?? 0;
try {
  if (wanted.kind === 'vlan') route.addVlan({ name: 'probe', parent, vlanId: wanted.vlanId });
  else route.addChild({ name: 'probe', parent, namespace: openSync('/proc/self/ns/net', 'r'), child: wanted });
} catch {
  // What was asked is what matters; a kernel may know no such link.
}
