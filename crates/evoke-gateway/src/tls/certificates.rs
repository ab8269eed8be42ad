//! The certificates of a server: which one a client gets, and new ones in the place of old ones while connections go on.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use evoke_core::time::Clock;
use parking_lot::Mutex;
use rustls::crypto::ring;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, SupportedProtocolVersion, version};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::files::{Certified, Pair, TlsError};

/// What an ACME server speaks to ask (RFC 8737).
pub(super) const ACME_TLS: &[u8] = b"acme-tls/1";
/// How often it is looked whether files have changed.
const LOOK: Duration = Duration::from_secs(5);
/// How often it is told of certificates that end.
const TELL: Duration = Duration::from_secs(12 * 60 * 60);

const BOTH: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];
const NEWEST: &[&SupportedProtocolVersion] = &[&version::TLS13];

/// The oldest TLS that is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Oldest {
    /// TLS 1.2.
    #[default]
    Tls12,
    /// TLS 1.3.
    Tls13,
}

/// The certificates. Clones are the same.
#[derive(Clone)]
pub struct Certificates(Arc<Inner>);

struct Inner {
    table: Arc<Mutex<Table>>,
    pairs: Vec<Pair>,
    acceptor: TlsAcceptor,
    clock: Arc<dyn Clock>,
    asked: Notify,
}

#[derive(Default)]
struct Table {
    files: Vec<Certified>,
    /// Of ACME servers.
    obtained: Option<Certified>,
    /// What is shown to an ACME server that asks over TLS, by name.
    proofs: HashMap<String, Arc<CertifiedKey>>,
    /// What is said to one that asks over HTTP, by token.
    answers: HashMap<String, String>,
}

struct Chosen(Arc<Mutex<Table>>);

impl Certificates {
    /// Reads the files. Blocks on the disk.
    pub fn load(pairs: Vec<Pair>, oldest: Oldest, clock: Arc<dyn Clock>) -> Result<Self, TlsError> {
        let files = pairs.iter().map(Pair::read).collect::<Result<Vec<_>, _>>()?;
        let table = Arc::new(Mutex::new(Table { files, ..Table::default() }));
        let versions = if oldest == Oldest::Tls13 { NEWEST } else { BOTH };
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .expect("ring has the ciphers of TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Chosen(table.clone())));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec(), ACME_TLS.to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Ok(Self(Arc::new(Inner { table, pairs, acceptor, clock, asked: Notify::new() })))
    }

    /// Shakes hands. `None`: with an ACME server, which has seen what it wanted.
    pub(crate) async fn accept<S>(&self, stream: S) -> io::Result<Option<TlsStream<S>>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let stream = self.0.acceptor.accept(stream).await?;
        let is_question = stream.get_ref().1.alpn_protocol() == Some(ACME_TLS);
        Ok((!is_question).then_some(stream))
    }

    /// Reads the files again. What cannot be read changes nothing: the certificates there were stay in use.
    pub fn reload(&self) {
        self.0.asked.notify_one();
    }

    /// Looks for changes of the files, and tells of certificates that end, for as long as it is polled.
    pub async fn watch(self) {
        let mut seen = self.changed_at();
        let mut told = tokio::time::Instant::now();
        self.complain();
        loop {
            let asked = tokio::time::timeout(LOOK, self.0.asked.notified()).await.is_ok();
            let now = self.changed_at();
            if asked || now != seen {
                seen = now;
                self.read_again();
                self.complain();
            }
            if told.elapsed() > TELL {
                told = tokio::time::Instant::now();
                self.complain();
            }
        }
    }

    fn read_again(&self) {
        match self.0.pairs.iter().map(Pair::read).collect::<Result<Vec<_>, _>>() {
            Ok(files) => {
                tracing::info!(certificates = files.len(), "the certificates were read again");
                self.0.table.lock().files = files;
            }
            Err(error) => {
                tracing::error!(%error, "the certificates were not read again; those of before are in use")
            }
        }
    }

    fn complain(&self) {
        let now = self.0.clock.now();
        let table = self.0.table.lock();
        for complaint in table.files.iter().chain(&table.obtained).filter_map(|one| one.complaint(now)) {
            tracing::warn!("{complaint}");
        }
    }

    fn changed_at(&self) -> Vec<Option<SystemTime>> {
        let files = self.0.pairs.iter().flat_map(|pair| [&pair.chain, &pair.key]);
        files.map(|path| std::fs::metadata(path).and_then(|file| file.modified()).ok()).collect()
    }

    pub(super) fn obtained(&self, certified: Certified) {
        self.0.table.lock().obtained = Some(certified);
    }

    /// Whether the certificate of an ACME server is there, and for this name.
    #[cfg(test)]
    pub(super) fn has_obtained(&self, name: &str) -> bool {
        self.0.table.lock().obtained.as_ref().is_some_and(|one| one.is_for(name))
    }

    /// What an ACME server is told at `/.well-known/acme-challenge/TOKEN`.
    pub(super) fn answer_of(&self, token: &str) -> Option<String> {
        self.0.table.lock().answers.get(token).cloned()
    }

    pub(super) fn set_answer(&self, token: String, answer: String) {
        self.0.table.lock().answers.insert(token, answer);
    }

    pub(super) fn set_proof(&self, name: String, proof: Arc<CertifiedKey>) {
        self.0.table.lock().proofs.insert(name, proof);
    }

    /// Forgets what ACME servers were to be shown.
    pub(super) fn forget(&self) {
        let mut table = self.0.table.lock();
        table.proofs.clear();
        table.answers.clear();
    }
}

impl ResolvesServerCert for Chosen {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(str::to_ascii_lowercase);
        let table = self.0.lock();
        let mut protocols = hello.alpn().into_iter().flatten();
        if protocols.any(|protocol| protocol == ACME_TLS) {
            return table.proofs.get(name.as_deref()?).cloned();
        }
        let all = || table.files.iter().chain(&table.obtained);
        let fitting = name.and_then(|name| all().find(|one| one.is_for(&name)));
        // Without a name, or with one that nobody has, the first: the client says what it thinks of it.
        fitting.or_else(|| all().next()).map(|one| one.key.clone())
    }
}

impl fmt::Debug for Chosen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Chosen")
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").field("files", &self.0.pairs).finish_non_exhaustive()
    }
}
