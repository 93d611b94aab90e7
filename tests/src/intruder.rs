//! Somebody on the way who ends TLS on both sides and passes on what is in it.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::certificates::{Certificates, TlsClient};
use crate::wait::PATIENCE;
use crate::wire::SSL_REQUEST;

/// An intruder in threads of its own, until it goes out of scope.
#[derive(Debug)]
pub struct Intruder {
    port: u16,
    stop: Arc<AtomicBool>,
}

impl Intruder {
    /// Stands before `port`, whose certificate `client` believes, and shows the
    /// certificate `name` of `certificates` itself.
    pub fn before(port: u16, client: TlsClient, certificates: &Certificates, name: &str) -> Self {
        let chain = CertificateDer::from_pem_file(certificates.path(&format!("{name}.pem")));
        let key = PrivateKeyDer::from_pem_file(certificates.path(&format!("{name}.key")));
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![chain.expect("it was issued")], key.unwrap())
            .expect("the key is that of the certificate");
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let own = listener.local_addr().expect("it has an address").port();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        thread::spawn(move || {
            for victim in listener.incoming().map_while(Result::ok) {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let (config, client) = (Arc::clone(&config), client.clone());
                let stopped = Arc::clone(&stopped);
                // What ends a connection is for its sides to say.
                thread::spawn(move || drop(intrude(victim, port, config, &client, &stopped)));
            }
        });
        Self { port: own, stop }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Intruder {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Its listener waits for a connection.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

fn intrude(
    mut victim: TcpStream,
    port: u16,
    config: Arc<ServerConfig>,
    client: &TlsClient,
    stop: &AtomicBool,
) -> std::io::Result<()> {
    victim.set_read_timeout(Some(PATIENCE))?;
    let mut request = [0; 8];
    victim.read_exact(&mut request)?;
    assert_eq!(request, SSL_REQUEST);
    victim.write_all(b"S")?;
    let mut session = ServerConnection::new(config).map_err(std::io::Error::other)?;
    while session.is_handshaking() {
        session.complete_io(&mut victim)?;
    }
    let mut victim = StreamOwned::new(session, victim);

    let mut server = TcpStream::connect(("127.0.0.1", port))?;
    server.set_read_timeout(Some(PATIENCE))?;
    server.write_all(&SSL_REQUEST)?;
    server.read_exact(&mut request[..1])?;
    let mut server = client.shake(server)?;

    for socket in [&victim.sock, &server.sock] {
        socket.set_read_timeout(Some(TURN))?;
        socket.set_nodelay(true)?;
    }
    while !stop.load(Ordering::Relaxed)
        && pass_on(&mut victim, &mut server)?
        && pass_on(&mut server, &mut victim)?
    {}
    Ok(())
}

/// Passes on what there is; false at the end.
fn pass_on(from: &mut impl Read, to: &mut impl Write) -> std::io::Result<bool> {
    let mut bytes = [0; 16 * 1024];
    match from.read(&mut bytes) {
        Ok(0) => Ok(false),
        Ok(count) => {
            to.write_all(&bytes[..count])?;
            to.flush()?;
            Ok(true)
        }
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            Ok(true)
        }
        Err(error) => Err(error),
    }
}

/// How long it listens to one side before it listens to the other.
const TURN: Duration = Duration::from_millis(2);
