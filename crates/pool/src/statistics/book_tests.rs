use pgskein_protocol::key::Slot;

use super::super::counters::Counters;
use super::*;

const PERIOD: Duration = Duration::from_secs(10);
const SOON: Duration = Duration::from_secs(1);

fn worker(incarnation: u32) -> WorkerId {
    WorkerId {
        slot: Slot::new(1).unwrap(),
        generation: 1,
        incarnation,
    }
}

fn report(round: u64, queries: u64) -> Report {
    let mut totals = Totals::default();
    let counters = Counters {
        queries,
        ..Counters::default()
    };
    totals.add("shop", &counters);
    Report { round, totals }
}

fn book(now: Instant) -> Book {
    let mut book = Book::new(PERIOD, now);
    book.worker_ready(worker(1));
    book.worker_ready(worker(2));
    book
}

fn actions(book: &mut Book) -> Vec<BookAction> {
    std::iter::from_fn(|| book.poll_action()).collect()
}

/// The queries that are told, if they are.
fn told(book: &mut Book) -> Option<u64> {
    actions(book).into_iter().find_map(|action| match action {
        BookAction::Tell { group, .. } => Some(group.totals.sum().queries),
        _ => None,
    })
}

/// The queries of the period that has ended, if one has.
fn ended(book: &mut Book) -> Option<(u64, Duration)> {
    actions(book).into_iter().find_map(|action| match action {
        BookAction::Period { group } => Some((group.counted.sum().queries, group.period)),
        _ => None,
    })
}

#[test]
fn tells_the_sum_once_every_worker_has_reported() {
    let now = Instant::now();
    let mut book = book(now);
    let round = book.ask(SOON, now);
    let asked = actions(&mut book);
    let ask = |worker| BookAction::Ask {
        worker,
        round,
        period: false,
    };
    assert_eq!(asked, [ask(worker(1)), ask(worker(2))]);
    book.report(worker(1), report(round, 3), now);
    // What nobody asked for answers nobody.
    book.report(worker(2), report(0, 1), now);
    assert_eq!(told(&mut book), None);
    book.report(worker(2), report(round, 4), now);
    assert_eq!(told(&mut book), Some(7));
}

#[test]
fn tells_what_it_knows_when_a_worker_does_not_report() {
    let now = Instant::now();
    let mut book = book(now);
    book.report(worker(2), report(0, 4), now);
    let round = book.ask(SOON, now);
    book.report(worker(1), report(round, 3), now);
    assert_eq!(told(&mut book), None);
    book.on_time(now + SOON);
    assert_eq!(told(&mut book), Some(7));
}

#[test]
fn keeps_what_a_dead_worker_has_reported_and_waits_for_it_no_more() {
    let now = Instant::now();
    let mut book = book(now);
    book.report(worker(1), report(0, 5), now);
    let round = book.ask(SOON, now);
    book.report(worker(2), report(round, 1), now);
    book.worker_died(worker(1), now);
    assert_eq!(told(&mut book), Some(6));
    book.worker_ready(worker(3));
    let round = book.ask(SOON, now);
    book.report(worker(2), report(round, 1), now);
    book.report(worker(3), report(round, 2), now);
    assert_eq!(told(&mut book), Some(8));
}

#[test]
fn tells_at_once_when_there_is_no_worker() {
    let now = Instant::now();
    let mut book = Book::new(PERIOD, now);
    book.ask(SOON, now);
    assert_eq!(told(&mut book), Some(0));
}

#[test]
fn counts_everything_in_exactly_one_period() {
    let start = Instant::now();
    let mut book = book(start);
    let mut counted = 0;
    for (period, queries) in [(1, [3, 4]), (2, [3, 4]), (3, [10, 5])] {
        let now = start + PERIOD * period;
        assert_eq!(book.next_deadline(), now);
        book.on_time(now);
        let round = book.last_round;
        book.report(worker(1), report(round, queries[0]), now);
        book.report(worker(2), report(round, queries[1]), now + SOON / 10);
        let (sum, length) = ended(&mut book).unwrap();
        assert_eq!(length, PERIOD);
        counted += sum;
        assert_eq!(counted, queries.iter().sum());
    }
}

#[test]
fn ends_a_period_without_a_worker_that_hangs_and_counts_it_in_the_next() {
    let start = Instant::now();
    let mut book = book(start);
    book.on_time(start + PERIOD);
    let round = book.last_round;
    book.report(worker(1), report(round, 3), start + PERIOD);
    assert_eq!(ended(&mut book), None);
    book.on_time(start + PERIOD + PATIENCE);
    assert_eq!(ended(&mut book), Some((3, PERIOD)));
    book.on_time(start + 2 * PERIOD);
    let round = book.last_round;
    for worker in [worker(1), worker(2)] {
        book.report(worker, report(round, 4), start + 2 * PERIOD);
    }
    assert_eq!(ended(&mut book), Some((5, PERIOD)));
}

#[test]
fn takes_the_time_since_the_start_for_the_first_period_until_it_is_over() {
    let start = Instant::now();
    let mut book = book(start);
    let now = start + Duration::from_secs(4);
    book.report(worker(1), report(0, 8), now);
    let group = book.group(now);
    assert_eq!(group.averages("shop").0.queries, 2);
    assert_eq!(group.averages_of_all().0.queries, 2);
}

#[test]
fn takes_over_another_length() {
    let start = Instant::now();
    let mut book = book(start);
    book.on_length(SOON);
    assert_eq!(book.next_deadline(), start + SOON);
    book.on_length(Duration::ZERO);
    assert_eq!(book.next_deadline(), start + SHORTEST);
}

#[test]
fn what_was_counted_in_another_group_is_of_no_period() {
    let start = Instant::now();
    let mut book = Book::new(PERIOD, start);
    book.worker_ready(worker(1));
    book.elder_joined(worker(2));
    book.report(worker(1), report(0, 5), start);
    book.report(worker(2), report(0, 1_000_000), start);
    book.report(worker(2), report(0, 1_000_003), start + SOON);
    let queries = |book: &Book, at| {
        let group = book.group(at);
        (group.totals.sum().queries, group.counted.sum().queries)
    };
    assert_eq!(queries(&book, start + SOON), (1_000_008, 8));

    book.on_time(start + PERIOD);
    book.report(worker(1), report(1, 6), start + PERIOD);
    book.report(worker(2), report(1, 1_000_004), start + PERIOD);
    assert_eq!(queries(&book, start + PERIOD), (1_000_010, 10));
}
