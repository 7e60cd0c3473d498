import {
  Boolean as Bool,
  Integer as Int,
  Array as List,
  Optional,
  type Static,
  Object as Struct,
  String as Text,
} from 'typebox';
import { map, strings } from './go.ts';

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
    /** Not Docker's: what its containers may reach. */
    Egress: strings(),
  },
  { title: 'CreateRequest' },
);

export const connectBody = Struct({ Container: Text(), EndpointConfig: endpointSettings }, { title: 'ConnectOptions' });

export const disconnectBody = Struct({ Container: Text(), Force: Bool() }, { title: 'DisconnectOptions' });

export const volumeCreateBody = Struct(
  { Name: Text(), Driver: Text(), DriverOpts: map(Text()), Labels: map(Text()) },
  { title: 'CreateOptions' },
);

export type EndpointSettingsBody = Static<typeof endpointSettings>;
export type NetworkCreateBody = Static<typeof networkCreateBody>;
