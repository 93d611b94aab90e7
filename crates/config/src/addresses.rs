//! Kinds of values that are addresses: where to listen, and whom to trust.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::kind::Kind;

/// An address and a port to listen on, or `off`, which is `None`.
#[derive(Debug)]
pub struct Listen;

/// Networks in CIDR notation, with commas between them.
#[derive(Debug)]
pub struct Networks;

/// An address and a port to listen on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ListenAddress {
    /// An address or a name; `*` stands for all addresses.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// All addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Network {
    /// The first of them.
    first: IpAddr,
    /// How many bits are the same.
    bits: u8,
}

impl Kind for Listen {
    type Value = Option<ListenAddress>;
    const NAME: &'static str = "address and port or off";
    const EXPECTED: &'static str = "ADDRESS:PORT or off";

    fn parse(text: &str) -> Option<Self::Value> {
        if text.eq_ignore_ascii_case(OFF) {
            return Some(None);
        }
        let (host, port) = text.rsplit_once(':')?;
        let in_brackets = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
        let bare = in_brackets.unwrap_or(host);
        let is_v6 = bare.parse::<Ipv6Addr>().is_ok();
        // Without brackets nobody knows where an IPv6 address ends.
        if bare.is_empty() || is_v6 != in_brackets.is_some() || (!is_v6 && bare.contains(':')) {
            return None;
        }
        let digits = port.bytes().all(|b| b.is_ascii_digit());
        let port = port.parse().ok().filter(|port| *port != 0 && digits)?;
        let host = bare.to_owned();
        Some(Some(ListenAddress { host, port }))
    }

    fn print(value: &Self::Value) -> String {
        let text = value.as_ref().map(ToString::to_string);
        text.unwrap_or_else(|| OFF.to_owned())
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl Kind for Networks {
    type Value = Vec<Network>;
    const NAME: &'static str = "networks";
    const EXPECTED: &'static str =
        "networks such as 10.0.0.0/8 or 2001:db8::/32, with commas between them";

    fn parse(text: &str) -> Option<Vec<Network>> {
        let parts = text.split(',').map(str::trim);
        let parts = parts.filter(|part| !part.is_empty());
        parts.map(Network::parse).collect()
    }

    fn print(value: &Vec<Network>) -> String {
        let parts: Vec<String> = value.iter().map(ToString::to_string).collect();
        parts.join(", ")
    }
}

impl Network {
    /// Whether an address is one of these.
    pub fn contains(&self, address: IpAddr) -> bool {
        first_of(address.to_canonical(), self.bits) == Some(self.first)
    }

    /// Reads a network, or an address, which is one of a single address.
    ///
    /// Bits that are not the network's own are a mistake of whoever wrote them.
    fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => {
                let digits = bits.bytes().all(|b| b.is_ascii_digit());
                (address, Some(bits.parse().ok().filter(|_: &u8| digits)?))
            }
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let bits = bits.unwrap_or(if address.is_ipv4() { 32 } else { 128 });
        let first = first_of(address, bits)?;
        (first == address).then_some(Self { first, bits })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.bits)
    }
}

/// The first address that has so many bits with this one in common.
fn first_of(address: IpAddr, bits: u8) -> Option<IpAddr> {
    let bits = u32::from(bits);
    Some(match address {
        IpAddr::V4(address) => {
            let free = u32::BITS.checked_sub(bits)?;
            let mask = u32::MAX.checked_shl(free).unwrap_or(0);
            Ipv4Addr::from_bits(address.to_bits() & mask).into()
        }
        IpAddr::V6(address) => {
            let free = u128::BITS.checked_sub(bits)?;
            let mask = u128::MAX.checked_shl(free).unwrap_or(0);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    })
}

const OFF: &str = "off";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_where_to_listen() {
        for text in ["10.0.0.7:6433", "[::1]:6433", "db-1.example.com:1", "*:9"] {
            let parsed = Listen::parse(text).flatten();
            let parsed = parsed.unwrap_or_else(|| panic!("{text}"));
            assert_eq!(Listen::print(&Some(parsed)), text);
        }
        assert_eq!(Listen::parse("OFF"), Some(None));
        for bad in [
            "", "6433", ":6433", "h:", "h:0", "h:+1", "::1:6433", "[h]:1", "[]:1",
        ] {
            assert_eq!(Listen::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn reads_networks_and_single_addresses() {
        let parsed = Networks::parse("10.0.0.0/8, 192.168.1.7 ,2001:db8::/32").unwrap();
        let text = "10.0.0.0/8, 192.168.1.7/32, 2001:db8::/32";
        assert_eq!(Networks::print(&parsed), text);
        assert_eq!(Networks::parse(""), Some(vec![]));
        for bad in [
            "10.0.0.1/8",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/",
            "10/8",
            "::1/+9",
            "h",
        ] {
            assert_eq!(Networks::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn tells_who_is_in_a_network() {
        let is_in = |network, address: &str| {
            let networks = Networks::parse(network).unwrap();
            networks[0].contains(address.parse().unwrap())
        };
        assert!(is_in("10.0.0.0/8", "10.255.1.2"));
        assert!(is_in("10.0.0.0/8", "::ffff:10.1.2.3"));
        assert!(!is_in("10.0.0.0/8", "11.0.0.0"));
        assert!(is_in("0.0.0.0/0", "1.2.3.4"));
        assert!(!is_in("0.0.0.0/0", "::1"));
        assert!(is_in("::/0", "::1"));
        assert!(is_in("2001:db8::/33", "2001:db8:7fff::1"));
        assert!(!is_in("2001:db8::/33", "2001:db8:8000::1"));
    }

    proptest! {
        #[test]
        fn never_panics(text: String) {
            let _ = (Listen::parse(&text), Networks::parse(&text));
        }

        #[test]
        fn a_network_contains_its_first_address(address: u128, bits in 0u8..=128) {
            let first = first_of(Ipv6Addr::from_bits(address).into(), bits).unwrap();
            let network = Network { first, bits };
            // A mapped address is one of IPv4.
            prop_assume!(first.to_canonical() == first);
            prop_assert!(network.contains(first));
            prop_assert_eq!(Network::parse(&network.to_string()), Some(network));
        }
    }
}
