use proptest::prelude::*;

use super::*;

fn read(text: &str) -> Result<Hba, Vec<String>> {
    let mut fetch = |path: &Path| match path.to_str() {
        Some("hba") => Ok(text.to_owned()),
        Some("dbs") => Ok("shop\nweb\n".to_owned()),
        _ => Err("no such file".to_owned()),
    };
    let hba = Hba::read(Path::new("hba"), &Place::default(), &mut fetch);
    hba.map_err(|mut findings| {
        findings.sort_by_key(|finding| finding.line);
        findings.iter().map(Finding::to_string).collect()
    })
}

fn local<'a>(database: &'a str, user: &'a str) -> Visitor<'a> {
    Visitor {
        address: None,
        host: HostName::Unknown,
        interfaces: None,
        encrypted: false,
        database,
        user,
        physical_replication: false,
    }
}

fn from<'a>(address: &str, database: &'a str, user: &'a str) -> Visitor<'a> {
    Visitor {
        address: Some(address.parse().unwrap()),
        ..local(database, user)
    }
}

/// The line of the rule that fits, 0 if none does.
fn line(hba: &str, visitor: &Visitor<'_>) -> u32 {
    let hba = read(hba).unwrap();
    hba.rule(visitor).unwrap().map_or(0, |rule| rule.place.line)
}

#[test]
fn takes_the_first_rule_that_fits() {
    let hba = "# who may come\n\
               local all postgres peer map=admins\n\
               host shop alice 10.0.0.0/8 scram-sha-256\n\
               host shop all 10.0.0.0 255.255.0.0 md5\n\
               host all all all reject\n";
    assert_eq!(line(hba, &local("x", "postgres")), 2);
    assert_eq!(line(hba, &local("x", "alice")), 0);
    assert_eq!(line(hba, &from("10.0.0.1", "shop", "alice")), 3);
    assert_eq!(line(hba, &from("10.0.0.1", "shop", "bob")), 4);
    assert_eq!(line(hba, &from("10.1.0.1", "shop", "bob")), 5);
    assert_eq!(line(hba, &from("::1", "shop", "alice")), 5);
    let hba = read(hba).unwrap();
    let rule = hba.rule(&local("x", "postgres")).unwrap().unwrap();
    assert_eq!(
        (rule.method, rule.map.as_deref()),
        (HbaMethod::Peer, Some("admins"))
    );
    assert_eq!(hba.mapped().count(), 1);
}

#[test]
fn tells_encrypted_connections_from_others() {
    let hba = "hostssl all all all trust\nhostnossl all all all md5\n";
    let plain = from("1.2.3.4", "a", "b");
    let encrypted = Visitor {
        encrypted: true,
        ..plain
    };
    assert_eq!(line(hba, &plain), 2);
    assert_eq!(line(hba, &encrypted), 1);
    assert_eq!(line(hba, &local("a", "b")), 0);
    assert_eq!(line("host all all all trust\n", &encrypted), 1);
}

#[test]
fn knows_the_words_for_databases() {
    let sameuser = "local sameuser all trust\n";
    assert_eq!(line(sameuser, &local("alice", "alice")), 1);
    assert_eq!(line(sameuser, &local("alice", "bob")), 0);
    let quoted = "local \"sameuser\",\"all\" \"all\" trust\n";
    assert_eq!(line(quoted, &local("alice", "alice")), 0);
    assert_eq!(line(quoted, &local("all", "all")), 1);
    let file = "local x,@dbs all trust\n";
    for (database, fits) in [("x", 1), ("shop", 1), ("web", 1), ("other", 0)] {
        assert_eq!(line(file, &local(database, "alice")), fits, "{database}");
    }
}

#[test]
fn takes_the_names_of_the_console_for_one() {
    let file = "local pgbouncer alice reject\n\
                local /^pgsk bob reject\n\
                local sameuser pgskein reject\n\
                local all all trust\n";
    for name in ["pgskein", "pgbouncer"] {
        for (user, expected) in [("alice", 1), ("bob", 2), ("pgskein", 3), ("carol", 4)] {
            assert_eq!(line(file, &local(name, user)), expected, "{name} {user}");
        }
    }
    assert_eq!(line(file, &local("pgb", "alice")), 4);
}

#[test]
fn keeps_physical_replication_apart() {
    let replication = Visitor {
        physical_replication: true,
        ..local("replication", "alice")
    };
    assert_eq!(line("local all,replicatio all trust\n", &replication), 0);
    assert_eq!(line("local \"replication\" all trust\n", &replication), 0);
    assert_eq!(line("local x,replication all trust\n", &replication), 1);
    let ordinary = local("replication", "alice");
    assert_eq!(line("local replication all trust\n", &ordinary), 0);
}

