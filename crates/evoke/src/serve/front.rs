//! What stands between clients and the gateway: certificates, the listener that redirects, proxies.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use evoke_core::time::Clock;
use evoke_gateway::tls::files::Pair;
use evoke_gateway::tls::{AcmeSettings, Certificates, Fetch, Renewal};
use evoke_gateway::{Front, Proxies};
use evoke_outbound::{Client, Dial, Trust};
use tokio::net::TcpStream;

use super::{bind, failure};
use crate::cli::{CertificateArgs, EdgeArgs};
use crate::exit::{Error, Result};

/// Requests to an ACME server at once.
const REQUESTS: usize = 4;
/// Of one of them.
const PATIENCE: Duration = Duration::from_secs(30);

/// Reads certificates and opens the listener that redirects. `data`: the data folder.
pub async fn open(
    args: &EdgeArgs,
    ca_file: Option<&Path>,
    data: &Path,
    clock: &Arc<dyn Clock>,
) -> Result<Front> {
    let proxies = Proxies(args.trusted_proxy.clone());
    let pairs = pairs(&args.certificates)?;
    let wants_acme = !args.acme_domain.is_empty();
    if pairs.is_empty() && !wants_acme {
        return match args.tls_redirect {
            Some(_) => Err(without_certificate("--tls-redirect")),
            None => Ok(Front { proxies, ..Front::default() }),
        };
    }
    let certificates = Certificates::load(pairs, args.tls_min.into(), clock.clone())
        .map_err(|cause| failure::tls(&cause))?;
    let redirect = match args.tls_redirect {
        Some(address) => Some(bind(address, "--tls-redirect").await?),
        None => None,
    };
    let renewal = match wants_acme {
        true => Some(renewal(args, ca_file, data, &certificates, clock)?),
        false => None,
    };
    Ok(Front { certificates: Some(certificates), redirect, renewal, proxies })
}

/// The files of `--tls-cert` and `--tls-key`.
pub fn pairs(args: &CertificateArgs) -> Result<Vec<Pair>> {
    let (chains, keys) = (&args.tls_cert, &args.tls_key);
    if !keys.is_empty() && keys.len() != chains.len() {
        let message =
            format!("--tls-cert is given {} times and --tls-key {} times", chains.len(), keys.len());
        return Err(Error::usage(message).help("give each certificate its key, in the same order; or no --tls-key where the keys are in the same files"));
    }
    let key = |nth: usize| keys.get(nth).unwrap_or(&chains[nth]).clone();
    Ok(chains.iter().enumerate().map(|(nth, chain)| Pair { chain: chain.clone(), key: key(nth) }).collect())
}

fn without_certificate(option: &str) -> Error {
    Error::usage(format!("{option} needs a certificate"))
        .help("give one with --tls-cert, or have one got with --acme-domain")
}

fn renewal(
    args: &EdgeArgs,
    ca_file: Option<&Path>,
    data: &Path,
    certificates: &Certificates,
    clock: &Arc<dyn Clock>,
) -> Result<Renewal> {
    let directory = match args.acme_directory.as_str() {
        "letsencrypt" => "https://acme-v02.api.letsencrypt.org/directory".to_owned(),
        "letsencrypt-staging" => "https://acme-staging-v02.api.letsencrypt.org/directory".to_owned(),
        url => url.to_owned(),
    };
    let contact =
        |contact: &String| if contact.contains(':') { contact.clone() } else { format!("mailto:{contact}") };
    let settings = AcmeSettings {
        directory,
        domains: args.acme_domain.clone(),
        contacts: args.acme_contact.iter().map(contact).collect(),
        over_http: args.tls_redirect.is_some(),
        folder: data.join("acme"),
    };
    let trust =
        Trust::load(args.acme_ca_file.as_deref().or(ca_file)).map_err(|cause| failure::ca_file(&cause))?;
    Renewal::open(settings, certificates.clone(), fetch(&trust), clock.clone()).map_err(failure::acme)
}

/// The operator named the ACME server, so it may be anywhere.
fn fetch(trust: &Trust) -> Fetch {
    let dial: Dial = Arc::new(|to, _| {
        Box::pin(async move {
            let host = to.host.to_string();
            TcpStream::connect((host.as_str(), to.port)).await.map_err(|error| error.to_string())
        })
    });
    let client = Client::new(dial, trust, REQUESTS);
    Arc::new(move |request: http::Request<Bytes>| {
        let client = client.clone();
        Box::pin(async move {
            let fetched = tokio::time::timeout(PATIENCE, client.fetch(request)).await;
            fetched
                .map_err(|_| format!("no answer within {} s", PATIENCE.as_secs()))?
                .map_err(|error| error.to_string())
        })
    })
}
