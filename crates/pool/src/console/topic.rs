//! Topics: what can be asked for, by word and by code.

use super::table::Table;
use super::tables;

macro_rules! topics {
    ($($(#[$doc:meta])* $topic:ident = $code:literal, $word:literal, $table:path;)*) => {
        /// What a table is about.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        pub enum Topic {
            $($(#[$doc])* $topic,)*
        }

        impl Topic {
    /// Whether it shows what the supervisor keeps of what was counted.
    pub fn is_counted(self) -> bool {
        matches!(
            self,
            Self::Stats | Self::StatsTotals | Self::StatsAverages | Self::Totals
        )
    }

            /// All topics.
            pub const ALL: &'static [Self] = &[$(Self::$topic,)*];

            /// The code of the topic on the wire; never used for another.
            pub fn code(self) -> u8 {
                match self {
                    $(Self::$topic => $code,)*
                }
            }

            /// The word behind SHOW, in capitals.
            pub const fn word(self) -> &'static str {
                match self {
                    $(Self::$topic => $word,)*
                }
            }

            /// The declaration of its table.
            pub fn table(self) -> &'static Table {
                match self {
                    $(Self::$topic => &$table,)*
                }
            }
        }
    };
}

topics! {
    /// Clients of all pools, and consoles.
    Clients = 1, "CLIENTS", tables::sockets::CLIENTS;
    /// Connections to PostgreSQL.
    Servers = 2, "SERVERS", tables::sockets::SERVERS;
    /// Pools.
    Pools = 3, "POOLS", tables::pools::POOLS;
    /// How many there are of what.
    Lists = 4, "LISTS", tables::lists::LISTS;
    /// Clients and servers, with what is in their buffers.
    Sockets = 5, "SOCKETS", tables::sockets::SOCKETS;
    /// Those of them that have something to do.
    ActiveSockets = 6, "ACTIVE_SOCKETS", tables::sockets::ACTIVE_SOCKETS;
    /// Databases.
    Databases = 7, "DATABASES", tables::databases::DATABASES;
    /// Users.
    Users = 8, "USERS", tables::databases::USERS;
    /// Other hosts that cancels are forwarded to.
    Peers = 9, "PEERS", tables::peers::PEERS;
    /// Connections to other hosts.
    PeerPools = 10, "PEER_POOLS", tables::peers::PEER_POOLS;
    /// Whether the group serves, and by which configuration.
    State = 11, "STATE", tables::state::STATE;
    /// What memory is used for.
    Mem = 12, "MEM", tables::state::MEM;
    /// Hosts whose addresses are known.
    DnsHosts = 13, "DNS_HOSTS", tables::state::DNS_HOSTS;
    /// Zones of names.
    DnsZones = 14, "DNS_ZONES", tables::state::DNS_ZONES;
    /// Descriptors.
    Fds = 15, "FDS", tables::sockets::FDS;
    /// Who may hold which servers.
    Leases = 16, "LEASES", tables::leases::LEASES;
    /// Who is asked to go.
    Drain = 56, "DRAIN", tables::drain::DRAIN;
    /// What was counted of each database, and averages.
    Stats = 40, "STATS", tables::stats::STATS;
    /// What was counted of each database.
    StatsTotals = 41, "STATS_TOTALS", tables::stats::STATS_TOTALS;
    /// The averages of each database.
    StatsAverages = 42, "STATS_AVERAGES", tables::stats::STATS_AVERAGES;
    /// What was counted of all databases together, and averages.
    Totals = 43, "TOTALS", tables::stats::TOTALS;
    /// How long things took lately.
    Latency = 44, "LATENCY", tables::latency::LATENCY;
}

impl Topic {
    /// The topic of a code.
    pub fn of_code(code: u8) -> Option<Self> {
        Self::ALL.iter().copied().find(|topic| topic.code() == code)
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::Merge;
    use super::*;

    #[test]
    fn finds_every_topic_by_its_code() {
        for (at, topic) in Topic::ALL.iter().enumerate() {
            assert_eq!(Topic::of_code(topic.code()), Some(*topic));
            let words = Topic::ALL[..at].iter().map(|topic| topic.word());
            assert!(!words.into_iter().any(|word| word == topic.word()));
            assert_eq!(topic.table().topic, *topic);
        }
        assert_eq!(Topic::of_code(0), None);
    }

    #[test]
    fn gives_each_table_a_key_and_columns_of_different_names() {
        for topic in Topic::ALL {
            let columns = topic.table().columns;
            let keys = columns.iter().filter(|c| matches!(c.merge, Merge::Key));
            assert!(keys.count() > 0, "{topic:?}");
            for (at, column) in columns.iter().enumerate() {
                let same = columns[..at].iter().any(|c| c.name == column.name);
                assert!(!same, "{topic:?} {}", column.name);
            }
        }
    }
}
