import { Array as List, Object as Struct, String as Text } from 'typebox';
import { map } from './go.ts';

/** Docker's PortMap: container's port and protocol to the host's addresses and ports. */
export const portMap = map(List(Struct({ HostIp: Text(), HostPort: Text() }, { title: 'PortBinding' })));

export const portsBody = Struct({ PortBindings: portMap }, { title: 'Ports' });
