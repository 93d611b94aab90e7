//! Passwords that PAM knows.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use crate::harness::{
    Account, Folder, PATIENCE, Pooler, Postgres, Process, Signal, Wire, wait_for,
};
use crate::ldap::say;

#[test]
fn users_log_in_by_the_password_that_the_service_knows() {
    let postgres = Postgres::start();
    let services = Services::make();
    let pooler = Pooler::start(&postgres, &services.settings("checked"));
    let alice = pooler.psql().user("alice");
    assert_eq!(alice.clone().password("rabbit").who().ok(), "alice");
    let said = alice.password("hare").who().refused();
    assert!(said.contains("PAM authentication failed"), "{said}");
    pooler.wait_logged("/alice@127.|closed: PAM authentication failed (pam_authenticate: |), age=");
    pooler.psql().user("bob").password("rabbit").who().refused();
    let mut wire = say(&pooler, "alice", b"hare\0");
    let error = wire.read_message().expect("an answer").error();
    assert_eq!(error.sqlstate, "28000");
    assert_eq!(error.message, "PAM authentication failed");
    let mut wire = say(&pooler, "alice", b"\0");
    let error = wire.read_message().expect("an answer").error();
    assert_eq!(error.message, "empty password returned by client");
    assert!(!pooler.log().contains("rabbit"));
}

#[test]
fn lines_of_the_hba_file_name_their_services() {
    let postgres = Postgres::start();
    let services = Services::make();
    let folder = services.folder.path().display();
    let lines = format!(
        "host all alice all pam pamservice=open pamconfdir={folder}\n\
         host all bob all pam pamservice=shut pamconfdir={folder}\n\
         host all carol all pam pamservice=expired pamconfdir={folder}\n\
         host all plain_user all pam pamservice=nowhere pamconfdir={folder}\n"
    );
    let pooler = Pooler::start(&postgres, "workers = 2");
    let hba = pooler.write_file("hba.conf", &lines);
    let settings = format!("auth_type = hba\nauth_hba_file = {}", hba.display());
    pooler.reload(&settings);
    assert_eq!(
        pooler.psql().user("alice").password("x").who().ok(),
        "alice"
    );
    for (user, why) in [
        ("bob", "pam_authenticate: Authentication failure"),
        ("carol", "pam_acct_mgmt: "),
        ("plain_user", "pam_authenticate: "),
    ] {
        pooler.psql().user(user).password("secret").who().refused();
        pooler.wait_logged(&format!(
            "/{user}@|PAM authentication failed ({why}|, hba=|hba.conf:"
        ));
    }
    // What is not supported is said, and changes nothing.
    pooler.write_file("hba.conf", "host all all all pam pam_use_hostname=1\n");
    pooler.signal(Signal::SIGHUP);
    pooler.wait_logged("hba.conf:1|pam_use_hostname=1 is not supported");
    assert_eq!(
        pooler.psql().user("alice").password("x").who().ok(),
        "alice"
    );
}

#[test]
fn service_that_does_not_answer_delays_nobody_else() {
    let postgres = Postgres::start();
    let services = Services::make();
    let folder = services.folder.path().display();
    let pooler = Pooler::start(&postgres, "workers = 1");
    let hba = pooler.write_file(
        "hba.conf",
        &format!(
            "host all bob all pam pamservice=stuck pamconfdir={folder}\n\
             host all alice all pam pamservice=checked pamconfdir={folder}\n\
             host all scram_user all scram-sha-256\n"
        ),
    );
    let settings = format!(
        "workers = 1\nauth_type = hba\nauth_hba_file = {}",
        hba.display()
    );
    pooler.reload(&settings);
    let worker = pooler.worker(1);
    let waiting: Vec<Wire> = (0..10).map(|_| say(&pooler, "bob", b"rabbit\0")).collect();
    wait_for("eight questions", PATIENCE, || worker.children().len() == 8);
    let alice = pooler.psql().user("alice").password("rabbit");
    assert_eq!(alice.who().ok(), "alice");
    let scram = pooler.psql().user("scram_user").password("secret");
    assert_eq!(scram.who().ok(), "scram_user");
    // Nothing of a worker is left open in such a process.
    let asking = worker.children()[0];
    assert!(
        asking.descriptors().len() <= 5,
        "{:?}",
        asking.descriptors()
    );
    // Nobody asks on when the client is gone.
    drop(waiting);
    wait_for("an end of the questions", PATIENCE, || {
        worker.children().is_empty()
    });
    // A worker that ends takes them along.
    let waiting = say(&pooler, "bob", b"rabbit\0");
    wait_for("a question", PATIENCE, || worker.children().len() == 1);
    let asking = worker.children();
    pooler.signal(Signal::SIGQUIT);
    pooler.wait_exit(PATIENCE);
    let alive = |process: &Process| process.is_alive();
    wait_for("the question to be dropped", PATIENCE, || {
        !asking.iter().any(alive)
    });
    drop(waiting);
}

