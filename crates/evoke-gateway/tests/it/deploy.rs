//! Deploys that are followed while they go on.

use std::time::Duration;

use bytes::Bytes;
use evoke_gateway::api::DeployStep;
use http::{Method, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;

use crate::support::{World, bundle, manifest, open};

/// The steps of a deploy, as they come.
struct Steps {
    body: Incoming,
    text: String,
}

impl Steps {
    async fn of(world: &World, functions: &[(&str, &str)]) -> Self {
        let request = world
            .to_control(Method::POST, "/v1/apps/shop/deployments")
            .header("content-type", "application/x-tar")
            .header("accept", "text/event-stream")
            .body(Full::<Bytes>::new(bundle(&manifest(functions, &[]))));
        let response = open(world.control, request.unwrap()).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { body: response.into_body(), text: String::new() }
    }

    async fn next(&mut self) -> Option<DeployStep> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let data = event.lines().find_map(|line| line.strip_prefix("data: "));
                let step = data.map(|data| serde_json::from_str(data).unwrap());
                self.text = rest.to_owned();
                if step.is_some() {
                    return step;
                }
                continue;
            }
            let frame = self.body.frame().await?.unwrap();
            self.text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
        }
    }
}

#[tokio::test]
async fn a_deploy_is_followed_to_its_end() {
    let world = World::new().await;
    world.runtime.prepare_takes(Duration::from_millis(1));
    let mut steps = Steps::of(&world, &[("a", "")]).await;
    let progress = DeployStep::Progress { message: "preparing takes 0 s".to_owned() };
    assert_eq!(steps.next().await, Some(progress));
    let Some(DeployStep::Deployed { deployment }) = steps.next().await else { panic!("not deployed") };
    assert_eq!((deployment.version, steps.next().await), (1, None));
}

#[tokio::test]
async fn what_would_have_been_the_answer_is_the_last_step() {
    let world = World::new().await;
    world.runtime.break_prepare(Some("no such package"));
    let mut steps = Steps::of(&world, &[("a", "")]).await;
    let Some(DeployStep::Refused { problem }) = steps.next().await else { panic!("not refused") };
    assert_eq!((problem.status, problem.code.as_str()), (422, "install_failed"));
    assert_eq!(problem.errors[0].file.as_deref(), Some("requirements.txt"));
    assert_eq!(problem.errors[0].message, "no such package");
    assert_eq!(steps.next().await, None);
}

#[tokio::test]
async fn a_deploy_ends_when_its_caller_goes_away() {
    let world = World::new().await;
    world.runtime.prepare_takes(Duration::from_secs(3_600));
    let mut steps = Steps::of(&world, &[("a", "")]).await;
    steps.next().await.unwrap();
    assert_eq!(world.runtime.preparing(), 1);
    drop(steps);
    let ended = async {
        while world.runtime.preparing() > 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), ended).await.expect("it goes on");
    // Nor does it hold the place of another.
    world.runtime.prepare_takes(Duration::ZERO);
    world.deploy(&[("a", "")], &[]).await;
}
