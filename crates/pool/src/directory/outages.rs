//! Servers of directories that have failed, and are asked last for a while.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use pgskein_config::LdapServer;

/// Servers that have failed, each until when it is asked last.
#[derive(Debug, Default)]
pub struct Outages(HashMap<LdapServer, Instant>);

impl Outages {
    /// These servers in the order in which they are to be asked.
    pub fn order(&self, servers: &[LdapServer], now: Instant) -> Vec<LdapServer> {
        let failed = |server: &LdapServer| self.0.get(server).is_some_and(|until| *until > now);
        let (last, first): (Vec<_>, Vec<_>) = servers.iter().cloned().partition(failed);
        first.into_iter().chain(last).collect()
    }

    /// A server has failed; true if that is news.
    pub fn on_failed(&mut self, server: &LdapServer, now: Instant) -> bool {
        self.0.retain(|_, until| *until > now);
        self.0.insert(server.clone(), now + AVOIDED).is_none()
    }

    /// A server has answered.
    pub fn on_answered(&mut self, server: &LdapServer) {
        self.0.remove(server);
    }
}

/// How long a server that has failed is asked last.
const AVOIDED: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_servers_last_that_have_failed() {
        let server = |host: &str| LdapServer {
            host: host.to_owned(),
            port: 389,
        };
        let servers = ["a", "b", "c"].map(server);
        let mut outages = Outages::default();
        let now = Instant::now();
        let order = |outages: &Outages, now| {
            let order = outages.order(&servers, now);
            order
                .into_iter()
                .map(|server| server.host)
                .collect::<String>()
        };
        assert_eq!(order(&outages, now), "abc");
        assert!(outages.on_failed(&server("a"), now));
        assert!(!outages.on_failed(&server("a"), now));
        assert_eq!(order(&outages, now), "bca");
        assert_eq!(order(&outages, now + AVOIDED), "abc");
        assert!(outages.on_failed(&server("b"), now));
        assert_eq!(order(&outages, now), "cab");
        outages.on_answered(&server("a"));
        assert_eq!(order(&outages, now), "acb");
        assert!(outages.on_failed(&server("a"), now + AVOIDED));
    }
}
