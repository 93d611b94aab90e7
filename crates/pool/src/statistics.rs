//! Statistics: what is counted of pools, and what becomes of the counts.
//!
//! On the way of a byte nothing is done but adding: a server counts the bytes
//! that it carries ([`Traffic`]), its pool counts queries and how long they took
//! ([`PoolStatistics`]). Whoever asks adds up the pools of a database
//! ([`Totals`]). The supervisor knows the totals of every worker, those of the
//! dead included ([`Book`]), and takes the averages of a period.

mod averages;
mod book;
mod counters;
mod histogram;
mod latency;
mod rows;
mod totals;

pub use self::averages::{Averages, Summary};
pub use self::book::{Book, BookAction, Group};
pub use self::counters::{Counters, Traffic};
pub use self::histogram::{Histogram, quantile};
pub use self::latency::{Latency, LatencyKind, PoolStatistics};
pub use self::totals::{Report, Totals};
