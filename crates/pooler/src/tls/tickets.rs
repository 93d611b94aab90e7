//! Tickets: sessions of TLS that clients keep for us, and bring back.
//!
//! Their keys are derived from the secrets of the group and from everything that
//! TLS towards clients depends on: certificate, key, mode, versions, ciphers. So
//! every worker reads the tickets of every other; one from before a reload that has
//! changed anything of it cannot be read, and the handshake is a whole one. Clients
//! that may show certificates get none: a ticket would stand for a key that nobody
//! has to show any more.
//!
//! Layout of a ticket: name of its key (16), nonce (12), session, tag (16); what is
//! in the session is for rustls to say, of exactly the version that has made it.
//!
//! Source: RFC 5077, "Recommended Ticket Construction"; RFC 8452.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::digest::{self, SHA256};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use pgskein_config::{SslMode, Tls};
use pgskein_pool::tickets::{TICKET_LIFETIME, TicketSecret, TicketSecrets};
use rustls::server::ProducesTickets;
use zeroize::Zeroizing;

/// Makes and reads tickets.
pub(super) struct Ticketer {
    /// The first one makes new tickets.
    keys: Vec<TicketKey>,
}

struct TicketKey {
    /// What tickets call it; tells nothing about it.
    name: [u8; NAME_LEN],
    key: RandomizedNonceKey,
}

impl Ticketer {
    /// One for these settings; it makes no tickets while there are no secrets, nor
    /// where clients may show certificates.
    ///
    /// With each ticket that is used comes a new one, so whoever has shown a key
    /// once would be known by it for ever.
    pub(super) fn new(secrets: &TicketSecrets, tls: &Tls, mode: SslMode) -> Self {
        if tls.authorities.is_some() {
            return Self { keys: Vec::new() };
        }
        let settings = fingerprint(tls, mode);
        let keys = secrets.iter().map(|one| TicketKey::new(one, &settings));
        Self {
            // One that cannot be derived would only cost its tickets.
            keys: keys.filter_map(Result::ok).collect(),
        }
    }
}

impl ProducesTickets for Ticketer {
    fn enabled(&self) -> bool {
        !self.keys.is_empty()
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(TICKET_LIFETIME.as_secs()).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let TicketKey { name, key } = self.keys.first()?;
        let mut session = plain.to_vec();
        let nonce = key
            .seal_in_place_append_tag(Aad::from(name), &mut session)
            .ok()?;
        Some([name, nonce.as_ref().as_slice(), &session].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_first_chunk::<NAME_LEN>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let TicketKey { name, key } = self.keys.iter().find(|one| one.name == *name)?;
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::from(nonce);
        let plain = key
            .open_in_place(nonce, Aad::from(name), &mut sealed)
            .ok()?;
        let length = plain.len();
        sealed.truncate(length);
        Some(sealed)
    }
}

impl TicketKey {
    fn new(secret: &TicketSecret, settings: &[u8]) -> Result<Self, Unspecified> {
        let derived = Salt::new(HKDF_SHA256, FORMAT).extract(secret.bytes());
        let (mut name, mut key) = ([0; NAME_LEN], Zeroizing::new([0; KEY_LEN]));
        for (what, bytes) in [("name", &mut name[..]), ("key", &mut key[..])] {
            let length = Length(bytes.len());
            let info = [what.as_bytes(), settings];
            derived.expand(&info, length)?.fill(bytes)?;
        }
        let key = RandomizedNonceKey::new(&AES_256_GCM_SIV, &key[..])?;
        Ok(Self { name, key })
    }
}

impl fmt::Debug for Ticketer {
    /// Shows no key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ticketer").field(&self.keys.len()).finish()
    }
}

/// How many bytes are derived.
struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// What differs when TLS towards clients does.
fn fingerprint(tls: &Tls, mode: SslMode) -> Vec<u8> {
    let mut hash = digest::Context::new(&SHA256);
    let mut add = |bytes: &[u8]| {
        hash.update(&bytes.len().to_be_bytes());
        hash.update(bytes);
    };
    for file in [&tls.certificate, &tls.key] {
        match file {
            Some(file) => add(file.text.as_bytes()),
            None => add(&[]),
        }
    }
    let rest = (mode, &tls.versions, &tls.suites, &tls.groups);
    add(format!("{rest:?}").as_bytes());
    hash.finish().as_ref().to_vec()
}

const NAME_LEN: usize = 16;

const KEY_LEN: usize = 32;

/// What is in a ticket, and how it is written: a program that has another version
/// of rustls might read something else out of it.
const FORMAT: &[u8] = b"pgskein ticket 1, rustls 0.23.46";

