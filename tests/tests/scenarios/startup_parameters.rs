//! What clients ask for in their startup packet, beside user and database.

use crate::harness::{Client, Login, Pooler, Postgres};

const ONE_SERVER: &str = "workers = 1\npool_mode = transaction\ndefault_pool_size = 1";

#[test]
fn parameters_in_options_hold() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, ONE_SERVER);
    let options = "-c datestyle=German,\\ DMY --timezone=Asia/Tokyo -capplication_name=mine";
    let client = pooler.connect_as(&Login::new().parameter("options", options));
    assert_eq!(client.value("show datestyle"), "German, DMY");
    assert_eq!(client.value("show timezone"), "Asia/Tokyo");
    assert_eq!(client.value("show application_name"), "mine");
}

#[test]
fn every_spelling_of_options_is_understood() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, ONE_SERVER);
    for options in [
        "-c TIMEZONE=Asia/Tokyo",
        "-ctimezone=Asia/Tokyo",
        "  -c   timezone=Asia/Tokyo\t",
        "--TimeZone=Asia/Tokyo",
        r"-c time\zone\=A\sia/Tokyo",
        "-c timezone=UTC -c timezone=Asia/Tokyo",
    ] {
        let client = pooler.connect_as(&Login::new().parameter("options", options));
        assert_eq!(client.value("show timezone"), "Asia/Tokyo", "{options}");
        assert_eq!(client.parameter("TimeZone").as_deref(), Some("Asia/Tokyo"));
    }
    let dashes = Login::new().parameter("options", "--application-name=dashes");
    let client = pooler.connect_as(&dashes);
    assert_eq!(client.value("show application_name"), "dashes");
}

#[test]
fn other_switches_in_options_are_refused() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, ONE_SERVER);
    for options in [
        "-d 5",
        "-c",
        "-c timezone",
        "--timezone",
        "-c=",
        "--=x",
        "timezone=UTC",
    ] {
        let error = pooler
            .try_connect(&Login::new().parameter("options", options))
            .unwrap_err();
        assert_eq!(error.sqlstate, "22023", "{options}");
        assert_eq!(
            error.message,
            "unsupported options startup parameter: \
             only '-c config=val' and '--config=val' are allowed",
            "{options}"
        );
    }
}

#[test]
fn parameter_of_its_own_counts_more_than_options() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, ONE_SERVER);
    let options = ("options", "-c timezone=Asia/Tokyo -c datestyle=German");
    let own = ("TimeZone", "Europe/Berlin");
    for pairs in [[options, own], [own, options]] {
        let login = pairs.iter().fold(Login::new(), |login, (name, value)| {
            login.parameter(name, value)
        });
        for client in [pooler.connect_as(&login), postgres.connect_as(&login)] {
            assert_eq!(client.value("show timezone"), "Europe/Berlin");
            assert_eq!(client.value("show datestyle"), "German, DMY");
        }
    }
}

#[test]
fn unsupported_startup_parameters_are_refused_unless_ignored() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, ONE_SERVER);
    let login = Login::new().parameter("work_mem", "1MB");
    let error = pooler.try_connect(&login).unwrap_err();
    assert_eq!(error.sqlstate, "22023");
    assert_eq!(error.message, "unsupported startup parameter: work_mem");

    let in_options = Login::new().parameter("options", "-c work_mem=1MB");
    let error = pooler.try_connect(&in_options).unwrap_err();
    assert_eq!(error.sqlstate, "22023");
    assert_eq!(
        error.message,
        "unsupported startup parameter in options: work_mem"
    );

    pooler.reload(&format!(
        "{ONE_SERVER}\nignore_startup_parameters = work_mem"
    ));
    assert_served(&pooler.connect_as(&login));
    assert_served(&pooler.connect_as(&in_options));
}

#[test]
fn ignored_options_are_followed_as_far_as_they_can_be() {
    let postgres = Postgres::start();
    let settings = format!("{ONE_SERVER}\nignore_startup_parameters = Options, extra_float_digits");
    let pooler = Pooler::start(&postgres, &settings);
    let options = "-c enable_seqscan=off --timezone=Asia/Tokyo";
    let login = Login::new()
        .parameter("options", options)
        .parameter("EXTRA_FLOAT_DIGITS", "3");
    let client = pooler.connect_as(&login);
    assert_eq!(client.value("show timezone"), "Asia/Tokyo");
    assert_eq!(client.value("show enable_seqscan"), "on");
    assert_eq!(client.value("show extra_float_digits"), "1");
    assert_served(&pooler.connect_as(&Login::new().parameter("options", "-d 5")));
}

#[test]
fn parameter_that_the_server_does_not_report_is_refused_unless_ignored() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, ONE_SERVER);
    // The first does not exist before PostgreSQL 16, the other is reported
    // from 18 on.
    for name in ["scram_iterations", "search_path"] {
        let plain = Login::new().parameter(name, "5000");
        let options = Login::new().parameter("options", &format!("-c {name}=5000"));
        for (login, place) in [(&plain, ""), (&options, " in options")] {
            let error = pooler.try_connect(login).unwrap_err();
            assert_eq!(error.sqlstate, "22023");
            assert_eq!(
                error.message,
                format!("unsupported startup parameter{place}: {name}")
            );
        }
        pooler.reload(&format!("{ONE_SERVER}\nignore_startup_parameters = {name}"));
        assert_served(&pooler.connect_as(&plain));
        assert_served(&pooler.connect_as(&options));
    }
}

#[test]
fn application_name_gets_the_address_of_its_client_if_wanted() {
    let postgres = Postgres::start();
    let settings = format!("{ONE_SERVER}\napplication_name_add_host = 1");
    let pooler = Pooler::start(&postgres, &settings);
    let named = Login::new().parameter("application_name", "shop");
    let options = Login::new().parameter("options", "-c application_name=opt");
    for (login, name) in [
        (Login::new(), "app"),
        (named.clone(), "shop"),
        (options, "opt"),
    ] {
        let mut wire = pooler.wire();
        let place = wire.local_address();
        wire.send(&login.packet());
        let client = Client::adopt(wire);
        let expected = format!("{name} - {place}");
        assert_eq!(client.parameter("application_name"), Some(expected.clone()));
        assert_eq!(client.value("show application_name"), expected);
        // What the client sets itself counts, as it is.
        client.query("set application_name = 'other'").unwrap();
        assert_eq!(client.value("show application_name"), "other");
    }
    let unix = pooler.connect_unix(&named).unwrap();
    let name = unix.value("show application_name");
    let process = format!("shop - unix({}@", std::process::id());
    assert!(name.starts_with(&process), "{name}");
    assert!(name.ends_with(&format!("):{}", pooler.port())), "{name}");
}

fn assert_served(client: &Client) {
    assert_eq!(client.value("select 'served'"), "served");
}
