//! Versions, ciphers and curves, under the names that PgBouncer and OpenSSL have
//! for them.
//!
//! Source: PgBouncer documentation, "TLS settings".

use crate::harness::{Certificates, Pooler, openssl_client};

/// What openssl is told, and the version and the cipher that come of it; nothing
/// if the handshake fails.
type Offer = (
    &'static [&'static str],
    Option<(&'static str, &'static str)>,
);

const OLD: (&[&str], Option<(&str, &str)>) = (&["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"], None);
const OLDEST: (&[&str], Option<(&str, &str)>) = (&["-tls1", "-cipher", "DEFAULT@SECLEVEL=0"], None);

/// Settings, and what clients get by them.
const TABLE: [(&str, &[Offer]); 9] = [
    (
        "client_tls_protocols = secure",
        &[
            OLD,
            OLDEST,
            (
                &["-tls1_2"],
                Some(("TLSv1.2", "ECDHE-RSA-AES256-GCM-SHA384")),
            ),
            (&["-tls1_3"], Some(("TLSv1.3", "TLS_AES_256_GCM_SHA384"))),
            (&[], Some(("TLSv1.3", "TLS_AES_256_GCM_SHA384"))),
        ],
    ),
    (
        "client_tls_protocols = all",
        &[
            OLD,
            (
                &["-tls1_2"],
                Some(("TLSv1.2", "ECDHE-RSA-AES256-GCM-SHA384")),
            ),
        ],
    ),
    (
        "client_tls_protocols = legacy",
        &[
            OLD,
            OLDEST,
            (&["-tls1_3"], Some(("TLSv1.3", "TLS_AES_256_GCM_SHA384"))),
        ],
    ),
    (
        "client_tls_protocols = tlsv1.2",
        &[
            (&["-tls1_3"], None),
            (&[], Some(("TLSv1.2", "ECDHE-RSA-AES256-GCM-SHA384"))),
        ],
    ),
    (
        "client_tls_protocols = tlsv1.3",
        &[
            (&["-tls1_2"], None),
            (&[], Some(("TLSv1.3", "TLS_AES_256_GCM_SHA384"))),
        ],
    ),
    (
        // Our order counts, not the client's.
        "client_tls_ciphers = ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384",
        &[
            (
                &["-tls1_2"],
                Some(("TLSv1.2", "ECDHE-RSA-AES128-GCM-SHA256")),
            ),
            (&["-tls1_2", "-cipher", "ECDHE-RSA-CHACHA20-POLY1305"], None),
            (&["-tls1_3"], Some(("TLSv1.3", "TLS_AES_256_GCM_SHA384"))),
        ],
    ),
    (
        "client_tls_ciphers = HIGH:!AES256:!CHACHA20",
        &[(
            &["-tls1_2"],
            Some(("TLSv1.2", "ECDHE-RSA-AES128-GCM-SHA256")),
        )],
    ),
    (
        "client_tls13_ciphers = TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256",
        &[
            (&[], Some(("TLSv1.3", "TLS_CHACHA20_POLY1305_SHA256"))),
            (
                &["-ciphersuites", "TLS_AES_128_GCM_SHA256"],
                Some(("TLSv1.3", "TLS_AES_128_GCM_SHA256")),
            ),
            (
                &["-tls1_3", "-ciphersuites", "TLS_AES_256_GCM_SHA384"],
                None,
            ),
            (
                &["-tls1_2"],
                Some(("TLSv1.2", "ECDHE-RSA-AES256-GCM-SHA384")),
            ),
        ],
    ),
    (
        "client_tls_ecdhcurve = prime256v1",
        &[
            (
                &["-groups", "X25519:P-256"],
                Some(("TLSv1.3", "TLS_AES_256_GCM_SHA384")),
            ),
            (&["-tls1_3", "-groups", "X25519"], None),
        ],
    ),
];

/// Settings that cannot be had, and what is said of them.
const REFUSED: [(&str, &str); 7] = [
    (
        "client_tls_protocols = tlsv1.0",
        "TLS 1.0 and 1.1 are not offered, expected tlsv1.2 or tlsv1.3",
    ),
    (
        "client_tls_protocols = tlsv1.0,tlsv1.1",
        "TLS 1.0 and 1.1 are not offered",
    ),
    ("client_tls_protocols = sslv3", "bad value \"sslv3\""),
    (
        "client_tls_ciphers = DHE-RSA-AES256-SHA:RC4",
        "none of DHE-RSA-AES256-SHA, RC4 is offered",
    ),
    (
        "client_tls13_ciphers = TLS_AES_128_CCM_SHA256",
        "none of TLS_AES_128_CCM_SHA256 is offered",
    ),
    (
        "client_tls_dheparams = legacy",
        "keys are exchanged over elliptic curves only",
    ),
    (
        "client_tls_ecdhcurve = sect571r1",
        "names no curve that is offered",
    ),
];

/// What comes after a label in the output of openssl.
fn after<'a>(text: &'a str, label: &str) -> &'a str {
    let rest = text.split_once(label).map_or("", |(_, rest)| rest);
    rest.split([',', '\n', ' ']).next().unwrap_or_default()
}

#[test]
fn openssl_gets_what_the_names_of_pgbouncer_say() {
    let certificates = Certificates::make("authority");
    certificates.issue_special(
        "pooler",
        &crate::harness::Special {
            key: "rsa:2048",
            ..Default::default()
        },
    );
    let tls = certificates.settings("require", "pooler");
    // Nobody logs in.
    let pooler = Pooler::start_for("* = host=127.0.0.1", &format!("workers = 1\n{tls}"));
    for (settings, offers) in TABLE {
        pooler.reload(&format!("workers = 1\n{tls}{settings}\n"));
        for (arguments, expected) in offers {
            let run = openssl_client(pooler.port(), arguments);
            let found =
                run.stdout.contains("Cipher is TLS_") || run.stdout.contains("Cipher is ECDHE");
            let what = format!("{settings}, {arguments:?}: {run:?}");
            let Some((version, cipher)) = expected else {
                assert!(!found, "{what}");
                continue;
            };
            // "New, TLSv1.3, Cipher is TLS_AES_256_GCM_SHA384".
            let line = run.stdout.lines().find(|line| line.contains("Cipher is "));
            let line = line.unwrap_or_else(|| panic!("{what}"));
            assert_eq!(
                (after(line, "New, "), after(line, "Cipher is ")),
                (*version, *cipher),
                "{what}"
            );
        }
    }
    pooler.wait_log("client_tls_protocols: not offered and left out: tlsv1.0 and tlsv1.1");
    let console = pooler.local_psql().user("pgskein").database("pgskein");
    for (settings, problem) in REFUSED {
        pooler.write_settings(&format!("workers = 1\n{tls}{settings}\n"));
        let complaint = console.run("RELOAD").stderr;
        let (name, _) = settings.split_once(' ').unwrap();
        assert!(
            complaint.contains(&format!("{name}: ")),
            "{settings}: {complaint}"
        );
        assert!(complaint.contains(problem), "{settings}: {complaint}");
    }
}
