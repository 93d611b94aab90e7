//! Certificates and keys that change while the pooler runs, to good and to bad
//! ones.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::harness::{
    Certificates, Client, Login, PATIENCE, Pgskein, Pooler, Postgres, Signal, TlsClient, wait_for,
};

fn log_in(pooler: &Pooler, tls: &TlsClient) -> Result<Client, String> {
    let wire = pooler
        .wire()
        .ask_for_tls(tls)
        .map_err(|error| error.to_string())?;
    Client::log_in(wire, &Login::new()).map_err(|error| error.message)
}

/// What becomes of a file.
type Damage = Box<dyn Fn(&Certificates)>;

/// Damages to the files of both sides: the setting that is named, the file, and
/// what is said of it.
fn damages() -> Vec<(&'static str, &'static str, String, Damage)> {
    let written = |name: &'static str, text: &'static str| -> Damage {
        Box::new(move |certificates| certificates.write(name, text))
    };
    let mut all = Vec::new();
    for (side, own, authority) in [("client", "pooler", "ca"), ("server", "own", "servers-ca")] {
        let setting = |name: &str| -> &'static str {
            Box::leak(format!("{side}_tls_{name}_file").into_boxed_str())
        };
        let file = |name: &str, suffix: &str| -> &'static str {
            Box::leak(format!("{name}.{suffix}").into_boxed_str())
        };
        let (pem, key, ca) = (file(own, "pem"), file(own, "key"), file(authority, "pem"));
        let nothing = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let cut = "-----BEGIN CERTIFICATE-----\nMIIB";
        let no_certificate = format!("{pem}: holds no certificate");
        all.push((
            setting("cert"),
            pem,
            no_certificate.clone(),
            written(pem, ""),
        ));
        all.push((
            setting("cert"),
            pem,
            no_certificate,
            written(pem, "something"),
        ));
        let cut_short = format!("{pem}: is no PEM file of certificates");
        all.push((setting("cert"), pem, cut_short, written(pem, cut)));
        let strange = format!("{pem}: begins with something that is no certificate");
        all.push((setting("cert"), pem, strange, written(pem, nothing)));
        let no_text = format!("cannot read PATH/{pem}: ");
        all.push((
            setting("cert"),
            pem,
            no_text,
            Box::new(move |certificates| {
                fs::write(certificates.path(pem), [0x30, 0x82, 0xff, 0xfe]).unwrap();
            }),
        ));
        all.push((
            setting("key"),
            key,
            format!("{key}: holds no private key"),
            written(key, "x"),
        ));
        all.push((
            setting("key"),
            key,
            format!("{key}: is not the key of PATH/{pem}"),
            Box::new(move |certificates| {
                fs::copy(certificates.path("other.key"), certificates.path(key)).unwrap();
            }),
        ));
        all.push((
            setting("key"),
            key,
            format!("{key}: holds a key that needs a passphrase"),
            Box::new(move |certificates| {
                fs::copy(certificates.path("secret.key"), certificates.path(key)).unwrap();
            }),
        ));
        all.push((
            setting("key"),
            key,
            format!("cannot read PATH/{key}: No such file or directory"),
            Box::new(move |certificates| fs::remove_file(certificates.path(key)).unwrap()),
        ));
        all.push((
            setting("key"),
            key,
            format!("cannot read PATH/{key}: Permission denied"),
            Box::new(move |certificates| {
                let nobody = fs::Permissions::from_mode(0o000);
                fs::set_permissions(certificates.path(key), nobody).unwrap();
            }),
        ));
        all.push((
            setting("ca"),
            ca,
            format!("{ca}: holds no certificate"),
            written(ca, ""),
        ));
        let unknown = format!("{ca}: holds something that is no certificate of an authority");
        all.push((setting("ca"), ca, unknown, written(ca, nothing)));
    }
    all
}

