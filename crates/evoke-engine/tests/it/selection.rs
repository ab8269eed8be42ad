//! Events are found by what they say of themselves.

use std::time::Duration;

use evoke_core::archive::Selection;
use evoke_core::event::Event;
use evoke_core::filter::cesql::Expression;
use evoke_core::manifest::TypePattern;
use evoke_core::store::EventQuery;
use evoke_core::time::Clock as _;
use evoke_engine::Arrival;

use crate::support::{World, app};

/// Whether the event of this number is among them.
type Expected = Box<dyn Fn(usize) -> bool>;

/// Ids of those that are chosen, newest first, page after page; each request looks at so many.
async fn found(world: &World, selection: &Selection, (limit, looks): (usize, usize)) -> Vec<String> {
    let (mut ids, mut before) = (Vec::new(), None);
    loop {
        let query = EventQuery { app: Some(app()), before, limit, ..EventQuery::default() };
        let page = world.engine.events(query, selection, looks).await.unwrap();
        assert!(page.events.len() <= limit);
        ids.extend(page.events.iter().map(|stored| stored.event.id().to_owned()));
        let Some(next) = page.next else { return ids };
        assert!(before.is_none_or(|before| next < before), "it goes on");
        before = Some(next);
    }
}

#[tokio::test(start_paused = true)]
async fn events_are_chosen_by_type_source_subject_time_and_expression_in_pages_of_any_size() {
    let world = World::new().await;
    world.deploy(&[("a", "")]).await;
    let mut half = None;
    for n in 0..450 {
        if n == 225 {
            tokio::time::sleep(Duration::from_secs(60)).await;
            half = Some(world.clock.now());
        }
        let ty = ["order.placed", "order.paid", "user"][n % 3];
        let event = Event::new(format!("e{n}"), if n % 2 == 0 { "/even" } else { "/odd" }, ty);
        let event = event.with_subject(format!("s{}", n % 5));
        world.engine.publish(&app(), vec![event], Arrival::default()).await.unwrap();
    }
    let types = |ty: &str| Some(TypePattern(ty.to_owned()));
    let cases: Vec<(Selection, Expected)> = vec![
        (Selection::default(), Box::new(|_| true)),
        (Selection { types: types("user"), ..Selection::default() }, Box::new(|n| n % 3 == 2)),
        (Selection { types: types("order.*"), ..Selection::default() }, Box::new(|n| n % 3 != 2)),
        (Selection { source: Some("/odd".to_owned()), ..Selection::default() }, Box::new(|n| n % 2 == 1)),
        (Selection { subject: Some("s3".to_owned()), ..Selection::default() }, Box::new(|n| n % 5 == 3)),
        (Selection { since: half, ..Selection::default() }, Box::new(|n| n >= 225)),
        (
            Selection { until: half, types: types("order.paid"), ..Selection::default() },
            Box::new(|n| n < 225 && n % 3 == 1),
        ),
        (
            Selection {
                filter: Expression::parse("subject = 's1' AND source = '/even'").ok(),
                ..Selection::default()
            },
            Box::new(|n| n % 5 == 1 && n % 2 == 0),
        ),
        (Selection { source: Some("/none".to_owned()), ..Selection::default() }, Box::new(|_| false)),
    ];
    for (selection, expected) in cases {
        let expected: Vec<String> =
            (0..450).rev().filter(|n| expected(*n)).map(|n| format!("e{n}")).collect();
        for bounds in [(1_000, 10_000), (75, 10_000), (200, 200), (10, 7), (1, 450)] {
            assert_eq!(found(&world, &selection, bounds).await, expected, "{selection:?}, {bounds:?}");
        }
    }
}
