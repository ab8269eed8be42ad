//! HTTP in front of the Evoke engine.

pub mod api;