#[cfg(test)]
mod tests {
    use super::*;
    use pgskein_config::TlsFile;
    use pgskein_pool::tickets::TicketBook;
    use std::time::Instant;

    fn secrets(bytes: &[u8]) -> TicketSecrets {
        let now = Instant::now();
        let mut book = TicketBook::new(now);
        for byte in bytes {
            book.renew(TicketSecret::new([*byte; 32].into()), now);
        }
        book.secrets().clone()
    }

    fn ticketer(bytes: &[u8]) -> Ticketer {
        Ticketer::new(&secrets(bytes), &Tls::default(), SslMode::Require)
    }

    #[test]
    fn reads_what_others_with_the_same_secret_have_made() {
        let ticket = ticketer(b"a").encrypt(b"session").unwrap();
        assert_eq!(ticketer(b"a").decrypt(&ticket).unwrap(), b"session");
        // It is not the newest any more.
        assert_eq!(ticketer(b"ab").decrypt(&ticket).unwrap(), b"session");
        assert_eq!(ticketer(b"abc").decrypt(&ticket), None);
        assert_eq!(ticketer(b"b").decrypt(&ticket), None);
        // None is like the other.
        assert_ne!(ticketer(b"a").encrypt(b"session").unwrap(), ticket);
    }

    #[test]
    fn makes_none_without_a_secret() {
        let ticketer = ticketer(b"");
        assert!(!ticketer.enabled());
        assert_eq!(ticketer.encrypt(b"session"), None);
        assert_eq!(ticketer.decrypt(&[0; 64]), None);
    }

    #[test]
    fn makes_none_where_clients_may_show_certificates() {
        let tls = Tls {
            authorities: Some(TlsFile::default()),
            ..Tls::default()
        };
        assert!(!Ticketer::new(&secrets(b"a"), &tls, SslMode::Require).enabled());
    }

    #[test]
    fn rejects_what_was_changed_or_is_short() {
        let ticketer = ticketer(b"a");
        let ticket = ticketer.encrypt(b"session").unwrap();
        for at in 0..ticket.len() {
            let mut other = ticket.clone();
            other[at] ^= 1;
            assert_eq!(ticketer.decrypt(&other), None, "byte {at}");
            assert_eq!(ticketer.decrypt(&ticket[..at]), None, "{at} bytes");
        }
    }

    #[test]
    fn rejects_tickets_of_other_settings() {
        let secrets = secrets(b"a");
        let file = |text: &str| {
            Some(TlsFile {
                text: text.into(),
                ..TlsFile::default()
            })
        };
        let before = Tls {
            certificate: file("one"),
            ..Tls::default()
        };
        let ticket = Ticketer::new(&secrets, &before, SslMode::Allow).encrypt(b"session");
        let ticket = ticket.unwrap();
        let read = |tls: &Tls, mode| Ticketer::new(&secrets, tls, mode).decrypt(&ticket);
        assert!(read(&before, SslMode::Allow).is_some());
        assert_eq!(read(&before, SslMode::Require), None);
        for other in [
            Tls {
                certificate: file("two"),
                ..before.clone()
            },
            Tls {
                authorities: file("one"),
                ..before.clone()
            },
            Tls {
                key: file("one"),
                ..before.clone()
            },
            Tls {
                suites: before.suites[1..].to_vec(),
                ..before.clone()
            },
        ] {
            assert_eq!(read(&other, SslMode::Allow), None);
        }
    }

    /// Version 1 as it was first made; it never changes.
    #[test]
    fn accepts_the_recorded_ticket_of_version_1() {
        let derived = TicketKey::new(&TicketSecret::new([b'a'; 32].into()), b"settings");
        let ticketer = Ticketer {
            keys: vec![derived.unwrap()],
        };
        assert_eq!(ticketer.decrypt(TICKET).unwrap(), b"session");
    }

    const TICKET: &[u8] = b"\xac\x28\x3b\xcd\xc1\xad\x71\x51\x32\xea\x39\x9b\xb7\xe5\x4e\x6b\
        \xc1\xa4\xf8\xb8\x34\x29\x22\xce\xb1\x82\xba\x9d\xbf\xdc\x19\x03\
        \xe9\x35\xe2\x3f\x11\x7f\x37\x27\x61\xda\x46\x3a\x7a\x45\x99\x75\x6f\x50\x6b";

    /// Another version may write sessions in another way.
    #[test]
    fn knows_the_version_of_what_writes_sessions() {
        let lock = include_str!("../../../../Cargo.lock");
        let (_, after) = lock.split_once("name = \"rustls\"\nversion = \"").unwrap();
        let (version, _) = after.split_once('"').unwrap();
        let format = std::str::from_utf8(FORMAT).unwrap();
        assert!(format.ends_with(&format!("rustls {version}")), "{version}");
    }
}