#[test]
fn reload_with_a_bad_file_changes_nothing_and_names_it() {
    let certificates = Certificates::make("authority");
    for name in ["localhost", "pooler", "own", "other"] {
        certificates.issue(name);
    }
    fs::copy(
        certificates.path("ca.pem"),
        certificates.path("servers-ca.pem"),
    )
    .unwrap();
    certificates.convert_key(
        "own",
        "secret.key",
        &["ec", "-aes256", "-passout", "pass:secret"],
    );
    let postgres = Postgres::start_with_tls(&certificates, "localhost", &[]);
    let path = |name: &str| certificates.path(name).display().to_string();
    let settings = format!(
        "workers = 2\ndefault_pool_size = 7\n{}{}server_tls_cert_file = {}\nserver_tls_key_file = {}\n",
        certificates.settings("verify-ca", "pooler"),
        certificates
            .server_settings("verify-full")
            .replace("ca.pem", "servers-ca.pem"),
        path("own.pem"),
        path("own.key"),
    );
    let databases = format!("* = host=localhost port={}", postgres.port());
    let pooler = Pooler::start_for(&databases, &settings);
    let tls = certificates.client_as("other");
    let before = log_in(&pooler, &tls).unwrap();
    let console = pooler.local_psql().user("pgskein").database("pgskein");
    let size = || {
        console
            .run("SHOW CONFIG")
            .ok()
            .lines()
            .find(|line| line.starts_with("default_pool_size|"))
            .map(str::to_owned)
    };
    let (unchanged, size_before) = (settings.clone(), size());
    let folder = certificates.path("");
    let folder = folder.display().to_string();
    for (setting, file, problem, damage) in damages() {
        let good = fs::read(certificates.path(file)).unwrap();
        damage(&certificates);
        // Something else is changed with it.
        pooler.write_settings(&unchanged.replace("default_pool_size = 7", "default_pool_size = 8"));
        let said = console
            .run("RELOAD")
            .stderr
            .replace(&folder, "PATH/")
            .replace("PATH//", "PATH/");
        assert!(
            said.contains(&format!("{setting}: ")),
            "{file}, {problem}: {said}"
        );
        assert!(said.contains(&problem), "{file}, {problem}: {said}");
        assert!(!said.contains("PRIVATE KEY"), "{said}");
        assert_eq!(size(), size_before, "{problem}");
        assert!(log_in(&pooler, &tls).is_ok(), "{problem}");
        drop(fs::remove_file(certificates.path(file)));
        certificates.write(file, &String::from_utf8(good).unwrap());
    }
    assert!(before.is_still_served());
    // By a signal it is told in the log.
    fs::remove_file(certificates.path("pooler.key")).unwrap();
    pooler.signal(Signal::SIGHUP);
    pooler.wait_log("pooler.key: No such file or directory");
    assert!(log_in(&pooler, &tls).is_ok());
    assert_eq!(before.value("select 1"), "1");
}

#[test]
fn start_with_a_bad_file_is_refused_with_its_line() {
    let certificates = Certificates::make("authority");
    certificates.issue("pooler");
    certificates.issue("other");
    fs::copy(
        certificates.path("other.key"),
        certificates.path("pooler.key"),
    )
    .unwrap();
    let settings = format!(
        "workers = 1\n{}",
        certificates.settings("require", "pooler")
    );
    let run = Pooler::try_start("* = host=127.0.0.1", &settings).unwrap_err();
    assert_ne!(run.code, Some(0));
    let line = "client_tls_key_file: ";
    assert!(run.stderr.contains(line), "{run:?}");
    assert!(
        run.stderr.contains("pooler.key: is not the key of "),
        "{run:?}"
    );
}

#[test]
fn key_that_only_root_can_read_is_told_at_the_start() {
    let certificates = Certificates::make("authority");
    certificates.issue("pooler");
    let settings = format!(
        "workers = 1\n{}",
        certificates.settings("require", "pooler")
    );
    let key = certificates.path("pooler.key");
    // Written anew it is that of who runs the tests.
    let text = fs::read(&key).unwrap();
    fs::remove_file(&key).unwrap();
    fs::write(&key, text).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let pooler = Pooler::start_for("* = host=127.0.0.1", &settings);
    let tls = certificates.client(&[]);
    assert!(pooler.wire().ask_for_tls(&tls).is_ok());
    let warning = "client_tls_key_file: RELOAD and RESTART will fail, which do not read as root: ";
    let check = Pgskein::run(&["--check", pooler.ini().to_str().unwrap()]).ok();
    let console = pooler.local_psql().user("pgskein").database("pgskein");
    let reload = console.run("RELOAD");
    if pooler.account().is_switched() {
        pooler.wait_log(warning);
        let checked = "client_tls_key_file: warning: RELOAD and RESTART will fail";
        assert!(check.contains(checked), "{check}");
        assert!(reload.stderr.contains("pooler.key: Permission denied"));
        assert!(
            pooler.wire().ask_for_tls(&tls).is_ok(),
            "what was read is kept"
        );
    } else {
        assert!(!pooler.log_contains(warning));
        reload.ok();
    }
}

