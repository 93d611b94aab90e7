//! The addresses of this host, and the networks that it is in.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::address::Addresses;

/// The addresses of the interfaces of this host, each with its mask.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Interfaces(Vec<(IpAddr, IpAddr)>);

impl FromIterator<(IpAddr, Option<IpAddr>)> for Interfaces {
    /// An address without a mask that makes sense is alone in its network.
    fn from_iter<I: IntoIterator<Item = (IpAddr, Option<IpAddr>)>>(all: I) -> Self {
        let all = all.into_iter().map(|(address, mask)| {
            let alike = |mask: &IpAddr| mask.is_ipv4() == address.is_ipv4();
            let mask = mask.filter(|mask| alike(mask) && !mask.is_unspecified());
            let alone = match address {
                IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::BROADCAST),
                IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(u128::MAX)),
            };
            (address, mask.unwrap_or(alone))
        });
        Self(all.collect())
    }
}

impl Interfaces {
    /// Whether `address` is one of this host's own.
    pub(crate) fn have(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|(own, _)| *own == address)
    }

    /// Whether `address` is in a network that this host is in.
    pub(crate) fn reach(&self, address: IpAddr) -> bool {
        let mut networks = self.0.iter();
        networks.any(|(own, mask)| {
            Addresses::of_mask(*own, *mask).is_some_and(|network| network.contain(address))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_its_own_addresses_and_those_of_its_networks() {
        let all = [
            ("127.0.0.1", "255.0.0.0"),
            ("10.1.2.3", "255.255.255.0"),
            ("fe80::1", "ffff:ffff:ffff:ffff::"),
            ("10.7.7.7", "0.0.0.0"),
            ("10.8.8.8", "::"),
        ];
        let parse = |text: &str| text.parse::<IpAddr>().unwrap();
        let all = all.map(|(address, mask)| (parse(address), Some(parse(mask))));
        let interfaces: Interfaces = all.into_iter().collect();
        for (address, own, near) in [
            ("10.1.2.3", true, true),
            ("::ffff:10.1.2.3", true, true),
            ("10.1.2.4", false, true),
            ("10.1.3.3", false, false),
            ("127.9.9.9", false, true),
            ("fe80::1", true, true),
            ("10.7.7.7", true, true),
            ("10.7.7.8", false, false),
            ("10.8.8.9", false, false),
            ("fe80::2", false, true),
            ("fe80:0:0:1::1", false, false),
        ] {
            assert_eq!(interfaces.have(parse(address)), own, "{address}");
            assert_eq!(interfaces.reach(parse(address)), near, "{address}");
        }
        assert!(!Interfaces::default().reach(parse("127.0.0.1")));
    }
}
