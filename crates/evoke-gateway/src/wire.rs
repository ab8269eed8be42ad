//! What a connection carries, below HTTP's meaning: where one request ends and the next begins, and how fast bytes move.
//!
//! hyper reads requests as generously as RFC 9112 allows. Generosity is how requests are smuggled: a proxy in front and a
//! server behind that each forgive something else see different requests in the same bytes. So every byte of HTTP/1 goes
//! through a [`Guard`] first, which reads heads ([`head`]) and chunks ([`chunks`]) to the letter and hands over nothing it has
//! a doubt about. What is refused is answered in its turn with a problem, and the connection ends.
//!
//! HTTP/2 frames its messages unambiguously, and h2 refuses what RFC 9113 forbids; it passes. What has to be looked at in the
//! meaning of a request, whatever brought it, is in [`crate::vet`].

mod chunks;
mod fault;
mod guard;
mod head;

pub(crate) use fault::Fault;
pub(crate) use guard::{Guard, HeadBounds, Verdict};
