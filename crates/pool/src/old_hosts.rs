//! Old hosts: servers that are to be asked for protocol 3.0 and nothing more.
//!
//! A host that refuses the newest version and takes plain 3.0 is remembered
//! here, by its address, so that its further servers are not refused first.

use std::collections::BTreeSet;

use crate::octets::{Octets, Truncated, put_bytes, put_count};

/// The addresses of hosts that take plain 3.0 only.
#[derive(Clone, Debug, Default)]
pub struct OldHosts(BTreeSet<String>);

impl OldHosts {
    /// Remembers a host; false if it was known already.
    pub fn insert(&mut self, host: &str) -> bool {
        if self.contains(host) {
            return false;
        }
        if self.0.len() >= MOST {
            // Addresses that came and went; whoever is left is found again.
            self.0.clear();
        }
        self.0.insert(host.to_owned())
    }

    /// Whether a host is to be asked for plain 3.0.
    pub fn contains(&self, host: &str) -> bool {
        self.0.contains(host)
    }

    /// Appends them to `out`: their number (4) and their names.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_count(out, self.0.len());
        for host in &self.0 {
            put_bytes(out, host.as_bytes());
        }
    }

    /// Takes them from the start of `octets`.
    pub(crate) fn decode(octets: &mut Octets<'_>) -> Result<Self, Truncated> {
        octets.list(Octets::text).map(Self)
    }

    /// Forgets all of them, so that each is asked for the newest again.
    pub fn forget(&mut self) {
        self.0.clear();
    }
}

/// Most hosts that are remembered.
const MOST: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_each_host_once_until_all_are_forgotten() {
        let mut hosts = OldHosts::default();
        assert!(hosts.insert("10.0.0.1:5432"));
        assert!(!hosts.insert("10.0.0.1:5432"));
        assert!(hosts.contains("10.0.0.1:5432"));
        assert!(!hosts.contains("10.0.0.1:5433"));
        hosts.forget();
        assert!(!hosts.contains("10.0.0.1:5432"));
    }

    #[test]
    fn keeps_a_bounded_number_of_hosts() {
        let mut hosts = OldHosts::default();
        for port in 0..3 * MOST {
            hosts.insert(&format!("h:{port}"));
        }
        assert!(hosts.0.len() <= MOST);
        assert!(hosts.contains(&format!("h:{}", 3 * MOST - 1)));
    }
}
