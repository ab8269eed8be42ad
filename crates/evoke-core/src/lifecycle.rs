//! The names of what the platform itself has to say: event types that begin with `evoke.` and come from `/evoke`.
//!
//! Nobody else may publish such ([`reserved`]), and only a subscription that names them gets them: a catch-all such as
//! `*` is for the events of the app. What they say is in `docs/reference/lifecycle.md`.

use crate::event::{Event, EventError};

/// Types of the platform's own events begin with this.
pub const PREFIX: &str = "evoke.";

/// Their `source`.
pub const SOURCE: &str = "/evoke";

/// The node has started.
pub const NODE_STARTING: &str = "evoke.node.starting";
/// The node is about to stop.
pub const NODE_STOPPING: &str = "evoke.node.stopping";
/// The app was deployed.
pub const APP_DEPLOYED: &str = "evoke.app.deployed";
/// A new version of the app takes a part of the work.
pub const CANARY_STARTED: &str = "evoke.canary.started";
/// It takes all of it from now on.
pub const CANARY_PROMOTED: &str = "evoke.canary.promoted";
/// It takes none of it any more.
pub const CANARY_WITHDRAWN: &str = "evoke.canary.withdrawn";
/// An earlier version of the app took the place of the present one.
pub const APP_ROLLED_BACK: &str = "evoke.app.rolled_back";
/// Another app was removed.
pub const APP_REMOVED: &str = "evoke.app.removed";
/// Attempts of a function fail one after the other.
pub const FUNCTION_FAILING: &str = "evoke.function.failing";
/// A function that was failing answered again.
pub const FUNCTION_RECOVERED: &str = "evoke.function.recovered";
/// An invocation was given up.
pub const DEADLETTER_ADDED: &str = "evoke.deadletter.added";
/// A chain of calls and events comes back to a function for the first time.
pub const LOOP_SUSPECTED: &str = "evoke.loop.suspected";
/// A chain of calls and events was cut.
pub const LOOP_STOPPED: &str = "evoke.loop.stopped";
/// The endpoint of a hook wants no more.
pub const HOOK_DISABLED: &str = "evoke.hook.disabled";
/// Somebody enabled a hook again.
pub const HOOK_ENABLED: &str = "evoke.hook.enabled";
/// Somebody paused a subscription.
pub const SUBSCRIPTION_PAUSED: &str = "evoke.subscription.paused";
/// Somebody let it go on.
pub const SUBSCRIPTION_RESUMED: &str = "evoke.subscription.resumed";

/// All of them.
pub const TYPES: [&str; 17] = [
    NODE_STARTING,
    NODE_STOPPING,
    APP_DEPLOYED,
    APP_ROLLED_BACK,
    CANARY_STARTED,
    CANARY_PROMOTED,
    CANARY_WITHDRAWN,
    APP_REMOVED,
    FUNCTION_FAILING,
    FUNCTION_RECOVERED,
    DEADLETTER_ADDED,
    LOOP_SUSPECTED,
    LOOP_STOPPED,
    HOOK_DISABLED,
    HOOK_ENABLED,
    SUBSCRIPTION_PAUSED,
    SUBSCRIPTION_RESUMED,
];

/// Whether only the platform publishes events of this type.
pub fn is_own(ty: &str) -> bool {
    ty.starts_with(PREFIX)
}

/// Why nobody but the platform may publish this event, if that is so.
pub fn reserved(event: &Event) -> Option<EventError> {
    let (what, value) = match event {
        event if is_own(event.ty()) => ("type", event.ty()),
        event if event.source() == SOURCE => ("source", SOURCE),
        _ => return None,
    };
    let rule = "types that begin with evoke. and the source /evoke are the platform's own; choose another";
    Some(EventError::new(format!("{what} {value:?}: {rule}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_platform_uses_its_types_and_its_source() {
        let refused =
            |source: &str, ty: &str| reserved(&Event::new("1", source, ty)).map(|error| error.message);
        assert!(
            refused("/shop", "evoke.node.starting").is_some_and(|words| words.starts_with("type \"evoke."))
        );
        assert!(refused("/evoke", "order").is_some_and(|words| words.starts_with("source \"/evoke\"")));
        assert_eq!(refused("/evoke/mine", "evoked"), None);
    }

    #[test]
    fn each_type_is_told_from_those_of_apps_by_its_prefix() {
        assert!(TYPES.iter().all(|ty| is_own(ty)));
    }
}
