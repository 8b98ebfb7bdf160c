//! Which addresses are public.
//!
//! The lists are the IANA special-purpose registries (RFC 6890 and its updates) as far as they are
//! not globally reachable, and those that lead to IPv4 by another way: mapped, translated (RFC 6052,
//! RFC 8215), 6to4 and Teredo.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// IPv4 networks that are not public.
const NOT_PUBLIC_V4: [Ipv4Net; 16] = [
    v4([0, 0, 0, 0], 8),        // this network
    v4([10, 0, 0, 0], 8),       // private
    v4([100, 64, 0, 0], 10),    // carrier-grade NAT
    v4([127, 0, 0, 0], 8),      // loopback
    v4([168, 63, 129, 16], 32), // Azure's own services, for its machines alone
    v4([169, 254, 0, 0], 16),   // link-local, and the metadata services of clouds
    v4([172, 16, 0, 0], 12),    // private
    v4([192, 0, 0, 0], 24),     // protocol assignments
    v4([192, 0, 2, 0], 24),     // documentation
    v4([192, 88, 99, 0], 24),   // 6to4 relays
    v4([192, 168, 0, 0], 16),   // private
    v4([198, 18, 0, 0], 15),    // benchmarks
    v4([198, 51, 100, 0], 24),  // documentation
    v4([203, 0, 113, 0], 24),   // documentation
    v4([224, 0, 0, 0], 4),      // multicast
    v4([240, 0, 0, 0], 4),      // reserved, and broadcast
];

/// IPv6 networks that are public at most: global unicast (RFC 4291, section 2.4). Outside of it lie
/// loopback, mapped and translated IPv4, unique local, link-local and multicast addresses.
const GLOBAL_V6: Ipv6Net = v6([0x2000, 0, 0, 0], 3);

/// IPv6 networks that are not public. Those outside of global unicast are named all the same.
const NOT_PUBLIC_V6: [Ipv6Net; 14] = [
    v6([0, 0, 0, 0], 96),              // unspecified, loopback, IPv4-compatible
    v6([0x64, 0xff9b, 0, 0], 96),      // NAT64
    v6([0x64, 0xff9b, 1, 0], 48),      // NAT64, local use
    v6([0x100, 0, 0, 0], 64),          // discard
    v6([0x2001, 0, 0, 0], 23),         // protocol assignments, Teredo among them
    v6([0x2001, 0xdb8, 0, 0], 32),     // documentation
    v6([0x2002, 0, 0, 0], 16),         // 6to4
    v6([0x3fff, 0, 0, 0], 20),         // documentation
    v6([0x5f00, 0, 0, 0], 16),         // segment routing
    v6([0xfc00, 0, 0, 0], 7),          // unique local
    v6([0xfe80, 0, 0, 0], 10),         // link-local
    v6([0xfec0, 0, 0, 0], 10),         // site-local
    v6([0xff00, 0, 0, 0], 8),          // multicast
    v6([0x2620, 0x4f, 0x8000, 0], 48), // AS112
];

const fn v4(address: [u8; 4], length: u8) -> Ipv4Net {
    let [a, b, c, d] = address;
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length)
}

const fn v6(front: [u16; 4], length: u8) -> Ipv6Net {
    let [a, b, c, d] = front;
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0), length)
}

/// Turns an IPv4 address in IPv6 form (`::ffff:…`) into what it is.
pub fn canonical(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

/// Says whether an address is one of the public internet's.
pub fn is_public(ip: IpAddr) -> bool {
    match canonical(ip) {
        IpAddr::V4(ip) => !NOT_PUBLIC_V4.iter().any(|network| network.contains(&ip)),
        IpAddr::V6(ip) => {
            GLOBAL_V6.contains(&ip) && !NOT_PUBLIC_V6.iter().any(|network| network.contains(&ip))
        }
    }
}

/// A network, such as `10.0.0.0/8`; a single address is a network of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network(IpNet);

/// A text that is no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a network is written 10.0.0.0/8, fd00::/8, or as one address")]
pub struct NetworkError;

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let one = || text.parse::<IpAddr>().map(IpNet::from).ok();
        let network = text.parse::<IpNet>().ok().or_else(one);
        network.map(Self).ok_or(NetworkError)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Network {
    /// Says whether an address is in it. An IPv4 address in IPv6 form is the IPv4 address.
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.0.contains(&canonical(ip))
    }
}
