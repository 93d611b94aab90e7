use proptest::prelude::*;

use super::*;
use crate::scram::{ScramClient, ScramCredential, ScramKeys};

const SALT: &[u8] = b"0123456789abcdef";

fn server() -> ScramServer {
    ScramServer::new(ScramSecret::derive("pencil", SALT, 2), [7; NONCE_LEN])
}

fn client(password: &str) -> ScramClient {
    ScramClient::new(
        ScramCredential::Password(password.to_owned().into()),
        [9; NONCE_LEN],
    )
}

/// A server that has sent its challenge, and the client's answer to it.
fn challenged() -> (ScramServer, String) {
    let (mut server, mut client) = (server(), client("pencil"));
    let challenge = server.first(&client.first()).unwrap();
    let last = client.last(&challenge).unwrap();
    (server, String::from_utf8(last).unwrap())
}

#[test]
fn accepts_the_proof_of_rfc_7677() {
    let salt = text::decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
    let mut server = ScramServer {
        secret: ScramSecret::derive("pencil", &salt, 4096),
        nonce: "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0".to_owned(),
        channel: Channel::None,
        state: State::Start,
    };
    assert_eq!(
        server
            .first(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO")
            .unwrap()
            .escape_ascii()
            .to_string(),
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
         s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    );
    let done = server
        .last(
            b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
              p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        )
        .unwrap();
    assert_eq!(
        done.server_final,
        b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
    );
}

#[test]
fn accepts_client_that_knows_the_password() {
    let (mut server, mut client) = (server(), client("pencil"));
    let challenge = server.first(&client.first()).unwrap();
    let done = server.last(&client.last(&challenge).unwrap()).unwrap();
    assert_eq!(client.verify(&done.server_final), Ok(()));
}

#[test]
fn learns_the_key_of_the_client() {
    let (mut server, last) = challenged();
    let done = server.last(last.as_bytes()).unwrap();
    let keys = ScramKeys::derive("pencil", SALT, 2);
    assert_eq!(done.client_key, keys.client_key);
}

#[test]
fn rejects_client_that_does_not() {
    let (mut server, mut client) = (server(), client("pen"));
    let challenge = server.first(&client.first()).unwrap();
    let error = server.last(&client.last(&challenge).unwrap()).unwrap_err();
    assert_eq!(error, ScramError::WrongProof);
    assert_eq!(error.sqlstate(), "28P01");
}

#[test]
fn rejects_every_proof_for_a_user_that_does_not_exist() {
    let mut server = ScramServer::new(ScramSecret::mock(b"nobody", b"key"), [7; NONCE_LEN]);
    let mut client = client("pencil");
    let challenge = server.first(&client.first()).unwrap();
    let last = client.last(&challenge).unwrap();
    assert_eq!(server.last(&last), Err(ScramError::WrongProof));
}

#[test]
fn accepts_client_that_could_bind_to_a_channel() {
    let (mut server, keys) = (server(), ScramKeys::derive("pencil", SALT, 2));
    let challenge = server.first(b"y,,n=,r=abc").unwrap();
    let challenge = String::from_utf8(challenge).unwrap();
    let nonce = &challenge[..challenge.find(',').unwrap()];
    let conversation = format!("n=,r=abc,{challenge},c=eSws,{nonce}");
    let proof = text::encode(&keys.proof(conversation.as_bytes()));
    let last = format!("c=eSws,{nonce},p={proof}");
    assert!(server.last(last.as_bytes()).is_ok());
}

#[test]
fn rejects_malformed_first_messages() {
    let cases: [(&[u8], ScramError); 17] = [
        (b"", ScramError::Malformed),
        (b"n", ScramError::Malformed),
        (b"n,,", ScramError::Malformed),
        (b"n,,n=", ScramError::Malformed),
        (b"n,,n=,", ScramError::Malformed),
        (b"n,,n=,r=", ScramError::Malformed),
        (b"n,,r=abc,n=", ScramError::Malformed),
        (b"n,n=,r=abc", ScramError::Malformed),
        (b"x,,n=,r=abc", ScramError::Malformed),
        (b"n,x,n=,r=abc", ScramError::Malformed),
        (b"n,,n=,r=a b", ScramError::Malformed),
        (b"n,,n=,r=a\0b", ScramError::Malformed),
        (b"n,,n=,r=\xff", ScramError::Malformed),
        (b"p=tls-unique,,n=,r=abc", ScramError::ChannelBinding),
        (b"n,a=root,n=,r=abc", ScramError::AuthorizationIdentity),
        (b"n,,m=x,n=,r=abc", ScramError::Extension),
        (b"n,,n=,m=x,r=abc", ScramError::Extension),
    ];
    for (message, error) in cases {
        let text = message.escape_ascii();
        assert_eq!(server().first(message), Err(error), "{text}");
    }
}

#[test]
fn rejects_over_long_messages() {
    let long = format!("n,,n=,r={}", "x".repeat(1024));
    assert_eq!(server().first(long.as_bytes()), Err(ScramError::TooLong));
    let (mut server, last) = challenged();
    let long = last.replace(",p=", &format!(",x={},p=", "x".repeat(1024)));
    assert_eq!(server.last(long.as_bytes()), Err(ScramError::TooLong));
}

#[test]
fn accepts_last_message_with_the_longest_nonce() {
    let mut server = server();
    let nonce = "x".repeat(1024 - "n,,n=,r=".len());
    let first = format!("n,,n=,r={nonce}");
    server.first(first.as_bytes()).unwrap();
    let last = format!("c=biws,r={nonce},p=");
    assert_eq!(server.last(last.as_bytes()), Err(ScramError::Nonce));
}

#[test]
fn rejects_malformed_last_messages() {
    let (_, good) = challenged();
    let (without_proof, proof) = good.rsplit_once(",p=").unwrap();
    let nonce = without_proof.strip_prefix("c=biws,r=").unwrap();
    let cases = [
        (String::new(), ScramError::Malformed),
        (without_proof.to_owned(), ScramError::Malformed),
        (format!("{without_proof},p="), ScramError::Malformed),
        (format!("{without_proof},p=AAAA"), ScramError::Malformed),
        (format!("{without_proof},p={proof}A"), ScramError::Malformed),
        (format!("{good},x=y"), ScramError::Malformed),
        (format!("c=biws,p={proof}"), ScramError::Malformed),
        (
            format!("c=eSws,r={nonce},p={proof}"),
            ScramError::ChannelBinding,
        ),
        (format!("c=biws,r={nonce}x,p={proof}"), ScramError::Nonce),
        (format!("c=biws,r=,p={proof}"), ScramError::Nonce),
        (
            format!("c=biws,r={nonce},x=y,p={proof}"),
            ScramError::WrongProof,
        ),
    ];
    for (message, error) in cases {
        let (mut server, _) = challenged();
        assert_eq!(server.last(message.as_bytes()), Err(error), "{message}");
    }
}

#[test]
fn rejects_messages_out_of_turn() {
    assert_eq!(server().last(b"c=biws"), Err(ScramError::OutOfTurn));
    let (mut server, last) = challenged();
    assert_eq!(server.first(b"n,,n=,r=abc"), Err(ScramError::OutOfTurn));
    assert_eq!(server.last(last.as_bytes()), Err(ScramError::OutOfTurn));
}

#[test]
fn gives_no_second_try() {
    let (mut server, last) = challenged();
    assert!(server.last(b"").is_err());
    assert_eq!(server.last(last.as_bytes()), Err(ScramError::OutOfTurn));
}

proptest! {
    #[test]
    fn never_panics_on_any_bytes(first: Vec<u8>, last: Vec<u8>) {
        let mut server = server();
        let _ = (server.first(&first), server.last(&last));
        let (mut server, _) = challenged();
        prop_assert!(server.last(&last).is_err());
    }

    #[test]
    fn never_panics_on_almost_messages(
        first in r"[nyp],(a=\PC{0,3})?,([mnr]=[ -~]{0,9},?){0,3}",
        last in r"([crpmx]=[A-Za-z0-9+/=]{0,48},?){0,4}",
    ) {
        let mut server = server();
        let _ = (server.first(first.as_bytes()), server.last(last.as_bytes()));
    }

    #[test]
    fn client_and_server_agree_on_any_password(
        password in r"\PC{0,12}",
        salt in prop::collection::vec(any::<u8>(), 1..40),
        iterations in 1..4_u32,
        nonces in prop::array::uniform2(prop::array::uniform18(any::<u8>())),
    ) {
        let secret = ScramSecret::derive(&password, &salt, iterations);
        let mut server = ScramServer::new(secret.clone(), nonces[0]);
        let mut client = ScramClient::new(ScramCredential::Password(password.into()), nonces[1]);
        let challenge = server.first(&client.first()).unwrap();
        let done = server.last(&client.last(&challenge).unwrap()).unwrap();
        prop_assert_eq!(client.verify(&done.server_final), Ok(()));

        // The key it learned opens the next server with the same secret.
        let keys = ScramKeys::of_client_key(done.client_key, secret.server_key);
        let mut server = ScramServer::new(secret, nonces[1]);
        let mut client = ScramClient::new(keys.into(), nonces[0]);
        let challenge = server.first(&client.first()).unwrap();
        let done = server.last(&client.last(&challenge).unwrap()).unwrap();
        prop_assert_eq!(client.verify(&done.server_final), Ok(()));
    }
}
