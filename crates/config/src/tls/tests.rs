//! Tests of the settings of TLS.

use super::names::{groups, suites, suites13, versions};
use super::*;
use crate::Sources;

fn versions_of(text: &str) -> Result<(bool, bool), String> {
    versions(text).map(|(versions, _)| (versions.v1_2, versions.v1_3))
}

fn names_of(text: &str) -> Vec<&'static str> {
    let (suites, _) = suites(text).unwrap();
    suites.iter().map(|suite| suite.as_str()).collect()
}

#[test]
fn reads_versions_as_pgbouncer_names_them() {
    for (text, expected) in [
        ("secure", (true, true)),
        ("default", (true, true)),
        ("all", (true, true)),
        ("legacy", (true, true)),
        ("tlsv1.2", (true, false)),
        ("TLSv1.3", (false, true)),
        ("tlsv1.0, tlsv1.1,tlsv1.2", (true, false)),
        ("all:!tlsv1.2", (false, true)),
        ("tlsv1", (true, true)),
    ] {
        assert_eq!(versions_of(text), Ok(expected), "{text}");
    }
}

#[test]
fn rejects_versions_that_are_too_old_or_none() {
    let old = "TLS 1.0 and 1.1 are not offered, expected tlsv1.2 or tlsv1.3";
    assert_eq!(versions_of("tlsv1.0"), Err(old.to_owned()));
    assert_eq!(versions_of("tlsv1.0,tlsv1.1"), Err(old.to_owned()));
    assert!(versions_of("sslv3").is_err());
    assert!(versions_of("").is_err());
    assert!(versions_of("all,!all").is_err());
}

#[test]
fn says_which_versions_it_leaves_out() {
    assert_eq!(versions("tlsv1.1,tlsv1.2").unwrap().1, ["tlsv1.1"]);
    assert_eq!(versions("all").unwrap().1, ["tlsv1.0 and tlsv1.1"]);
    assert!(versions("secure").unwrap().1.is_empty());
}

#[test]
fn reads_lists_of_ciphers_in_their_order() {
    assert_eq!(names_of("default").len(), 6);
    assert_eq!(names_of("HIGH:MEDIUM:+3DES:!aNULL").len(), 6);
    assert_eq!(
        names_of("ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305"),
        [
            "ECDHE-RSA-AES128-GCM-SHA256",
            "ECDHE-ECDSA-CHACHA20-POLY1305"
        ]
    );
    assert_eq!(
        names_of("ECDHE+AESGCM:!aRSA"),
        [
            "ECDHE-ECDSA-AES256-GCM-SHA384",
            "ECDHE-ECDSA-AES128-GCM-SHA256"
        ]
    );
    assert_eq!(
        names_of("ALL:-CHACHA20:!AES256:+ECDSA").last(),
        Some(&"ECDHE-ECDSA-AES128-GCM-SHA256")
    );
}

#[test]
fn leaves_out_ciphers_that_are_not_offered_unless_none_is_left() {
    let (known, left_out) = suites("DHE-RSA-AES256-SHA:ECDHE-RSA-AES256-GCM-SHA384").unwrap();
    assert_eq!(known, [TlsSuite::RsaAes256]);
    assert_eq!(left_out, ["DHE-RSA-AES256-SHA"]);
    let problem = suites("AES128-SHA").unwrap_err();
    assert!(problem.starts_with("none of AES128-SHA is offered, expected some of ECDHE-"));
    assert!(suites("HIGH:!HIGH").is_err());
    assert!(
        suites("TLS_AES_128_GCM_SHA256").is_err(),
        "it is one of TLS 1.3"
    );
}

#[test]
fn takes_what_distributions_write_and_says_what_it_does_not_mean() {
    let all = suites("DEFAULT").unwrap().0;
    for (text, expected) in [
        ("DEFAULT@SECLEVEL=1", "@SECLEVEL=1"),
        ("DEFAULT:@SECLEVEL=2", "@SECLEVEL=2"),
        ("PROFILE=SYSTEM", "PROFILE=SYSTEM"),
    ] {
        assert_eq!(suites(text), Ok((all.clone(), vec![expected.to_owned()])));
    }
    let list = "ECDHE-ECDSA-AES256-GCM-SHA384;ECDHE-RSA-AES256-GCM-SHA384";
    assert_eq!(suites(list).unwrap().0.len(), 2);
    assert!(suites("@SECLEVEL=1").is_err());
}

#[test]
fn reads_suites_of_tls_1_3() {
    assert_eq!(suites13("").unwrap().0.len(), 3);
    assert_eq!(
        suites13("TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256")
            .unwrap()
            .0,
        [TlsSuite::ChaCha20, TlsSuite::Aes128]
    );
    assert!(suites13("TLS_AES_128_CCM_SHA256").is_err());
}

#[test]
fn reads_names_of_curves() {
    assert_eq!(groups("auto").unwrap().0.len(), 4);
    for name in ["prime256v1", "secp256r1", "P-256"] {
        assert_eq!(groups(name).unwrap().0, [TlsGroup::P256]);
    }
    assert_eq!(
        groups("X25519:secp521r1:secp384r1").unwrap(),
        (
            vec![TlsGroup::X25519, TlsGroup::P384],
            vec!["secp521r1".to_owned()]
        )
    );
    assert!(groups("none").is_err());
    assert!(groups("secp521r1").is_err());
}

