//! The conformance suite against the in-memory store.
