//! Fakes that behave, and the suites every real part has to pass. Feature `testing`.

pub mod clock;
pub mod conformance;
pub mod fault;
pub mod runtime;
pub mod store;