#[test]
fn so_many_wait_for_a_service_and_the_others_are_refused() {
    let postgres = Postgres::start();
    let services = Services::make();
    let settings = format!(
        "workers = 1\nmax_client_conn = 500\n{}",
        services.settings("stuck")
    );
    let pooler = Pooler::start(&postgres, &settings);
    // As many as are asked about at once, and as many as may wait.
    let mut waiting: Vec<Wire> = (0..108)
        .map(|_| say(&pooler, "alice", b"rabbit\0"))
        .collect();
    let refused = || {
        let mut wire = say(&pooler, "alice", b"rabbit\0");
        wire.poll_message(Duration::from_millis(300))
    };
    wait_for("a login to be refused", PATIENCE, || {
        let Some(answer) = refused() else {
            return false;
        };
        let error = answer.error();
        assert_eq!(error.sqlstate, "53300");
        assert_eq!(error.message, "too many logins wait for PAM authentication");
        true
    });
    pooler.wait_logged("/alice@127.|too many logins wait for PAM authentication, age=");
    // Who leaves makes room.
    waiting.truncate(50);
    wait_for("room for a login", PATIENCE, || refused().is_none());
}

#[test]
fn servers_are_logged_in_to_by_the_password_that_the_service_knows() {
    let postgres = Postgres::start();
    let services = Services::make();
    postgres.query("alter role scram_user password 'rabbit'");
    let settings = format!("{}\nauth_file =", services.settings("checked"));
    let pooler = Pooler::start(&postgres, &settings);
    let psql = pooler.psql().user("scram_user").password("rabbit");
    assert_eq!(psql.who().ok(), "scram_user");
}

/// Services of PAM in a folder of their own.
struct Services {
    folder: Folder,
}

impl Services {
    /// `checked` knows that the password of alice and scram_user is `rabbit`,
    /// `stuck` does not answer, and of the others the names say it.
    fn make() -> Self {
        let folder = Folder::make("pam", &Account::unprivileged());
        let services = Self { folder };
        let check = services.script(
            "check",
            "password=$(tr -d '\\0')\n\
             case \"$PAM_USER:$password:$PAM_RHOST\" in\n\
             alice:rabbit:127.*|scram_user:rabbit:127.*) exit 0 ;;\n\
             esac\nexit 1\n",
        );
        let stick = services.script("stick", "exec sleep 600\n");
        let run = |script: &PathBuf| {
            format!(
                "auth required pam_exec.so expose_authtok quiet {}\naccount required pam_permit.so\n",
                script.display()
            )
        };
        let open = "auth required pam_permit.so\n";
        for (name, text) in [
            ("checked", run(&check)),
            ("stuck", run(&stick)),
            ("open", format!("{open}account required pam_permit.so\n")),
            ("shut", "auth required pam_deny.so\n".to_owned()),
            ("expired", format!("{open}account required pam_deny.so\n")),
            (
                "other",
                "auth required pam_deny.so\naccount required pam_deny.so\n".to_owned(),
            ),
        ] {
            fs::write(services.folder.join(name), text).expect("a file can be written");
        }
        services
    }

    fn script(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}")).expect("a file can be written");
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&path, mode).expect("a mode can be set");
        path
    }

    fn settings(&self, service: &str) -> String {
        format!(
            "auth_type = pam\nauth_pam_options = pamservice={service} pamconfdir=\"{}\"",
            self.folder.path().display()
        )
    }
}
