//! A certificate of an ACME server (RFC 8555), got when there is none and renewed well before it ends.
//!
//! Account, certificate and key are in a folder of the data directory, for its owner only, so that a restart asks for nothing.
//! When it does not work, the next try is later and later, and no sooner than the server says.

mod folder;
mod kept;
mod order;
mod pause;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use evoke_core::time::Clock;
use futures_util::future::BoxFuture;

use super::certificates::Certificates;
use super::files::Certified;
pub use folder::AcmeError;
use folder::Folder;
pub use kept::{Kept, kept};
use pause::Pause;

/// Sends a request and reads the whole answer; the error is a sentence.
pub type Fetch = Arc<
    dyn Fn(http::Request<Bytes>) -> BoxFuture<'static, Result<http::Response<Bytes>, String>> + Send + Sync,
>;

/// What is asked of an ACME server.
#[derive(Debug, Clone)]
pub struct AcmeSettings {
    /// URL of its directory.
    pub directory: String,
    /// The names of the certificate; addresses are names too, if the server takes them.
    pub domains: Vec<String>,
    /// Where it may write to: `mailto:ops@example.com`.
    pub contacts: Vec<String>,
    /// Whether it is shown over HTTP, on the redirecting listener, that the names are of this server; else over TLS.
    pub over_http: bool,
    /// Where things are kept.
    pub folder: std::path::PathBuf,
}

/// Keeps a certificate of an ACME server.
pub struct Renewal {
    settings: AcmeSettings,
    folder: Folder,
    certificates: Certificates,
    fetch: Fetch,
    clock: Arc<dyn Clock>,
    pause: Pause,
}

impl Renewal {
    /// With what is kept of before, which is in use at once. Blocks on the disk.
    pub fn open(
        settings: AcmeSettings,
        certificates: Certificates,
        fetch: Fetch,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, AcmeError> {
        let folder = Folder::open(&settings)?;
        if let Some(certified) = folder.certificate()? {
            certificates.obtained(certified);
        }
        let pause = Pause::new(clock.clone());
        let fetch = pause.listening(fetch);
        Ok(Self { settings, folder, certificates, fetch, clock, pause })
    }

    /// Gets certificates, for as long as it is polled.
    pub async fn run(mut self) {
        loop {
            let certificate = self.folder.certificate().ok().flatten().filter(|one| self.covers(one));
            let due = certificate.map(|one| one.renewed_at());
            if let Some(due) = due.filter(|due| *due > self.clock.now()) {
                // A clock that is put on while it sleeps is noticed within the hour.
                let left = due.since(self.clock.now()).min(Duration::from_secs(60 * 60));
                tokio::time::sleep(left).await;
                continue;
            }
            let domains = self.settings.domains.join(", ");
            match self.obtain().await {
                Ok(certified) => {
                    tracing::info!(
                        domains,
                        until = certified.until.to_rfc3339(),
                        "a certificate was obtained"
                    );
                    self.certificates.obtained(certified);
                    self.pause.succeeded();
                }
                Err(error) => {
                    let pause = self.pause.failed();
                    tracing::warn!(domains, %error, again_in_s = pause.as_secs(), "no certificate was obtained");
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    async fn obtain(&self) -> Result<Certified, AcmeError> {
        let account = order::account(&self.settings, &self.folder, &self.fetch).await?;
        let issued = order::certificate(&account, &self.settings, &self.certificates).await;
        self.certificates.forget();
        let (chain, key) = issued?;
        self.folder.keep(&chain, &key)
    }

    fn covers(&self, certified: &Certified) -> bool {
        self.settings.domains.iter().all(|domain| certified.names.contains(&domain.to_ascii_lowercase()))
    }
}
