use std::path::Path;

use pgskein_config::{Config, Sources};
use pgskein_protocol::ldap::Malformed;

use super::*;

const SEARCH: &str = "ldapserver=a ldapbasedn=\"dc=x\" ldapbinddn=\"cn=s\" ldapbindpasswd=p \
                      ldapsearchfilter=\"(|(uid=$username)(cn=a*$username*b)(!(x=*))(y:dn:2.5:=z))\"";

fn ldap(options: &str) -> Ldap {
    let text =
        format!("[pgskein]\nauth_type=ldap\nauth_ldap_ca_file=ca\nauth_ldap_options = {options}\n");
    let gathered = Sources::gather(Path::new("a.ini"), "h", &mut |path| match path.to_str() {
        Some("a.ini") => Ok(text.clone()),
        _ => Ok(String::new()),
    });
    let (_, config): (_, Config) = gathered.unwrap();
    match config.checker {
        Some(pgskein_config::Checker::Ldap(ldap)) => Ldap::clone(&ldap),
        other => panic!("no directory: {other:?}"),
    }
}

/// The tag of the operation of the only request in `out`, and all of it.
fn sent(out: &mut Vec<u8>) -> (u8, Vec<u8>) {
    let bytes = std::mem::take(out);
    (bytes[5], bytes)
}

fn answer(talk: &mut Talk<'_>, id: u32, answer: Answer<'_>, out: &mut Vec<u8>) -> Next {
    talk.on_message(&Message { id, answer }, out)
}

fn outcome(code: u32) -> Outcome<'static> {
    Outcome { code, text: b"" }
}

fn refusal(next: Next) -> String {
    match next {
        Next::Done(Verdict::Refused(why)) => why,
        other => panic!("not refused: {other:?}"),
    }
}

fn failure(next: Next) -> String {
    match next {
        Next::Done(Verdict::Failed(why)) => why,
        other => panic!("not failed: {other:?}"),
    }
}

/// A talk that has searched, after `entries` were found.
fn searched<'a>(ldap: &'a Ldap, entries: &[&[u8]], out: &mut Vec<u8>) -> Talk<'a> {
    let mut talk = Talk::new(ldap, "alice", b"secret", 5);
    assert_eq!(talk.begin(out), Next::Read);
    let next = answer(&mut talk, 1, Answer::Bind(outcome(0)), out);
    assert_eq!(next, Next::Read);
    assert_eq!(answer(&mut talk, 2, Answer::Reference, out), Next::Read);
    for entry in entries {
        assert_eq!(answer(&mut talk, 2, Answer::Entry(entry), out), Next::Read);
    }
    out.clear();
    talk
}

#[test]
fn binds_as_the_user() {
    let ldap = ldap("ldapserver=a ldapprefix=cn= ldapsuffix=\",dc=x\"");
    let mut out = Vec::new();
    for (code, expected) in [
        (0, Next::Done(Verdict::Admitted)),
        (49, refused("bind of the user: invalid credentials (49)")),
        (52, failed("bind of the user: unavailable (52)")),
    ] {
        let mut talk = Talk::new(&ldap, "a,b", b"secret", 5);
        assert_eq!(talk.begin(&mut out), Next::Read);
        let (tag, bytes) = sent(&mut out);
        assert_eq!(tag, 0x60);
        assert!(bytes.ends_with(b"\x04\x0dcn=a\\2cb,dc=x\x80\x06secret"));
        let next = answer(&mut talk, 1, Answer::Bind(outcome(code)), &mut out);
        assert_eq!(next, expected);
    }
}

#[test]
fn sends_nothing_with_an_empty_password() {
    for options in ["ldapserver=a ldapprefix=x", SEARCH] {
        let (ldap, mut out) = (ldap(options), Vec::new());
        let next = Talk::new(&ldap, "alice", b"", 5).begin(&mut out);
        assert_eq!(refusal(next), "empty password");
        assert!(out.is_empty());
    }
}

#[test]
fn sends_nothing_for_a_name_that_means_something_else() {
    let (ldap, mut out) = (ldap("ldapserver=a ldapsuffix=@x"), Vec::new());
    let next = Talk::new(&ldap, "a,b", b"secret", 5).begin(&mut out);
    assert!(refusal(next).contains("characters"));
    assert!(out.is_empty());
}

