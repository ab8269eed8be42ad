use evoke_gateway::api::{RunList, RunTree, TreeNode};
use http::{Method, StatusCode};
use serde_json::json;

use crate::support::{World, done};

/// checkout publishes `paid`; notify and ledger take it, ledger publishes `booked`, which nobody takes, and calls rate.
async fn shop() -> World {
    let world = World::new().await;
    let functions = [
        ("checkout", "emits = [\"paid\"]"),
        ("notify", "on = [{ event = \"paid\" }]"),
        ("ledger", "on = [{ event = \"paid\" }]\nemits = [\"booked\"]"),
        ("rate", ""),
    ];
    world.deploy(&functions, &[("/orders", "POST", "checkout")]).await;
    world.runtime.script("checkout", |guest| async move {
        assert!(guest.publish("paid", json!({ "total": 42 })).await);
        guest.respond(201, "").await;
        done()
    });
    world.runtime.script("ledger", |guest| async move {
        guest.ask(Method::POST, "/v1/functions/rate/", &[], "").await;
        assert!(guest.publish("booked", json!(1)).await);
        done()
    });
    world
}

/// The tree as indented lines.
fn lines(nodes: &[TreeNode], depth: usize, out: &mut Vec<String>) {
    for node in nodes {
        let (line, children) = match node {
            TreeNode::Run(node) => {
                (format!("run {} {}", node.run.function, node.run.state.as_str()), &node.children)
            }
            TreeNode::Event(node) => (format!("event {}", node.r#type), &node.children),
        };
        out.push(format!("{}{line}", "  ".repeat(depth)));
        lines(children, depth + 1, out);
    }
}

async fn tree(world: &World, run: &str) -> (RunTree, Vec<String>) {
    let reply = world.get(&format!("/v1/apps/shop/runs/{run}/tree")).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    let tree: RunTree = serde_json::from_slice(&reply.body).unwrap();
    let mut shown = Vec::new();
    lines(&tree.nodes, 0, &mut shown);
    (tree, shown)
}

#[tokio::test]
async fn everything_an_order_caused_is_one_tree_from_whichever_run_it_is_asked() {
    let world = shop().await;
    let reply = world.data(Method::POST, "/orders", "").await;
    let order = reply.header("evoke-run").unwrap().to_owned();
    let complete = async || loop {
        let (_, shown) = tree(&world, &order).await;
        if shown.len() == 6 && !shown.iter().any(|line| line.contains("queued") || line.contains("running")) {
            return shown;
        }
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    };
    let mut shown = complete().await;
    assert_eq!(shown[..2], ["run checkout completed", "  event paid"]);
    let notify = shown.iter().position(|line| line == "    run notify completed").unwrap();
    shown.remove(notify);
    assert_eq!(shown[2..], ["    run ledger completed", "      run rate completed", "      event booked"]);

    let runs: RunList =
        serde_json::from_slice(&world.get("/v1/apps/shop/runs?function=notify").await.body).unwrap();
    let (from_below, _) = tree(&world, runs.runs[0].id.as_str()).await;
    let (from_above, _) = tree(&world, &order).await;
    assert_eq!(from_below, from_above);
    assert!(!from_above.truncated);
}

#[tokio::test]
async fn an_event_from_outside_is_the_top_of_its_tree() {
    let world = shop().await;
    let published = world.publish("e1", "paid").await;
    let run = published["runs"][0].as_str().unwrap();
    world.ended(run).await;
    let (_, shown) = tree(&world, run).await;
    assert_eq!(shown[0], "event paid");
    assert!(shown[1].starts_with("  run "));
}

#[tokio::test]
async fn runs_are_listed_newest_first_in_pages_and_by_what_they_are() {
    let world = World::new().await;
    world.deploy(&[("a", ""), ("b", "")], &[("/a", "POST", "a"), ("/b", "POST", "b")]).await;
    let mut ids = Vec::new();
    for path in ["/a", "/b", "/a"] {
        let reply = world.data(Method::POST, path, "").await;
        let run = reply.header("evoke-run").unwrap().to_owned();
        world.ended(&run).await;
        ids.push(run);
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    ids.reverse();
    let list = async |query: &str| -> RunList {
        serde_json::from_slice(&world.get(&format!("/v1/apps/shop/runs{query}")).await.body).unwrap()
    };
    let first = list("?limit=2").await;
    assert_eq!(first.runs.iter().map(|run| run.id.as_str()).collect::<Vec<_>>(), ids[..2]);
    let rest = list(&format!("?before={}", first.next.unwrap())).await;
    assert_eq!(rest.runs.iter().map(|run| run.id.as_str()).collect::<Vec<_>>(), ids[2..]);
    assert_eq!(list("?function=b").await.runs.len(), 1);
    assert_eq!(list("?state=completed").await.runs.len(), 3);
    assert_eq!(list("?state=failed").await.runs.len(), 0);
    let reply = world.get("/v1/apps/shop/runs?state=odd").await;
    assert_eq!((reply.status, reply.code().as_str()), (StatusCode::BAD_REQUEST, "invalid_request"));
}

#[tokio::test]
async fn a_call_that_was_answered_is_in_the_list_of_runs_at_once() {
    let world = World::with_echo(crate::support::Setup::default()).await;
    for answered in 1..=30 {
        assert_eq!(world.data(Method::POST, "/echo", "").await.status, StatusCode::OK);
        let list: RunList =
            serde_json::from_slice(&world.get("/v1/apps/shop/runs?limit=100").await.body).unwrap();
        assert_eq!(list.runs.len(), answered);
    }
}
