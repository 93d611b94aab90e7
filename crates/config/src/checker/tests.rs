use std::path::Path;

use super::*;
use crate::sources::Sources;

fn read(text: &str) -> Vec<(String, String)> {
    pairs(text).unwrap()
}

fn both(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

#[test]
fn divides_options_as_pgbouncer_does() {
    assert_eq!(read("  "), []);
    assert_eq!(
        read("ldapurl=\"ldap://127.0.0.1:12345/dc=example,dc=net?uid?sub\""),
        [both(
            "ldapurl",
            "ldap://127.0.0.1:12345/dc=example,dc=net?uid?sub"
        )]
    );
    assert_eq!(
        read("ldapserver=a , \"ldapsuffix\"=\", dc=\"\"x\"\"\"\tldaptls=1,ldapport="),
        [
            both("ldapserver", "a"),
            both("ldapsuffix", ", dc=\"x\""),
            both("ldaptls", "1"),
            both("ldapport", "")
        ]
    );
}

#[test]
fn rejects_what_are_no_options_without_quoting_them() {
    for text in ["secret", "a= secret", "a=1 secret", "=secret", "\"\"secret"] {
        assert_eq!(
            pairs(text).unwrap_err(),
            "expected name=value or name=\"value\"",
            "{text}"
        );
    }
    assert_eq!(pairs("a=\"secret").unwrap_err(), "a quotation does not end");
}

#[test]
fn shows_options_without_their_password() {
    for (text, shown) in [
        ("ldapserver=a  ldaptls=1", "ldapserver=a  ldaptls=1"),
        (
            "ldapserver=a,ldapbindpasswd=hunter2 ldapbasedn=\"a\"\"b\"",
            "ldapserver=\"a\" ldapbindpasswd=\"****\" ldapbasedn=\"a\"\"b\"",
        ),
        ("ldapbindpasswd=\"hunter2", "****"),
    ] {
        let options = Options::parse(text).unwrap();
        assert_eq!(Options::print(&options), shown);
        assert_eq!(shown_value("auth_ldap_options", text), shown);
        assert_eq!(format!("{options:?}"), shown);
    }
}

fn load(text: &str) -> Result<Config, Vec<String>> {
    let mut fetch = |path: &Path| match path.to_str() {
        Some("a.ini") => Ok(text.to_owned()),
        Some("ca.pem") => Ok("authorities".to_owned()),
        Some("hba") => Ok("host all all all ldap\nlocal all all pam\n\
                           host all all all pam pamservice=y\n"
            .to_owned()),
        _ => Err("no such file".to_owned()),
    };
    let gathered = Sources::gather(Path::new("a.ini"), "pooler-1", &mut fetch);
    let problems =
        |findings: Vec<Finding>| findings.iter().map(Finding::to_string).collect::<Vec<_>>();
    gathered.map(|(_, config)| config).map_err(problems)
}

#[test]
fn asks_whom_the_setting_says_where_the_line_does_not() {
    let config = load(
        "[pgskein]\nauth_type = hba\nauth_hba_file = hba\nauth_pam_options = pamservice=x\n\
         auth_ldap_options = ldapurl=\"ldaps://h/dc=x?uid?sub\"\nauth_ldap_ca_file = ca.pem\n",
    )
    .unwrap();
    let services: Vec<_> = config
        .hba
        .checkers()
        .map(|checker| match checker {
            Checker::Ldap(ldap) => ldap.servers[0].to_string(),
            Checker::Pam(pam) => pam.service.clone(),
        })
        .collect();
    assert_eq!(services, ["h:636", "x", "y"]);
    assert_eq!(config.ldap_authorities.unwrap().text, "authorities");
    assert_eq!(config.checker, None);
}

#[test]
fn asks_the_same_for_everybody_without_an_hba_file() {
    let ldap = "[pgskein]\nauth_type = ldap\nauth_ldap_options = ldapserver=h ldapprefix=a\n";
    let config = load(ldap).unwrap();
    assert!(matches!(config.checker, Some(Checker::Ldap(_))));
    assert!(config.ldap_authorities.is_none() && config.warnings.is_empty());
    let config = load("[pgskein]\nauth_type = pam\n").unwrap();
    let usual = Pam::default();
    assert!(matches!(config.checker, Some(Checker::Pam(pam)) if *pam == usual));
}

#[test]
fn says_what_the_setting_lacks_where_it_is_used() {
    let unused = "[pgskein]\nauth_type = any\nauth_ldap_options = nonsense\n";
    assert!(load(unused).is_ok());
    for (settings, expected) in [
        (
            "auth_type = ldap\n",
            "a.ini:2: auth_ldap_options: ldap needs ldapserver, or ldapurl with a host: \
             servers are not looked up in DNS",
        ),
        (
            "auth_type = ldap\nauth_ldap_options = ldapserver=a pamservice=x\n",
            "a.ini:3: auth_ldap_options: pamservice is for pam only",
        ),
        (
            "auth_type = ldap\nauth_ldap_options = ldapbindpasswd=a b=c\n",
            "a.ini:3: auth_ldap_options: ldapbindpasswd is to be in double quotes, or an option \
             behind it is unknown",
        ),
        (
            "auth_type = ldap\nauth_ldap_options = map=x\n",
            "a.ini:3: auth_ldap_options: map: unknown option",
        ),
        (
            "auth_type = pam\nauth_pam_options = pamservic=x\n",
            "a.ini:3: auth_pam_options: pamservic: unknown option",
        ),
        (
            "auth_type = ldap\nauth_ldap_ca_file = gone\n\
             auth_ldap_options = ldapserver=a ldaptls=1 ldapprefix=x\n",
            "a.ini:3: auth_ldap_ca_file: cannot read gone: no such file",
        ),
    ] {
        assert_eq!(
            load(&format!("[pgskein]\n{settings}")).unwrap_err(),
            [expected]
        );
    }
}
