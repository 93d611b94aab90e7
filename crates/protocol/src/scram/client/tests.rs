use proptest::prelude::*;

use super::*;
use crate::scram::MAX_NONCE;

fn client() -> ScramClient {
    let password = ScramCredential::Password("pencil".to_owned().into());
    ScramClient::new(password, [9; NONCE_LEN])
}

/// A challenge to [`client`] with these parts after its nonce.
fn challenge(rest: &str) -> Vec<u8> {
    format!("r={}{rest}", client().nonce).into_bytes()
}

fn rfc_7677() -> ScramClient {
    ScramClient {
        credential: ScramCredential::Password("pencil".to_owned().into()),
        nonce: "rOprNGfwEbeRWgbNEkqO".to_owned(),
        first_bare: "n=user,r=rOprNGfwEbeRWgbNEkqO".to_owned(),
        channel: Channel::None,
        state: State::Start,
    }
}

const RFC_7677_CHALLENGE: &[u8] = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                                    s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
const RFC_7677_FINAL: &[u8] = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

#[test]
fn writes_the_proof_of_rfc_7677() {
    let mut client = rfc_7677();
    assert_eq!(client.first(), b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
    assert_eq!(
        client.last(RFC_7677_CHALLENGE).unwrap(),
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
          p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    );
    assert_eq!(client.verify(RFC_7677_FINAL), Ok(()));
}

/// Worked out by another implementation, of the numbers of RFC 7677 and this
/// certificate: RFC 5802 and RFC 5929 have no example.
#[test]
fn writes_the_proof_of_a_channel() {
    let hash = crypto::sha256(&[b"a certificate"]).to_vec();
    let mut client = rfc_7677().over(Channel::ServerEndPoint(hash));
    assert_eq!(
        client.first(),
        b"p=tls-server-end-point,,n=user,r=rOprNGfwEbeRWgbNEkqO"
    );
    let last = client.last(RFC_7677_CHALLENGE).unwrap();
    assert_eq!(
        String::from_utf8(last).unwrap(),
        "c=cD10bHMtc2VydmVyLWVuZC1wb2ludCwsgazXYhQPppKhQoItL75NxvVLyqUB9oqzflru0Lr+TZk=,\
         r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
         p=PENeW0ZRP0k2JAhJJzTQl6wCR49nsIUYgRfs2eOh/Rg="
    );
    let server_final = b"v=jajuR8gMfQCRyUaioUEgzSfToF94H11QVgmHwaAozaI=";
    assert_eq!(client.verify(server_final), Ok(()));
}

#[test]
fn writes_the_same_proof_by_keys_derived_elsewhere() {
    let mut client = rfc_7677();
    let challenge = client.challenge(RFC_7677_CHALLENGE).unwrap();
    assert_eq!(challenge.iterations, 4096);
    client.credential = ScramCredential::Password("wrong".to_owned().into());
    client.use_keys(ScramKeys::derive("pencil", &challenge.salt, 4096));
    client.last(RFC_7677_CHALLENGE).unwrap();
    assert_eq!(client.verify(RFC_7677_FINAL), Ok(()));
}

#[test]
fn rejects_malformed_challenges() {
    let cases = [
        ("", ScramError::Malformed),
        ("x", ScramError::Malformed),
        ("x,s=AAAA", ScramError::Malformed),
        ("x,i=1,s=AAAA", ScramError::Malformed),
        ("x,s=,i=1", ScramError::Malformed),
        ("x,s=A,i=1", ScramError::Malformed),
        ("x,s=A*AA,i=1", ScramError::Malformed),
        ("x,s=AAAA,i=", ScramError::Malformed),
        ("x,s=AAAA,i=+1", ScramError::Malformed),
        ("x,s=AAAA,i=1x", ScramError::Malformed),
        ("x,s=AAAA,i=-1", ScramError::Malformed),
        ("x,s=AAAA,i=4294967296", ScramError::Malformed),
        ("x,s=AAAA,i=1\0", ScramError::Malformed),
        ("\u{e4},s=AAAA,i=1", ScramError::Malformed),
        (",s=AAAA,i=1", ScramError::Nonce),
        ("x,m=x,s=AAAA,i=1", ScramError::Extension),
        ("x,s=AAAA,i=0", ScramError::Iterations(0)),
        ("x,s=AAAA,i=1000001", ScramError::Iterations(1_000_001)),
        ("x,s=AAAA,i=4294967295", ScramError::Iterations(u32::MAX)),
    ];
    for (rest, error) in cases {
        assert_eq!(client().last(&challenge(rest)), Err(error), "{rest:?}");
    }
}

#[test]
fn rejects_nonce_of_another_exchange() {
    let message = b"r=abcdefabcdefabcdefabcdefabcdef,s=AAAA,i=1";
    assert_eq!(client().last(message), Err(ScramError::Nonce));
}

/// CVE-2026-6665.
#[test]
fn rejects_over_long_nonce_of_a_server() {
    let own = client().nonce.len();
    let longest = "x".repeat(MAX_NONCE - own);
    assert!(
        client()
            .last(&challenge(&format!("{longest},s=AAAA,i=1")))
            .is_ok()
    );
    for extra in [1, 100, 10_000, 1_000_000] {
        let nonce = "x".repeat(MAX_NONCE - own + extra);
        assert_eq!(
            client().last(&challenge(&format!("{nonce},s=AAAA,i=1"))),
            Err(ScramError::TooLong)
        );
    }
}

#[test]
fn ignores_extensions_of_a_challenge() {
    assert!(client().last(&challenge("x,s=AAAA,i=1,x=y")).is_ok());
}

#[test]
fn rejects_server_that_does_not_know_the_password() {
    let mut client = client();
    client.last(&challenge("x,s=AAAA,i=1")).unwrap();
    let cases: [(&[u8], ScramError); 6] = [
        (
            b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
            ScramError::WrongSignature,
        ),
        (b"v=AAAA", ScramError::Malformed),
        (b"v=", ScramError::Malformed),
        (b"", ScramError::Malformed),
        (b"e=other-error", ScramError::Refused),
        (&[b'v'; 5000], ScramError::TooLong),
    ];
    for (message, error) in cases {
        assert_eq!(client.verify(message), Err(error));
    }
}

#[test]
fn rejects_messages_out_of_turn() {
    assert_eq!(client().verify(RFC_7677_FINAL), Err(ScramError::OutOfTurn));
    let mut client = client();
    client.last(&challenge("x,s=AAAA,i=1")).unwrap();
    let again = client.last(&challenge("x,s=AAAA,i=1"));
    assert_eq!(again, Err(ScramError::OutOfTurn));
    assert_eq!(client.verify(RFC_7677_FINAL), Err(ScramError::OutOfTurn));
}

#[test]
fn keeps_credentials_out_of_debug_output() {
    let password = ScramCredential::Password("hunter2".to_owned().into());
    assert_eq!(format!("{password:?}"), "Password(..)");
    let keys: ScramCredential = ScramKeys::of_client_key([201; 32], [202; 32]).into();
    assert_eq!(format!("{keys:?}"), "Keys(..)");
    assert_eq!(format!("{:?}", client()), "ScramClient(..)");
}

proptest! {
    #[test]
    fn never_panics_on_any_bytes(first: Vec<u8>, last: Vec<u8>) {
        let mut client = client();
        let _ = (client.last(&first), client.verify(&last));
    }

    #[test]
    fn never_panics_on_almost_messages(
        rest in r"[ -~]{0,9}(,[rsimx]=[A-Za-z0-9+/=]{0,9}){0,3}(,i=[0-9]{1,2})?",
        last in r"[vex]=[A-Za-z0-9+/=]{0,48}",
    ) {
        let mut client = client();
        let _ = (client.last(&challenge(&rest)), client.verify(last.as_bytes()));
    }
}
