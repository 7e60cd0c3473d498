import { splitFields, splitPair } from './fields.ts';
import { UsageError } from './usage-error.ts';

/** One `--network` of run and create. */
export interface NetworkChoice {
  name: string;
  aliases: string[];
  ipv4: string;
  ipv6: string;
  macAddress: string;
  linkLocalIps: string[];
  driverOptions: Record<string, string>;
  gatewayPriority: number;
}

/**
 * docker's `--network`: a name or mode, or the long form `name=NET,alias=A,ip=IP,…`.
 *
 * @throws {UsageError}
 */
export function parseNetwork(text: string): NetworkChoice {
  const choice: NetworkChoice = {
    name: '',
    aliases: [],
    ipv4: '',
    ipv6: '',
    macAddress: '',
    linkLocalIps: [],
    driverOptions: {},
    gatewayPriority: 0,
  };
  const refuse = (why: string) => new UsageError(`invalid argument ${JSON.stringify(text)} for --network: ${why}`);
  if (!text.includes('=')) {
    if (text === '') throw refuse('a name or one of bridge, host, none, container:NAME');
    return { ...choice, name: text };
  }
  for (const field of splitFields(text)) {
    const [key, value] = splitPair(field);
    if (value === undefined) throw refuse(`the field ${JSON.stringify(field)} is not KEY=VALUE`);
    switch (key.trim().toLowerCase()) {
      case 'name':
        choice.name = value;
        break;
      case 'alias':
        choice.aliases.push(value);
        break;
      case 'ip':
        choice.ipv4 = value;
        break;
      case 'ip6':
        choice.ipv6 = value;
        break;
      case 'mac-address':
        choice.macAddress = value;
        break;
      case 'link-local-ip':
        choice.linkLocalIps.push(value);
        break;
      case 'driver-opt': {
        const [name, option] = splitPair(value);
        if (option === undefined) throw refuse(`driver-opt needs KEY=VALUE, not ${JSON.stringify(value)}`);
        choice.driverOptions[name.toLowerCase()] = option;
        break;
      }
      case 'bandwidth-in':
      case 'bandwidth-out':
        choice.driverOptions[`tare.bandwidth.${key.trim().toLowerCase().slice('bandwidth-'.length)}`] = value;
        break;
      case 'gw-priority':
        if (!/^[+-]?\d{1,9}$/.test(value)) throw refuse(`gw-priority is a whole number, not ${JSON.stringify(value)}`);
        choice.gatewayPriority = Number(value);
        break;
      default:
        throw refuse(
          `unknown field ${JSON.stringify(key)}: name, alias, ip, ip6, mac-address, link-local-ip, driver-opt, gw-priority, bandwidth-in or bandwidth-out`,
        );
    }
  }
  if (choice.name === '') throw refuse('name=NETWORK is missing');
  return choice;
}
