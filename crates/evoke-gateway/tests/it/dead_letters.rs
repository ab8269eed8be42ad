use std::time::Duration;

use evoke_core::limits::Limits;
use evoke_core::outcome::{Failure, FailureCode};
use evoke_core::runtime::Ended;
use evoke_core::store::DeadLetterQuery;
use evoke_gateway::api::{DeadLetterList, DeadLettersDone, InputPreview};
use http::StatusCode;
use serde_json::json;

use crate::support::{Reply, Setup, World};

async fn world() -> World {
    world_with(Setup::default()).await
}

async fn world_with(setup: Setup) -> World {
    let world = World::with(setup).await;
    let once = "on = [{ event = \"order\", retry = { attempts = 1 } }]";
    world.deploy(&[("notify", once), ("ledger", once)], &[]).await;
    for name in ["notify", "ledger"] {
        world.runtime.script(name, |_| async {
            Ended::Failed(Failure::new(FailureCode::FunctionError, "Error: smtp is down"))
        });
    }
    for n in 0..3 {
        world.publish(&format!("o{n}"), "order").await;
    }
    while count(&world).await < 6 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    world
}

async fn count(world: &World) -> usize {
    let query = DeadLetterQuery { limit: 100, ..DeadLetterQuery::default() };
    world.store.dead_letters(&query).await.unwrap().len()
}

async fn list(world: &World, query: &str) -> DeadLetterList {
    serde_json::from_slice(&world.get(&format!("/v1/apps/shop/dead-letters{query}")).await.body).unwrap()
}

async fn redrive(world: &World, body: serde_json::Value) -> Reply {
    world.post("/v1/apps/shop/dead-letters/redrive", "application/json", body.to_string()).await
}

