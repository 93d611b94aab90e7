use pgskein_protocol::Frame;
use pgskein_protocol::tag::backend;

use super::*;
use crate::flow::ServerVerdict;

/// A client and a server, with all that a worker knows of them.
struct Link {
    flow: Flow,
    known: Known,
    client: Prepared,
    statements: Statements,
    parameters: Parameters,
    max: usize,
    traffic: Traffic,
}

impl Link {
    fn new() -> Self {
        let mut statements = Statements::new([3; 16]);
        let mut flow = Flow::default();
        flow.on_link(true, false);
        Self {
            flow,
            known: Known::default(),
            client: Prepared::new(&mut statements),
            statements,
            parameters: Parameters::new(&[]),
            max: 10,
            traffic: Traffic::default(),
        }
    }

    /// Sends messages as long as none has to wait; gives what the server gets,
    /// a word for each message, with names cut short.
    fn send(&mut self, bytes: &[u8]) -> String {
        let mut rest = bytes;
        let mut out = Vec::new();
        let mut held = "";
        while let Some((frame, behind)) = Frame::split(rest, u32::MAX).unwrap() {
            let whole = &rest[..rest.len() - behind.len()];
            if frame.tag == b'Q' {
                if self.flow.query_may_be_skipped() {
                    self.client.unnamed.close(false);
                } else {
                    self.client.unnamed.clear();
                }
            }
            match self.flow.on_client(frame.tag) {
                crate::flow::ClientVerdict::Forward => out.extend_from_slice(whole),
                _ => match self.plan(frame, &mut out) {
                    Planned::Sent(sent) => out.extend_from_slice(&whole[sent.replaced..]),
                    Planned::Hold => {
                        held = " held";
                        break;
                    }
                    other => panic!("{other:?}"),
                },
            }
            rest = behind;
        }
        words(&out) + held
    }

    fn plan(&mut self, frame: Frame<'_>, out: &mut Vec<u8>) -> Planned {
        Planner {
            flow: &mut self.flow,
            known: &mut self.known,
            client: &mut self.client,
            statements: &mut self.statements,
            max: self.max,
            parameters: &self.parameters,
            out,
            traffic: &mut self.traffic,
        }
        .plan(Message {
            tag: frame.tag,
            body: frame.body,
            len: frame.body.len(),
        })
    }

    /// The server answers; gives what the client gets.
    fn answer(&mut self, tags: &[u8]) -> String {
        let mut got = String::new();
        for &tag in tags {
            while self.flow.owes_answer() {
                got.push(char::from(self.flow.answer().unwrap()));
            }
            if tag == backend::READY_FOR_QUERY {
                self.flow.on_ready(TransactionStatus::Idle);
                got.push('Z');
            } else if self.flow.on_server(tag) == ServerVerdict::Forward {
                got.push(char::from(tag));
            }
        }
        for outcome in self.flow.take_outcomes() {
            outcome.carry_out(
                Some(&mut self.client),
                &mut self.known,
                &mut self.statements,
            );
        }
        got
    }
}

fn words(mut bytes: &[u8]) -> String {
    let mut words = Vec::new();
    while let Some((frame, rest)) = Frame::split(bytes, u32::MAX).unwrap() {
        let text = String::from_utf8_lossy(frame.body).replace('\0', ".");
        let name = match text.find("pgskein_") {
            Some(at) if !text.contains("taken") => &text[..at + 10],
            _ => &text,
        };
        words.push(format!("{}{name}", char::from(frame.tag)));
        bytes = rest;
    }
    words.join(" ")
}

fn parse(name: &str, sql: &str) -> Vec<u8> {
    let mut out = Vec::new();
    write::parse(&mut out, name.as_bytes(), format!("{sql}\0\0\0").as_bytes());
    out
}

fn bind(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    write::bind_names(&mut out, b"", name.as_bytes(), 6);
    out.extend_from_slice(&[0; 6]);
    out
}

fn close(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    write::close_statement(&mut out, name.as_bytes());
    out
}

fn sync() -> Vec<u8> {
    b"S\0\0\0\x04".to_vec()
}

#[test]
fn prepares_once_and_answers_the_second_time_by_itself() {
    let mut link = Link::new();
    let sent = link.send(&[parse("a", "select 1"), sync()].concat());
    assert!(sent.starts_with("Ppgskein_"), "{sent}");
    assert_eq!(link.answer(b"1Z"), "1Z");
    let sent = link.send(&[parse("b", "select 1"), bind("b"), sync()].concat());
    assert!(sent.starts_with("B.pgskein_"), "{sent}");
    assert_eq!(link.answer(b"2Z"), "12Z");
}

#[test]
fn prepares_in_passing_what_the_server_does_not_know() {
    let mut link = Link::new();
    link.send(&[parse("a", "select 1"), sync()].concat());
    link.answer(b"1Z");
    link.known = Known::default();
    let sent = link.send(&[bind("a"), sync()].concat());
    assert!(
        sent.starts_with("Ppgskein_") && sent.contains(" B.pgskein_"),
        "{sent}"
    );
    assert_eq!(link.answer(b"12Z"), "2Z");
}

