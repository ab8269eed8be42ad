//! Why a server does not start, or does not end well: what, why, and what helps.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use evoke_core::store::StoreError;
use evoke_gateway::auth::AuthError;
use evoke_store::OpenError;

use super::key::KeyError;
use crate::exit::Error;

/// The data folder cannot be used.
pub fn store(cause: &OpenError) -> Error {
    Error::failed(cause.code(), cause.to_string())
}

/// The key of the secrets cannot be used.
pub fn key(cause: KeyError) -> Error {
    Error::failed("secrets_key", cause.to_string())
        .help("restore it from a backup; or move it away and set all secrets again with `evoke secrets set`")
}

/// The file of `--ca-file` has no certificates.
pub fn ca_file(cause: &evoke_outbound::TrustError) -> Error {
    Error::usage(format!("--ca-file: {cause}"))
        .help("it holds certificates in PEM form, each between BEGIN CERTIFICATE and END CERTIFICATE")
}

/// A certificate cannot be used.
pub fn tls(cause: &evoke_gateway::tls::TlsError) -> Error {
    Error::failed("tls", cause.to_string()).help(
        "--tls-cert takes a chain in PEM form, the server's own certificate first, and --tls-key its key",
    )
}

/// What is kept of an ACME server cannot be used.
pub fn acme(cause: evoke_gateway::tls::AcmeError) -> Error {
    Error::failed("acme", cause.to_string())
        .help("move the folder `acme` of the data folder away, and everything in it is got anew")
}

/// A listener cannot be opened.
pub fn bind(address: SocketAddr, option: &'static str, cause: &io::Error) -> Error {
    let message =
        |why: &str| Error::failed("listen", format!("cannot listen on {address} ({option}): {why}"));
    match cause.kind() {
        ErrorKind::AddrInUse => message("something else listens there").help(format!(
            "end it, or choose another port: {option} {}:0 takes one that is free",
            host(address)
        )),
        ErrorKind::AddrNotAvailable => message("this machine has no such address")
            .help(format!("{option} 127.0.0.1:{} listens for this machine only", address.port())),
        ErrorKind::PermissionDenied => message("the system does not permit it")
            .help("ports below 1024 belong to root: choose a higher one"),
        _ => message(&cause.to_string()),
    }
}

fn host(address: SocketAddr) -> String {
    match address {
        SocketAddr::V4(address) => address.ip().to_string(),
        SocketAddr::V6(address) => format!("[{}]", address.ip()),
    }
}

/// There is no token.
pub fn token(cause: AuthError) -> Error {
    Error::failed("token", format!("the token of the control listener: {cause}"))
}

/// Workers cannot be started.
pub fn runtime(cause: evoke_worker::StartError) -> Error {
    let help = matches!(cause, evoke_worker::StartError::Sandbox(_)).then_some(
        "evoke doctor tells why, and what to do; --sandbox auto runs with the layers that there are",
    );
    let error = Error::failed("workers", cause.to_string());
    match help {
        Some(help) => error.help(help),
        None => error,
    }
}

/// The engine does not start.
pub fn engine(cause: evoke_engine::StartError) -> Error {
    Error::failed("engine", cause.to_string())
}

/// This executable is not where it was.
pub fn executable(cause: io::Error) -> Error {
    Error::failed("workers", format!("this executable cannot be found, and so starts no workers: {cause}"))
}

/// A thread for calls cannot be started.
pub fn threads(cause: io::Error) -> Error {
    Error::failed("threads", format!("the threads for calls cannot be started: {cause}"))
}

/// A thread for calls has ended.
pub fn thread_lost() -> Error {
    Error::failed("threads", "a thread that calls are made on ended by a mistake of Evoke")
        .help("start the server again; what was acknowledged is there")
}

/// The gateway failed.
pub fn gateway(cause: io::Error) -> Error {
    Error::failed("gateway", format!("the listeners failed: {cause}"))
}

/// The gateway ended in a panic.
pub fn task(cause: tokio::task::JoinError) -> Error {
    Error::failed("gateway", format!("the listeners ended by a mistake of Evoke: {cause}"))
}

/// The store refuses to go on.
pub fn refused(why: &str) -> Error {
    Error::failed("store_closed", format!("the store is closed: {why}")).help(
        "look at the disk under the data folder, then start the server again; what was acknowledged is there",
    )
}

/// The store could not be closed in order.
pub fn drain(cause: StoreError) -> Error {
    Error::failed(cause.code(), format!("the end was not in order: {cause}"))
        .help("nothing that was accepted is lost: it is worked off after the next start")
}
