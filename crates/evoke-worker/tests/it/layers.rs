//! What this machine enforces.

use crate::support::*;

#[tokio::test]
async fn every_layer_is_told_with_a_reason_when_it_is_missing() {
    let host = Host::start().await;
    let machine = host.runtime.machine().unwrap();
    for layer in &machine.layers {
        println!("{:<13} {:<5} {}", layer.name, layer.enforced, layer.why_not.as_deref().unwrap_or_default());
        assert_eq!(layer.enforced, layer.why_not.is_none(), "{layer:?}");
        assert!(!layer.purpose.is_empty());
    }
}
