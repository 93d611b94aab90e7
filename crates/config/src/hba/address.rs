//! Addresses of clients as the HBA file gives them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::host_name::{HostName, HostPattern};
use super::tokens::Word;
use super::{Undecided, Visitor};

/// Which addresses are meant.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Addresses {
    /// All of them, of both families.
    All,
    /// Those of this host.
    SameHost,
    /// Those of the networks that this host is in.
    SameNet,
    /// Those of hosts with such a name.
    Called(HostPattern),
    /// Those of a network: its address and its mask, of the same family.
    V4(u32, u32),
    /// The same for IPv6.
    V6(u128, u128),
}

impl Addresses {
    /// Reads them from the fields at the beginning of `fields`; says how many
    /// these were, one or two.
    pub(crate) fn parse(fields: &[Vec<Word>]) -> Result<(Self, usize), String> {
        let word = match fields.first().map(Vec::as_slice) {
            Some([word]) => word,
            Some(_) => return Err("one address is expected, not a list".to_owned()),
            None => return Err("the line ends before its address".to_owned()),
        };
        if word.is("all") {
            return Ok((Self::All, 1));
        }
        if word.is("samehost") {
            return Ok((Self::SameHost, 1));
        }
        if word.is("samenet") {
            return Ok((Self::SameNet, 1));
        }
        if let Some((address, length)) = word.text.split_once('/') {
            if HostPattern::parse(address).is_some() {
                return Err(format!(
                    "{}: a name of a host has no prefix length",
                    word.text
                ));
            }
            let address = address.parse().map_err(|_| not_an_address(&word.text))?;
            let network = length
                .parse()
                .ok()
                .and_then(|length| Self::of_prefix(address, length));
            let network = network.ok_or_else(|| format!("bad prefix length in {}", word.text))?;
            return Ok((network, 1));
        }
        let Ok(address) = word.text.parse::<IpAddr>() else {
            let host = HostPattern::parse(&word.text).map(Self::Called);
            return host
                .map(|host| (host, 1))
                .ok_or_else(|| not_an_address(&word.text));
        };
        let mask = match fields.get(1).map(Vec::as_slice) {
            Some([mask]) => mask.text.parse().ok(),
            _ => None,
        };
        let network = mask.and_then(|mask| Self::of_mask(address, mask));
        let network = network.ok_or_else(|| {
            format!(
                "a mask of the same family is expected behind {address}, or a prefix length, such as {address}/{}",
                if address.is_ipv4() { 32 } else { 128 },
            )
        })?;
        Ok((network, 2))
    }

    /// The network of an address and a mask of the same family.
    pub(super) fn of_mask(address: IpAddr, mask: IpAddr) -> Option<Self> {
        match (address, mask) {
            (IpAddr::V4(address), IpAddr::V4(mask)) => {
                Some(Self::V4(address.to_bits(), mask.to_bits()))
            }
            (IpAddr::V6(address), IpAddr::V6(mask)) => {
                Some(Self::V6(address.to_bits(), mask.to_bits()))
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => None,
        }
    }

    fn of_prefix(address: IpAddr, length: u32) -> Option<Self> {
        match address {
            IpAddr::V4(address) => {
                let host = Ipv4Addr::BITS.checked_sub(length)?;
                let mask = u32::MAX.checked_shl(host).unwrap_or(0);
                Some(Self::V4(address.to_bits(), mask))
            }
            IpAddr::V6(address) => {
                let host = Ipv6Addr::BITS.checked_sub(length)?;
                let mask = u128::MAX.checked_shl(host).unwrap_or(0);
                Some(Self::V6(address.to_bits(), mask))
            }
        }
    }

    /// Whether `address`, that of `visitor`, is among them.
    ///
    /// # Errors
    ///
    /// [`Undecided`] when that depends on what is not known.
    pub(super) fn fit(&self, address: IpAddr, visitor: &Visitor<'_>) -> Result<bool, Undecided> {
        let interfaces = visitor.interfaces.ok_or(Undecided::Interfaces);
        Ok(match (self, visitor.host) {
            (Self::SameHost, _) => interfaces?.have(address),
            (Self::SameNet, _) => interfaces?.reach(address),
            (Self::Called(_), HostName::Unknown) => return Err(Undecided::Name),
            (Self::Called(_), HostName::Nameless) => false,
            (Self::Called(pattern), HostName::Named(name)) => pattern.matches(name),
            (Self::All | Self::V4(..) | Self::V6(..), _) => self.contain(address),
        })
    }

    /// Whether `address` is in this network. An IPv4 address that is written as
    /// one of IPv6 is one of IPv4.
    pub(super) fn contain(&self, address: IpAddr) -> bool {
        match (self, address.to_canonical()) {
            (Self::All, _) => true,
            (Self::SameHost | Self::SameNet | Self::Called(_), _) => false,
            (Self::V4(network, mask), IpAddr::V4(address)) => {
                address.to_bits() & *mask == *network & *mask
            }
            (Self::V6(network, mask), IpAddr::V6(address)) => {
                address.to_bits() & *mask == *network & *mask
            }
            (Self::V4(..), IpAddr::V6(_)) | (Self::V6(..), IpAddr::V4(_)) => false,
        }
    }
}

fn not_an_address(text: &str) -> String {
    format!("{text}: expected all, samehost, samenet, a network or the name of a host")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<(Addresses, usize), String> {
        let word = |text: &str| Word {
            text: text.to_owned(),
            quoted: false,
        };
        let fields: Vec<_> = text.split(' ').map(|text| vec![word(text)]).collect();
        Addresses::parse(&fields)
    }

    fn contains(network: &str, address: &str) -> bool {
        let (network, _) = parse(network).unwrap();
        network.contain(address.parse().unwrap())
    }

    #[test]
    fn knows_the_addresses_of_a_network() {
        for (network, inside, outside) in [
            ("10.1.2.3/32", "10.1.2.3", "10.1.2.4"),
            ("10.1.2.3/8", "10.255.0.1", "11.1.2.3"),
            ("10.1.0.0 255.255.0.0", "10.1.9.9", "10.2.0.0"),
            ("0.0.0.0/0", "255.1.2.3", "::1"),
            ("::/0", "fe80::1", "1.2.3.4"),
            ("2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::1"),
            ("fe80:: ffc0::", "febf::1", "fec0::1"),
            ("10.0.0.0/8", "::ffff:10.1.2.3", "::ffff:11.1.2.3"),
        ] {
            assert!(contains(network, inside), "{network} {inside}");
            assert!(!contains(network, outside), "{network} {outside}");
        }
        assert!(contains("all", "::1") && contains("all", "1.2.3.4"));
    }

    #[test]
    fn says_how_many_fields_it_took() {
        for one in [
            "10.0.0.0/8",
            "db.example.com",
            ".test",
            "samehost",
            "samenet",
        ] {
            assert_eq!(parse(&format!("{one} md5")).unwrap().1, 1, "{one}");
        }
        assert_eq!(parse("10.0.0.0 255.0.0.0 md5").unwrap().1, 2);
    }

    #[test]
    fn rejects_what_is_no_network() {
        for text in [
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/x",
            "10.0.0.0 ffff::",
            "10.0.0.0 md5",
            "10.0.0.0",
            "300.1.2.3",
            "*.example.com",
            "a/8",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert_eq!(
            parse("db.example.com/24 md5").unwrap_err(),
            "db.example.com/24: a name of a host has no prefix length"
        );
        assert_eq!(
            parse("10.0.0.1 md5").unwrap_err(),
            "a mask of the same family is expected behind 10.0.0.1, or a prefix length, such as 10.0.0.1/32"
        );
    }
}