#[test]
fn searches_and_binds_as_who_was_found() {
    let (ldap, mut out) = (ldap(SEARCH), Vec::new());
    let mut talk = Talk::new(&ldap, "*)(a", b"secret", 5);
    assert_eq!(talk.begin(&mut out), Next::Read);
    assert!(sent(&mut out).1.ends_with(b"\x04\x04cn=s\x80\x01p"));
    let next = answer(&mut talk, 1, Answer::Bind(outcome(0)), &mut out);
    assert_eq!(next, Next::Read);
    let (tag, bytes) = sent(&mut out);
    assert_eq!(tag, 0x63);
    let filter = b"\xa1\x36\xa3\x0b\x04\x03uid\x04\x04*)(a\
        \xa4\x12\x04\x02cn\x30\x0c\x80\x01a\x81\x04*)(a\x82\x01b\
        \xa2\x03\x87\x01x\
        \xa9\x0e\x81\x032.5\x82\x01y\x83\x01z\x84\x01\xff";
    let at = bytes.windows(filter.len()).position(|part| part == filter);
    assert!(at.is_some(), "{bytes:x?}");
    assert_eq!(
        answer(&mut talk, 2, Answer::Entry(b"uid=a"), &mut out),
        Next::Read
    );
    let next = answer(&mut talk, 2, Answer::SearchDone(outcome(0)), &mut out);
    assert_eq!(next, Next::Read);
    let (tag, bytes) = sent(&mut out);
    assert_eq!(tag, 0x60);
    assert!(bytes.ends_with(b"\x04\x05uid=a\x80\x06secret"));
    let next = answer(&mut talk, 3, Answer::Bind(outcome(0)), &mut out);
    assert_eq!(next, Next::Done(Verdict::Admitted));
}

#[test]
fn wants_exactly_one_entry_with_a_name() {
    let ldap = ldap(SEARCH);
    for (entries, code, expected) in [
        (&[][..], 0, "the directory does not know the user"),
        (&[&b"a"[..], b"b"], 0, "the user is not unique"),
        (&[b"a", b"b"], 4, "the user is not unique"),
        (&[b"a"], 4, "search: size limit exceeded (4)"),
        (&[b"a"], 10, "search: referral (10)"),
        (&[], 32, "search: no such object (32)"),
        (&[b""], 0, "the user has no name in the directory"),
    ] {
        let mut out = Vec::new();
        let mut talk = searched(&ldap, entries, &mut out);
        let next = answer(&mut talk, 2, Answer::SearchDone(outcome(code)), &mut out);
        assert_eq!(refusal(next), expected);
        assert!(out.is_empty(), "{expected}");
    }
}

#[test]
fn does_not_search_without_being_let_in() {
    let (ldap, mut out) = (ldap(SEARCH), Vec::new());
    let mut talk = Talk::new(&ldap, "alice", b"secret", 5);
    assert_eq!(talk.begin(&mut out), Next::Read);
    out.clear();
    let next = answer(&mut talk, 1, Answer::Bind(outcome(49)), &mut out);
    assert_eq!(
        refusal(next),
        "bind of ldapbinddn: invalid credentials (49)"
    );
    assert!(out.is_empty());
}

#[test]
fn says_no_name_and_no_password_before_tls() {
    let ldap = ldap("ldapserver=a ldaptls=1 ldapprefix=cn=");
    let mut out = Vec::new();
    let mut talk = Talk::new(&ldap, "alice", b"secret", 5);
    assert_eq!(talk.begin(&mut out), Next::Read);
    assert_eq!(sent(&mut out).0, 0x77);
    let next = answer(&mut talk, 1, Answer::Extended(outcome(0)), &mut out);
    assert_eq!(next, Next::Encrypt);
    assert!(out.is_empty());
    assert_eq!(talk.encrypted(&mut out), Next::Read);
    assert_eq!(sent(&mut out).0, 0x60);
    let mut talk = Talk::new(&ldap, "alice", b"secret", 5);
    assert_eq!(talk.begin(&mut out), Next::Read);
    out.clear();
    let next = answer(&mut talk, 1, Answer::Extended(outcome(2)), &mut out);
    assert_eq!(failure(next), "no TLS: protocol error (2)");
    assert!(out.is_empty());
}

#[test]
fn takes_no_answer_for_another() {
    let ldap = ldap("ldapserver=a ldapprefix=cn=");
    for (id, said, expected) in [
        (2, Answer::Bind(outcome(0)), "it answers what was not asked"),
        (0, Answer::Bind(outcome(0)), "it answers what was not asked"),
        (
            0,
            Answer::Extended(outcome(52)),
            "it ends the connection: unavailable (52)",
        ),
        (
            1,
            Answer::SearchDone(outcome(0)),
            "it answers something else than was asked",
        ),
        (
            1,
            Answer::Extended(outcome(0)),
            "it answers something else than was asked",
        ),
    ] {
        let mut out = Vec::new();
        let mut talk = Talk::new(&ldap, "alice", b"secret", 5);
        assert_eq!(talk.begin(&mut out), Next::Read);
        assert_eq!(failure(answer(&mut talk, id, said, &mut out)), expected);
    }
}

#[test]
fn writes_requests_that_can_be_split() {
    let (ldap, mut out) = (ldap(SEARCH), Vec::new());
    let user = "x".repeat(300);
    let mut talk = Talk::new(&ldap, &user, b"secret", 5);
    assert_eq!(talk.begin(&mut out), Next::Read);
    answer(&mut talk, 1, Answer::Bind(outcome(0)), &mut out);
    let mut rest = out.as_slice();
    for id in 1..=2 {
        let (message, behind) = split(rest).unwrap().unwrap();
        assert_eq!(message.id, id);
        rest = behind;
    }
    assert!(rest.is_empty());
}

fn split(bytes: &[u8]) -> Result<Option<(Message<'_>, &[u8])>, Malformed> {
    Message::split(bytes, 1 << 16)
}
