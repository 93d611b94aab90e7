//! `scripts/rolling-restart.sh`: one host after the other, and no further than the first
//! that does not come back.

use std::fs;
use std::os::unix::fs::symlink;

use crate::harness::{Account, Folder, Pooler, Postgres, Run, SqlState, Stopped, script};

const SETTINGS: &str = "workers = 2\npool_mode = transaction";

#[test]
fn hosts_are_restarted_one_after_the_other() {
    let postgres = Postgres::start();
    let poolers = [(); 2].map(|()| Pooler::start(&postgres, SETTINGS));
    let hosts = Hosts::of(&[("a", &poolers[0]), ("b", &poolers[1])]);
    let before = poolers.each_ref().map(Pooler::workers);
    let said = hosts.restart(&["a", "b"]).ok();
    let told: Vec<&str> = said
        .lines()
        .filter(|line| !line.contains("generation"))
        .collect();
    let expected = ["a: RESTART", "a: restarted", "b: RESTART", "b: restarted"];
    assert_eq!(told, expected, "{said}");
    assert!(said.contains("a: generation 2: 2 workers ready"), "{said}");
    for (pooler, before) in poolers.iter().zip(before) {
        assert!(before.values().all(|worker| !worker.is_alive()));
        assert_eq!(pooler.connect().value("select 'served'"), "served");
    }
    // Each command went through the stand-in, to its host.
    let called = hosts.called();
    let first_of_b = called.iter().position(|host| host == "b").unwrap();
    assert!(
        called[first_of_b..].iter().all(|host| host == "b"),
        "{called:?}"
    );
}

#[test]
fn nothing_is_done_after_a_host_that_cannot_be_asked() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let hosts = Hosts::of(&[("b", &pooler)]);
    let before = pooler.workers();
    let run = hosts.restart(&["a", "b"]);
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.stderr.starts_with("a: cannot be asked: "), "{run:?}");
    assert_eq!(hosts.called(), ["a"]);
    assert_eq!(pooler.workers(), before);
}

#[test]
fn host_that_refuses_or_does_not_come_back_in_time_ends_it() {
    let postgres = Postgres::start();
    let poolers = [(); 2].map(|()| Pooler::start(&postgres, SETTINGS));
    let hosts = Hosts::of(&[("a", &poolers[0]), ("b", &poolers[1])]);
    let before = poolers[1].workers();
    // A query that does not end keeps its worker.
    let client = poolers[0].connect();
    let query = client.start_long_query();
    let run = hosts.run(&["--timeout", "2"], &["a", "b"]);
    assert_eq!(run.code, Some(1), "{run:?}");
    assert_eq!(run.stderr, "a: was not restarted within 2 s\n");
    assert!(run.stdout.contains(" old ones have 1 clients"), "{run:?}");
    let run = hosts.restart(&["a", "b"]);
    assert!(run.stderr.starts_with("a: RESTART has failed: "), "{run:?}");
    assert_eq!(poolers[1].workers(), before);
    client.cancel();
    assert_eq!(query.wait(), Err(SqlState("57014")));
}

#[test]
fn dry_run_does_nothing_and_a_wrong_call_says_why() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let _stopped = Stopped::new(pooler.supervisor());
    let hosts = Hosts::of(&[("a", &pooler)]);
    let said = hosts.run(&["--dry-run"], &["a"]).ok();
    assert!(said.starts_with("a: would run RESTART by: "), "{said}");
    assert_eq!(hosts.called(), Vec::<String>::new());
    for wrong in [&["--timeout", "soon"][..], &["--no-such"], &["--via"]] {
        let run = script(SCRIPT, wrong);
        assert_eq!(run.code, Some(2), "{run:?}");
        assert!(run.stderr.starts_with("rolling-restart.sh: "), "{run:?}");
    }
    assert!(script(SCRIPT, &["--help"]).ok().starts_with("usage: "));
}

/// Hosts that are all this one, and what stands in for ssh.
struct Hosts(Folder);

impl Hosts {
    /// Each has its unix socket in a folder of its name.
    fn of(poolers: &[(&str, &Pooler)]) -> Self {
        let folder = Folder::make("hosts", &Account::unprivileged());
        for (name, pooler) in poolers {
            fs::create_dir(folder.join(name)).unwrap();
            let socket = pooler.socket_folder();
            let socket = socket.join(format!(".s.PGSQL.{}", pooler.port()));
            symlink(socket, folder.join(name).join(".s.PGSQL.6432")).unwrap();
        }
        fs::write(folder.join("ssh"), SSH).unwrap();
        Self(folder)
    }

    fn restart(&self, hosts: &[&str]) -> Run {
        self.run(&[], hosts)
    }

    fn run(&self, options: &[&str], hosts: &[&str]) -> Run {
        let via = format!("sh {} {{}}", self.0.join("ssh").display());
        let socket = self.0.join("{}").display().to_string();
        let mut arguments = vec!["--user", "postgres", "--via", &via, "--host", &socket];
        arguments.extend(options);
        arguments.extend(hosts);
        script(SCRIPT, &arguments)
    }

    /// The hosts to which something was sent, in order.
    fn called(&self) -> Vec<String> {
        let called = fs::read_to_string(self.0.join("called")).unwrap_or_default();
        called.lines().map(str::to_owned).collect()
    }
}

/// As ssh does, it shows a banner and hands a shell one line.
const SSH: &str = "echo \"$1\" >>\"$(dirname \"$0\")/called\"\n\
    printf 'Authorized use only\\n\\n| %s |\\n' \"$1\" >&2\n\
    shift\nexec sh -c \"$*\"\n";

const SCRIPT: &str = "rolling-restart.sh";
