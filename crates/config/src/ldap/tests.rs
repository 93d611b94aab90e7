use proptest::prelude::*;

use super::*;

/// Reads options divided by lines.
fn read(options: &str) -> Result<Ldap, String> {
    let mut read = LdapOptions::default();
    for line in options.lines() {
        let (name, value) = line.trim().split_once('=').unwrap();
        read.set(name, value)?;
    }
    read.finish()
}

fn servers(ldap: &Ldap) -> Vec<String> {
    ldap.servers.iter().map(ToString::to_string).collect()
}

fn filter(text: &str) -> LdapFilter {
    let filter = LdapFilter::parse(text);
    filter.unwrap_or_else(|problem| panic!("{text}: {problem}"))
}

fn value(text: &str, user: &str) -> String {
    let LdapFilter::Equal(_, value) = filter(&format!("(a={text})")) else {
        panic!("{text} is no value");
    };
    String::from_utf8(value.of(user)).unwrap()
}

#[test]
fn binds_by_a_name_made_of_the_users() {
    let ldap =
        read("ldapserver=a b:1389 [::1] ::2 [::3]:5\nldapprefix=cn=\nldapsuffix=,dc=x").unwrap();
    assert_eq!(
        servers(&ldap),
        ["a:389", "b:1389", "[::1]:389", "[::2]:389", "[::3]:5"]
    );
    assert_eq!(ldap.encryption, LdapEncryption::None);
    let (prefix, suffix) = ("cn=".to_owned(), ",dc=x".to_owned());
    assert!(ldap.lookup == LdapLookup::Bind { prefix, suffix });
}

#[test]
fn takes_ports_and_encryption_from_the_scheme() {
    let ldaps = read("ldapserver=a\nldapscheme=ldaps\nldapbasedn=dc=x").unwrap();
    assert_eq!(servers(&ldaps), ["a:636"]);
    assert_eq!(ldaps.encryption, LdapEncryption::Ldaps);
    let start = read("ldapserver=a\nldapport=3389\nldaptls=1\nldapbasedn=dc=x").unwrap();
    assert_eq!(servers(&start), ["a:3389"]);
    assert_eq!(start.encryption, LdapEncryption::StartTls);
}

#[test]
fn searches_below_the_base_for_the_users_name() {
    let ldap = read("ldapserver=a\nldapbasedn=dc=x").unwrap();
    let expected = LdapLookup::Search {
        base: "dc=x".to_owned(),
        scope: LdapScope::Subtree,
        bind_dn: String::new(),
        bind_password: SecretText::default(),
        filter: filter("(uid=$username)"),
    };
    assert!(ldap.lookup == expected);
}

#[test]
fn reads_urls() {
    let url = "ldapurl=ldaps://h:1/dc=a%20b,dc=c?cn,sn?sub?\nldapbinddn=cn=s\nldapbindpasswd=p";
    let ldap = read(url).unwrap();
    assert_eq!(servers(&ldap), ["h:1"]);
    assert_eq!(ldap.encryption, LdapEncryption::Ldaps);
    let expected = LdapLookup::Search {
        base: "dc=a b,dc=c".to_owned(),
        scope: LdapScope::Subtree,
        bind_dn: "cn=s".to_owned(),
        bind_password: "p".into(),
        filter: filter("(cn=$username)"),
    };
    assert!(ldap.lookup == expected);
    let ldap = read("ldapurl=ldap://h/dc=x???(mail=$username@x)").unwrap();
    let LdapLookup::Search { scope, filter, .. } = ldap.lookup else {
        panic!("no search");
    };
    assert_eq!(scope, LdapScope::Base);
    assert_eq!(filter, self::filter("mail=$username@x"));
}

