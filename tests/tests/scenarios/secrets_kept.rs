//! Secrets are told to nobody: no log, no console, no error, no environment.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::harness::{Login, PATIENCE, Pgskein, Pooler, Postgres, Process, Run, Signal, wait_for};

#[test]
fn no_secret_is_in_a_log_an_answer_a_title_or_an_environment() {
    let postgres = Postgres::start();
    postgres.query(
        "create role forced login password 'Kept-forced'; \
         create role learned login password 'Kept-learned'; \
         create function public.kept(inout name text, out secret text) language sql \
           as $$ select name, 'Kept-fetched' $$",
    );
    let environment = [
        ("PGPASSWORD", "Kept-environment".to_owned()),
        ("APP_SECRET", "Kept-variable".to_owned()),
    ];
    let pooler = Pooler::start_in(&postgres, "verbose = 3", &environment);
    let secret = |user: &str| {
        let sql = format!("select rolpassword from pg_authid where rolname = '{user}'");
        postgres.query(&sql).remove(0)
    };
    let learned = secret("learned");
    let md5 = secret("md5_user");
    pooler.write_file(
        "users.txt",
        &format!(
            "\"postgres\" \"\"\n\"alice\" \"Kept-plain\"\n\"md5_user\" \"{md5}\"\n\
             \"learned\" \"{learned}\"\n"
        ),
    );
    let users = pooler.ini().with_file_name("users.txt");
    let hba = pooler.write_file(
        "hba.conf",
        "local all all trust\nhost all md5_user all md5\n\
         host all learned,bob all scram-sha-256\nhost all all all password\n",
    );
    let settings = format!(
        "verbose = 3\nworkers = 2\nserver_login_retry = 0.1\nauth_type = hba\n\
         auth_file = {}\nauth_hba_file = {}\nauth_user = postgres\n\
         auth_query = select name, secret from public.kept($1)",
        users.display(),
        hba.display()
    );
    let address = postgres.address();
    let databases = format!(
        "* = {address}\n\
         forced = {address} dbname=postgres user=forced password=Kept-forced\n\
         failing = {address} dbname=postgres user=scram_user password='Kept ''failing'"
    );
    pooler.write_ini(&databases, &settings);
    pooler.reload_files();

    let mut said = String::new();
    let psql = |user: &str, password: &str| pooler.psql().user(user).password(password);
    note(&mut said, psql("alice", "Kept-plain").who());
    note(&mut said, psql("alice", "Kept-wrong").who());
    note(
        &mut said,
        psql("alice", "Kept-forced").database("forced").who(),
    );
    note(
        &mut said,
        psql("alice", "Kept-plain").database("forced").who(),
    );
    note(
        &mut said,
        psql("alice", "Kept-plain").database("failing").who(),
    );
    note(&mut said, psql("bob", "Kept-fetched").who());
    note(&mut said, psql("nobody", "Kept-fetched").who());
    note(&mut said, psql("learned", "Kept-learned").who());
    note(&mut said, psql("learned", "Kept-wrong").who());
    note(&mut said, psql("md5_user", "secret").who());
    note(&mut said, psql("md5_user", "Kept-wrong").who());
    assert!(
        said.contains("learned") && said.contains("md5_user"),
        "{said}"
    );

    let console = pooler.local_psql().user("pgskein").database("pgskein");
    for table in TABLES.split_whitespace() {
        let run = console.run(&format!("SHOW {table}"));
        assert_eq!(run.code, Some(0), "SHOW {table}: {run:?}");
        note(&mut said, run);
    }
    // Files with mistakes in the lines of secrets.
    for (file, text) in [
        ("users.txt", "\"alice\" \"Kept-broken\nbob Kept-broken\n"),
        (
            "hba.conf",
            "host all all all ldap ldapserver=x ldapbindpasswd=Kept-bind Kept-broken\n",
        ),
    ] {
        let path = pooler.ini().with_file_name(file);
        let before = fs::read_to_string(&path).unwrap();
        pooler.write_file(file, text);
        let reload = console.run("RELOAD");
        assert_ne!(reload.code, Some(0), "{file}: {reload:?}");
        note(&mut said, reload);
        let ini = pooler.ini().display().to_string();
        let check = Pgskein::run(&["--check", &ini]);
        assert_ne!(check.code, Some(0), "{file}: {check:?}");
        note(&mut said, check);
        pooler.write_file(file, &before);
    }
    for line in [
        "shop = host=x password=Kept-broken' user=",
        "shop = host=x password='Kept-broken",
        "shop = host=x password=Kept-one Kept-broken",
        "shop = host=x password=Kept-one Kept-broken=1",
        "shop = host=x user=a password Kept-broken",
        "shop Kept-broken",
    ] {
        pooler.write_ini(&format!("{databases}\n{line}"), &settings);
        let reload = console.run("RELOAD");
        assert_ne!(reload.code, Some(0), "{line}: {reload:?}");
        note(&mut said, reload);
    }
    pooler.write_ini(&databases, &settings);
    pooler.reload_files();

    // What a worker says when it is aborted.
    let worker = pooler.worker(1);
    worker.signal(Signal::SIGABRT);
    pooler.wait_replaced(1, worker);
    wait_for("the place where it was", PATIENCE, || {
        pooler.log_contains("worker 1: killed by SIGABRT") || pooler.log_contains("SIGABRT")
    });
    for process in pooler.processes() {
        let of = |name: &str| {
            let path = format!("/proc/{}/{name}", process.0);
            String::from_utf8_lossy(&fs::read(Path::new(&path)).unwrap_or_default()).into_owned()
        };
        note_text(&mut said, &of("environ"));
        note_text(&mut said, &of("cmdline"));
    }
    note_text(&mut said, &pooler.log());
    let keys: Vec<_> = learned.split(['$', ':']).skip(3).collect();
    assert_eq!(keys.len(), 2, "{learned}");
    for word in ["Kept", "SCRAM-SHA-256$", &md5, keys[0], keys[1]] {
        if let Some(at) = said.find(word) {
            let around = &said.as_bytes()[at.saturating_sub(200)..(at + 100).min(said.len())];
            panic!("{word}: {}", String::from_utf8_lossy(around));
        }
    }
}

