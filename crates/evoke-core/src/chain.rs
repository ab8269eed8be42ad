//! Chains: who caused an invocation, and who caused that, back to what came from outside.
//!
//! The host keeps the chain, never the function: each invocation's [`Cause`](crate::record::Cause) has the invocations
//! before it, and what it causes in turn gets that and one more link. A retry is another attempt of the same invocation and
//! adds nothing. [`judge`] says whether the next invocation may follow; [`declared`] finds what goes round by the manifest
//! alone.

pub mod declared;
mod hop;
mod judge;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::{AppName, FunctionName};
use crate::manifest::Fate;
use crate::record::Trigger;

pub use hop::{CDN_LOOP, Hop};
pub use judge::{ChainLimits, LoopStopped, Passed, judge};

/// The invocations before one, oldest first. Cloning it is cheap.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Chain(Option<Arc<[Link]>>);

/// One invocation of a chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Its app.
    pub app: AppName,
    /// The function.
    pub function: FunctionName,
    /// How the one before it led to it.
    #[serde(flatten)]
    pub by: Edge,
}

/// How one invocation led to the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum Edge {
    /// A request on a listener.
    Http,
    /// A call through the platform API.
    Call,
    /// An event that matched a subscription.
    Event {
        /// Its type.
        #[serde(rename = "type")]
        ty: String,
    },
    /// The end of its work, of which the next is told.
    Destination {
        /// Which end.
        fate: Fate,
    },
    /// The end of a wait.
    Wait {
        /// The type of the event that was waited for.
        #[serde(rename = "type")]
        ty: String,
    },
}

impl Chain {
    /// The links, oldest first.
    pub fn links(&self) -> &[Link] {
        self.0.as_deref().unwrap_or_default()
    }

    /// Whether nothing came before.
    pub fn is_empty(&self) -> bool {
        self.links().is_empty()
    }

    /// The chain of what `link` causes, when this is its own.
    #[must_use]
    pub fn and(&self, link: Link) -> Self {
        let links: Vec<Link> = self.links().iter().cloned().chain([link]).collect();
        Self(Some(links.into()))
    }

    /// How often the function is among the links.
    pub fn visits(&self, app: &AppName, function: &FunctionName) -> usize {
        self.links().iter().filter(|link| link.is_of(app, function)).count()
    }

    /// Whether a function is among the links more than once.
    pub fn has_reentry(&self) -> bool {
        let links = self.links();
        links
            .iter()
            .enumerate()
            .any(|(at, link)| links[..at].iter().any(|l| l.is_of(&link.app, &link.function)))
    }
}

impl Link {
    /// Whether it is an invocation of that function.
    pub fn is_of(&self, app: &AppName, function: &FunctionName) -> bool {
        self.function == *function && self.app == *app
    }
}

impl Edge {
    /// How an invocation with this trigger came about.
    pub fn of(trigger: &Trigger) -> Self {
        match trigger {
            Trigger::Http { .. } => Self::Http,
            Trigger::Call { .. } => Self::Call,
            Trigger::Event { ty, .. } => Self::Event { ty: ty.clone() },
            Trigger::Destination { fate, .. } => Self::Destination { fate: *fate },
            Trigger::Wait { ty, .. } => Self::Wait { ty: ty.clone() },
        }
    }
}

impl fmt::Display for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http => f.write_str("request"),
            Self::Call => f.write_str("call"),
            Self::Event { ty } => write!(f, "event {ty}"),
            Self::Destination { fate } => f.write_str(fate.key()),
            Self::Wait { ty } => write!(f, "wait for {ty}"),
        }
    }
}

/// The functions of `chain` and then `next` as text: `a → b → c → a`. With their apps where those are not all the same.
pub fn path(chain: &Chain, next: &Link) -> String {
    let links = || chain.links().iter().chain([next]);
    let one_app = links().all(|link| link.app == next.app);
    let names = links().map(|link| match one_app {
        true => link.function.to_string(),
        false => format!("{}/{}", link.app, link.function),
    });
    names.collect::<Vec<_>>().join(" → ")
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.links()).finish()
    }
}

impl Serialize for Chain {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.links().serialize(to)
    }
}

impl<'de> Deserialize<'de> for Chain {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let links = Vec::<Link>::deserialize(from)?;
        Ok(Self((!links.is_empty()).then(|| links.into())))
    }
}

impl FromIterator<Link> for Chain {
    fn from_iter<I: IntoIterator<Item = Link>>(links: I) -> Self {
        let links: Vec<Link> = links.into_iter().collect();
        Self((!links.is_empty()).then(|| links.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(name: &str, by: Edge) -> Link {
        let (app, function) = name.split_once('/').unwrap();
        Link { app: AppName::new(app).unwrap(), function: FunctionName::new(function).unwrap(), by }
    }

    #[test]
    fn a_chain_is_the_same_after_it_was_written_and_read() {
        let event = Edge::Event { ty: "order.placed".to_owned() };
        let chain = Chain::default().and(link("shop/a", Edge::Http)).and(link("shop/b", event));
        let json = serde_json::to_string(&chain).unwrap();
        assert_eq!(
            json,
            r#"[{"app":"shop","function":"a","by":"http"},{"app":"shop","function":"b","by":"event","type":"order.placed"}]"#
        );
        assert_eq!(serde_json::from_str::<Chain>(&json).unwrap(), chain);
        assert_eq!(serde_json::from_str::<Chain>("[]").unwrap(), Chain::default());
    }

    #[test]
    fn a_path_names_the_apps_where_there_are_several() {
        let chain = Chain::default().and(link("shop/a", Edge::Http)).and(link("shop/b", Edge::Call));
        assert_eq!(path(&chain, &link("shop/a", Edge::Call)), "a → b → a");
        assert_eq!(path(&chain, &link("bank/pay", Edge::Http)), "shop/a → shop/b → bank/pay");
    }
}
