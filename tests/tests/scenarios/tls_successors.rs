//! A program that is to take over and cannot use a certificate as the one before
//! it could: nothing goes on without TLS for that.

use crate::harness::{Certificates, Client, Login, Pgskein, Pooler, Postgres, SqlState, TlsClient};

/// Whether the connection to PostgreSQL is encrypted, as it says itself.
const ENCRYPTED: &str = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";

/// A stand-in for a program of stricter rules: what it is left has a certificate
/// that is none. `first` is done before anything else.
fn stricter(first: &str) -> String {
    format!(
        "#!/usr/bin/python3\n\
         import os, sys, tempfile\n\
         checks = sys.argv[1] == '--adopt-check'\n\
         {first}\n\
         name = '/proc/self/fd/' + ('0' if checks else sys.argv[2])\n\
         left = open(name, 'rb').read()\n\
         mark = b'-----BEGIN CERTIFICATE-----'\n\
         at = left.rindex(mark)\n\
         left = left[:at] + mark.replace(b'BEGIN', b'BEGUN') + left[at + len(mark):]\n\
         if checks:\n\
         \x20   state = tempfile.TemporaryFile()\n\
         \x20   state.write(left)\n\
         \x20   state.flush()\n\
         \x20   state.seek(0)\n\
         \x20   os.dup2(state.fileno(), 0)\n\
         else:\n\
         \x20   open(name, 'r+b', 0).write(left)\n\
         program = {:?}\n\
         os.execv(program, [program] + sys.argv[1:])\n",
        Pgskein::path()
    )
}

fn log_in(pooler: &Pooler, tls: &TlsClient) -> Client {
    let wire = pooler.wire().ask_for_tls(tls).unwrap();
    Client::log_in(wire, &Login::new()).unwrap()
}

#[test]
fn program_that_cannot_use_a_certificate_takes_over_nothing() {
    let certificates = Certificates::make("authority");
    certificates.issue("localhost");
    let postgres = Postgres::start_with_tls(&certificates, "localhost", &[]);
    let settings = format!(
        "workers = 2\n{}{}",
        certificates.settings("allow", "localhost"),
        certificates.server_settings("verify-full"),
    );
    let pooler = Pooler::start_installed(&postgres, &settings);
    let before = pooler.workers();
    let tls = certificates.client(&[]);
    assert_eq!(log_in(&pooler, &tls).value(ENCRYPTED), "t");
    let console = pooler.connect_as(&Login::new().database("pgskein"));
    // Its check finds it; and if that does not, it gives the group back.
    for first in ["", "if checks: sys.exit(0)"] {
        pooler.install(&stricter(first));
        assert_eq!(console.query("RESTART"), Err(SqlState("55000")), "{first}");
        console.absorb(std::time::Duration::ZERO);
        let said = console.last_error().unwrap().message;
        assert!(
            said.contains("localhost.pem: holds no certificate"),
            "{said}"
        );
        assert_eq!(pooler.workers(), before);
        assert_eq!(log_in(&pooler, &tls).value(ENCRYPTED), "t", "{first}");
    }
}
