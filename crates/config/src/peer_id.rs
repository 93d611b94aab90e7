//! The number of this host among its peers.

use crate::kind::{Count, Kind};

/// Which number this host has in its group.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PeerId {
    /// This one; 0 is none.
    Number(u16),
    /// One more than the number at the end of the host's name.
    Hostname,
}

impl PeerId {
    /// The number, 1 to 16383, or `None` for a host without peers.
    ///
    /// `host_name` is the name of this host. A pod of a StatefulSet has its
    /// ordinal behind the last dash of it, from 0 on; what follows a dot is the
    /// domain.
    ///
    /// # Errors
    ///
    /// What is wrong with the name, if it counts.
    pub fn resolve(self, host_name: &str) -> Result<Option<u16>, String> {
        match self {
            Self::Number(id) => Ok(Some(id).filter(|id| *id != 0)),
            Self::Hostname => {
                let label = host_name.split('.').next().unwrap_or_default();
                let ordinal = label.rsplit_once('-').map(|(_, ordinal)| ordinal);
                let digits = |text: &&str| {
                    !text.is_empty() && text.len() <= 5 && text.bytes().all(|b| b.is_ascii_digit())
                };
                let ordinal = ordinal.filter(digits).and_then(|text| text.parse().ok());
                let id = ordinal.and_then(|ordinal: u32| u16::try_from(ordinal + 1).ok());
                let id = id.filter(|id| *id <= HIGHEST_PEER);
                id.map(Some).ok_or_else(|| {
                    let most = HIGHEST_PEER - 1;
                    format!(
                        "the name of this host, \"{host_name}\", does not end in a dash and a number \
                         from 0 to {most}"
                    )
                })
            }
        }
    }
}

impl Default for PeerId {
    fn default() -> Self {
        Self::Number(0)
    }
}

impl Kind for PeerId {
    type Value = Self;
    const NAME: &'static str = "peer id";
    const EXPECTED: &'static str = "a number from 0 to 16383, or hostname";

    fn parse(text: &str) -> Option<Self> {
        if text.eq_ignore_ascii_case(HOSTNAME) {
            return Some(Self::Hostname);
        }
        let number = u16::try_from(Count::parse(text)?).ok()?;
        (number <= HIGHEST_PEER).then_some(Self::Number(number))
    }

    fn print(value: &Self) -> String {
        match value {
            Self::Number(id) => id.to_string(),
            Self::Hostname => HOSTNAME.to_owned(),
        }
    }
}

const HOSTNAME: &str = "hostname";

/// The highest id of a peer, as PgBouncer documents it.
pub(crate) const HIGHEST_PEER: u16 = 16383;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_one_more_than_the_ordinal_of_the_host_name() {
        for (name, id) in [
            ("pgskein-0", 1),
            ("pgskein-2.pgskein.default.svc.cluster.local", 3),
            ("my-pg-skein-16382", 16383),
        ] {
            assert_eq!(PeerId::Hostname.resolve(name), Ok(Some(id)), "{name}");
        }
    }

    #[test]
    fn rejects_host_names_without_an_ordinal() {
        for name in [
            "",
            "pgskein",
            "f3a9c2b41e07",
            "pgskein-",
            "pgskein-x1",
            "pgskein-16383",
            "pgskein-99999999999",
            "pgskein.a-1",
        ] {
            let error = PeerId::Hostname.resolve(name).unwrap_err();
            assert!(error.contains(&format!("\"{name}\"")), "{error}");
        }
    }

    #[test]
    fn reads_a_number_or_the_word() {
        assert_eq!(PeerId::parse("16383"), Some(PeerId::Number(16383)));
        assert_eq!(PeerId::parse("HostName"), Some(PeerId::Hostname));
        for bad in ["16384", "-1", "70000", "host", ""] {
            assert_eq!(PeerId::parse(bad), None, "{bad}");
        }
        assert_eq!(PeerId::Number(0).resolve("a-1"), Ok(None));
        assert_eq!(PeerId::Number(7).resolve(""), Ok(Some(7)));
    }
}
