//! One certificate: an account, an order, what shows that the names are of this server, the certificate.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt as _;
use instant_acme::{
    Account, AuthorizationStatus, BodyWrapper, BytesResponse, ChallengeType, Error, HttpClient, Identifier,
    NewAccount, NewOrder, Order, OrderStatus, Problem, RetryPolicy,
};
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::sign::CertifiedKey;

use super::folder::{AcmeError, Folder};
use super::{AcmeSettings, Fetch};
use crate::tls::certificates::Certificates;

/// How long an ACME server may take to look, and to issue.
const PATIENCE: RetryPolicy = RetryPolicy::new().timeout(Duration::from_secs(120));

/// The account of before, or a new one. Making one agrees to the server's terms of service.
pub(super) async fn account(
    settings: &AcmeSettings,
    folder: &Folder,
    fetch: &Fetch,
) -> Result<Account, AcmeError> {
    let builder = || Account::builder_with_http(Box::new(Http(fetch.clone())));
    if let Some(known) = folder.account()? {
        return builder().from_credentials(known).await.map_err(said);
    }
    let contact: Vec<&str> = settings.contacts.iter().map(String::as_str).collect();
    let new = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
    let (account, credentials) =
        builder().create(&new, settings.directory.clone(), None).await.map_err(said)?;
    folder.keep_account(&credentials)?;
    Ok(account)
}

/// A chain and its key, in PEM form.
pub(super) async fn certificate(
    account: &Account,
    settings: &AcmeSettings,
    certificates: &Certificates,
) -> Result<(String, String), AcmeError> {
    let names: Vec<Identifier> = settings.domains.iter().map(|domain| identifier(domain)).collect();
    let mut order = account.new_order(&NewOrder::new(&names)).await.map_err(said)?;
    show(&mut order, settings.over_http, certificates).await?;
    let status = order.poll_ready(&PATIENCE).await.map_err(said)?;
    if status != OrderStatus::Ready {
        return Err(refused(&mut order).await);
    }
    let key = order.finalize().await.map_err(said)?;
    let chain = order.poll_certificate(&PATIENCE).await.map_err(said)?;
    Ok((chain, key))
}

/// Prepares what the server will ask for each name, and asks it to.
async fn show(order: &mut Order, over_http: bool, certificates: &Certificates) -> Result<(), AcmeError> {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization.map_err(said)?;
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        let wanted = if over_http { ChallengeType::Http01 } else { ChallengeType::TlsAlpn01 };
        let name = authorization.identifier().to_string();
        let none =
            || AcmeError::Name { name: name.clone(), why: format!("the server does not offer {wanted:?}") };
        let mut challenge = authorization.challenge(wanted.clone()).ok_or_else(none)?;
        let proof = challenge.key_authorization();
        if over_http {
            certificates.set_answer(challenge.token.clone(), proof.as_str().to_owned());
        } else {
            let key = self_signed(&name, proof.digest().as_ref())?;
            certificates.set_proof(asked_as(&name), key);
        }
        challenge.set_ready().await.map_err(said)?;
    }
    Ok(())
}

/// What the server found wrong.
async fn refused(order: &mut Order) -> AcmeError {
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        let name = authorization.identifier().to_string();
        let Ok(state) = authorization.refresh().await else { continue };
        if let Some(error) = state.challenges.iter().find_map(|challenge| challenge.error.as_ref()) {
            return AcmeError::Name { name, why: error.to_string() };
        }
    }
    AcmeError::Server("the order was refused".to_owned())
}

fn identifier(domain: &str) -> Identifier {
    domain.parse().map_or_else(|_| Identifier::Dns(domain.to_owned()), Identifier::Ip)
}

/// The name a server asks for over TLS: for an address its reverse name (RFC 8738, 6).
fn asked_as(name: &str) -> String {
    match name.parse() {
        Ok(std::net::IpAddr::V4(address)) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        Ok(std::net::IpAddr::V6(address)) => {
            let digits = address.octets().into_iter().rev().flat_map(|byte| [byte & 15, byte >> 4]);
            digits.map(|digit| format!("{digit:x}.")).collect::<String>() + "ip6.arpa"
        }
        Err(_) => name.to_ascii_lowercase(),
    }
}

/// RFC 8737, 3.
fn self_signed(name: &str, digest: &[u8]) -> Result<Arc<CertifiedKey>, AcmeError> {
    let failed = |cause: &dyn std::fmt::Display| AcmeError::Server(format!("a proof for {name}: {cause}"));
    let mut params = CertificateParams::new([name.to_owned()]).map_err(|cause| failed(&cause))?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let key = KeyPair::generate().map_err(|cause| failed(&cause))?;
    let certificate = params.self_signed(&key).map_err(|cause| failed(&cause))?;
    let key = any_supported_type(&PrivatePkcs8KeyDer::from(key.serialize_der()).into())
        .map_err(|cause| failed(&cause))?;
    Ok(Arc::new(CertifiedKey::new(vec![certificate.der().clone()], key)))
}

fn said(error: Error) -> AcmeError {
    AcmeError::Server(error.to_string())
}

/// The client of instant-acme, made of ours.
struct Http(Fetch);

impl HttpClient for Http {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let fetch = self.0.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let is_get = parts.method == http::Method::GET;
            let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            let response = fetch(Request::from_parts(parts, body)).await;
            let (parts, body) = response.map_err(|error| Error::Other(error.into()))?.into_parts();
            let is_refusal = parts.status.is_client_error() || parts.status.is_server_error();
            // That of the directory would be read as one, and only be told to have the wrong members.
            if is_get && is_refusal {
                let problem = serde_json::from_slice::<Problem>(&body);
                let unsaid = |_| Error::Other(format!("it answered with status {}", parts.status).into());
                return Err(problem.map_or_else(unsaid, Error::Api));
            }
            Ok(BytesResponse { parts, body: Box::new(body) })
        })
    }
}
