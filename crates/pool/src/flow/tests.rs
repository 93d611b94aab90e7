use super::*;

fn sent(tags: &[u8]) -> Flow {
    let mut flow = Flow::default();
    for tag in tags {
        assert_eq!(flow.on_client(*tag), ClientVerdict::Forward);
    }
    flow
}

fn ready(flow: &mut Flow) -> Ready {
    flow.on_ready(TransactionStatus::Idle)
}

#[test]
fn settles_when_every_pipelined_query_was_answered() {
    let mut flow = sent(b"QQ");
    assert!(!ready(&mut flow).settled);
    assert!(ready(&mut flow).settled);
    assert!(flow.at_rest());
}

#[test]
fn waits_for_the_sync_of_a_batch() {
    let mut flow = sent(b"PBH");
    for tag in b"12" {
        flow.on_server(*tag);
    }
    assert!(!flow.at_rest());
    assert_eq!(flow.on_client(b'S'), ClientVerdict::Forward);
    assert!(!flow.at_rest());
    assert!(ready(&mut flow).settled);
}

#[test]
fn an_error_takes_off_a_query_that_the_server_skips() {
    let mut flow = sent(b"PQS");
    flow.on_server(b'E');
    assert!(ready(&mut flow).settled);
}

#[test]
fn an_error_before_its_sync_is_sent_skips_until_then() {
    let mut flow = sent(b"PBDE");
    flow.on_server(b'E');
    assert!(flow.needs_sync());
    for tag in b"PBEQ" {
        flow.on_client(*tag);
    }
    flow.on_client(b'S');
    assert!(ready(&mut flow).settled);
}

#[test]
fn an_error_of_a_query_after_a_batch_keeps_its_ready() {
    let mut flow = sent(b"PBEHQ");
    for tag in b"12C" {
        flow.on_server(*tag);
    }
    flow.on_server(b'E');
    assert!(!flow.skipping);
    assert_eq!(flow.dues.iter().count(), 1);
}

#[test]
fn a_sync_that_copy_swallows_is_not_due() {
    // libpq sends the Sync before it knows that the statement is COPY.
    let mut flow = sent(b"PBDES");
    for tag in b"12nG" {
        flow.on_server(*tag);
    }
    assert!(flow.copying_in());
    for tag in b"ddcS" {
        flow.on_client(*tag);
    }
    flow.on_server(b'C');
    assert!(ready(&mut flow).settled);
}

#[test]
fn a_copy_that_fails_waits_for_the_sync_behind_its_data() {
    let mut flow = sent(b"PBDES");
    for tag in b"12nGE" {
        flow.on_server(*tag);
    }
    assert!(flow.needs_sync());
    for tag in b"dcS" {
        flow.on_client(*tag);
    }
    assert!(ready(&mut flow).settled);
}

#[test]
fn a_pipelined_copy_keeps_the_sync_behind_its_end() {
    let mut flow = sent(b"PBESdcS");
    for tag in b"12GC" {
        flow.on_server(*tag);
    }
    assert!(ready(&mut flow).settled);
}

#[test]
fn data_for_several_copies_of_a_query_may_be_sent_ahead() {
    // "copy …; select …; copy …" and a batch behind it.
    let mut flow = sent(b"QdcdcPBES");
    for tag in b"GCTDCG" {
        flow.on_server(*tag);
        assert!(!flow.copying_in());
    }
    flow.on_server(b'C');
    assert!(!ready(&mut flow).settled);
    for tag in b"12C" {
        flow.on_server(*tag);
    }
    assert!(ready(&mut flow).settled);
}

#[test]
fn a_simple_copy_is_over_with_its_ready() {
    let mut flow = sent(b"Q");
    flow.on_server(b'G');
    for tag in b"dc" {
        flow.on_client(*tag);
    }
    flow.on_server(b'C');
    assert!(ready(&mut flow).settled);
    assert_eq!(Flow::unlinked(b'd'), ClientVerdict::Drop);
}

#[test]
fn the_end_of_a_copy_that_has_failed_already_is_not_waited_for() {
    let mut flow = sent(b"Q");
    for tag in b"GE" {
        flow.on_server(*tag);
    }
    assert!(ready(&mut flow).settled);
    flow.on_client(b'c');
    assert!(flow.at_rest());
}

#[test]
fn knows_the_second_copy_of_a_query_from_the_first() {
    let mut flow = sent(b"Q");
    flow.on_server(b'G');
    flow.on_client(b'c');
    for tag in b"CG" {
        flow.on_server(*tag);
    }
    assert!(flow.copying_in());
}

#[test]
fn a_query_behind_a_batch_ends_it() {
    let mut flow = sent(b"PHQ");
    for tag in b"1C" {
        flow.on_server(*tag);
    }
    assert!(ready(&mut flow).settled);
}

#[test]
fn knows_a_ready_that_nothing_asked_for() {
    assert!(!ready(&mut Flow::default()).expected);
    assert!(ready(&mut sent(b"S")).expected);
}

#[test]
fn drops_the_answer_to_a_query_of_ours_only() {
    let mut flow = Flow::default();
    flow.on_own_query();
    flow.on_client(b'Q');
    assert_eq!(flow.on_server(b'C'), ServerVerdict::Drop);
    let own = ready(&mut flow);
    assert!(own.own && !own.settled && !own.own_failed);
    assert_eq!(flow.on_server(b'T'), ServerVerdict::Forward);
    assert_eq!(flow.on_server(b'D'), ServerVerdict::Forward);
    assert!(!ready(&mut flow).own);
}

#[test]
fn reports_that_a_query_of_ours_failed() {
    let mut flow = Flow::default();
    flow.on_own_query();
    assert_eq!(flow.on_server(b'E'), ServerVerdict::Whole);
    assert!(ready(&mut flow).own_failed);
}

#[test]
fn never_passes_on_a_server_that_wants_to_go() {
    assert_eq!(sent(b"Q").on_server(b'g'), ServerVerdict::GoAway);
}
