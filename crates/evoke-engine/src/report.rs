//! What others report on paths of the data listener: webhooks of services, beacons of pages. Each becomes an event like
//! any other, durable before its sender gets an answer.

use std::cell::RefCell;

use bytes::Bytes;
use evoke_core::event::{Data, Event, EventError};
use evoke_core::id::AppName;
use evoke_core::manifest::{Beacon, Webhook};
use evoke_core::store::StoreError;
use evoke_core::webhook::{self, Refused};
use http::HeaderMap;

use crate::Engine;
use crate::arrival::Arrival;
use crate::ingest::{PublishError, Published};

/// Why a report was not accepted.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReportError {
    /// The webhook is not there any more.
    #[error("app {0} has no such webhook or beacon any more")]
    NotFound(AppName),
    /// It was not signed by somebody who has the secret. For the operator; the sender is not told which.
    #[error("not accepted: {0}")]
    Refused(#[from] Refused),
    /// It was signed, and is no event all the same.
    #[error("no event: {0}")]
    Invalid(#[from] EventError),
    /// The store did not say whether it kept the event, and the report would be another one the next time: it has no id of
    /// its sender's.
    #[error("whether the event {id} was kept is unknown")]
    Unknown {
        /// The id that the event got here.
        id: String,
    },
    /// The event was not accepted.
    #[error(transparent)]
    Publish(#[from] PublishError),
}

impl ReportError {
    /// `id`: the event's, when the report had none.
    fn publish(error: PublishError, id: Option<String>) -> Self {
        match (error, id) {
            (PublishError::Store(StoreError::Outcome(cause)), Some(id)) => {
                tracing::error!(event = id, cause, "the store did not say whether it kept a report");
                Self::Unknown { id }
            }
            (error, _) => error.into(),
        }
    }
}

impl Engine {
    /// The app's webhook at this place in its manifest.
    pub fn webhook(&self, app: &AppName, at: usize) -> Option<Webhook> {
        self.app(app)?.manifest.webhooks.get(at).cloned()
    }

    /// The app's beacon at this place in its manifest.
    pub fn beacon(&self, app: &AppName, at: usize) -> Option<Beacon> {
        self.app(app)?.manifest.beacons.get(at).cloned()
    }

    /// Accepts what came to a webhook, if it is signed. `body` is as it came: nothing has looked into it. Durable when it
    /// returns.
    pub async fn report(
        &self,
        app: &AppName,
        at: usize,
        headers: &HeaderMap,
        body: Bytes,
        from: Arrival,
    ) -> Result<Vec<Published>, ReportError> {
        let inner = &self.0;
        let webhook = self.webhook(app, at).ok_or_else(|| ReportError::NotFound(app.clone()))?;
        let secrets = inner.vault.all(app, &webhook.secrets);
        webhook::verify(&webhook.scheme, &secrets, headers, &body, inner.now())?;
        let made = RefCell::new(None);
        let fresh_id = || made.borrow_mut().insert(self.new_event_id()).clone();
        let most = inner.limits.publish_events;
        let events = webhook::to_events(&webhook.scheme, &webhook.mapping, headers, body, most, fresh_id)?;
        let made = made.into_inner();
        self.publish(app, events, from).await.map_err(|error| ReportError::publish(error, made))
    }

    /// Accepts what a page sent to `beacon`. Durable when it returns.
    pub async fn report_page(
        &self,
        app: &AppName,
        beacon: &Beacon,
        origin: Option<&str>,
        body: Bytes,
        from: Arrival,
    ) -> Result<Vec<Published>, ReportError> {
        let mut event = Event::new(self.new_event_id(), &beacon.source, &beacon.event);
        if let Some(origin) = origin {
            event = event.with_subject(origin);
        }
        // Pages may only send text/plain without asking first, so what they call their JSON says nothing.
        event = match (serde_json::from_slice(&body), std::str::from_utf8(&body)) {
            _ if body.is_empty() => event,
            (Ok(value), _) => event.with_json(value),
            (Err(_), Ok(text)) => event.with_data(Data::Text(text.to_owned()), Some("text/plain".to_owned())),
            (Err(_), Err(_)) => {
                return Err(EventError::new("beacon: the body is neither JSON nor UTF-8").into());
            }
        };
        event.check()?;
        let made = Some(event.id().to_owned());
        self.publish(app, vec![event], from).await.map_err(|error| ReportError::publish(error, made))
    }
}
