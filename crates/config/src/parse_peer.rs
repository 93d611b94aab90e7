//! An entry of `[peers]`, from its text: one host, or a range of them.

use crate::choices::PeerKind;
use crate::entries::Peer;
use crate::finding::Finding;
use crate::ini::Entry;
use crate::keys;
use crate::kind::Port;
use crate::parse_entry::{count, each_key, read};
use crate::peer_id::HIGHEST_PEER;

/// Reads an entry of `[peers]`: `2 = host=b`, or `1-8 = host=pooler-%d` for
/// eight of them.
///
/// `%d` in a host becomes the number of the peer less one, which is the ordinal
/// of a StatefulSet's pod where `peer_id = hostname`.
pub(crate) fn peers(entry: &Entry) -> Result<Vec<Peer>, Vec<Finding>> {
    let wrong = |problem: String| vec![entry.place.finding(&entry.name, problem)];
    let Some((first, last)) = range(&entry.name) else {
        return Err(wrong(format!(
            "expected the id of a peer, 1 to {HIGHEST_PEER}, or two with a dash between them"
        )));
    };
    let mut peer = Peer {
        id: first,
        host: String::new(),
        port: 6432,
        pool_size: None,
        kind: PeerKind::Unknown,
    };
    each_key(entry, keys::PEER, |key, value| {
        match key {
            "host" => value.clone_into(&mut peer.host),
            "port" => peer.port = read::<Port>(value)?,
            "pool_size" => peer.pool_size = count(value)?,
            "kind" => peer.kind = read::<PeerKind>(value)?,
            _ => {}
        }
        Ok(())
    })?;
    if peer.host.is_empty() {
        return Err(wrong("has no host".to_owned()));
    }
    if peer.host.contains(',') {
        return Err(wrong("host: a peer has one host".to_owned()));
    }
    if peer.pool_size == Some(0) {
        return Err(wrong("pool_size: expected 1 or more".to_owned()));
    }
    if first != last && !peer.host.contains(ORDINAL) {
        return Err(wrong(format!(
            "host: several peers need {ORDINAL} in it, which becomes the id less 1"
        )));
    }
    let of = |id: u16| Peer {
        id,
        host: peer.host.replace(ORDINAL, &(id - 1).to_string()),
        ..peer.clone()
    };
    Ok((first..=last).map(of).collect())
}

/// The ids that a name stands for, first and last.
fn range(name: &str) -> Option<(u16, u16)> {
    let id = |text: &str| {
        let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let id: u16 = text.parse().ok().filter(|_| plain)?;
        (1..=HIGHEST_PEER).contains(&id).then_some(id)
    };
    let (first, last) = match name.split_once('-') {
        Some((first, last)) => (id(first)?, id(last)?),
        None => (id(name)?, id(name)?),
    };
    (first <= last).then_some((first, last))
}

/// What becomes the ordinal of a host.
const ORDINAL: &str = "%d";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ini::Section;

    fn entry(name: &str, value: &str) -> Entry {
        Entry::sample(Section::Peers, name, value)
    }

    fn problem(name: &str, value: &str) -> String {
        let findings = peers(&entry(name, value)).unwrap_err();
        findings[0].to_string()
    }

    #[test]
    fn reads_every_key_of_a_peer() {
        let expected = Peer {
            id: 2,
            host: "b".to_owned(),
            port: 7000,
            pool_size: Some(5),
            kind: PeerKind::Pgskein,
        };
        let text = "host=b port=7000 pool_size=5 kind=pgskein";
        assert_eq!(peers(&entry("2", text)), Ok(vec![expected]));
    }

    #[test]
    fn leaves_out_what_has_a_default() {
        let peers = peers(&entry("2", "host=::1 pool_size=-1")).unwrap();
        assert_eq!((peers[0].port, peers[0].pool_size), (6432, None));
        assert_eq!(peers[0].kind, PeerKind::Unknown);
    }

    #[test]
    fn makes_a_peer_of_each_id_of_a_range() {
        let peers = peers(&entry("1-3", "host=pgskein-%d.pgskein port=7000")).unwrap();
        let made: Vec<_> = peers.iter().map(|p| (p.id, p.host.as_str())).collect();
        assert_eq!(
            made,
            [
                (1, "pgskein-0.pgskein"),
                (2, "pgskein-1.pgskein"),
                (3, "pgskein-2.pgskein")
            ]
        );
        assert!(peers.iter().all(|peer| peer.port == 7000));
    }

    #[test]
    fn rejects_ids_that_no_peer_can_have() {
        for name in [
            "0", "16384", "x", "1-", "-2", "3-2", "1-16384", "1-2-3", "99999",
        ] {
            let problem = problem(name, "host=b-%d");
            assert!(problem.starts_with(&format!("a.ini:2: {name}: expected the id")));
        }
    }

    #[test]
    fn rejects_hosts_that_cannot_be_meant() {
        assert_eq!(problem("2", "port=1"), "a.ini:2: 2: has no host");
        assert_eq!(
            problem("2", "host=a,b"),
            "a.ini:2: 2: host: a peer has one host"
        );
        assert_eq!(
            problem("1-3", "host=b"),
            "a.ini:2: 1-3: host: several peers need %d in it, which becomes the id less 1"
        );
        assert_eq!(
            problem("2", "host=b kind=odyssey"),
            "a.ini:2: 2: kind: bad value \"odyssey\", expected one of unknown, pgskein, pgbouncer"
        );
    }
}
