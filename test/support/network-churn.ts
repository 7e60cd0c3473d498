import { openNetworkService } from '../../src/network/index.ts';
import { Database, Locks } from '../../src/state/index.ts';

/** Connects and disconnects containers with ports, and publishes more meanwhile, for ever, to be killed in the middle of it. */
const [root = '', round = ''] = process.argv.slice(2);
const db = await Database.open(`${root}/tare.db`);
const locks = new Locks(`${root}/locks`);
const service = await openNetworkService({ db, locks, execRoot: `${root}/run`, instance: 'tare-1ab00000' });
const bridge = service.get('bridge').id;
process.stdout.write('ready\n');
for (let count = 0; ; count += 1) {
  const containerId = `churn-${round}-${count}`;
  const netns = service.createNamespace(containerId);
  const port = { hostIp: '', hostPort: 0, hostPortEnd: 0, containerPort: 80, protocol: 'tcp' as const };
  await service.connect({ containerId, networkId: 'bridge', netns, ports: [port] });
  const [more = []] = await service.publish(containerId, bridge, [{ ...port, containerPort: 81 }]);
  if (count % 2 === 0) await service.unpublish(containerId, more);
  // Every third one stays, so that there is something to lose.
  if (count % 3 === 0) continue;
  await service.disconnect(containerId, bridge);
  service.deleteNamespace(containerId);
}
