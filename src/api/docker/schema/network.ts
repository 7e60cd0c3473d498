import * as T from 'typebox';
import { map, strings } from './go.ts';

const { Array: List, Boolean: Bool, Integer: Int, Object: Struct, Optional, String: Text } = T;

export const endpointSettings = Struct(
  {
    IPAMConfig: Struct(
      { IPv4Address: Text(), IPv6Address: Text(), LinkLocalIPs: strings() },
      { title: 'EndpointIPAMConfig' },
    ),
    Links: strings(),
    Aliases: strings(),
    MacAddress: Text(),
    DriverOpts: map(Text()),
    GwPriority: Int(),
  },
  { title: 'EndpointSettings' },
);

export const networkCreateBody = Struct(
  {
    Name: Text(),
    Driver: Text(),
    Scope: Text(),
    EnableIPv4: Optional(Bool()),
    EnableIPv6: Optional(Bool()),
    Internal: Bool(),
    Attachable: Bool(),
    Ingress: Bool(),
    ConfigOnly: Bool(),
    ConfigFrom: Struct({ Network: Text() }, { title: 'ConfigReference' }),
    IPAM: Struct(
      {
        Driver: Text(),
        Options: map(Text()),
        Config: List(
          Struct(
            { Subnet: Text(), IPRange: Text(), Gateway: Text(), AuxiliaryAddresses: map(Text()) },
            { title: 'IPAMConfig' },
          ),
        ),
      },
      { title: 'IPAM' },
    ),
    Options: map(Text()),
    Labels: map(Text()),
  },
  { title: 'CreateRequest' },
);

export const connectBody = Struct({ Container: Text(), EndpointConfig: endpointSettings }, { title: 'ConnectOptions' });

export const disconnectBody = Struct({ Container: Text(), Force: Bool() }, { title: 'DisconnectOptions' });

export const volumeCreateBody = Struct(
  { Name: Text(), Driver: Text(), DriverOpts: map(Text()), Labels: map(Text()) },
  { title: 'CreateOptions' },
);

export type EndpointSettingsBody = T.Static<typeof endpointSettings>;
export type NetworkCreateBody = T.Static<typeof networkCreateBody>;
