import { openNetworkService } from '../../src/network/index.ts';
import { Database, Locks } from '../../src/state/index.ts';

/** Makes networks of one driver, and containers on them, for ever; to be killed in the middle of it. */
const [root = '', round = '', driver = ''] = process.argv.slice(2);
const db = await Database.open(`${root}/tare.db`);
const locks = new Locks(`${root}/locks`);
const service = await openNetworkService({
  ...{ db, locks, execRoot: `${root}/run`, instance: 'tare-1ab00000' },
  cni: { confDir: `${root}/net.d`, binDirs: ['/usr/lib/cni'] },
});
process.stdout.write('ready\n');
for (let count = 0; ; count += 1) {
  const containerId = `churn-${round}-${count}`;
  const name = driver === 'cni' ? 'bridged' : `net-${round}-${count}`;
  if (driver !== 'cni') {
    const nothing = { internal: false, enableIPv4: true, enableIPv6: false, ipam: [], options: {}, labels: {} };
    await service.create({ name, driver, ...nothing });
  }
  const netns = service.createNamespace(containerId);
  await service.connect({ containerId, networkId: name, netns, ports: [] });
  await service.deleteNamespace(containerId);
  await service.disconnect(containerId, service.get(name).id);
  if (driver !== 'cni') await service.remove(name);
}