fn load(text: &str) -> Result<Config, Vec<String>> {
    let mut fetch = |path: &Path| match path.to_str() {
        Some("a.ini") => Ok(format!("[pgskein]\nauth_type = any\n{text}")),
        Some("c.pem" | "k.pem" | "ca.pem") => Ok("secret".to_owned()),
        _ => Err("no such file".to_owned()),
    };
    let loaded = Sources::gather(Path::new("a.ini"), "h", &mut fetch);
    loaded
        .map(|(_, config)| config)
        .map_err(|findings| findings.iter().map(Finding::to_string).collect())
}

#[test]
fn ships_the_files_that_it_names() {
    let text = "client_tls_sslmode = verify-full\nclient_tls_cert_file = c.pem\n\
                client_tls_key_file = k.pem\nclient_tls_ca_file = ca.pem\n\
                client_tls_protocols = tlsv1.3\n";
    let config = load(text).unwrap();
    let tls = &config.client_tls;
    assert_eq!(tls.suites.len(), 3, "{:?}", tls.suites);
    let key = tls.key.as_ref().unwrap();
    assert_eq!((&*key.text, key.place.line), ("secret", 5));
    assert_eq!(
        key.finding("is no key").to_string(),
        "a.ini:5: client_tls_key_file: k.pem: is no key"
    );
    assert!(!format!("{tls:?}").contains("secret"));
}

#[test]
fn names_the_line_that_needs_a_file() {
    assert_eq!(
        load("client_tls_sslmode = verify-ca\nclient_tls_key_file = gone.pem\n").unwrap_err(),
        [
            "a.ini:3: client_tls_cert_file: is needed by client_tls_sslmode = verify-ca",
            "a.ini:3: client_tls_ca_file: is needed by client_tls_sslmode = verify-ca",
            "a.ini:4: client_tls_key_file: cannot read gone.pem: no such file",
        ]
    );
}

#[test]
fn names_the_line_of_what_is_not_offered() {
    let text = "client_tls_protocols = tlsv1.1\nclient_tls_ciphers = AES128-SHA\n\
                client_tls_ecdhcurve = none\nclient_tls_dheparams = legacy\n";
    let problems = load(text).unwrap_err();
    assert_eq!(problems.len(), 4, "{problems:?}");
    for (problem, line) in problems.iter().zip(3..) {
        assert!(
            problem.starts_with(&format!("a.ini:{line}: client_tls_")),
            "{problem}"
        );
    }
}

#[test]
fn warns_of_what_it_leaves_out() {
    let config = load("client_tls_protocols = tlsv1.1, tlsv1.2\n").unwrap();
    let warnings: Vec<_> = config.warnings.iter().map(Finding::to_string).collect();
    assert_eq!(
        warnings,
        ["a.ini:3: client_tls_protocols: not offered and left out: tlsv1.1"]
    );
}

#[test]
fn takes_the_authorities_of_the_system_where_none_are_given() {
    let mut fetch = |path: &Path| match path.to_str() {
        Some("a.ini") => {
            Ok("[pgskein]\nauth_type = any\nserver_tls_sslmode = verify-full\n".to_owned())
        }
        Some("/etc/pki/tls/certs/ca-bundle.crt") => Ok("many".to_owned()),
        _ => Err("no such file".to_owned()),
    };
    let (_, config) = Sources::gather(Path::new("a.ini"), "h", &mut fetch).unwrap();
    let authorities = config.server_tls.authorities.unwrap();
    assert_eq!(authorities.text, "many");
    assert_eq!(
        load("server_tls_sslmode = verify-ca\n").unwrap_err(),
        ["a.ini:3: server_tls_ca_file: is needed by server_tls_sslmode = verify-ca"]
    );
}

#[test]
fn wants_certificate_and_key_for_servers_or_neither() {
    assert_eq!(
        load("server_tls_cert_file = c.pem\n").unwrap_err(),
        ["a.ini: server_tls_key_file: is missing"]
    );
    let both = "server_tls_cert_file = c.pem\nserver_tls_key_file = k.pem\n";
    assert!(load(both).is_ok());
    let unused = "server_tls_sslmode = disable\nserver_tls_cert_file = gone.pem\n";
    assert!(load(unused).is_ok());
}

#[test]
fn wants_tls_to_be_required_where_it_begins_at_once() {
    let direct = |mode: &str| {
        load(&format!(
            "{mode}\n[databases]\nshop = sslnegotiation=direct\n"
        ))
    };
    assert_eq!(
        direct("server_tls_sslmode = prefer").unwrap_err(),
        [
            "a.ini:3: server_tls_sslmode: shop: sslnegotiation = direct needs require, verify-ca or verify-full"
        ]
    );
    assert!(direct("server_tls_sslmode = require").is_ok());
}

#[test]
fn leaves_files_alone_while_there_is_no_tls() {
    let config = load("client_tls_cert_file = gone.pem\n").unwrap();
    assert_eq!(config.client_tls.certificate, None);
}