#[tokio::test]
async fn page_after_page_tells_all_of_them_wherever_a_page_ends() {
    let world = world().await;
    for n in 3..110 {
        world.publish(&format!("o{n}"), "order").await;
    }
    for limit in [10, 100, 110, 220, 1000] {
        loop {
            let (mut runs, mut before) = (Vec::new(), String::new());
            loop {
                let page = list(&world, &format!("?limit={limit}{before}")).await;
                runs.extend(page.dead_letters.into_iter().map(|letter| letter.run.id));
                let Some(next) = page.next else { break };
                before = format!("&before={next}");
            }
            let mut each = runs.clone();
            each.sort_unstable();
            each.dedup();
            assert_eq!(each.len(), runs.len(), "in pages of {limit} none comes twice");
            // Some may still be on their way.
            if runs.len() == 220 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

#[tokio::test]
async fn dead_letters_show_why_and_what() {
    let world = world().await;
    let all = list(&world, "?limit=4").await;
    assert_eq!(all.dead_letters.len(), 4);
    let letter = &all.dead_letters[0];
    assert!(letter.reason.contains("smtp is down"), "{}", letter.reason);
    assert_eq!(letter.run.attempts[0].code.as_deref(), Some("function_error"));
    let InputPreview::Event { r#type, preview, data_bytes, .. } = &letter.input else {
        panic!("{:?}", letter.input)
    };
    assert_eq!((r#type.as_str(), *data_bytes), ("order", preview.as_ref().unwrap().len() as u64));
    let rest = list(&world, &format!("?before={}", all.next.unwrap())).await;
    assert_eq!((rest.dead_letters.len(), rest.next), (2, None));
    assert_eq!(list(&world, "?function=ledger").await.dead_letters.len(), 3);
}

#[tokio::test]
async fn redriven_runs_are_made_again_under_the_same_id() {
    let world = world().await;
    world.runtime.script("notify", |guest| guest.agree());
    let letter = list(&world, "?function=notify&limit=1").await.dead_letters.remove(0);
    let unknown = json!({ "runs": [letter.run.id, "run_unknown"] });
    let redriven: DeadLettersDone = serde_json::from_slice(&redrive(&world, unknown).await.body).unwrap();
    assert_eq!((redriven.runs.as_slice(), redriven.next), (&[letter.run.id.clone()][..], None));
    let run = loop {
        let run = world.get(&format!("/v1/apps/shop/runs/{}", letter.run.id)).await.json();
        if run["state"] == "completed" {
            break run;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    };
    assert_eq!(run["attempts"].as_array().unwrap().last().unwrap()["outcome"], "completed");
}

#[tokio::test]
async fn all_dead_letters_of_a_function_are_redriven_once_even_if_they_fail_again() {
    let world = world().await;
    let reply = redrive(&world, json!({ "all": true, "function": "notify" })).await;
    let redriven: DeadLettersDone = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!((redriven.runs.len(), redriven.next), (3, None));
    while list(&world, "?function=notify").await.dead_letters.len() < 3 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let reply = redrive(&world, json!({ "all": true })).await;
    assert_eq!(reply.json()["runs"].as_array().unwrap().len(), 6);
}

#[tokio::test]
async fn what_fails_again_at_once_is_not_redriven_for_ever() {
    let limits = Limits { page: 1, ..Limits::default() };
    let world = world_with(Setup { limits, ..Setup::default() }).await;
    let reply = redrive(&world, json!({ "all": true })).await;
    assert_eq!(reply.json()["runs"].as_array().unwrap().len(), 6);
}

#[tokio::test]
async fn a_redrive_that_does_not_say_of_what_is_refused() {
    let world = world().await;
    for body in [
        json!({}),
        json!({ "all": false }),
        json!({ "runs": [] }),
        json!({ "all": true, "runs": ["run_1"] }),
        json!({ "runs": ["run_1"], "function": "notify" }),
        json!({ "everything": true }),
        json!([1]),
    ] {
        let reply = redrive(&world, body.clone()).await;
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (StatusCode::BAD_REQUEST, "invalid_request"),
            "{body}"
        );
    }
    assert_eq!(list(&world, "").await.dead_letters.len(), 6);
}

#[tokio::test]
async fn dead_letters_are_chosen_by_what_they_are() {
    let world = world().await;
    let all = list(&world, "").await.dead_letters;
    let count = async |query: &str| list(&world, query).await.dead_letters.len();
    assert_eq!(count("?code=function_error").await, 6);
    assert_eq!(count("?code=timed_out").await, 0);
    assert_eq!(count("?type=ord*&function=notify").await, 3);
    assert_eq!(count("?type=other").await, 0);
    let InputPreview::Event { id, .. } = &all[0].input else { panic!("{:?}", all[0].input) };
    assert_eq!(count(&format!("?where=id%20%3D%20%27{id}%27")).await, 2);
    assert_eq!(count("?until=2001-01-01T00:00:00Z").await, 0);
    assert_eq!(count("?since=2001-01-01T00:00:00Z&limit=4").await, 4);
    for bad in ["?code=bad", "?since=yesterday", "?where=%28", "?type=a*b"] {
        let reply = world.get(&format!("/v1/apps/shop/dead-letters{bad}")).await;
        assert_eq!(reply.code(), "invalid_request", "{bad}");
    }
}

#[tokio::test]
async fn a_choice_is_tried_out_and_then_purged_and_the_runs_say_so() {
    let world = world().await;
    let purge = async |body: serde_json::Value| {
        world.post("/v1/apps/shop/dead-letters/purge", "application/json", body.to_string()).await.json()
    };
    let tried = purge(json!({ "all": true, "function": "notify", "dry_run": true })).await;
    assert_eq!(tried["runs"].as_array().unwrap().len(), 3);
    assert_eq!(list(&world, "").await.dead_letters.len(), 6);
    let one = purge(json!({ "all": true, "function": "notify", "limit": 1 })).await;
    assert_eq!(one["runs"].as_array().unwrap()[0], tried["runs"][0]);
    let rest = json!({ "all": true, "function": "notify", "before": one["next"] });
    assert_eq!(purge(rest).await["runs"].as_array().unwrap().len(), 2);
    assert_eq!(list(&world, "").await.dead_letters.len(), 3);
    let id = tried["runs"][2].as_str().unwrap();
    let run = world.get(&format!("/v1/apps/shop/runs/{id}")).await.json();
    assert_eq!(
        (&run["state"], &run["attempts"].as_array().unwrap().last().unwrap()["code"]),
        (&json!("failed"), &json!("purged"))
    );
}
