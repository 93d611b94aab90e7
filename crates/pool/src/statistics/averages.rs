//! Averages: what was counted in a period, for each second or each query.

use std::fmt;
use std::time::Duration;

use super::counters::Counters;

/// Averages over a period.
///
/// Counts and bytes are for each second; the time of a query, of a transaction
/// and of a wait is that of one query, one transaction and one lent server, in
/// microseconds, as in PgBouncer.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Averages(pub Counters);

/// The line of the log about a period, in the form of PgBouncer.
#[derive(Clone, Copy, Debug)]
pub struct Summary<'a>(pub &'a Averages);

impl Averages {
    /// Of what was counted in `period`.
    pub fn over(period: Duration, counted: &Counters) -> Self {
        let rates = counted.to_array().map(|counter| rate(counter, period));
        Self(Counters {
            transaction_time: each(counted.transaction_time, counted.transactions),
            query_time: each(counted.query_time, counted.queries),
            wait_time: each(counted.wait_time, counted.server_assignments),
            ..Counters::from_array(rates)
        })
    }
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Averages(average) = self.0;
        write!(
            f,
            "stats: {} xacts/s, {} queries/s, {} client parses/s, {} server parses/s, \
             {} binds/s, in {} B/s, out {} B/s, xact {} us, query {} us, wait {} us",
            average.transactions,
            average.queries,
            average.client_parses,
            average.server_parses,
            average.binds,
            average.received,
            average.sent,
            average.transaction_time,
            average.query_time,
            average.wait_time,
        )
    }
}

/// So many for each second.
fn rate(count: u64, period: Duration) -> u64 {
    let rate = (u128::from(count) * 1_000_000).checked_div(period.as_micros());
    u64::try_from(rate.unwrap_or(0)).unwrap_or(u64::MAX)
}

fn each(sum: u64, count: u64) -> u64 {
    sum.checked_div(count).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_counts_by_the_second_and_times_by_what_took_them() {
        let counted = Counters {
            server_assignments: 5,
            transactions: 10,
            queries: 40,
            received: 1001,
            sent: 2000,
            transaction_time: 1000,
            query_time: 400,
            wait_time: 100,
            client_parses: 1,
            server_parses: 2,
            binds: 4,
            client_logins: 6,
        };
        let average = Averages::over(Duration::from_secs(2), &counted);
        let expected = [2, 5, 20, 500, 1000, 100, 10, 20, 0, 1, 2, 3];
        assert_eq!(average.0.to_array(), expected);
        assert_eq!(
            Summary(&average).to_string(),
            "stats: 5 xacts/s, 20 queries/s, 0 client parses/s, 1 server parses/s, \
             2 binds/s, in 500 B/s, out 1000 B/s, xact 100 us, query 10 us, wait 20 us"
        );
    }

    #[test]
    fn gives_nothing_over_no_time() {
        let counted = Counters {
            queries: 1,
            ..Counters::default()
        };
        let average = Averages::over(Duration::ZERO, &counted);
        assert_eq!(average.0, Counters::default());
    }
}