#[test]
fn a_name_is_free_again_when_its_parse_has_failed() {
    let mut link = Link::new();
    link.send(&[parse("a", "selekt"), sync()].concat());
    assert_eq!(link.answer(b"EZ"), "EZ");
    let sent = link.send(&[bind("a"), sync()].concat());
    assert_eq!(sent, "B.a....... S");
    assert_eq!(link.statements.len(), 0);
}

#[test]
fn a_close_that_was_skipped_leaves_the_name() {
    let mut link = Link::new();
    link.send(&[parse("a", "select 1"), sync()].concat());
    link.answer(b"1Z");
    link.send(&[bind("x"), close("a"), parse("a", "select 2"), sync()].concat());
    assert_eq!(link.answer(b"EZ"), "EZ");
    let sent = link.send(&bind("a"));
    assert!(sent.starts_with("B.pgskein_"), "{sent}");
    assert_eq!(link.statements.len(), 1);
}

#[test]
fn a_deallocate_takes_a_name_and_a_statement_of_ours() {
    let mut link = Link::new();
    link.send(&[parse("a", "select 1"), sync()].concat());
    link.answer(b"1Z");
    let sent = link.send(&[parse("", "Deallocate A"), bind(""), sync()].concat());
    assert_eq!(
        sent,
        "CSpgskein_taken. Ppgskein_taken.select... \
         P.deallocate pgskein_taken... B........ S"
    );
    assert_eq!(link.answer(b"3112Z"), "12Z");
    assert_eq!(link.client.find(b"a"), None);
    // The statement itself stays on the server, for whoever has it next.
    let sent = link.send(&[parse("a", "select 1"), bind("a"), sync()].concat());
    assert!(sent.starts_with("B.pgskein_"), "{sent}");
    assert_eq!(link.answer(b"2Z"), "12Z");
}

#[test]
fn a_deallocate_that_was_refused_leaves_the_name() {
    let mut link = Link::new();
    link.send(&[parse("a", "select 1"), sync()].concat());
    link.answer(b"1Z");
    link.send(&[parse("", "deallocate a"), sync()].concat());
    assert_eq!(link.answer(b"3EZ"), "EZ");
    assert!(link.client.find(b"a").is_some());
    // What nobody has prepared by messages is PostgreSQL's business.
    let sent = link.send(&[parse("", "deallocate b"), sync()].concat());
    assert_eq!(sent, "P.deallocate b... S");
}

#[test]
fn holds_a_name_whose_parse_is_not_answered_yet() {
    let mut link = Link::new();
    let sent = link.send(&[parse("a", "select 1"), sync(), bind("a")].concat());
    assert!(sent.ends_with("S held"), "{sent}");
    assert_eq!(link.answer(b"1Z"), "1Z");
    assert!(link.send(&bind("a")).starts_with("B.pgskein_"));
}

#[test]
fn refuses_a_name_in_use_by_an_error_of_the_server() {
    let mut link = Link::new();
    link.send(&[parse("a", "select 1"), sync()].concat());
    link.answer(b"1Z");
    let sent = link.send(&[parse("a", "select 2"), sync()].concat());
    assert_eq!(
        sent,
        "CSpgskein_taken. Ppgskein_taken.... Ppgskein_taken.select 2... S"
    );
    assert_eq!(link.answer(b"31"), "");
    assert_eq!(link.flow.refused(), Some((&b"a"[..], Refusal::Taken)));
    assert_eq!(link.answer(b"EZ"), "EZ");
    assert!(link.send(&bind("a")).starts_with("B.pgskein_"));
}

#[test]
fn answers_a_close_in_its_turn() {
    let mut link = Link::new();
    link.send(&[parse("a", "select 1"), sync()].concat());
    link.answer(b"1Z");
    assert_eq!(link.send(&[bind("x"), close("a")].concat()), "B.x.......");
    assert!(!link.flow.owes_answer());
    assert_eq!(link.answer(b"2"), "2");
    assert_eq!(link.flow.answer(), Some(b'3'));
    assert_eq!(link.answer(b""), "");
    assert_eq!(link.statements.len(), 0);
}

#[test]
fn closes_the_oldest_statement_for_a_new_one() {
    let mut link = Link::new();
    link.max = 1;
    link.send(&[parse("a", "select 1"), sync()].concat());
    link.answer(b"1Z");
    let sent = link.send(&[parse("b", "select 2"), sync()].concat());
    assert!(
        sent.starts_with("CSpgskein_") && sent.contains(" Ppgskein_"),
        "{sent}"
    );
    assert_eq!(link.answer(b"31Z"), "1Z");
    assert_eq!(link.known.len(), 1);
}

#[test]
fn holds_what_was_closed_for_another_until_that_is_answered() {
    let mut link = Link::new();
    link.max = 1;
    link.send(&[parse("a", "select 1"), sync()].concat());
    link.answer(b"1Z");
    link.send(&[bind("x"), parse("b", "select 2"), sync()].concat());
    assert_eq!(link.send(&bind("a")), " held");
    // The Close of the first was skipped.
    assert_eq!(link.answer(b"EZ"), "EZ");
    let sent = link.send(&bind("a"));
    assert!(sent.contains("CSpgskein_"), "{sent}");
}

