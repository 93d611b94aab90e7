//! `/ready` and `/live` say how the group is.

use std::process::Command;

use crate::harness::{
    Http, Login, PATIENCE, Pooler, Postgres, Signal, SqlState, Stopped, restart, wait_for,
};

const SETTINGS: &str = "workers = 2\npool_mode = transaction\n";

#[test]
fn ready_from_the_first_worker_on_until_the_group_is_told_to_end() {
    let postgres = Postgres::start();
    let http = Http::unused();
    let settings = format!("{SETTINGS}{}\ndrain_delay = 60", http.setting());
    let pooler = Pooler::start(&postgres, &settings);
    http.wait("/ready", 200, "ready, workers=2");
    assert!(http.get("/live").says(200, "live, workers=2"));
    let client = pooler.connect();
    pooler.signal(Signal::SIGTERM);
    // The delay is for balancers: who comes all the same is served.
    http.wait("/ready", 503, "draining");
    assert_eq!(pooler.connect().value("select 'served'"), "served");
    assert!(http.get("/live").says(200, "live, workers=2"));
    assert_eq!(
        client.parameter("disconnect_requested").as_deref(),
        Some("off")
    );
    pooler.wait_log("draining: clients=");
}

#[test]
fn answered_through_a_drain_until_the_group_has_ended() {
    let postgres = Postgres::start();
    let http = Http::unused();
    let pooler = Pooler::start(&postgres, &format!("{SETTINGS}{}", http.setting()));
    let client = pooler.connect_to_worker(1);
    http.wait_ready();
    let console = pooler.console_of(1);
    console.query("SHUTDOWN WAIT_FOR_CLIENTS").unwrap();
    // Whoever has given the order can be sure of it.
    assert!(http.get("/ready").says(503, "draining"));
    client.wait_parameter("disconnect_requested", "on");
    wait_for("the port to be closed", PATIENCE, || {
        pooler.try_wire().is_err()
    });
    let process = process_of(&pooler);
    process.kill();
    http.wait("/ready", 503, "draining");
    assert_ne!(process_of(&pooler), process);
    assert!(http.get("/live").says(200, "live, workers=1"));
    client.close();
    assert_eq!(pooler.wait_exit(PATIENCE).code(), Some(0));
    assert!(http.try_get("/live").is_err());
}

#[test]
fn not_ready_while_suspended_and_ready_while_paused_or_asking_clients_to_go() {
    let postgres = Postgres::start();
    let http = Http::unused();
    let pooler = Pooler::start(&postgres, &format!("{SETTINGS}{}", http.setting()));
    let client = pooler.connect();
    let console = pooler.connect_as(&Login::new().database("pgskein"));
    http.wait("/ready", 200, "ready, workers=2");
    console.query("SUSPEND").unwrap();
    assert!(http.get("/ready").says(503, "suspended"));
    assert!(http.get("/live").says(200, "live, workers=2"));
    console.query("RESUME").unwrap();
    assert!(http.get("/ready").says(200, "ready, workers=2"));
    for order in ["PAUSE", "GOAWAY ALL"] {
        console.query(order).unwrap();
        assert!(http.get("/ready").says(200, "ready, workers=2"), "{order}");
    }
    console.query("RESUME").unwrap();
    client.wait_parameter("disconnect_requested", "on");
}

#[test]
fn not_ready_without_a_worker_and_not_alive_without_anybody_who_turns() {
    let postgres = Postgres::start();
    let http = Http::unused();
    let pooler = Pooler::start(&postgres, &format!("{SETTINGS}{}", http.setting()));
    http.wait("/ready", 200, "ready, workers=2");
    let stopped = Stopped::new(pooler.supervisor());
    let workers = pooler.workers();
    workers[&1].kill();
    http.wait("/ready", 200, "ready, workers=1");
    workers[&2].kill();
    http.wait("/ready", 503, "no worker is ready");
    wait_for("/live to say 503", PATIENCE, || {
        let answer = http.get("/live");
        let why = "the supervisor does not turn for ";
        (answer.status, answer.body.starts_with(why)) == (503, true)
    });
    drop(stopped);
    http.wait("/ready", 200, "ready, workers=2");
    assert!(http.get("/live").says(200, "live, workers=2"));
}

#[test]
fn ready_at_every_moment_of_a_restart() {
    let postgres = Postgres::start();
    let http = Http::unused();
    let pooler = Pooler::start(&postgres, &format!("{SETTINGS}{}", http.setting()));
    http.wait_ready();
    let before = process_of(&pooler);
    let stop = crate::harness::Stop::default();
    let asked = std::thread::scope(|scope| {
        let _guard = stop.guard();
        let asking = scope.spawn(|| {
            let mut asked = 0;
            while !stop.is_set() {
                let answer = http.get("/ready");
                assert_eq!(answer.status, 200, "{answer:?}");
                asked += 1;
            }
            asked
        });
        restart(&pooler);
        wait_for("the new generation", PATIENCE, || {
            pooler.generations() == ["1.2", "2.2"]
        });
        wait_for("the last process to leave", PATIENCE, || !before.is_alive());
        stop.set();
        asking.join().unwrap()
    });
    assert!(asked > 0);
    assert_eq!(http_processes(&pooler).len(), 1);
    assert_eq!(pooler.connect().query("select 1/0"), Err(SqlState("22012")));
}

#[test]
fn curl_and_its_exit_code_are_enough_to_ask() {
    let postgres = Postgres::start();
    let http = Http::unused();
    let pooler = Pooler::start(&postgres, &format!("{SETTINGS}{}", http.setting()));
    http.wait_ready();
    let url = format!("http://{}/ready", http.address());
    let curl = |arguments: &[&str]| {
        let mut command = Command::new("curl");
        command.args(["-sS", "--max-time", "60"]);
        let output = command.args(arguments).arg(&url).output();
        let output = output.expect("curl is installed");
        let said = String::from_utf8(output.stdout).unwrap();
        (output.status.code(), said)
    };
    assert_eq!(curl(&["-f"]), (Some(0), "ready, workers=2\n".to_owned()));
    let (code, head) = curl(&["-f", "--head"]);
    assert_eq!(code, Some(0));
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    let console = pooler.connect_as(&Login::new().database("pgskein"));
    console.query("SUSPEND").unwrap();
    assert_eq!(curl(&["-f"]).0, Some(22));
    assert_eq!(curl(&[]), (Some(0), "suspended\n".to_owned()));
}

/// The processes that answer HTTP.
pub(crate) fn http_processes(pooler: &Pooler) -> Vec<crate::harness::Process> {
    let mut processes = pooler.processes();
    processes.retain(|process| process.title() == "pgskein: http");
    processes
}

/// The one process that answers HTTP, waited for.
pub(crate) fn process_of(pooler: &Pooler) -> crate::harness::Process {
    let mut found = Vec::new();
    wait_for("one process for HTTP", PATIENCE, || {
        found = http_processes(pooler);
        found.len() == 1
    });
    found[0]
}
