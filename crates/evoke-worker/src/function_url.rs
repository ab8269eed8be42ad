//! How a function URL of AWS Lambda shows HTTP to a function: a request as JSON (payload format 2.0), an answer inferred from
//! JSON. Rules: <https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html>.
//!
//! For functions whose client runs elsewhere than in our shims; those have the same mapping in their own languages
//! (`shim/node/lambda.cjs`, `shim/python/evoke/_lambda.py`), and the tests hold all of them to the same cases.

mod answer;
mod payload;
mod prelude;

pub(crate) use answer::{Answer, answer, events};
pub(crate) use payload::{Invoked, payload};
pub(crate) use prelude::{Prelude, Split};
