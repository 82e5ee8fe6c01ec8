//! Networks of addresses: those that are trusted, and the one that an address is counted under.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// What stands for one client in IPv6: whoever has one address there has a network of this length.
const CLIENT_BITS: u8 = 64;

/// Holds addresses and networks, written as `10.0.0.0/8, 192.0.2.7, 2001:db8::/32`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Networks(Vec<Network>);

/// Tells why a text is no list of networks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadNetworks {
    /// A part of it is no address, nor an address and a length.
    #[error("{0:?} is neither an address nor a network")]
    Neither(String),
    /// An address has bits beyond its network's length.
    #[error("{0:?} has bits beyond its length")]
    Bits(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    bits: u8,
}

impl Networks {
    /// Tells whether an address is in one of them.
    pub fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| masked(address, network.bits) == Some(network.address))
    }

    /// Tells whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromStr for Networks {
    type Err = BadNetworks;

    fn from_str(text: &str) -> Result<Self, BadNetworks> {
        let parts = text.split([',', ' ']).map(str::trim).filter(|part| !part.is_empty());
        parts.map(network).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, Network { address, bits }) in self.0.iter().enumerate() {
            write!(f, "{}{address}/{bits}", if n > 0 { ", " } else { "" })?;
        }
        Ok(())
    }
}

fn network(text: &str) -> Result<Network, BadNetworks> {
    let neither = || BadNetworks::Neither(text.to_owned());
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits.parse().map_err(|_| neither())?)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().map_err(|_| neither())?;
    // One that maps another would never be met: addresses come as what they stand for.
    if address != address.to_canonical() {
        return Err(neither());
    }
    let bits = bits.unwrap_or(if address.is_ipv4() { 32 } else { 128 });
    match masked(address, bits) {
        Some(masked) if masked == address => Ok(Network { address, bits }),
        Some(_) => Err(BadNetworks::Bits(text.to_owned())),
        None => Err(neither()),
    }
}

/// Returns the first bits of an address, where it has so many.
fn masked(address: IpAddr, bits: u8) -> Option<IpAddr> {
    let bits = u32::from(bits);
    match address {
        IpAddr::V4(ip) => {
            let off = 32_u32.checked_sub(bits)?;
            let mask = u32::MAX.checked_shl(off).unwrap_or(0);
            Some(IpAddr::V4((ip.to_bits() & mask).into()))
        }
        IpAddr::V6(ip) => {
            let off = 128_u32.checked_sub(bits)?;
            let mask = u128::MAX.checked_shl(off).unwrap_or(0);
            Some(IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & mask)))
        }
    }
}

/// Returns what an address is counted under: itself, or its network in IPv6.
pub(crate) fn client(address: IpAddr) -> IpAddr {
    let address = address.to_canonical();
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(_) => masked(address, CLIENT_BITS).unwrap_or(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_is_in_the_networks_that_begin_as_it_does() {
        let networks: Networks = "10.0.0.0/8, 192.0.2.7 2001:db8::/32,::1".parse().unwrap();
        for (address, inside) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("11.0.0.0", false),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("2001:db8:ffff::1", true),
            ("2001:db9::", false),
            ("::1", true),
            ("::2", false),
        ] {
            assert_eq!(networks.contain(ip(address)), inside, "{address}");
        }
        let all: Networks = "0.0.0.0/0".parse().unwrap();
        assert!(all.contain(ip("203.0.113.1")) && !all.contain(ip("::1")));
        let none: Networks = " ".parse().unwrap();
        assert!(none.is_empty() && !none.contain(ip("127.0.0.1")));
        let written = "10.0.0.0/8, 192.0.2.7/32, 2001:db8::/32, ::1/128";
        assert_eq!(networks.to_string(), written);
        assert_eq!(written.parse(), Ok(networks));
    }

    #[test]
    fn what_is_no_network_is_refused() {
        let neither = |text: &str| Err(BadNetworks::Neither(text.to_owned()));
        for bad in ["localhost", "10.0.0.0/33", "::/129", "10.0.0.0/", "1.2.3", "::ffff:1.2.3.4"] {
            assert_eq!(bad.parse::<Networks>(), neither(bad));
        }
        let bits = Err(BadNetworks::Bits("10.0.0.1/8".to_owned()));
        assert_eq!("192.0.2.7, 10.0.0.1/8".parse::<Networks>(), bits);
    }

    #[test]
    fn a_client_has_one_address_or_a_network_of_them() {
        assert_eq!(client(ip("192.0.2.7")), ip("192.0.2.7"));
        assert_eq!(client(ip("::ffff:192.0.2.7")), ip("192.0.2.7"));
        assert_eq!(client(ip("2001:db8:1:2:3:4:5:6")), ip("2001:db8:1:2::"));
    }
}
