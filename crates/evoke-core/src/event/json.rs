//! The JSON format.
