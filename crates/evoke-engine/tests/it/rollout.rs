//! Versions of an app: who shares the work, who is promoted, withdrawn or brought back, and what becomes of work under way.

mod automatic;
mod share;
mod switch;

use evoke_core::id::FunctionName;
use evoke_core::runtime::Ended;
use evoke_engine::deploy::{DeployError, DeployOrder, Deployed};
use evoke_engine::rollout::Wish;

use crate::support::{World, app, bundle, manifest};

/// Lines of a function's table that say in `V` which version it is.
fn settings(version: u32, more: &str) -> String {
    format!("env = {{ V = \"{version}\" }}\n{more}")
}

/// `V` of the version that runs.
fn version(env: &[(String, String)]) -> String {
    env.iter().find(|(name, _)| name == "V").map_or_else(String::new, |(_, value)| value.clone())
}

impl World {
    /// Function `a` answers with its `V`.
    fn tells_its_version(&self) {
        self.runtime.script("a", |guest| async move {
            guest.respond(200, &version(&guest.spec.env)).await;
            Ended::Returned { events: Vec::new() }
        });
    }

    /// Deploys `a`, as version `V` of itself.
    async fn put(&self, v: u32, more: &str, order: DeployOrder) -> Result<Deployed, DeployError> {
        self.put_manifest(&manifest(&[("a", &settings(v, more))]), order).await
    }

    async fn put_manifest(&self, manifest: &str, order: DeployOrder) -> Result<Deployed, DeployError> {
        let progress = evoke_core::runtime::Progress::none();
        self.engine.deploy_telling(&app(), bundle(manifest), order, progress).await
    }

    /// The answer of `a` to a call by whoever has this key.
    async fn asked_by(&self, key: &str) -> String {
        let mut call = self.request("a", "");
        call.from.wish = Wish::SameAs(key.to_owned());
        let mut answered = self.engine.call(call).await.unwrap();
        let body = std::mem::take(&mut answered.response.body).collect(1 << 20).await.unwrap();
        String::from_utf8_lossy(&body).into_owned()
    }

    /// How many of so many calls `V` had.
    async fn share_of(&self, v: &str, calls: u32) -> f64 {
        let mut had = 0;
        for _ in 0..calls {
            had += u32::from(self.call("a", "").await.unwrap().1 == v);
        }
        f64::from(had) / f64::from(calls)
    }
}

fn canary(percent: u32) -> DeployOrder {
    DeployOrder { canary: Some(evoke_core::rollout::Portion::percent(percent)), unwatched: false }
}

fn a() -> FunctionName {
    FunctionName::new("a").unwrap()
}
