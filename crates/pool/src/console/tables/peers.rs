//! SHOW PEERS and PEER_POOLS: the other hosts of the group, and the cancel
//! requests that are on their way to them.

use super::super::table::Kind::{Int4, Int8, Text};
use super::super::table::{Column, Fields, From, Table};
use super::super::topic::Topic;
use super::super::value::Value;

pub(in crate::console) static PEERS: Table = Table {
    topic: Topic::Peers,
    from: From::Workers,
    columns: &[
        Column::key("peer_id", Int4),
        Column::first("host", Text),
        Column::first("port", Int4),
        Column::first("pool_size", Int4),
        Column::first("kind", Text),
        Column::derived("state", Text, state),
        Column::sum("sent", Int8),
        Column::sum("received", Int8),
        Column::sum("failed", Int8),
        // It begins with its time, so that the largest is the last.
        Column::max("last_error", Text),
        // 1 for the row of this host.
        Column::first("own", Int4).hidden(),
        // When a request has ended as it should and when not, last, in
        // milliseconds since 1970.
        Column::max("succeeded", Int8).hidden(),
        Column::max("went_wrong", Int8).hidden(),
    ],
};

pub(in crate::console) static PEER_POOLS: Table = Table {
    topic: Topic::PeerPools,
    from: From::Workers,
    columns: &[
        Column::key("peer_id", Int4),
        Column::sum("cl_active_cancel_req", Int4),
        Column::sum("cl_waiting_cancel_req", Int4),
        Column::sum("sv_active_cancel", Int4),
        Column::sum("sv_login", Int4),
    ],
};

fn state(row: Fields<'_>) -> Value {
    let (succeeded, failed) = (row.number("succeeded"), row.number("went_wrong"));
    Value::from(match (row.number("own"), succeeded, failed) {
        (1, ..) => "self",
        (_, 0, 0) => "unused",
        _ if failed > succeeded => "failing",
        _ => "ok",
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::Merged;
    use super::*;

    fn row(sent: i64, error: &str, own: i64, succeeded: i64, failed: i64) -> Vec<Value> {
        let number = Value::Number;
        vec![
            number(2),
            Value::from("b"),
            number(6432),
            number(20),
            Value::from("pgskein"),
            Value::Null,
            number(sent),
            number(0),
            number(0),
            Value::from(error),
            number(own),
            number(succeeded),
            number(failed),
        ]
    }

    fn merged(rows: [Vec<Value>; 2]) -> Vec<Value> {
        let mut merged = Merged::new(&PEERS);
        for row in rows {
            merged.add(row);
        }
        merged.pop_first().unwrap()
    }

    #[test]
    fn tells_how_the_last_request_of_any_worker_has_ended() {
        let shown = merged([
            row(3, "2026-01-01 00:00:02 UTC: b", 0, 5, 2000),
            row(4, "2026-01-01 00:00:01 UTC: a", 0, 3000, 1000),
        ]);
        assert_eq!(shown.len(), 10);
        assert_eq!(shown[5], Value::from("ok"));
        assert_eq!(shown[6], Value::Number(7));
        assert_eq!(shown[9], Value::from("2026-01-01 00:00:02 UTC: b"));
        let shown = merged([row(1, "x", 0, 5, 4000), row(1, "", 0, 3000, 0)]);
        assert_eq!(shown[5], Value::from("failing"));
    }

    #[test]
    fn tells_which_row_is_this_host_and_which_peer_was_never_needed() {
        let shown = merged([row(0, "", 1, 0, 0), row(0, "", 1, 0, 0)]);
        assert_eq!(shown[5], Value::from("self"));
        let shown = merged([row(0, "", 0, 0, 0), row(0, "", 0, 0, 0)]);
        assert_eq!(shown[5], Value::from("unused"));
    }
}
