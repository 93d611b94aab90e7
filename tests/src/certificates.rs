//! Certificates of a scenario, and clients that use them.

mod special;

use std::fmt;
use std::fs;
use std::io;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::account::Account;
use crate::folder::Folder;
use crate::pgskein::Run;
use crate::tools::{PROGRAM_DEADLINE, run};

pub use special::Special;

/// An authority, and the certificates that it has issued.
///
/// The account that servers run under may read all files.
#[derive(Debug)]
pub struct Certificates {
    folder: Folder,
    account: Account,
}

/// A client of the harness that speaks TLS.
#[derive(Clone)]
pub struct TlsClient {
    config: Arc<ClientConfig>,
}

impl Certificates {
    /// Makes an authority of this name.
    pub fn make(name: &str) -> Self {
        let account = Account::unprivileged();
        let certificates = Self {
            folder: Folder::make("tls", &account),
            account,
        };
        let subject = format!("/CN={name}");
        certificates.openssl(&[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout",
            "ca.key",
            "-out",
            "ca.pem",
            "-days",
            "30",
            "-subj",
            &subject,
        ]);
        certificates
    }

    /// Issues one as `NAME.pem` with the key `NAME.key`, for a host or a user of
    /// this name and for 127.0.0.1.
    pub fn issue(&self, name: &str) {
        let special = Special {
            names: &names_of(name),
            ..Special::default()
        };
        self.issue_special(name, &special);
    }

    /// Issues one that has this name as its common name and nowhere else.
    pub fn issue_without_names(&self, name: &str) {
        let special = Special {
            names: "",
            ..Special::default()
        };
        self.issue_special(name, &special);
    }

    /// Issues one whose time is over.
    pub fn issue_expired(&self, name: &str) {
        let special = Special {
            names: &names_of(name),
            until: "20200101000000Z",
            ..Special::default()
        };
        self.issue_special(name, &special);
    }

    /// Makes `NAME.pem`, signed by its own key, of this kind.
    pub fn self_sign(&self, name: &str, kind: &str) {
        let options: &[&str] = match kind {
            "rsa-sha1" => &["rsa:2048", "-sha1"],
            "rsa-sha512" => &["rsa:2048", "-sha512"],
            "pss-sha384" => &["rsa:2048", "-sha384", "-sigopt", "rsa_padding_mode:pss"],
            "ec-sha384" => &["ec", "-pkeyopt", "ec_paramgen_curve:P-384", "-sha384"],
            "ed25519" => &["ed25519"],
            other => panic!("{other} is no kind of certificate"),
        };
        let (pem, key) = (format!("{name}.pem"), format!("{name}.key"));
        let subject = format!("/CN={name}");
        let fixed = ["req", "-x509", "-nodes", "-days", "30", "-subj", &subject];
        let files = ["-out", &pem, "-keyout", &key, "-newkey"];
        self.openssl(&[&fixed[..], &files, options].concat());
        for file in [&pem, &key] {
            self.account.give(&self.path(file));
        }
    }

    /// Where one of the files is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Puts the certificate and the key of `new` in the place of those of `old`.
    pub fn replace(&self, old: &str, new: &str) {
        for suffix in ["pem", "key"] {
            let from = self.path(&format!("{new}.{suffix}"));
            let to = self.path(&format!("{old}.{suffix}"));
            fs::copy(from, to).expect("a file can be copied");
        }
    }

    /// Settings by which servers have to prove who they are.
    pub fn server_settings(&self, mode: &str) -> String {
        let authority = self.path("ca.pem").display().to_string();
        format!("server_tls_sslmode = {mode}\nserver_tls_ca_file = {authority}\n")
    }

    /// Settings by which clients may use TLS, with the certificate of `server`.
    pub fn settings(&self, mode: &str, server: &str) -> String {
        let path = |name: &str| self.path(name).display().to_string();
        format!(
            "client_tls_sslmode = {mode}\nclient_tls_cert_file = {}\nclient_tls_key_file = {}\n\
             client_tls_ca_file = {}\n",
            path(&format!("{server}.pem")),
            path(&format!("{server}.key")),
            path("ca.pem"),
        )
    }

    /// A client that trusts this authority and offers these protocols by ALPN.
    pub fn client(&self, protocols: &[&str]) -> TlsClient {
        self.client_with(protocols, None)
    }

    /// The same, which shows the certificate that was issued as `name`.
    pub fn client_as(&self, name: &str) -> TlsClient {
        self.client_with(&[], Some(name))
    }

    fn client_with(&self, protocols: &[&str], name: Option<&str>) -> TlsClient {
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from_pem_file(self.path("ca.pem"));
        roots
            .add(authority.expect("there is an authority"))
            .expect("it can be trusted");
        let builder = ClientConfig::builder().with_root_certificates(roots);
        let mut config = match name {
            None => builder.with_no_client_auth(),
            Some(name) => {
                let chain = CertificateDer::from_pem_file(self.path(&format!("{name}.pem")));
                let key = PrivateKeyDer::from_pem_file(self.path(&format!("{name}.key")));
                builder
                    .with_client_auth_cert(vec![chain.expect("it was issued")], key.unwrap())
                    .expect("the key is that of the certificate")
            }
        };
        config.alpn_protocols = protocols
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        TlsClient {
            config: Arc::new(config),
        }
    }

    fn openssl(&self, arguments: &[&str]) {
        let mut command = Command::new("openssl");
        command.args(arguments).current_dir(self.folder.path());
        run(command, PROGRAM_DEADLINE).ok();
    }
}

/// Shakes hands with a pooler on this port, as `openssl s_client` does with these
/// arguments, and ends.
pub fn openssl_client(port: u16, arguments: &[&str]) -> Run {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-starttls", "postgres", "-connect"]);
    command.arg(format!("127.0.0.1:{port}")).args(arguments);
    run(command, PROGRAM_DEADLINE)
}

impl TlsClient {
    /// Shakes hands with 127.0.0.1.
    pub(crate) fn shake(
        &self,
        mut stream: TcpStream,
    ) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
        let name = ServerName::try_from("127.0.0.1").expect("it is an address");
        let session = ClientConnection::new(Arc::clone(&self.config), name);
        let mut session = session.map_err(io::Error::other)?;
        while session.is_handshaking() {
            session.complete_io(&mut stream)?;
        }
        Ok(StreamOwned::new(session, stream))
    }
}

impl fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsClient")
    }
}

/// The usual names of a certificate, as OpenSSL writes them.
fn names_of(name: &str) -> String {
    format!("DNS:{name},IP:127.0.0.1")
}

/// How the authority issues certificates.
const POLICY: &str = "[ca]\ndefault_ca = own\n[own]\ndatabase = index.txt\nnew_certs_dir = .\n\
                      rand_serial = yes\nunique_subject = no\ndefault_md = sha256\npolicy = any\n\
                      [any]\ncommonName = supplied\n";
