//! Where a request came from: outside, or a function of this node that sent it by the network.

use std::net::SocketAddr;
use std::sync::Arc;

use evoke_core::chain::{CDN_LOOP, Chain, Hop};
use evoke_core::id::{Correlation, RunId};
use evoke_core::record::Cause;
use http::{HeaderMap, HeaderName};

use crate::Engine;
use crate::engine::Inner;
use crate::rollout::Wish;
use crate::trace::TraceParent;

/// The header field of whoever wants to meet the same version each time: a user, a session.
const VERSION_KEY: HeaderName = HeaderName::from_static("evoke-version-key");
const HOPS: HeaderName = HeaderName::from_static(CDN_LOOP);
/// Bytes of it at most; what is longer says nothing.
const KEY_BYTES_MAX: usize = 256;

/// What a request says of where it came from, and the address it came from. By default it came from outside.
#[derive(Debug, Clone, Default)]
pub struct Arrival {
    /// Its `traceparent`.
    pub trace: Option<TraceParent>,
    /// The newest entry of this server in its `CDN-Loop`.
    pub hop: Option<Hop>,
    /// The other end of the connection.
    pub peer: Option<SocketAddr>,
    /// Which version of the app it wants, where two share the work.
    pub wish: Wish,
}

impl Arrival {
    /// Of what carries nothing but a trace.
    pub fn traced(trace: Option<TraceParent>) -> Self {
        Self { trace, ..Self::default() }
    }
}

impl Engine {
    /// Reads where a request came from. What breaks its specification says nothing.
    pub fn arrival(&self, headers: &HeaderMap, peer: Option<SocketAddr>) -> Arrival {
        let text = |name: HeaderName| headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        let trace = text(TraceParent::FIELD).next().and_then(TraceParent::parse);
        let hop = text(HOPS).filter_map(|field| Hop::last(field, &self.0.name)).next_back();
        let key = text(VERSION_KEY).next().filter(|key| !key.is_empty() && key.len() <= KEY_BYTES_MAX);
        let wish = key.map_or(Wish::Any, |key| Wish::SameAs(key.to_owned()));
        Arrival { trace, hop, peer, wish }
    }
}

impl Inner {
    /// The cause of a run by a request, which is a start of its own if it came from outside.
    pub fn cause_of_run(&self, run: &RunId, arrival: &Arrival) -> Cause {
        self.cause(arrival, || run.into())
    }

    /// The cause of what arrived. `correlation` is what its sender named, if it came from outside.
    pub fn cause_of_arrival(&self, correlation: Option<&str>, arrival: &Arrival) -> Cause {
        let named = correlation.filter(|text| !text.is_empty() && text.len() <= 256);
        self.cause(arrival, || match named {
            Some(text) => Correlation::from_text(text),
            None => Correlation::from_text(self.chance.lock().ids.event(self.now())),
        })
    }

    fn cause(&self, arrival: &Arrival, root: impl FnOnce() -> Correlation) -> Cause {
        if let Some(cause) = self.sender(arrival) {
            return Cause::clone(&cause);
        }
        let Arrival { trace, hop, .. } = arrival;
        let root = root();
        let mut chance = self.chance.lock();
        let trace_id = trace.as_ref().map_or_else(|| chance.ids.trace(), |trace| trace.trace_id.clone());
        let span_id = trace.as_ref().map_or_else(|| chance.ids.span(), |trace| trace.span_id.clone());
        // Whoever invents a depth brings nothing but an earlier end upon himself.
        let depth = hop.as_ref().map_or(0, |hop| hop.depth);
        Cause {
            root,
            parent: None,
            depth,
            chain: Chain::default(),
            version: None,
            trace_id,
            span_id,
            shadow: false,
        }
    }

    /// The attempt that sent it. One of this node cannot be denied: what it says only chooses among those that run in the
    /// network the connection came from, and if it says nothing, the longest chain is meant.
    fn sender(&self, arrival: &Arrival) -> Option<Arc<Cause>> {
        let hop = arrival.hop.as_ref().map(|hop| hop.span.as_str());
        let trace = arrival.trace.as_ref().map(|trace| trace.span_id.as_str());
        let mut said = [hop, trace].into_iter().flatten();
        let present = arrival.peer.and_then(|peer| self.origins.spans(peer)).unwrap_or_default();
        let mut running = present.iter().filter_map(|span| self.spans.find(span)).collect::<Vec<_>>();
        if running.is_empty() {
            return said.find_map(|span| self.spans.find(span));
        }
        let named = said.find_map(|span| running.iter().position(|cause| cause.span_id == span));
        let deepest = || (0..running.len()).max_by_key(|at| running[*at].depth);
        named.or_else(deepest).map(|at| running.swap_remove(at))
    }
}