#[test]
fn cancel_keys_and_query_texts_are_not_logged_either() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "verbose = 3\nworkers = 1");
    let client = pooler.connect_as(&Login::new().minor_version(2));
    client
        .query("alter role alice password 'Kept-altered'")
        .unwrap();
    assert!(client.query("select 'Kept-asked' from nowhere").is_err());
    let secret: String = client.secret().iter().map(|b| format!("{b:02x}")).collect();
    client.cancel();
    client.close();
    let log = pooler.log().to_lowercase();
    for word in ["kept", &secret[..16]] {
        assert!(!log.contains(word), "{word} is in the log");
    }
}

#[test]
fn passwords_that_were_said_are_wiped_from_memory() {
    let postgres = Postgres::start();
    let password = "Said-once-and-for-all-and-wiped";
    postgres.query(&format!("create role keeper login password '{password}'"));
    let sql = "select rolpassword from pg_authid where rolname = 'keeper'";
    let secret = postgres.query(sql).remove(0);
    let pooler = Pooler::start(&postgres, "workers = 1\nauth_type = plain");
    pooler.write_file("users.txt", &format!("\"keeper\" \"{secret}\"\n"));
    pooler.reload_files();
    let worker = pooler.worker(1);
    let login = Login::new().user("keeper");
    // What is looked for is found where it is: in what a client sends.
    let client = pooler.connect_as(&login.clone().password(password));
    let text = "Seen-in-a-query-that-is-not-whole";
    client.send(&[b"Q\0\0\x01\0select '", text.as_bytes()].concat());
    if !wait_readable(worker, text) {
        return;
    }
    for said in [password, &format!("{password}-and-wrong")] {
        for _ in 0..3 {
            drop(pooler.try_connect(&login.clone().password(said)));
        }
    }
    wait_for("the password to be wiped", PATIENCE, || {
        find_in_memory(worker, password) == Some(false)
    });
    client.send(&[0; 300]);
}

/// Whether the memory of a process can be read at all, once this is in it.
fn wait_readable(process: Process, text: &str) -> bool {
    if find_in_memory(process, text).is_none() {
        return false;
    }
    wait_for("the beginning of a query", PATIENCE, || {
        find_in_memory(process, text) == Some(true)
    });
    true
}

/// Whether a text is in memory that a process can write to; nothing if nobody
/// may look.
fn find_in_memory(process: Process, text: &str) -> Option<bool> {
    let memory = File::open(format!("/proc/{}/mem", process.0)).ok()?;
    let maps = fs::read_to_string(format!("/proc/{}/maps", process.0)).ok()?;
    let regions = maps.lines().filter(|line| line.contains(" rw"));
    let mut found = false;
    for region in regions {
        let (begin, end) = region.split_once(' ')?.0.split_once('-')?;
        let [begin, end] = [begin, end].map(|at| u64::from_str_radix(at, 16).unwrap());
        let mut bytes = vec![0; usize::try_from(end - begin).unwrap()];
        // Some cannot be read, such as those of the kernel.
        if memory.read_exact_at(&mut bytes, begin).is_ok() {
            let mut windows = bytes.windows(text.len());
            found |= windows.any(|window| window == text.as_bytes());
        }
    }
    Some(found)
}

fn note(said: &mut String, run: Run) {
    note_text(said, &run.stdout);
    note_text(said, &run.stderr);
}

fn note_text(said: &mut String, text: &str) {
    said.push_str(text);
    said.push('\n');
}

/// All that SHOW knows.
const TABLES: &str = "ACTIVE_SOCKETS CLIENTS CONFIG DATABASES DNS_HOSTS DNS_ZONES DRAIN FDS HELP \
                      LATENCY LEASES LISTS MEM PEERS PEER_POOLS POOLS SERVERS SOCKETS STATE STATS \
                      STATS_AVERAGES STATS_TOTALS TOTALS USERS VERSION WORKERS";
