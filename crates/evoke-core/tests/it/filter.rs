//! Which events a subscription takes.

mod cesql;
mod corpus;
mod explain;
mod hostile;
mod pattern;
mod properties;

use evoke_core::event::{Attribute, Event};
use serde_json::json;

/// An event with every kind of attribute, and data.
fn order() -> Event {
    Event::new("order-7", "https://shop.example/orders", "order.paid")
        .with_subject("order-7")
        .with_time("2026-11-21T08:30:00+01:00")
        .with_json(json!({
            "total": 42.5, "currency": "EUR", "express": true, "coupon": null, "note": "",
            "tags": ["gift", "new"], "ip": "10.1.2.3",
            "items": [{ "sku": "a1", "count": 1 }, { "sku": "b2", "count": 3 }], "empty": [],
        }))
        .with_extension("priority", Attribute::Integer(5))
        .with_extension("vip", Attribute::Boolean(true))
        .with_extension("hops", "12".into())
        .with_extension("region", "eu-Central".into())
        .with_extension("flag", "TRUE".into())
}