#[test]
fn finds_names_by_regular_expressions() {
    let hba = "local \"/^shop_[0-9]{2,4}$\" all trust\nlocal \"/^a, b$\" /^al|ob$ trust\n";
    assert_eq!(line(hba, &local("shop_12", "x")), 1);
    assert_eq!(line(hba, &local("shop_1", "x")), 0);
    assert_eq!(line(hba, &local("a, b", "alice")), 2);
    assert_eq!(line(hba, &local("a, b", "bob")), 2);
    assert_eq!(line(hba, &local("a, b", "carol")), 0);
}

#[test]
fn wants_the_name_of_a_host_only_where_it_decides() {
    let hba = "host all carol all reject\n\
               host shop alice db.example.com trust\n\
               hostssl all all .example.com trust\n\
               host all bob samehost,x trust\n";
    assert!(read(hba).is_err(), "one address only");
    let hba = read(&hba.replace(",x", "")).unwrap();
    let rule = |visitor: &Visitor<'_>| {
        let rule = hba.rule(visitor)?;
        Ok(rule.map_or(0, |rule| rule.place.line))
    };
    let alice = from("10.0.0.1", "shop", "alice");
    assert_eq!(rule(&alice), Err(Undecided::Name));
    assert_eq!(rule(&from("10.0.0.1", "shop", "carol")), Ok(1));
    let alone = Interfaces::default();
    let bob = Visitor {
        interfaces: Some(&alone),
        ..from("10.0.0.1", "shop", "bob")
    };
    assert_eq!(rule(&bob), Ok(0));
    assert_eq!(rule(&local("shop", "alice")), Ok(0));
    for (host, expected) in [
        (HostName::Named("DB.example.com"), 2),
        (HostName::Named("web.example.com"), 0),
        (HostName::Nameless, 0),
    ] {
        let encrypted = Visitor {
            host,
            encrypted: true,
            ..alice
        };
        assert_eq!(rule(&Visitor { host, ..alice }), Ok(expected), "{host:?}");
        let expected = match host {
            HostName::Named("web.example.com") => 3,
            _ => expected,
        };
        assert_eq!(rule(&encrypted), Ok(expected), "{host:?}");
    }
}

#[test]
fn knows_the_addresses_of_its_own_host() {
    let hba = "host all all samehost trust\nhost all all samenet md5\n";
    let mask = "255.255.0.0".parse().unwrap();
    let own = [("10.1.2.3".parse().unwrap(), Some(mask))];
    let interfaces: Interfaces = own.into_iter().collect();
    assert!(read(hba).unwrap().wants_interfaces());
    assert!(
        !read("host all all ::1/128 trust\n")
            .unwrap()
            .wants_interfaces()
    );
    for (address, expected) in [("10.1.2.3", 1), ("10.1.9.9", 2), ("10.2.0.1", 0)] {
        let visitor = Visitor {
            interfaces: Some(&interfaces),
            ..from(address, "shop", "alice")
        };
        assert_eq!(line(hba, &visitor), expected, "{address}");
    }
    // Who would come to such a line is not let by when they cannot be read.
    let visitor = from("10.2.0.1", "shop", "alice");
    let unread = read(hba).unwrap();
    assert_eq!(unread.rule(&visitor), Err(Undecided::Interfaces));
    // Quoted, they are names of hosts.
    let quoted = read("host all all \"samehost\" trust\n").unwrap();
    assert_eq!(
        quoted.rule(&from("10.1.2.3", "shop", "alice")),
        Err(Undecided::Name)
    );
}

#[test]
fn tells_whether_anybody_comes_in_who_is_known_elsewhere() {
    for (line, expected) in [
        ("local all all peer", true),
        ("hostssl all all all cert", true),
        ("host all all all md5", false),
        ("host all all all reject", false),
    ] {
        let hba = format!("host all all 10.0.0.0/8 scram-sha-256\n{line}\n");
        assert_eq!(read(&hba).unwrap().knows_others(), expected, "{line}");
    }
}

#[test]
fn rejects_the_file_for_one_bad_line_and_names_each() {
    let problems =
        read("local all all trust\nlocal all\nlocal \"x\nhost all all x! trust\n").unwrap_err();
    assert_eq!(
        problems,
        [
            "hba:2: the line ends before its users",
            "hba:3: a quotation does not end",
            "hba:4: x!: expected all, samehost, samenet, a network or the name of a host",
        ]
    );
}