#[test]
fn brings_the_unnamed_statement_to_another_server() {
    let mut link = Link::new();
    let sent = link.send(&[parse("", "select 1"), sync()].concat());
    assert_eq!(sent, "P.select 1... S");
    link.answer(b"1Z");
    assert_eq!(link.send(&[bind(""), sync()].concat()), "B........ S");
    link.answer(b"2Z");
    link.flow.on_link(true, false);
    let sent = link.send(&[bind(""), sync()].concat());
    assert_eq!(sent, "P.select 1... B........ S");
    assert_eq!(link.answer(b"12Z"), "2Z");
}

#[test]
fn never_gives_a_client_the_unnamed_statement_of_another() {
    let mut link = Link::new();
    assert_eq!(link.send(&[bind(""), sync()].concat()), "CS. B........ S");
}

#[test]
fn a_change_of_the_unnamed_statement_that_was_skipped_changes_nothing() {
    let mut link = Link::new();
    let mut query = Vec::new();
    write::query(&mut query, "select 3");
    link.send(&[parse("", "select 1"), sync()].concat());
    link.answer(b"1Z");
    for change in [parse("", "select 2"), close(""), query] {
        link.send(&[bind("x"), change, sync()].concat());
        assert_eq!(link.answer(b"EZ"), "EZ");
        let sent = link.send(&[bind(""), sync()].concat());
        assert_eq!(sent, "P.select 1... B........ S");
        assert_eq!(link.answer(b"12Z"), "2Z");
        link.flow.on_link(true, false);
    }
}

#[test]
fn a_refused_parse_leaves_no_unnamed_statement() {
    let mut link = Link::new();
    link.send(&[parse("", "select 1"), sync()].concat());
    link.send(&[parse("", "selekt"), sync()].concat());
    assert_eq!(link.answer(b"1ZEZ"), "1ZEZ");
    assert_eq!(link.send(&[bind(""), sync()].concat()), "CS. B........ S");
}

#[test]
fn a_query_behind_a_batch_without_sync_takes_the_unnamed_statement() {
    let mut link = Link::new();
    let mut query = Vec::new();
    write::query(&mut query, "select 3");
    link.send(&[parse("", "select 1"), query].concat());
    assert_eq!(link.answer(b"1TDCZ"), "1TDCZ");
    assert!(link.flow.at_rest());
    link.flow.on_link(true, false);
    assert_eq!(link.send(&[bind(""), sync()].concat()), "CS. B........ S");
}

#[test]
fn what_goes_alone_and_is_skipped_lets_the_sync_follow() {
    let mut link = Link::new();
    link.send(&bind("x"));
    link.flow.on_client(b'Q');
    link.flow.go_alone();
    assert!(link.flow.holds(b'S'));
    link.answer(b"E");
    assert!(!link.flow.holds(b'S'));
}

#[test]
fn sends_nothing_by_another_name_after_an_error() {
    let mut link = Link::new();
    link.send(&[parse("a", "select 1"), sync()].concat());
    link.answer(b"1Z");
    link.send(&bind("x"));
    link.answer(b"E");
    assert_eq!(link.send(&bind("a")), "B.a.......");
    link.send(&sync());
    assert_eq!(link.answer(b"Z"), "Z");
    assert!(link.flow.at_rest());
}

#[test]
fn sends_a_batch_once_more_only_if_it_is_all_that_is_due() {
    let mut link = Link::new();
    let portal = b"D\0\0\0\x06P\0".to_vec();
    let execute = b"E\0\0\0\x09\0\0\0\0\0".to_vec();
    let batch = [bind("x"), portal, execute, sync()].concat();
    link.send(&batch);
    assert!(link.flow.retry());
    assert!(link.flow.holds(b'Q'));
    assert_eq!(link.flow.on_server(b'E'), ServerVerdict::Drop);
    let ready = link.flow.on_ready(TransactionStatus::Idle);
    assert!(ready.retry && !ready.settled && !link.flow.holds(b'Q'));
    link.send(&batch);
    link.send(&sync());
    assert!(!link.flow.retry());
}

#[test]
fn statements_prepared_behind_a_deallocate_all_stay() {
    let mut link = Link::new();
    link.send(&[parse("a", "select 1"), sync()].concat());
    link.answer(b"1Z");
    link.send(&[parse("", "deallocate all"), bind("")].concat());
    link.send(&b"E\0\0\0\x09\0\0\0\0\0"[..]);
    link.send(&[parse("b", "select 2"), sync()].concat());
    link.answer(b"12");
    link.flow.on_deallocated();
    link.answer(b"C1Z");
    assert_eq!(link.send(&bind("a")), "B.a.......");
    link.send(&sync());
    link.answer(b"EZ");
    // Whether the server has it is not taken for sure.
    let sent = link.send(&bind("b"));
    assert!(
        sent.starts_with("CSpgskein_") && sent.contains(" B.pgskein_"),
        "{sent}"
    );
}