#[test]
fn says_what_does_not_go_together() {
    for (options, expected) in [
        (
            "ldapbasedn=dc=x",
            "ldap needs ldapserver, or ldapurl with a host: servers are not looked up in DNS",
        ),
        (
            "ldapserver=a",
            "ldap needs ldapbasedn, ldapprefix or ldapsuffix",
        ),
        (
            "ldapserver=a\nldapprefix=x\nldapbasedn=y",
            "ldapbasedn does not go with ldapprefix or ldapsuffix",
        ),
        (
            "ldapserver=a\nldapbasedn=y\nldapsearchattribute=b\nldapsearchfilter=(c=d)",
            "ldapsearchattribute does not go with ldapsearchfilter",
        ),
        (
            "ldapserver=a\nldapbasedn=y\nldapbinddn=cn=z",
            "ldapbinddn and ldapbindpasswd belong together",
        ),
        (
            "ldapserver=a\nldapbasedn=y\nldaptls=1\nldapscheme=ldaps",
            "ldaptls=1 is not for ldaps, which has TLS",
        ),
        ("ldapport=0", "ldapport: expected a port, 1 to 65535"),
        ("ldapscheme=ldapi", "ldapscheme: expected ldap or ldaps"),
        ("ldaptls=yes", "ldaptls: expected 0 or 1"),
        (
            "ldapurl=http://x",
            "ldapurl: expected ldap://… or ldaps://…",
        ),
        (
            "ldapurl=ldap://x/a??b",
            "ldapurl: expected base, one or sub as its scope",
        ),
        (
            "ldapurl=ldap://x/a????!x",
            "ldapurl: extensions of URLs are not supported",
        ),
        (
            "ldapurl=ldap://x/%+f",
            "ldapurl: a percent sign is not written as %25",
        ),
        (
            "ldapserver=a/b\nldapprefix=x",
            "ldapserver: expected hosts, with spaces between them",
        ),
        (
            "ldapbasedm=x",
            "ldapbasedm: unknown option, did you mean ldapbasedn?",
        ),
        (
            "ldapserver=a\nldapbasedn=y\nldapsearchfilter=(&(a=b)",
            "ldapsearchfilter: a parenthesis does not end, or is not escaped as \\28 or \\29",
        ),
    ] {
        assert_eq!(read(options).unwrap_err(), expected, "{options}");
    }
}

#[test]
fn takes_filters_apart() {
    let text = "(&(objectClass=person)(|(uid=$username)(!(cn~=b)))(a>=1)(b<=2))";
    let LdapFilter::And(parts) = filter(text) else {
        panic!("no list");
    };
    assert_eq!(parts[0], filter("objectClass=person"));
    assert!(matches!(&parts[1], LdapFilter::Or(parts) if parts.len() == 2));
    assert!(matches!(&parts[2], LdapFilter::AtLeast(a, _) if a == "a"));
    assert!(matches!(&parts[3], LdapFilter::AtMost(b, _) if b == "b"));
    assert_eq!(filter("(cn=*)"), LdapFilter::Present("cn".to_owned()));
    let LdapFilter::Substrings {
        initial, any, last, ..
    } = filter("(cn=a*b*$username*)")
    else {
        panic!("no parts");
    };
    assert_eq!(initial.unwrap().of("x"), b"a");
    assert_eq!([any[0].of("x"), any[1].of("x")], [b"b", b"x"]);
    assert_eq!(last, None);
    let nested = filter("(memberOf:1.2.840.113556.1.4.1941:=cn=a)");
    assert!(
        matches!(nested, LdapFilter::Extensible { rule, of_name: false, .. } if rule.len() == 23)
    );
}

#[test]
fn keeps_the_name_of_the_user_a_value() {
    assert_eq!(value("$username", "*)(uid=*"), "*)(uid=*");
    assert_eq!(
        value("x\\2a$username@$username.y", "a\\2a"),
        "x*a\\2a@a\\2a.y"
    );
    assert_eq!(value("\\24username", "alice"), "$username");
}

#[test]
fn rejects_what_is_no_filter() {
    for text in [
        "",
        "(",
        "()",
        "(a)",
        "(=b)",
        "(a=b",
        "(a=b))",
        "(&)",
        "(a=b)(c=d)",
        "(a=\\2)",
        "(a=\\+f)",
        "($username=b)",
        "(a>=*)",
        "(:=x)",
        "(a:b:c:=x)",
        "(!(a=b)(c=d))",
        "(a b=c)",
    ] {
        assert!(LdapFilter::parse(text).is_err(), "{text}");
    }
    let deep = format!("{}(a=b){}", "(!".repeat(60), ")".repeat(60));
    assert_eq!(
        LdapFilter::parse(&deep).unwrap_err(),
        "it is nested too deeply"
    );
}

#[test]
fn shows_no_password_in_debug_output() {
    let ldap = read("ldapserver=a\nldapbasedn=x\nldapbinddn=cn=s\nldapbindpasswd=hunter2").unwrap();
    assert!(!format!("{ldap:?}").contains("hunter2"));
}

proptest! {
    #[test]
    fn never_panics_on_any_filter(text: String) {
        let _ = LdapFilter::parse(&text);
    }

    #[test]
    fn never_panics_on_what_looks_like_a_filter(text in "[(&|!a=*\\\\:2~)$]{0,30}") {
        let _ = LdapFilter::parse(&text);
    }

    #[test]
    fn never_panics_on_any_url(text in "ldaps?://.{0,40}") {
        let _ = read(&format!("ldapprefix=x\nldapurl={}", text.replace(['\n', '\r'], "")));
    }
}
