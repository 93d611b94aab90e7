//! A real directory: OpenLDAP's slapd with users of its own.

use std::fs::{self, File};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::account::Account;
use crate::certificates::Certificates;
use crate::folder::Folder;
use crate::pooler::copy_program;
use crate::route::free_port;
use crate::tools::{PROGRAM_DEADLINE, run};
use crate::wait::{PATIENCE, wait_for};

/// A directory under test, which is ended with its scenario.
///
/// Below `ou=people,dc=example,dc=net` are people with the password `rabbit`,
/// who are let in as soon as they say it. Nobody finds them but
/// `cn=searcher,dc=example,dc=net` with the password `finder`.
#[derive(Debug)]
pub struct Directory {
    child: Option<Child>,
    port: u16,
    tls_port: u16,
    folder: Folder,
    account: Account,
}

impl Directory {
    /// Starts one with these people, by their `uid` and `mail`, that has TLS
    /// with the certificate `localhost` of these.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn start(people: &[(&str, &str)], certificates: &Certificates) -> Self {
        let account = Account::unprivileged();
        let folder = Folder::make("slapd", &account);
        let mut directory = Self {
            child: None,
            port: free_port(),
            tls_port: free_port(),
            folder,
            account,
        };
        directory.write_configuration(certificates);
        directory.load(people);
        directory.start_again();
        directory
    }

    /// The port without TLS from the first byte.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The port with TLS from the first byte, on 127.0.0.2 as well, for which the
    /// certificate is not.
    pub fn tls_port(&self) -> u16 {
        self.tls_port
    }

    /// Ends it.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("a child can be killed");
            child.wait().expect("a child can be waited for");
        }
    }

    /// Starts it on the same ports as before, with what it knew.
    pub fn start_again(&mut self) {
        let said = self.folder.join("stderr");
        let stderr = File::create(&said).expect("a file can be made");
        let urls = format!(
            "ldap://127.0.0.1:{} ldaps://127.0.0.1:{tls} ldaps://127.0.0.2:{tls}",
            self.port,
            tls = self.tls_port
        );
        let mut command = self.slapd(&["-d", "0", "-h", &urls]);
        command.stderr(stderr);
        let mut child = command.spawn().expect("slapd can be executed");
        wait_for("slapd to listen", PATIENCE, || {
            if let Some(status) = child.try_wait().expect("it is our child") {
                let said = fs::read_to_string(&said).unwrap_or_default();
                panic!("slapd has ended: {status}, {said}");
            }
            TcpStream::connect(("127.0.0.1", self.tls_port)).is_ok()
        });
        self.child = Some(child);
    }

    /// Its program in a place of its own, where no rule of the system for the
    /// installed one holds, with its configuration.
    fn slapd(&self, arguments: &[&str]) -> Command {
        let copy = self.folder.join("slapd");
        if !copy.exists() {
            copy_program(Path::new(SLAPD), &copy, 0o755);
        }
        let mut command = Command::new(copy);
        command.args(arguments);
        command.arg("-f").arg(self.folder.join("slapd.conf"));
        command.current_dir("/").stdin(Stdio::null());
        self.account.apply(&mut command);
        command
    }

    fn write_configuration(&self, certificates: &Certificates) {
        let data = self.folder.join("data");
        self.account.make_folder(&data, 0o700);
        let certificate = |name: &str| certificates.path(name).display().to_string();
        let text = format!(
            "include /etc/ldap/schema/core.schema\n\
             include /etc/ldap/schema/cosine.schema\n\
             include /etc/ldap/schema/inetorgperson.schema\n\
             modulepath /usr/lib/ldap\n\
             moduleload back_mdb\n\
             TLSCACertificateFile {}\n\
             TLSCertificateFile {}\n\
             TLSCertificateKeyFile {}\n\
             access to attrs=userPassword by anonymous auth by * none\n\
             access to * by dn.exact=\"cn=searcher,{SUFFIX}\" read by * none\n\
             database mdb\n\
             maxsize 16777216\n\
             directory {}\n\
             suffix {SUFFIX}\n",
            certificate("ca.pem"),
            certificate("localhost.pem"),
            certificate("localhost.key"),
            data.display(),
        );
        self.write("slapd.conf", &text);
    }

    fn load(&self, people: &[(&str, &str)]) {
        let mut text = format!(
            "dn: {SUFFIX}\nobjectClass: dcObject\nobjectClass: organization\ndc: example\no: x\n\n\
             dn: ou=people,{SUFFIX}\nobjectClass: organizationalUnit\nou: people\n\n\
             dn: cn=searcher,{SUFFIX}\nobjectClass: organizationalRole\n\
             objectClass: simpleSecurityObject\ncn: searcher\nuserPassword: finder\n\n"
        );
        for (uid, mail) in people {
            let escaped: String = uid
                .chars()
                .map(|c| match c {
                    ',' | '\\' | '+' | '=' => format!("\\{:02x}", u32::from(c)),
                    c => c.to_string(),
                })
                .collect();
            text.push_str(&format!(
                "dn: uid={escaped},ou=people,{SUFFIX}\nobjectClass: inetOrgPerson\nuid: {uid}\n\
                 cn: {uid}\nsn: {uid}\nmail: {mail}\nuserPassword: rabbit\n\n"
            ));
        }
        let data = self.write("data.ldif", &text);
        let mut command = self.slapd(&["-T", "add"]);
        command.arg("-l").arg(data);
        run(command, PROGRAM_DEADLINE).ok();
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.join(name);
        fs::write(&path, text).expect("a file can be written");
        self.account.give(&path);
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Debian's.
const SLAPD: &str = "/usr/sbin/slapd";

const SUFFIX: &str = "dc=example,dc=net";
