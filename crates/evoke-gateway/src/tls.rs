//! TLS on the listeners: certificates from files and from ACME servers, which one a client gets, and how each is renewed
//! without a connection noticing.
//!
//! [`Certificates`] is what a listener holds; [`files`] reads chains and keys and says what is wrong with them; [`Renewal`]
//! keeps a certificate of an ACME server (RFC 8555); `redirect` is the listener without TLS that sends clients here.

mod acme;
mod certificates;
mod der;
pub mod files;
pub(crate) mod redirect;

pub use acme::{AcmeError, AcmeSettings, Fetch, Kept, Renewal, kept};
pub use certificates::{Certificates, Oldest};
pub use files::{Certified, TlsError};
