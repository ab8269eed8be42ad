//! What the rest of Evoke asks of a manifest.

use evoke_core::event::Event;
use evoke_core::id::FunctionName;
use evoke_core::manifest::{Manifest, TypePattern};

use super::read;

const SHOP: &str = r#"
evoke = "1"
[app]
name = "shop"
[functions.notify]
source = "notify.py"
emits = ["mail.*", "done"]
on = [{ event = "user.*" }, { event = "purchase_complete" }]
[functions.audit]
source = "checkout.ts"
on = [{ event = "*" }]
"#;

fn shop() -> Manifest {
    read(SHOP).unwrap()
}

#[test]
fn pattern_is_a_type_or_a_prefix() {
    let matches = |pattern: &str, ty: &str| TypePattern(pattern.to_owned()).matches(ty);
    assert!(matches("a.b", "a.b") && !matches("a.b", "a.bc") && !matches("a.b", "a"));
    assert!(matches("a.*", "a.b") && matches("a.*", "a.") && !matches("a.*", "a"));
    assert!(matches("*", "anything"));
}

#[test]
fn subscribers_are_every_entry_that_matches() {
    let shop = shop();
    let to = |ty| {
        shop.subscribers(&Event::new("1", "/test", ty))
            .map(|(name, index, on)| (name.as_str(), index, on.event.0.as_str()))
            .collect::<Vec<_>>()
    };
    assert_eq!(to("purchase_complete"), [("audit", 0, "*"), ("notify", 1, "purchase_complete")]);
    assert_eq!(to("user.signed_up"), [("audit", 0, "*"), ("notify", 0, "user.*")]);
    assert_eq!(to("other"), [("audit", 0, "*")]);
}

#[test]
fn function_may_emit_what_it_declares() {
    let shop = shop();
    let notify = &shop.functions["notify"];
    assert!(notify.may_emit("done") && notify.may_emit("mail.sent"));
    assert!(!notify.may_emit("purchase_complete"));
    assert!(!shop.functions["audit"].may_emit("done"));
}

#[test]
fn json_is_read_back() {
    let json = serde_json::to_string(&shop()).unwrap();
    assert_eq!(serde_json::from_str::<Manifest>(&json).unwrap(), shop());
}

/// Pinned: another value would give every deployed function a new revision when Evoke is updated.
#[test]
fn revision_names_source_and_settings() {
    let name = FunctionName::new("notify").unwrap();
    let first = shop().revision_of(&name, "digest").unwrap();
    assert_eq!(first.as_str(), "9aff4e1c132faa5f");
    assert_ne!(shop().revision_of(&name, "other digest").unwrap(), first);
    let mut changed = shop();
    changed.functions.get_mut("notify").unwrap().concurrency += 1;
    assert_ne!(changed.revision_of(&name, "digest").unwrap(), first);
    let mut elsewhere = shop();
    elsewhere.functions.get_mut("audit").unwrap().concurrency += 1;
    assert_eq!(elsewhere.revision_of(&name, "digest").unwrap(), first);
    assert_eq!(shop().revision_of(&FunctionName::new("nobody").unwrap(), "digest"), None);
}
