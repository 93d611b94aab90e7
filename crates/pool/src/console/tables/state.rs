//! SHOW STATE, MEM, DNS_HOSTS and DNS_ZONES: the state of the group itself.

use crate::console::table::Kind::{Int4, Int8, Text};
use crate::console::table::{Column, From, Table};
use crate::console::topic::Topic;

/// Workers repeat what the supervisor says, for the case that it is gone.
pub(in crate::console) static STATE: Table = Table {
    topic: Topic::State,
    from: From::Both,
    columns: &[
        Column::key("position", Int4).hidden(),
        Column::first("key", Text),
        Column::first("value", Text),
    ],
};

pub(in crate::console) static MEM: Table = Table {
    topic: Topic::Mem,
    from: From::Workers,
    columns: &[
        Column::key("position", Int4).hidden(),
        Column::first("name", Text),
        Column::max("size", Int4),
        Column::sum("used", Int4),
        Column::sum("free", Int4),
        Column::sum("memtotal", Int4),
    ],
};

pub(in crate::console) static DNS_HOSTS: Table = Table {
    topic: Topic::DnsHosts,
    from: From::Workers,
    columns: &[
        Column::key("hostname", Text),
        Column::max("ttl", Int8),
        Column::first("addrs", Text),
    ],
};

pub(in crate::console) static DNS_ZONES: Table = Table {
    topic: Topic::DnsZones,
    from: From::Workers,
    columns: &[
        Column::key("zonename", Text),
        Column::max("serial", Int8),
        Column::sum("count", Int4),
    ],
};