#[test]
fn authority_that_is_replaced_holds_for_new_clients_alone() {
    let (old, new) = (Certificates::make("old"), Certificates::make("new"));
    old.issue("pooler");
    old.issue("alice");
    new.issue("alice");
    let postgres = Postgres::start();
    let settings = format!("workers = 2\n{}", old.settings("verify-ca", "pooler"));
    let pooler = Pooler::start(&postgres, &settings);
    let path = |name: &str| old.path(name).display().to_string();
    let by = |whose: &Certificates| {
        let file = |name: &str| whose.path(name).display().to_string();
        let psql = pooler
            .psql()
            .user("postgres")
            .option("sslmode", "verify-full");
        psql.option("sslrootcert", &path("trusted.pem"))
            .option("sslcert", &file("alice.pem"))
            .option("sslkey", &file("alice.key"))
            .run("select 1")
    };
    old.write(
        "trusted.pem",
        &fs::read_to_string(old.path("ca.pem")).unwrap(),
    );
    let live = log_in(&pooler, &old.client_as("alice")).unwrap();
    assert_eq!(by(&old).ok().trim(), "1");
    assert_ne!(by(&new).code, Some(0));
    // Both for a while, then the new one alone.
    let authorities = |of: &[&Certificates]| {
        let texts = of
            .iter()
            .map(|one| fs::read_to_string(one.path("ca.pem")).unwrap());
        old.write("clients-ca.pem", &texts.collect::<String>());
        pooler.reload(&settings.replace("/ca.pem", "/clients-ca.pem"));
    };
    authorities(&[&old, &new]);
    assert_eq!(by(&old).ok().trim(), "1");
    assert_eq!(by(&new).ok().trim(), "1");
    authorities(&[&new]);
    for _ in 0..4 {
        assert_ne!(by(&old).code, Some(0), "whichever worker it reaches");
    }
    assert_eq!(by(&new).ok().trim(), "1");
    pooler.wait_log("TLS: invalid peer certificate: UnknownIssuer");
    assert_eq!(live.value("select 1"), "1", "who is there stays");
}

#[test]
fn server_whose_certificate_is_replaced_is_verified_anew() {
    let certificates = Certificates::make("authority");
    let others = Certificates::make("another authority");
    for name in ["localhost", "good"] {
        certificates.issue(name);
    }
    others.issue("localhost");
    let postgres = Postgres::start_with_tls(&certificates, "localhost", &[]);
    let databases = format!("* = host=localhost port={}", postgres.port());
    let settings = format!(
        "workers = 1\nserver_login_retry = 0.1\n{}",
        certificates.server_settings("verify-ca")
    );
    let pooler = Pooler::start_for(&databases, &settings);
    let live = pooler.connect();
    assert_eq!(live.value("select 1"), "1");
    for suffix in ["pem", "key"] {
        let file = format!("localhost.{suffix}");
        fs::copy(others.path(&file), certificates.path(&file)).unwrap();
    }
    postgres.reload();
    let refused = pooler.try_connect(&Login::new().user("alice")).unwrap_err();
    assert!(refused.message.contains("UnknownIssuer"), "{refused:?}");
    assert_eq!(live.value("select 2"), "2");
    // When it is as it was, it is served again.
    certificates.replace("localhost", "good");
    postgres.reload();
    wait_for("another login", PATIENCE, || {
        pooler.try_connect(&Login::new().user("alice")).is_ok()
    });
}