#[test]
fn says_what_is_wrong_with_a_line() {
    for (text, expected) in [
        (
            "hots all all all md5",
            "hots: unknown connection type, did you mean host?",
        ),
        (
            "hostgssenc all all all md5",
            "hostgssenc: GSSAPI is not supported",
        ),
        (
            "local,host all all md5",
            "one connection type is expected, not a list",
        ),
        ("local", "the line ends before its databases"),
        ("host all all", "the line ends before its address"),
        ("host all all all", "the line ends before its method"),
        (
            "host all all db.test/8 md5",
            "db.test/8: a name of a host has no prefix length",
        ),
        (
            "host all all 10.0.0.0/40 md5",
            "bad prefix length in 10.0.0.0/40",
        ),
        (
            "local all all md55",
            "md55: unknown method, did you mean md5?",
        ),
        (
            "local all all md5,peer",
            "one method is expected, not a list",
        ),
        (
            "host all all all cert",
            "cert is for hostssl connections only",
        ),
        (
            "host all all all md5 clientcert=verify-ca",
            "clientcert is for hostssl only",
        ),
        (
            "hostssl all all all md5 clientcert=1",
            "clientcert=1: expected verify-ca or verify-full",
        ),
        (
            "hostssl all all all cert clientcert=verify-ca",
            "clientcert=verify-ca: cert always compares the name",
        ),
        (
            "hostssl all all all cert clientname=DN",
            "clientname=DN is not supported, the common name is",
        ),
        (
            "hostssl all all all md5 map=x clientcert=verify-full",
            "map is for peer and cert only",
        ),
        ("local all all gss", "gss is not supported"),
        (
            "host all all all peer",
            "peer is for local connections only",
        ),
        ("local all all md5 map=x", "map is for peer and cert only"),
        (
            "local all all peer mao=x",
            "mao: unknown option, did you mean map?",
        ),
        ("local all all peer x", "expected options as name=value"),
        (
            "local all +staff md5",
            "+staff: membership in roles is known to PostgreSQL only, and not supported",
        ),
        (
            "local samerole all md5",
            "samerole: membership in roles is known to PostgreSQL only, and not supported",
        ),
    ] {
        assert_eq!(
            read(text).unwrap_err(),
            [format!("hba:1: {expected}")],
            "{text}"
        );
    }
}

proptest! {
    #[test]
    fn never_panics(text in "(local|host|hostssl|all|[a-z0-9./:,@+\"=]{1,8}|[ \n#\\\\]){0,30}") {
        let _ = read(&text);
    }
}

#[test]
fn reads_who_is_asked_about_passwords() {
    let hba = "host all all all ldap ldapserver=a \"ldapbasedn=dc=x, dc=y\" ldapsearchattribute=cn\n\
               host all all all ldap ldapserver=\"a b\" ldapprefix=\"cn=\" ldapsuffix=\", dc=x\"\n\
               local all all pam pamservice=x pamconfdir=/etc/x pam_use_hostname=0\n\
               local all all pam\n";
    let hba = read(hba).unwrap();
    let checkers: Vec<_> = hba.checkers().collect();
    assert!(matches!(checkers[0], Checker::Ldap(ldap) if ldap.servers.len() == 1));
    assert!(matches!(checkers[1], Checker::Ldap(ldap) if ldap.servers.len() == 2));
    assert!(matches!(checkers[2], Checker::Pam(pam) if pam.service == "x"));
    assert_eq!(checkers.len(), 3);
    assert!(hba.lacks_checker(HbaMethod::Pam) && !hba.lacks_checker(HbaMethod::Ldap));
}

#[test]
fn rejects_options_of_other_methods_and_quotes_no_password() {
    for (line, expected) in [
        ("local all all md5 ldaptls=1", "ldaptls is for ldap only"),
        (
            "local all all ldap pamservice=x",
            "pamservice is for pam only",
        ),
        ("local all all pam map=x", "map is for peer and cert only"),
        (
            "local all all ldap ldapserver=a",
            "ldap needs ldapbasedn, ldapprefix or ldapsuffix",
        ),
        (
            "local all all ldap ldapbindpasswd=hunter,secret=1",
            "ldapbindpasswd is to be in double quotes, or an option behind it is unknown",
        ),
        (
            "local all all ldap ldapbindpasswd=hunter,secret",
            "ldapbindpasswd is to be in double quotes, or an option behind it is unknown",
        ),
        (
            "local all all ldap ldapbinddn=a,ldapbindpasswd",
            "expected options as name=value",
        ),
        (
            "local all all pam pam_use_hostname=1",
            "pam_use_hostname=1 is not supported: services are told the addresses of clients",
        ),
        (
            "local all all pam pamconfdir=x",
            "pamconfdir: expected the whole path of a folder",
        ),
        (
            "local all all pam pamservice=../x",
            "pamservice: expected the name of a service",
        ),
    ] {
        assert_eq!(read(line).unwrap_err(), [format!("hba:1: {expected}")]);
    }
}
