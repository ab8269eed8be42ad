//! An endpoint with TLS, whose certificate an authority of its own has signed.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::NamedTempFile;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_util::task::TaskTracker;

/// What an endpoint answers, written as it is; `ENDLESS` goes on for ever, `SILENT` never begins. After `DRIPPING_HEAD` there is a
/// byte of a further field now and then, for ever, after `DRIPPING_BODY` one of the body.
pub const ENDLESS: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
pub const SILENT: &str = "";
pub const DRIPPING_HEAD: &str = "HTTP/1.1 200 OK\r\nx-drip: ";
pub const DRIPPING_BODY: &str = "HTTP/1.1 200 OK\r\ncontent-length: 60000\r\n\r\n";
/// Between two such bytes.
const DRIP: Duration = Duration::from_millis(5);

/// A running endpoint.
pub struct Endpoint {
    pub url: String,
    /// The authority's certificate.
    pub ca: NamedTempFile,
    pub connections: Arc<AtomicUsize>,
    /// All it was sent.
    pub got: Arc<Mutex<String>>,
}

impl Endpoint {
    /// Answers each request on each connection like this.
    pub async fn answering(answer: &'static str) -> Self {
        let authority_key = KeyPair::generate().unwrap();
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_certificate = authority.self_signed(&authority_key).unwrap();
        let ca = NamedTempFile::new().unwrap();
        std::fs::write(ca.path(), authority_certificate.pem()).unwrap();
        let issuer = Issuer::new(authority, authority_key);
        let key = KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        let got = Arc::new(Mutex::new(String::new()));
        let sent = got.clone();
        let tasks = TaskTracker::new();
        tasks.clone().spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let (acceptor, got) = (acceptor.clone(), sent.clone());
                tasks.spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let mut request = vec![0; 64 << 10];
                    while let Ok(read @ 1..) = stream.read(&mut request).await {
                        got.lock().unwrap().push_str(&String::from_utf8_lossy(&request[..read]));
                        if answer == SILENT {
                            std::future::pending::<()>().await;
                        }
                        stream.write_all(answer.as_bytes()).await.unwrap();
                        stream.flush().await.unwrap();
                        if [DRIPPING_HEAD, DRIPPING_BODY].contains(&answer) {
                            let mut drip = tokio::time::interval(DRIP);
                            while stream.write_all(b"x").await.is_ok() && stream.flush().await.is_ok() {
                                drip.tick().await;
                            }
                            return;
                        }
                        if answer == ENDLESS {
                            while stream.write_all(b"5\r\nabcde\r\n").await.is_ok() {}
                            return;
                        }
                    }
                });
            }
        });
        Self { url: format!("https://localhost:{port}/in"), ca, connections, got }
    }
}
