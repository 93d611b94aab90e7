//! Certificates that have something special about them.

use std::fs;

use super::Certificates;

/// What is special about a certificate; what is not said is as usual.
#[derive(Clone, Copy, Debug)]
pub struct Special<'a> {
    /// Names that it is for, as OpenSSL writes them; empty for none.
    pub names: &'a str,
    /// When it begins.
    pub from: &'a str,
    /// When it ends.
    pub until: &'a str,
    /// The kind of its key, as `openssl req -newkey` has it.
    pub key: &'a str,
    /// Who has issued it: an authority, or the certificate itself.
    pub issuer: &'a str,
    /// It is an authority.
    pub authority: bool,
}

impl Default for Special<'_> {
    fn default() -> Self {
        Self {
            names: "DNS:localhost,IP:127.0.0.1",
            from: "20190101000000Z",
            until: "20990101000000Z",
            key: P_256,
            issuer: "ca",
            authority: false,
        }
    }
}

impl Certificates {
    /// Issues a special one as `NAME.pem` with the key `NAME.key`.
    pub fn issue_special(&self, name: &str, special: &Special<'_>) {
        let file = |suffix: &str| format!("{name}.{suffix}");
        let mut more = if special.authority {
            "basicConstraints=critical,CA:TRUE\n".to_owned()
        } else {
            "basicConstraints=CA:FALSE\n".to_owned()
        };
        if !special.names.is_empty() {
            more += &format!("subjectAltName={}\n", special.names);
        }
        self.write("more", &more);
        self.write("ca.cnf", super::POLICY);
        self.write("index.txt", "");
        self.request(name, special.key);
        let (key, issuer) = (
            format!("{}.key", special.issuer),
            format!("{}.pem", special.issuer),
        );
        let mut signed_by = vec!["-keyfile", &key];
        if special.issuer == name {
            signed_by.push("-selfsign");
        } else {
            signed_by.extend(["-cert", &issuer]);
        }
        let (csr, pem) = (file("csr"), file("pem"));
        let mut arguments = vec!["ca", "-batch", "-notext", "-config", "ca.cnf"];
        arguments.extend(["-extfile", "more", "-startdate", special.from]);
        arguments.extend(["-enddate", special.until, "-in", &csr, "-out", &pem]);
        arguments.extend(signed_by);
        self.openssl(&arguments);
        self.hand_over(name);
    }

    /// Makes one that nobody else has signed, for localhost and 127.0.0.1, as
    /// PostgreSQL's documentation does: it is an authority by OpenSSL's default.
    pub fn sign_itself(&self, name: &str) {
        let file = |suffix: &str| format!("{name}.{suffix}");
        self.openssl(&[
            "req",
            "-new",
            "-x509",
            "-days",
            "365",
            "-nodes",
            "-text",
            "-out",
            &file("pem"),
            "-keyout",
            &file("key"),
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost,IP:127.0.0.1",
        ]);
        self.hand_over(name);
    }

    /// Issues one without extensions, as `openssl x509 -req` did for long: of the
    /// first version of X.509.
    pub fn issue_of_version_1(&self, name: &str) {
        let file = |suffix: &str| format!("{name}.{suffix}");
        self.request(name, P_256);
        self.openssl(&[
            "x509",
            "-req",
            "-days",
            "365",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-in",
            &file("csr"),
            "-out",
            &file("pem"),
        ]);
        self.hand_over(name);
    }

    /// Writes one file behind another: a certificate and who has issued it.
    pub fn append(&self, to: &str, from: &str) {
        let text = [to, from].map(|name| fs::read_to_string(self.path(name)).unwrap());
        self.write(to, &text.concat());
    }

    /// Writes a file that the account of servers may read.
    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("a file can be written");
        self.account.give(&self.path(name));
    }

    /// Converts a key by `openssl` with these arguments to `to`.
    pub fn convert_key(&self, name: &str, to: &str, arguments: &[&str]) {
        let from = format!("{name}.key");
        let mut all = arguments.to_vec();
        all.extend(["-in", &from, "-out", to]);
        self.openssl(&all);
        self.account.give(&self.path(to));
    }

    fn request(&self, name: &str, key: &str) {
        let file = |suffix: &str| format!("{name}.{suffix}");
        let mut arguments = vec!["req", "-nodes", "-newkey"];
        arguments.extend(key.split(' '));
        let (key, csr, subject) = (file("key"), file("csr"), format!("/CN={name}"));
        arguments.extend(["-keyout", &key, "-out", &csr, "-subj", &subject]);
        self.openssl(&arguments);
    }

    fn hand_over(&self, name: &str) {
        for suffix in ["pem", "key"] {
            self.account.give(&self.path(&format!("{name}.{suffix}")));
        }
    }
}

/// The usual kind of key.
const P_256: &str = "ec -pkeyopt ec_paramgen_curve:P-256";
