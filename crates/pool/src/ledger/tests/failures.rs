//! What becomes of hosts that have failed, where a database has several.

use super::*;
use crate::control::HostNotice;

/// The host that an action says has failed, and for how long.
pub(super) fn failed(action: &LedgerAction) -> Option<(WorkerId, &str, Duration)> {
    match action {
        LedgerAction::Host {
            worker,
            notice: HostNotice::Failed { host, last_for, .. },
        } => Some((*worker, host, *last_for)),
        _ => None,
    }
}

impl Fixture {
    /// Who is told that which host has failed, or has no more.
    fn told_failed(&mut self) -> Vec<(u8, String, bool)> {
        let all: Vec<_> = std::iter::from_fn(|| self.ledger.poll_action(self.now)).collect();
        let told = all.iter().filter_map(failed);
        told.map(|(who, host, last_for)| {
            (who.slot.get(), host.to_owned(), last_for > Duration::ZERO)
        })
        .collect()
    }

    /// A server of `who` is tried at all hosts: these refuse it, and others do
    /// not fit.
    fn refuse_all(&mut self, who: u8, lease: LeaseId, hosts: &[&str]) -> Option<HostNews> {
        let now = self.now;
        for host in hosts {
            self.ledger.refused_at(worker(who), lease, host, false, now);
        }
        let why = Unreachable {
            host: hosts.last().unwrap_or(&"/b").to_string(),
            says: false,
            message: "no suitable host".to_owned(),
        };
        let news = self.ledger.unreachable(worker(who), lease, why, 7, now);
        self.ledger.returned(worker(who), lease, now);
        news
    }
}

#[test]
fn tells_all_workers_what_has_failed_and_what_serves_again() {
    let mut fixture = Fixture::new(3);
    let shop = pool("shop", "bob");
    fixture.want(1, &shop, 1);
    let (_, lease) = fixture.grants()[0];
    let now = fixture.now;
    fixture
        .ledger
        .refused_at(worker(1), lease, "/a", false, now);
    let told = |last| [1, 2, 3].map(|who| (who, "/a".to_owned(), last)).to_vec();
    assert_eq!(fixture.told_failed(), told(true));
    // One that comes later begins with it.
    fixture.ledger.worker_ready(worker(4));
    fixture.ledger.tell_of_failures(worker(4), now);
    assert_eq!(fixture.told_failed(), [(4, "/a".to_owned(), true)]);
    fixture.ledger.returned(worker(1), lease, now);
    // A server logs in there.
    let mut fixture = Fixture::new(3);
    fixture.want(1, &shop, 2);
    let leases = fixture.grants();
    fixture
        .ledger
        .refused_at(worker(1), leases[0].1, "/s", false, now);
    fixture.told_failed();
    fixture
        .ledger
        .held(worker(1), leases[1].1, backend(7), fixture.now);
    let told = fixture.told_failed();
    assert_eq!(told.len(), 3);
    assert!(told.iter().all(|(_, host, last)| host == "/s" && !last));
}

#[test]
fn waits_when_the_host_of_a_pool_has_gone_and_no_other_fits() {
    for others in [&["/b"][..], &["/s", "/b"], &[]] {
        let mut fixture = Fixture::new(3);
        let shop = pool("shop", "bob");
        fixture.want(1, &shop, 1);
        let (who, lease) = fixture.use_grants()[0];
        let now = fixture.now;
        fixture.ledger.said_farewell(worker(who), lease, "/s", now);
        fixture.ledger.returned(worker(who), lease, now);
        fixture.want(1, &shop, 1);
        let (who, lease) = fixture.grants()[0];
        // Whichever the worker has tried last.
        let news = fixture.refuse_all(who, lease, others);
        assert!(
            matches!(&news, Some(HostNews::Leaves { host, .. }) if host == "/s"),
            "{others:?}: {news:?}"
        );
    }
}

#[test]
fn lets_all_pools_follow_the_first_to_another_host_at_once() {
    let mut fixture = Fixture::new(3);
    let pools = ["bob", "eve", "joe"].map(|user| pool("shop", user));
    for pool in &pools {
        fixture.want(1, pool, 1);
    }
    let served = fixture.use_grants();
    for (who, lease) in served {
        let now = fixture.now;
        fixture.ledger.said_farewell(worker(who), lease, "/s", now);
        fixture.ledger.returned(worker(who), lease, now);
    }
    fixture.want(1, &pools[0], 1);
    let (who, lease) = fixture.grants()[0];
    fixture.refuse_all(who, lease, &["/s"]);
    for pool in &pools {
        fixture.want(1, pool, 1);
    }
    fixture.pass(Duration::from_secs(2));
    let mut followed = 0;
    while let [(who, lease)] = fixture.grants()[..] {
        let elsewhere = Backend {
            target: "/b".to_owned(),
            process_id: 8,
            secret: vec![8; 4],
        };
        let now = fixture.now;
        fixture
            .ledger
            .held(worker(who), lease, Some(elsewhere), now);
        followed += 1;
        assert!(followed <= 3);
    }
    assert_eq!(followed, 3, "no time has passed");
}
